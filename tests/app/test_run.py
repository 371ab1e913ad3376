"""run() is a worker's whole main: real processes, real signals."""

import re
import signal
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGTERM to one process"),
]

SOON = 20
"""Seconds, on a busy machine too; what is not ended soon here would take a minute or more."""

SLEEPS = """
from contextlib import asynccontextmanager

@dawdle.on_event
async def handler(event: Placed):
    print("ready")
    await asyncio.sleep(event.seconds)
    print("done")

@asynccontextmanager
async def lifespan(app):
    await app.signal(Placed({seconds}))
    yield
    print("left", len(queue._ready), len(queue._in_flight))

if __name__ == "__main__":
    dawdle.Dawdle(queue, lifespan=lifespan, grace={grace}).run()
    print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_worker_when_its_handlers_are_done(worker, number):
    one = worker(SLEEPS.format(seconds=0.5, grace=10))
    one.ready()
    code, out, err, _ = one.end(number)
    assert (code, out) == (0, "done\nleft 0 0\nended\n"), err


async def test_at_the_end_of_the_grace_a_handler_is_cancelled_and_its_message_is_visible(worker):
    one = worker(SLEEPS.format(seconds=60, grace=0.3))
    one.ready()
    code, out, err, took = one.end(signal.SIGTERM)
    assert (code, out) == (0, "left 1 0\nended\n"), err
    assert took < SOON


async def test_a_second_signal_ends_the_grace(worker):
    one = worker(SLEEPS.format(seconds=60, grace=60))
    one.ready()
    code, out, err, took = one.end(signal.SIGTERM, signal.SIGINT)
    assert (code, out) == (0, "left 1 0\nended\n"), err
    assert took < SOON


async def test_a_hung_thread_does_not_hold_the_process(worker):
    one = worker(
        SLEEPS.format(seconds=60, grace=0.2)
        .replace("async def handler", "def handler")
        .replace("await asyncio.sleep", "time.sleep")
    )
    one.ready()
    code, out, err, took = one.end(signal.SIGTERM)
    assert (code, out) == (0, "left 1 0\n"), err
    assert "ending the process while worker.handler still runs" in err
    assert took < SOON


async def test_a_handler_that_swallows_every_cancellation_does_not_hold_the_process(worker):
    one = worker(
        SLEEPS.format(seconds=60, grace=0.2).replace(
            "    await asyncio.sleep(event.seconds)\n",
            "    while True:\n"
            "        try:\n"
            "            await asyncio.sleep(60)\n"
            "        except BaseException:\n"
            "            pass\n",
        )
    )
    one.ready()
    code, _, err, took = one.end(signal.SIGTERM)
    assert code == 0, err
    assert "closed while worker.handler is still running: it ignores cancellation" in err
    assert took < SOON


async def test_a_backend_that_swallows_every_cancellation_does_not_hold_the_process(worker):
    one = worker(
        """
        class Deaf(Memory):
            async def ack(self, batch):
                print("ready")
                while True:
                    try:
                        await asyncio.sleep(60)
                    except BaseException:
                        pass

        @dawdle.on_event
        async def handler(event: Placed): ...

        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def lifespan(app):
            await app.signal(Placed(1))
            yield

        dawdle.Dawdle(Deaf(), lifespan=lifespan, grace=0.2).run()
        """
    )
    one.ready()
    code, _, err, took = one.end(signal.SIGTERM)
    assert code == 0, err
    assert "closed while a call to a queue is still running: it ignores cancellation" in err
    assert took < SOON


async def test_an_app_that_cannot_start_raises_from_run(worker):
    one = worker(
        """
        class Broken(Memory):
            async def __aenter__(self):
                raise dawdle.BackendError("no route to host")
        dawdle.Dawdle(Broken()).run()
        """
    )
    _, err = one.process.communicate(timeout=60)
    assert one.process.returncode == 1
    assert err.splitlines()[-1] == "dawdle.BackendError: no route to host"
    assert "AttributeError" not in err


async def test_an_app_that_dies_raises_from_run(worker):
    one = worker(
        """
        from contextlib import asynccontextmanager
        from dawdle.testing import Probe

        @asynccontextmanager
        async def lifespan(app):
            error = ZeroDivisionError("a bug in dawdle")
            asyncio.get_running_loop().call_later(0.05, lambda: Probe(app).fail(error))
            yield

        dawdle.Dawdle(queue, lifespan=lifespan).run()
        """
    )
    _, err = one.process.communicate(timeout=60)
    assert one.process.returncode == 1
    assert "ZeroDivisionError: a bug in dawdle" in err


ENTERS = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    print("ready")
    {body}
    yield
    print("lifespan left")

if __name__ == "__main__":
    dawdle.Dawdle(queue, lifespan=lifespan, grace={grace}).run()
    print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_obeyed_while_the_app_is_being_entered(worker, number):
    one = worker(
        ENTERS.format(
            grace=3600,
            body="""
    try:
        while True:
            await asyncio.sleep(0.05)
    finally:
        await asyncio.sleep(0.1)
        print("closed")
""",
        )
    )
    one.ready()
    code, out, err, took = one.end(number)
    assert (code, out) == (0, "closed\nended\n"), err
    assert took < SOON


async def test_a_signal_is_obeyed_while_the_queue_is_being_opened(worker):
    one = worker(
        """
        class Slow(Memory):
            async def __aenter__(self):
                print("ready")
                await asyncio.sleep(3600)

        dawdle.Dawdle(Slow()).run()
        print("ended")
        """
    )
    one.ready()
    code, out, err, took = one.end(signal.SIGTERM)
    assert (code, out) == (0, "ended\n"), err
    assert took < SOON


IGNORES = """
    while True:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            print("go on")
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.3, 1), (600, 2)])
async def test_entering_that_ignores_its_cancellation_does_not_hold_the_process(worker, grace, signals):
    one = worker(ENTERS.format(grace=grace, body=IGNORES))
    one.ready()
    code, out, err, took = one.end(*[signal.SIGTERM] * signals)
    assert (code, out) == (0, "go on\n"), err
    assert "ending the process while the app is still being entered" in err
    assert took < SOON


async def test_a_lifespan_that_goes_on_although_it_was_cancelled_is_left(worker):
    body = """
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("go on")
"""
    one = worker(ENTERS.format(grace=3600, body=body))
    one.ready()
    code, out, err, took = one.end(signal.SIGTERM)
    assert (code, out) == (0, "go on\nlifespan left\nended\n"), err
    assert took < SOON


async def test_a_thread_of_asyncio_that_hangs_does_not_hold_the_process(worker):
    one = worker(ENTERS.format(grace=2, body="await asyncio.to_thread(time.sleep, 600)"))
    one.ready()
    code, _, err, took = one.end(signal.SIGTERM)
    assert code == 0, err
    assert "ending the process while a thread of asyncio.to_thread" in err
    assert took < SOON


WRONG_PLACE = """
import warnings

warnings.simplefilter("error")

def try_it():
    try:
        dawdle.Dawdle(queue).run()
    except dawdle.ConfigurationError as error:
        print(error)

async def main():
    try_it()

{call}
"""


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("asyncio.run(main())", "one is running here already.*write `async with app:`"),
        (
            "import threading\nt = threading.Thread(target=try_it, name='web'); t.start(); t.join()",
            r"main thread only, and this is thread 'web': call run\(\) in the main thread",
        ),
    ],
)
async def test_run_says_what_to_do_where_it_cannot_work(worker, call, told):
    one = worker(WRONG_PLACE.format(call=call))
    out, err = one.process.communicate(timeout=60)
    assert re.search(told, out), err
    assert err == ""


NO_HANDLER = """
from contextlib import asynccontextmanager
import logging, os, signal

logging.basicConfig(level=logging.INFO)

@asynccontextmanager
async def lifespan(app):
    {registers}
    yield
    print("left")

async def handler(event: Placed): ...

dawdle.Dawdle(queue, lifespan=lifespan, start_listener={listens}).run()
"""


@pytest.mark.parametrize(
    ("registers", "listens", "warned"),
    [("pass", True, True), ("app.register(handler)", True, False), ("pass", False, False)],
)
async def test_a_worker_without_a_handler_says_so(worker, registers, listens, warned):
    registers += "; asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)"
    one = worker(NO_HANDLER.format(registers=registers, listens=listens))
    out, err = one.process.communicate(timeout=60)
    assert (one.process.returncode, out) == (0, "left\n"), err
    assert ("this worker receives nothing until one is: did you call dawdle.discover(" in err) is warned
    assert "this worker keeps its queue in its own memory" not in err, "its lifespan may signal"
    assert "dawdle started: queue 'default' on Memory" in err


NO_EVENTS = """
import os, signal

@dawdle.on_event
async def handler(event: Placed): ...

class Ending(Memory):
    async def __aenter__(self):
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        return await super().__aenter__()

dawdle.Dawdle(Ending(), start_listener={listens}).run()
"""


@pytest.mark.parametrize("listens", [True, False])
async def test_a_worker_that_no_other_process_can_signal_to_says_so(worker, listens):
    one = worker(NO_EVENTS.format(listens=listens))
    _, err = one.process.communicate(timeout=60)
    assert one.process.returncode == 0, err
    assert ("do not reach it: set DAWDLE_BACKEND or DAWDLE_SQS_QUEUE_URL for a queue that" in err) is listens


HOSTED = """
from contextlib import asynccontextmanager

class Pool: ...

@dawdle.on_event
async def handler(event: Placed, ctx: dawdle.Context):
    print("ready" if ctx.state(Pool) and ctx.state(int) == 3 else "no state", flush=True)

@asynccontextmanager
async def own(app):
    await app.signal(Placed(0))
    yield 3
    print("own left")

@asynccontextmanager
async def hosts(app):
    yield Pool()
    print("host's left", type(asyncio.get_running_loop()).__module__.split(".")[0])

if __name__ == "__main__":
    app = dawdle.Dawdle(queue, lifespan=own)
    app.run(lifespan=hosts{loop})
    print("ended")
"""


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=[pytest.mark.once])])
async def test_a_host_gives_a_worker_a_lifespan_and_an_event_loop(worker, loop):
    pytest.importorskip(loop)
    factory = ", loop_factory=__import__('uvloop').new_event_loop" if loop == "uvloop" else ""
    one = worker(HOSTED.format(loop=factory))
    one.ready()
    code, out, err, _ = one.end(signal.SIGTERM)
    assert (code, out) == (0, f"host's left {loop}\nown left\nended\n"), err
