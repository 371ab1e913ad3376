"""The signals that end a worker, and who is told of them."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

__all__ = ["on_signal"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signal(ask: Callable[[], None]) -> Generator[None]:
    """Call `ask` in the event loop on each signal; also where a loop has no `add_signal_handler` (Windows)."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(ask)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, ask)
            except NotImplementedError:
                break  # the handlers above do, and asyncio wakes its loop for them
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
