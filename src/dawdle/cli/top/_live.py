"""Shows pictures until a key or a signal ends it. What is asked is `_sources`' matter, what is drawn `_frame`'s."""

import asyncio
from typing import Final

from rich.console import Console

from dawdle.cli.top._frame import SORTS, View, frame
from dawdle.cli.top._picture import Picture
from dawdle.cli.top._screen import Screen
from dawdle.cli.top._sources import Sources

__all__ = ["show_live"]

FIRST_SECONDS: Final = 0.3
"""Seconds to wait for first answers, so that the first picture is rarely one of nothing."""


async def show_live(sources: Sources, console: Console, interval: float) -> int:
    """Show pictures, one each `interval` seconds, until the person quits. Returns the exit code."""
    return await _Live(sources, console, interval).run()


class _Live:
    def __init__(self, sources: Sources, console: Console, interval: float) -> None:
        self._sources = sources
        self._interval = interval
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._exit_code: int | None = None
        self._screen = Screen(console, self._press, self._changed.set)
        self._view = View(keys=self._screen.has_keyboard)
        self._picture: Picture | None = None

    async def run(self) -> int:
        with self._screen.entered(self._stop):
            asking = asyncio.create_task(self._sources.keep_asking(self._wanted))
            try:
                await asyncio.wait([asking], timeout=FIRST_SECONDS)
                while self._exit_code is None:
                    if asking.done():
                        asking.result()  # it ends by an error alone
                    self._draw()
                    await self._wait()
            finally:
                asking.cancel()
                await asyncio.wait([asking])
        return self._exit_code

    def _draw(self) -> None:
        if self._picture is None or not self._view.paused:
            self._picture = self._sources.picture()
        self._screen.draw(frame(self._picture, self._view, *self._screen.size))

    async def _wait(self) -> None:
        """Wait for the next picture, or for what changes this one."""
        try:
            async with asyncio.timeout(self._interval):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _press(self, key: str) -> None:
        view = self._view
        match key.lower():
            case "q":
                self._exit_code = 0
            case "s":
                view = view._replace(sort=SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)])
            case "p" | " ":
                view = view._replace(paused=not view.paused)
            case "?" | "h":
                view = view._replace(help=not view.help)
            case "\x1b":
                view = view._replace(help=False)
            case _:
                return
        self._view = view
        if view.paused:
            self._wanted.clear()
        else:
            self._wanted.set()
        self._changed.set()

    def _stop(self, number: int) -> None:
        self._exit_code = 128 + number
        self._changed.set()
