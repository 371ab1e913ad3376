"""Shows pictures until a key or a signal ends it. What is asked is `_sources`' matter, what is drawn `_frame`'s."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from rich.console import Console

from dawdle.cli.top._frame import View, frame
from dawdle.cli.top._keys import view_after
from dawdle.cli.top._picture import Picture
from dawdle.cli.top._screen import Screen
from dawdle.cli.top._sources import Sources

__all__ = ["show_live"]

MAX_WAIT_SECONDS: Final = 0.3
"""Seconds that a picture waits for answers. No key is served meanwhile."""


async def show_live(sources: Sources, console: Console, interval: float) -> int:
    """Show pictures, one each `interval` seconds, until the person quits. Returns the exit code."""
    return await _Live(sources, console, interval).run()


class _Live:
    def __init__(self, sources: Sources, console: Console, interval: float) -> None:
        self._sources = sources
        self._interval = interval
        self._changed = asyncio.Event()
        self._exit_code: int | None = None
        self._screen = Screen(console, self._press, self._changed.set)
        self._view = View(keys=self._screen.has_keyboard)
        self._picture: Picture | None = None

    async def run(self) -> int:
        with self._screen.entered(self._stop):
            patience = MAX_WAIT_SECONDS  # the first picture should not be one of nothing
            while self._exit_code is None:
                tick = time.monotonic() + self._interval
                if not self._view.paused:
                    await self._sources.ask(patience)
                    self._picture = self._sources.picture()
                self._draw()
                await self._wait(tick)
                patience = min(MAX_WAIT_SECONDS, self._interval / 2)
        return self._exit_code

    def _draw(self) -> None:
        if self._picture is not None:
            self._screen.draw(frame(self._picture, self._view, *self._screen.size))

    async def _wait(self, tick: float) -> None:
        """Wait for the next picture. What a key or another size changes is drawn meanwhile."""
        while self._exit_code is None and (left := tick - time.monotonic()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
                    self._draw()

    def _press(self, key: str) -> None:
        if key in {"q", "Q"}:
            self._exit_code = 0
        else:
            self._view = view_after(self._view, key)
        self._changed.set()

    def _stop(self, number: int) -> None:
        self._exit_code = 128 + number
        self._changed.set()
