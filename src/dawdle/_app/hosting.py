"""What an app offers to the code that runs it, such as a worker's main. `Dawdle` has it; nothing here acts."""

from types import TracebackType
from typing import Protocol

__all__ = ["Hosted"]


class Hosted(Protocol):
    """An app, as what runs it sees it."""

    async def __aenter__(self) -> object:
        """Enter the app."""
        ...

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Leave it, after its grace at the latest."""
        ...

    async def ended(self) -> None:
        """Return when the app has died or been left."""
        ...

    def end_grace(self) -> None:
        """End the grace of a leaving that is under way."""
        ...

    def unfinished(self) -> list[str]:
        """Return what still runs after leaving."""
        ...
