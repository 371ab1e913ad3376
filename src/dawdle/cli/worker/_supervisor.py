"""Runs the processes of a worker: does what the pool decides, and tells it what happens. Decides nothing itself."""

import asyncio
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

import msgspec

from dawdle.cli.worker import _tell as tell
from dawdle.cli.worker._child import Child
from dawdle.cli.worker._hangup import Terminal, is_wanted
from dawdle.cli.worker._memory import MEASURE_SECONDS, MemoryLimit
from dawdle.cli.worker._options import Assignment, WorkerOptions
from dawdle.cli.worker._pool import (
    Action,
    Died,
    GaveUp,
    Kill,
    NotReady,
    NotReplaced,
    Pool,
    Replaced,
    Start,
    Stop,
    WaitsForChange,
)
from dawdle.cli.worker._values import Address

__all__ = ["Plan", "supervise"]

_log = logging.getLogger(__name__)

MAX_CHANGE_SECONDS: Final = 2.0
"""Seconds in which a change is told by watchfiles, which waits for more of it."""


WATCHING_SECONDS: Final = 0.5
"""Seconds in which a watch has begun to see changes, on a machine that is not overloaded."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is asked to do."""

    options: WorkerOptions
    places: int
    reloads: bool
    max_rss: int | None
    """Bytes of memory above which a process is replaced."""
    address: Address | None
    """Where the worker answers."""


async def supervise(plan: Plan) -> bool:
    """Run a worker until it was asked to stop, or gives up; return whether it has given up."""
    return await _Supervisor(plan).run()


class _Supervisor:
    """One worker with its processes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pool = Pool(plan.places, reloads=plan.reloads)
        self._children: dict[int, Child] = {}
        self._limit = None if plan.max_rss is None else MemoryLimit(plan.max_rss)
        self._sources = set[str]()
        """The files and folders of the code, as its processes have told."""
        self._watched = (frozenset[str](), frozenset[str]())
        """The folders and the files that are watched for them."""
        self._folder = tempfile.mkdtemp(prefix="dawdle-")
        """Where the sockets are on which the processes answer."""
        self._watching: list[asyncio.Task[None]] = []
        self._watchers: dict[str, asyncio.Task[None]] = {}
        """Those that see changes of folders, and of files."""
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._terminal = Terminal()
        self._introduced = False
        """Some process has told what the app is made of."""
        self._printed: set[str] = set()
        """The errors of the code that were printed since its latest change: all processes have the same."""
        self._told_unloadable = False
        self._changes = 0
        """How often the code may have become new."""

    async def run(self) -> bool:
        """Run the processes until all have ended; return whether the worker has given up."""
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.callback(lambda: shutil.rmtree(self._folder, ignore_errors=True))
            if self._plan.address is not None:
                from dawdle.cli.worker._port import serving  # noqa: PLC0415 - loads aiohttp

                await stack.enter_async_context(serving(self._plan.address, self._pool, self._running))
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.enter_context(self._signals())
            self._watch()
            self._do(self._pool.start(self._loop.time()))
            await self._ended.wait()
            for task in self._watching:
                task.cancel()
        return self._pool.failed

    def _running(self) -> Sequence[Child]:
        """Return the processes that have not ended."""
        return list(self._children.values())

    # What happens

    @contextmanager
    def _signals(self) -> Generator[None]:
        taken: dict[signal.Signals, Callable[[], None]] = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop}
        if is_wanted():
            taken[signal.SIGHUP] = self._hang_up
        for number, call in taken.items():
            self._loop.add_signal_handler(number, call)
        try:
            yield
        finally:
            for number in taken:
                self._loop.remove_signal_handler(number)

    def _stop(self) -> None:
        tell.asked_to_stop(len(self._children), again=self._pool.stopping)
        self._do(self._pool.stop(self._loop.time()))

    def _hang_up(self) -> None:
        if self._terminal.is_gone():
            _log.info("the terminal was closed: stopping")
            self._stop()
        elif not self._pool.stopping:
            _log.info("SIGHUP: replacing all processes, one after another")
            self._code_may_be_new()
            self._do(self._pool.replace(self._loop.time()))

    def _ready(self, child: Child, grace: float) -> None:
        actions = self._pool.ready(child.number, self._loop.time(), grace)
        self._introduced = True
        if not any(isinstance(each, Replaced) for each in actions):
            tell.ready(child)
        self._do(actions, child)
        if self._limit is not None:
            self._limit.started(child)
        self._watch_sources(child.sources, child)

    async def _run(self, child: Child) -> None:
        """Run a process until it has ended."""
        try:
            code = await child.run(lambda grace: self._ready(child, grace))
        except OSError as error:  # too many processes or files
            _log.error("process %d: could not be started: %s", child.place, error)
            code = 1
        if child.unloadable is not None:
            self._watch_sources(child.sources, child)
            if child.unloadable not in self._printed:
                self._printed.add(child.unloadable)
                tell.unloadable(child.unloadable)
        stopped = self._pool.state(child.number) == "stopping"
        actions = self._pool.gone(child.number, self._loop.time(), unloadable=child.unloadable is not None)
        if stopped:
            tell.stopped(child, code)
        if self._limit is not None:
            self._limit.ended(child)
        del self._children[child.number]
        self._do(actions, child, code)

    def _watch(self) -> None:
        """Watch what may be a reason to replace processes."""
        self._watch_sources(())
        if self._limit is not None:
            self._start_watching(self._watch_memory(self._limit))

    def _watch_sources(self, more: Sequence[str], told_by: Child | None = None) -> None:
        """Watch the code in the current directory, and where else processes have told that it is."""
        if not self._plan.reloads:
            return
        from dawdle.cli.worker._sources import to_watch  # noqa: PLC0415 - only --reload needs watchfiles

        self._sources.update(more)
        folders, files = to_watch(self._sources)
        before, self._watched = self._watched, (folders, files)
        self._watch_changes(folders, before[0], recursive=True)
        self._watch_changes(files, before[1], recursive=False)
        if told_by is not None:
            self._loop.call_later(WATCHING_SECONDS, self._see_missed, told_by, self._changes)

    def _watch_changes(self, paths: Collection[str], before: Collection[str], *, recursive: bool) -> None:
        what = "folders" if recursive else "files"
        if paths == before:
            return
        ended = self._watchers.pop(what, None)
        if ended is not None:  # it may just have seen a change that the next one comes too late for
            self._loop.call_later(MAX_CHANGE_SECONDS, ended.cancel)
        if paths:
            self._watchers[what] = self._start_watching(self._see_changes(paths, recursive=recursive))

    def _start_watching(self, watch: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._watching.append(self._group.create_task(watch, name="dawdle: watch"))
        return self._watching[-1]

    async def _see_changes(self, paths: Collection[str], *, recursive: bool) -> None:
        from dawdle.cli.worker._sources import changes  # noqa: PLC0415 - as above

        try:
            async for found in changes(paths, recursive=recursive):
                self._changed(found)
        except (OSError, RuntimeError) as error:  # such as too many watches of this user
            _log.error("changes of the code are not seen from here on: %s", error)

    def _see_missed(self, child: Child, changes: int) -> None:
        """Take a change that came after a process had read the code, and before it told what to watch."""
        from dawdle.cli.worker._sources import changed_since  # noqa: PLC0415 - as above

        found = changed_since(child.sources, child.made_at)
        if found and changes == self._changes and not self._pool.stopping:
            self._changed(found)

    def _changed(self, found: Sequence[str]) -> None:
        self._code_may_be_new()
        _log.info("starting anew, since this has changed: %s", ", ".join(found))
        self._do(self._pool.changed(self._loop.time()))

    async def _watch_memory(self, limit: MemoryLimit) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            now = self._loop.time()
            for child in self._running():
                if self._pool.working(child.place) == child.number and limit.is_exceeded(child, now):
                    self._do(self._pool.replace(now, child.place))

    # What is done

    def _do(self, actions: Sequence[Action], about: Child | None = None, code: int = 0) -> None:
        """Do what the pool has decided. `about`: the process to which something has happened."""
        for action in actions:
            match action:
                case Start(number, place):
                    child = self._children[number] = Child(number, self._assignment(number, place))
                    self._group.create_task(self._run(child), name=f"dawdle: process {place}")
                case Stop(number):
                    self._children[number].send(signal.SIGTERM)
                case Kill(number):
                    tell.killing(self._children[number])
                    self._children[number].send(signal.SIGKILL)
                case NotReady(number, seconds, replaces):
                    tell.not_ready(self._children[number], seconds, replaces=replaces)
                case Died() | NotReplaced() | Replaced() | WaitsForChange() | GaveUp():
                    assert about is not None
                    self._tell(action, about, code)
        self._set_timer()
        if self._pool.ended:
            self._ended.set()

    def _tell(self, what: Died | NotReplaced | Replaced | WaitsForChange | GaveUp, child: Child, code: int) -> None:
        # All processes have the same code, so what is wrong with it is told once.
        once = isinstance(what, (NotReplaced, WaitsForChange)) and child.unloadable is not None
        if not once or not self._told_unloadable:
            tell.happened(what, child, code)
        self._told_unloadable |= once

    def _code_may_be_new(self) -> None:
        self._changes += 1
        self._printed.clear()
        self._told_unloadable = False

    def _assignment(self, number: int, place: int) -> Assignment:
        if not os.path.isdir(self._folder):  # noqa: PTH112 - something tidies up in the folder for temporary files
            self._folder = tempfile.mkdtemp(prefix="dawdle-")
        return Assignment(
            options=self._plan.options,
            place=place,
            places=self._plan.places,
            reloads=self._plan.reloads,
            path=os.path.join(self._folder, str(number)),  # noqa: PTH118 - short, since a socket's path must be
            introduces=place == 1 and not self._introduced,
        )

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._pool.wakes_at
        self._timer = None if at is None else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._do(self._pool.tick(self._loop.time()))
