"""What the demos show while they run: bars on a terminal, and lines that stay in a log as well."""

from collections.abc import Iterable
from time import perf_counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class Steps:
    """One bar for each thing that is counted up to `total`, and lines with the seconds since the start before them."""

    def __init__(self, names: Iterable[str], total: int) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,  # the table that follows says it all
            disable=not self._console.is_terminal,  # a log has no use for bars
        )
        self._bars: dict[str, TaskID] = {name: self._progress.add_task(name, total=total) for name in names}
        self._began = perf_counter()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def count(self, name: str, done: int) -> None:
        """Move a bar to `done`."""
        self._progress.update(self._bars[name], completed=done)

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the bars."""
        self._console.print(f"{perf_counter() - self._began:5.1f} s  {line}", style=style, markup=False)
