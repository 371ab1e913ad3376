"""What the libraries have in common that handle an event where it is signaled."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class AtOnce:
    """There is no queue, so nothing need listen."""

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        yield
