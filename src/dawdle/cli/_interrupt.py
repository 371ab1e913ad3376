"""^C in a command that moves events: the first ends it between two batches, the second at once. Moves none itself."""

import asyncio
import signal
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rich.console import Console

from dawdle.cli._output import err

__all__ = ["Interrupt", "interruptible"]

T = TypeVar("T")


class Interrupt:
    """Whether ^C was pressed."""

    def __init__(self) -> None:
        self._pressed = asyncio.Event()

    @property
    def asked(self) -> bool:
        """It was pressed."""
        return self._pressed.is_set()

    def press(self) -> None:
        """Note that it was pressed."""
        self._pressed.set()

    async def wait(self, seconds: float) -> None:
        """Wait until it is pressed, or until so many seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pressed.wait()

    async def unless_pressed(self, awaited: Coroutine[object, object, T]) -> T | None:
        """Return what is awaited; None if ^C is pressed first, which cancels it."""
        task, pressed = asyncio.create_task(awaited), asyncio.create_task(self._pressed.wait())
        try:
            await asyncio.wait([task, pressed], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            pressed.cancel()


@contextmanager
def interruptible(console: Console | None = None) -> Generator[Interrupt]:
    """Let the first ^C only be noted, so that what is under way ends. A second one is a `KeyboardInterrupt`.

    Enter it in the task that does the work, outermost. `console`: that of a progress bar, if there is one.
    """
    interrupt, loop, task = Interrupt(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "it is entered in a task"

    def pressed() -> None:
        if interrupt.asked:
            task.cancel()
        interrupt.press()
        (console or err()).print("^C: ending after what is under way; press it again to end at once", style="yellow")

    try:
        loop.add_signal_handler(signal.SIGINT, pressed)
    except (NotImplementedError, RuntimeError, ValueError):  # on Windows, and outside of the main thread
        yield interrupt
        return
    try:
        yield interrupt
    except asyncio.CancelledError:
        if interrupt.asked:
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
