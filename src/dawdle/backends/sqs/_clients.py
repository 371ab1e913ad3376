"""The client set in use, and a new one when SQS refuses its credentials. Sends nothing itself.

A session of botocore keeps the credentials that it found first, and refreshes them only where their source says when
they expire. Others end without notice: a key is replaced, a credentials file is rewritten while a worker runs. So a
refused call needs a new session, and with it new clients::

    current ──── a call finds its credentials refused ────► retired ──── its last call has ended ────► closed
                 (the first such call makes the next set)

A retired set stays open until then, because one of its long polls may be waiting, and cutting that may cost a message a
whole lease: SQS does not notice, and hands the next message to the closed connection.
"""

import asyncio
from math import inf
from typing import Final, TypeVar

from dawdle._log import Log
from dawdle.backends.sqs._client_set import ClientSet, ClientSettings, Make
from dawdle.backends.sqs._errors import has_stale_credentials, to_backend_error
from dawdle.backends.sqs._request_attempts import RequestAttempts

__all__ = ["Clients"]

T = TypeVar("T")

_log = Log(__name__)

REFRESH_RETRY_SECONDS: Final = 10.0
"""Seconds between two searches for new credentials: each may start a program or ask a metadata service."""


class Clients:
    """The client set in use, and the retired ones in which calls are still in flight."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._current: ClientSet
        self._retired: set[ClientSet] = set()
        self._refreshed_at = -inf
        self._closed = False

    async def open(self) -> None:
        """Make the first client set. Raises what botocore raises."""
        self._current = await ClientSet().open(self._settings)

    async def close(self) -> None:
        """Close all connections, also those of calls that are under way."""
        self._closed = True
        for clients in (self._current, *self._retired):
            await clients.close()

    async def call(self, make: Make[T], attempts: RequestAttempts) -> T:
        """Make one call, and make it once more with new clients if SQS refused its credentials."""
        clients = self._current
        try:
            return await self._call_with(clients, make, attempts)
        except Exception as error:
            if not has_stale_credentials(error):
                raise
            async with asyncio.timeout_at(attempts.deadline):
                if not await self._refresh(clients):
                    raise
        # Once only. Should the new credentials be refused too, the receiver and the settler call again later.
        return await self._call_with(self._current, make, attempts)

    async def _call_with(
        self,
        clients: ClientSet,
        make: Make[T],
        attempts: RequestAttempts,
    ) -> T:
        clients.calls_in_flight += 1
        try:
            return await make(clients, attempts)
        finally:
            clients.calls_in_flight -= 1
            if clients.retired:
                await self._close_if_unused(clients)

    async def _refresh(self, failed: ClientSet) -> bool:
        """Return whether there are other clients than those that failed.

        A hundred calls may fail at once. They queue at the lock: the first one makes the new set, and the others find
        that `_current` has changed. A failed search is remembered too, so that it is not made a hundred times.
        """
        async with self._lock:
            if self._current is not failed:
                return True
            clock = asyncio.get_running_loop().time
            if self._closed or clock() < self._refreshed_at + REFRESH_RETRY_SECONDS:
                return False
            try:
                new = await ClientSet().open(self._settings)
            except Exception as error:  # noqa: BLE001 - the call's own error is raised; this one is only logged
                _log.warning(
                    "SQS refuses the credentials for %s, and new ones cannot be found: %s",
                    self._settings.address.url,
                    to_backend_error(error, "creating a client with new credentials", uncertain=False),
                )
                self._refreshed_at = clock()
                return False
            # Noted only now. A search that was cancelled found nothing, so the next call at the lock makes its own.
            self._refreshed_at = clock()
            if self._closed:  # while the new set was being made
                await new.close()
                return False
            self._current = new
        failed.retired = True
        self._retired.add(failed)
        await self._close_if_unused(failed)
        return True

    async def _close_if_unused(self, clients: ClientSet) -> None:
        """Close a retired client set after its last call, so that no long poll is cut."""
        if clients.retired and not clients.calls_in_flight:
            await clients.close()
            self._retired.discard(clients)
