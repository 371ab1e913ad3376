"""A browser without a window, driven by the DevTools protocol over two pipes, so that no package is needed for it."""

import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """One page of a browser."""

    def __init__(self, requests, answers):
        self._requests, self._answers = requests, answers
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session = {}

    def open(self, url):
        target = self._ask("Target.createTarget", url=url)["targetId"]
        self._session = {"sessionId": self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def evaluate(self, script):
        """The value of a JavaScript expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script, good, seconds=30):
        """The first value of an expression that is good."""
        ends = time.monotonic() + seconds
        while not good(value := self.evaluate(script)):
            assert time.monotonic() < ends, f"{script} is still {value!r}"
            time.sleep(0.05)
        return value

    def _ask(self, method, **params):
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while True:
            while b"\0" not in self._unread:
                read = os.read(self._answers, 65536)
                assert read, "the browser has ended"
                self._unread += read
            line, _, self._unread = self._unread.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]


@contextmanager
def browser(folder):
    """Start a browser with a profile of its own, and end it."""
    to_browser, requests = os.pipe()
    answers, from_browser = os.pipe()

    def connect():  # the protocol says which two descriptors; neither is closed when the browser starts
        os.dup2(to_browser, 3)
        os.dup2(from_browser, 4)

    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    process = subprocess.Popen(
        [CHROMIUM, *options, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"],
        preexec_fn=connect,  # noqa: PLW1509 - two `dup2`, which take no lock
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(requests, answers)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        os.close(requests)
        os.close(answers)
