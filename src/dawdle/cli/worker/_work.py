"""Prepares an app as the options of a worker say, tells what it is, and runs it. Knows nothing of other processes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec

from dawdle import Dawdle
from dawdle.cli._running import CommandError
from dawdle.cli.worker._banner import print_banner, warn
from dawdle.cli.worker._options import WorkerOptions

__all__ = ["Lifespan", "prepare", "require_uvloop", "run_app"]

Lifespan = Callable[[Dawdle], AbstractAsyncContextManager[object]]


def prepare(app: Dawdle, options: WorkerOptions, *, introduces: bool, places: int = 1, reloads: bool = False) -> None:
    """Set an app's options, print the banner and the warnings."""
    known = [each.name for each in app.describe().queues] if options.queues else []
    for name in options.queues:
        if name not in known:
            raise CommandError(f"--queue {name}: the app has no queue of that name, it has {', '.join(known)}")
    app.configure(listen=options.queues or None, concurrency=options.concurrency)
    if introduces:
        description = app.describe()
        print_banner(options.app, description, places)
        warn(description, places=places, reloads=reloads)


def run_app(app: Dawdle, options: WorkerOptions, lifespan: Lifespan | None) -> None:
    """Run an app until a signal ends it."""
    app.run(lifespan=lifespan, loop_factory=_loop_factory() if options.uvloop else None)


def require_uvloop() -> None:
    """Raise `CommandError` if uvloop is not installed."""
    if find_spec("uvloop") is None:
        raise CommandError("--uvloop needs uvloop, which runs on Linux and macOS: pip install uvloop")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 - only with the option

    return uvloop.new_event_loop
