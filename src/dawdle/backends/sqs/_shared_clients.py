"""Lets the queues of one app share their clients: one session, one set of connections, one search for credentials.

An app opens its queues side by side. So those share that ask for the same endpoint in one turn of the event loop::

    join ──► the first of a turn waits for the next turn ──► opens clients for all that joined ──► all have them
                                                                    └── fails ──► all raise its error

None joins later: the pools have room for so many queues, and another app may find other credentials. The last one to
leave closes the clients.
"""

import asyncio
from typing import NamedTuple
from urllib.parse import urlsplit

from dawdle.backends.sqs._calls import TimeLimits
from dawdle.backends.sqs._client_set import ClientSettings
from dawdle.backends.sqs._clients import Clients
from dawdle.backends.sqs._queue_address import QueueAddress

__all__ = ["SharedClients"]


class _Key(NamedTuple):
    """What two queues must have in common to share. Their credentials are the same: botocore finds them at one time."""

    loop: asyncio.AbstractEventLoop
    host: tuple[str, str]
    region: str | None
    endpoint: str | None
    limits: TimeLimits
    past_botocore: bool


_joinable: dict[_Key, "SharedClients"] = {}
"""Those that are joined in this turn of an event loop. A key names its loop, so threads have entries of their own."""


class SharedClients:
    """The clients of one queue or of several, and how many queues use them."""

    def __init__(self) -> None:
        self.clients: Clients
        self._users = 0
        self._opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once the clients are open; False if the queue that opened them was cancelled meanwhile."""

    @classmethod
    async def join(cls, address: QueueAddress, limits: TimeLimits, *, past_botocore: bool) -> "SharedClients":
        """Return open clients for a queue. Raises what botocore raises; cancelled, it has left them."""
        parts = urlsplit(address.url)
        loop, host = asyncio.get_running_loop(), (parts.scheme, parts.netloc)
        key = _Key(loop, host, address.region, address.endpoint, limits, past_botocore)
        while (shared := _joinable.get(key)) is not None:
            if await shared._wait_until_open():
                return shared
        shared = cls()
        await shared._open(key, ClientSettings.of(address, limits, past_botocore=past_botocore))
        return shared

    async def leave(self) -> None:
        """Close the clients, if no other queue uses them. All calls of the queue have ended by then."""
        self._users -= 1
        if not self._users:
            await self.clients.close()

    async def _open(self, key: _Key, settings: ClientSettings) -> None:
        """Open the clients for this queue, and for all that join in this turn."""
        self._users = 1
        _joinable[key] = self
        try:
            try:
                await asyncio.sleep(0)
            finally:
                del _joinable[key]
            self.clients = Clients(settings._replace(queues=self._users))
            await self.clients.open()
        except Exception as error:
            self._opened.set_exception(error)
            self._opened.exception()  # or asyncio warns of it where no other queue has joined
            raise
        except BaseException:
            self._opened.set_result(False)
            raise
        self._opened.set_result(True)

    async def _wait_until_open(self) -> bool:
        """Join, and return whether the clients could be opened. Raises the error for which they could not."""
        self._users += 1
        try:
            return await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            # The one that opens them may have opened them by now, and left them again.
            if self._opened.done() and self._opened.exception() is None and self._opened.result():
                await self.leave()
            else:
                self._users -= 1
            raise
