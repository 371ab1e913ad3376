"""A process that a handler forks is a process as any other: it inherits neither the worker's signals nor its app."""

import os

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

FORKS = """
import logging, multiprocessing, os, signal, sys, warnings
from contextlib import asynccontextmanager

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: this process has threads, and forks
logging.basicConfig(level=logging.INFO)
fork = multiprocessing.get_context("fork")
me = os.getpid()

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

{helper}

@dawdle.on_event(retry=dawdle.Retry(max_attempts=1))
{kind} handler(event: Placed):
    {body}
    say("handled")
    os.kill(me, signal.SIGTERM)

@asynccontextmanager
async def lifespan(app):
    await app.signal(Placed(1))
    yield
    say("left", len(queue.messages()))

if __name__ == "__main__":
    dawdle.Dawdle(queue, lifespan=lifespan, grace=10).run()
    say("ended")
"""

TERMINATED = """
def sleep(ready):
    ready.set()
    time.sleep(60)

def terminated(number):
    ready = fork.Event()
    child = fork.Process(target=sleep, args=(ready,))
    child.start()
    assert ready.wait(60)
    os.kill(child.pid, number)
    child.join(60)
    say("child ended with", child.exitcode)
    if child.exitcode is None:
        child.kill()
    time.sleep(0.3)  # long enough for a worker that was told of the signal
"""

POOL = """
def square(number):
    return number * number

def pooled():
    pool = fork.Pool(2)
    say(*pool.map(square, range(4)))
    pool.terminate()
    pool.join()
    time.sleep(0.3)
"""

BARE = """
def bare():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"!")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    os.kill(child, signal.SIGTERM)
    say("child ended with", -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(0.3)
"""

INHERITS = """
def told(ask):
    try:
        say(type(ask()).__name__)
    except dawdle.ConfigurationError as error:
        say(type(error).__name__)

def child():
    app = dawdle_app[0]
    told(dawdle.current)
    told(lambda: dawdle.from_thread.signal(Placed(2)))
    told(lambda: dawdle.from_thread.signal(Placed(2), app=app))
    told(lambda: asyncio.run(app.signal(Placed(2))))
    async def own():
        async with dawdle.Dawdle(Memory(), registry=dawdle.Registry(), start_listener=False) as own:
            return await dawdle.signal(Placed(3))
    told(lambda: asyncio.run(own()))

def inherits():
    dawdle_app.append(dawdle.current())
    one = fork.Process(target=child)
    one.start()
    one.join(60)
    say("child ended with", one.exitcode)

dawdle_app = []
"""


async def run_it(worker, helper, body, kind):
    one = worker(FORKS.format(helper=helper, body=body, kind=kind))
    out, err = one.process.communicate(timeout=40)
    assert one.process.returncode == 0, err
    assert err.count("asked to stop") == 1, err
    assert "second signal" not in err, err
    return out.splitlines(), err


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
async def test_a_signal_ends_the_child_and_does_not_stop_the_worker(worker, kind, number):
    lines, err = await run_it(worker, TERMINATED, f"terminated(signal.{number})", kind)
    code = -15 if number == "SIGTERM" else 1
    assert lines == [f"child ended with {code}", "handled", "left 0", "ended"], err


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_pool_is_terminated_and_the_worker_goes_on(worker, kind):
    lines, err = await run_it(worker, POOL, "pooled()", kind)
    assert lines == ["0 1 4 9", "handled", "left 0", "ended"], err


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_bare_fork_ends_by_its_signal(worker, kind):
    lines, err = await run_it(worker, BARE, "bare()", kind)
    assert lines == ["child ended with 15", "handled", "left 0", "ended"], err


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_child_has_no_app_and_may_enter_its_own(worker, kind):
    lines, err = await run_it(worker, INHERITS, "inherits()", kind)
    assert lines[:6] == [*["NoAppError"] * 2, *["ConfigurationError"] * 2, "str", "child ended with 0"], (lines, err)


async def test_a_child_that_is_terminated_as_it_is_born_does_not_stop_the_worker(worker):
    """300 forks, each with a signal at once: many come before the child is Python again."""
    body = "born()"
    helper = """
def born():
    for _ in range(300):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    time.sleep(0.3)
"""
    lines, err = await run_it(worker, helper, body, "def")
    assert lines == ["handled", "left 0", "ended"], err
