"""Lambda's runtime API, in a test, and the process of a function: AWS's own runtime interface client.

GET  /2018-06-01/runtime/invocation/next              waits for an event
POST /2018-06-01/runtime/invocation/<id>/response     the answer, or …/error
POST /2018-06-01/runtime/init/error                   the module cannot be imported
"""

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from tests.aws_lambda.source import ARN

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Sandbox:
    """One process of a function, from its start to its end."""

    def __init__(self, handler, environment):
        self._handler, self._environment = handler, environment
        self._events, self._answers = asyncio.Queue(), {}
        self.asked = asyncio.Event()
        """The function asks for an event: it has been imported, and has answered what it had."""
        self.init_error = asyncio.get_running_loop().create_future()
        self.snapshot = asyncio.get_running_loop().create_future()
        """Lambda may take the snapshot of SnapStart now."""
        self.said = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/2018-06-01/runtime/invocation/next", self._next)
        app.router.add_post("/2018-06-01/runtime/invocation/{id}/{kind}", self._answer)
        app.router.add_post("/2018-06-01/runtime/init/error", self._failed)
        app.router.add_get("/2018-06-01/runtime/restore/next", self._restore)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            **self._environment,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "awslambdaric",
            self._handler,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading
        self._events.put_nowait(None)
        await self._runner.cleanup()
        if error[1] is not None:
            print("\n".join(self.said))

    async def invoke(self, event, seconds=30.0):
        """Invoke the function, and return "response" or "error", and the JSON of it."""
        return await asyncio.wait_for(self.begin(event, seconds), START_SECONDS)

    def begin(self, event, seconds=30.0):
        """Invoke the function, and return the future of its answer."""
        answer = asyncio.get_running_loop().create_future()
        request = str(uuid.uuid4())
        self._answers[request] = answer
        self.asked.clear()
        self._events.put_nowait((request, event, seconds))
        return answer

    async def says(self, text):
        """Return when the function has printed a line with this text."""
        async with asyncio.timeout(START_SECONDS):
            while not any(text in line for line in self.said):
                await asyncio.sleep(0.005)

    def send(self, number):
        self.process.send_signal(number)

    async def frozen(self, seconds):
        """Freeze the process, as Lambda does between two invocations."""
        await asyncio.wait_for(self.asked.wait(), START_SECONDS)
        await asyncio.wait_for(self._rests(), START_SECONDS)
        self.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.send(signal.SIGCONT)

    async def _rests(self):
        """Wait until no thread of the process runs or wants to: on a busy machine some have not yet had their turn."""
        times = 0
        while times < 3:
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended meanwhile
                tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
                states = {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}
                times = times + 1 if states == {"S"} else 0
            await asyncio.sleep(0.01)

    async def _read(self):
        async for line in self.process.stdout:
            self.said.append(line.decode().rstrip())

    async def _next(self, request):
        self.asked.set()
        invocation = await self._events.get()
        if invocation is None:  # the test is over
            return web.Response(status=410)
        number, event, seconds = invocation
        return web.Response(
            body=json.dumps(event).encode(),
            headers={
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": number,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
            },
        )

    async def _answer(self, request):
        kind, body = request.match_info["kind"], await request.json()
        self._answers.pop(request.match_info["id"]).set_result((kind, body))
        return web.Response(status=202)

    async def _restore(self, request):
        self.snapshot.set_result(True)
        return web.Response()

    async def _failed(self, request):
        self.init_error.set_result(await request.json())
        return web.Response(status=202)
