"""The SQS backend: one queue, its dead-letter queue, and a second queue for delayed events if one is named.

What `dawdle.abc.Backend` promises is kept here. How a request is made is `_connection`'s matter, and what its fields
mean is `_conversion`'s. No module of AWS is imported at the top: an app that uses another queue must not load them.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import urlsplit

import msgspec

from dawdle._log import Log
from dawdle.abc import Counts, Delivery, Fault, Limits, Outgoing, ReleaseEntry, Renew
from dawdle.backends._open_guard import OpenGuard
from dawdle.backends.sqs._calls import Poll
from dawdle.backends.sqs._queue_address import QueueAddress, environment_variable, is_fifo
from dawdle.backends.sqs._queue_ids import has_account_id, identity_from_url
from dawdle.backends.sqs._validation import (
    MAX_DELAY_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_VISIBILITY_SECONDS,
    call_with_valid,
    check_fifo_outgoing,
    check_outgoing,
    check_receipt,
    check_release,
)
from dawdle.errors import BackendError, ConfigurationError, shown, to_seconds

if TYPE_CHECKING:
    from dawdle.backends.sqs._connection import Connection

__all__ = ["SQS"]

_log = Log(__name__)

# From the SQS developer guide, quotas, 2026.
_MAX_BATCH_ENTRIES: Final = 10
_MAX_WAIT_SECONDS: Final = 20
_DEFAULT_RETENTION_SECONDS: Final = 345_600.0
_MAX_EMPTY_RECEIVES: Final = 30
"""Empty long polls in a row, after which one poll does not wait. Of 20 seconds each, that is ten minutes."""

_MIN_REDRIVE_RECEIVES: Final = 50
"""A lower maxReceiveCount may move a message that never failed: each stop of a worker and each release counts too."""
_MIN_FIFO_REDRIVE_RECEIVES: Final = 200
"""The same for a FIFO queue. There each try of a message is a receive of the nine behind it too: with 12 attempts, the
tenth may be received 120 times before its own end."""

_COUNT_ATTRIBUTES: Final = tuple(f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed"))


class SQS:
    """One queue of Amazon SQS, standard or FIFO. A queue URL suffices: nothing is listed or created.

    A FIFO queue, whose name ends in `.fifo`, is an ordered queue: it keeps the order of each `group`. Its events are
    delayed by a standard queue (`delay_queue_url`), and dead letters go to a FIFO queue, as SQS wants it.

    Use one in one app at a time; a second opening is a `ConfigurationError`.

    - `queue_url`: without it `DAWDLE_SQS_QUEUE_URL`.
    - `region`: without it `DAWDLE_SQS_REGION`, then what the URL says, then botocore's own chain of settings.
    - `endpoint_url`: without it `DAWDLE_SQS_ENDPOINT_URL`, then an endpoint that botocore's chain configures, then the
      host in the URL. Credentials are found by botocore's chain.
    - `dead_letter_url`: without it `DAWDLE_SQS_DEAD_LETTER_URL`, then, in an app that receives, the queue's own redrive
      policy.
    - `delay_queue_url`: a second, standard queue for delayed events, so that none of them counts towards this one's
      limits; without it `DAWDLE_SQS_DELAY_QUEUE_URL`, then none. Only with it can events of a FIFO queue be delayed.
    - `wait`: seconds of a long poll, 0 to 20. `lease`: seconds that a received message is hidden without a renewal,
      1 to 43,199. Both are whole, or a timedelta.
    - `client`: "aiobotocore" makes every request by aiobotocore's own client, for those who trace it or subscribe to
      its events; without it `DAWDLE_SQS_CLIENT`. By default the requests that move messages go past it, at a fraction
      of the CPU: the same requests, with the endpoint, credentials, certificates, proxies and retries that botocore's
      settings say.

    Raises `ConfigurationError` for what cannot work.
    """

    def __init__(
        self,
        queue_url: str | None = None,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        dead_letter_url: str | None = None,
        delay_queue_url: str | None = None,
        wait: int | timedelta = 20,
        lease: int | timedelta = 60,
        client: Literal["aiobotocore"] | None = None,
    ) -> None:
        url = queue_url or environment_variable("QUEUE_URL")
        if url is None:
            raise ConfigurationError("SQS has no queue URL: pass SQS(queue_url=…), or set DAWDLE_SQS_QUEUE_URL")
        wait = _whole_seconds(wait, "wait is", least=0, most=_MAX_WAIT_SECONDS)
        lease = _whole_seconds(lease, "lease is", least=1, most=MAX_VISIBILITY_SECONDS - 1)
        self._past_botocore = not _asks_for_botocore(client)
        self._address = QueueAddress.checked(
            url, region or environment_variable("REGION"), endpoint_url or environment_variable("ENDPOINT_URL")
        )
        self._fifo = is_fifo(self._address.url)
        self.limits = Limits(
            max_batch=_MAX_BATCH_ENTRIES,
            max_body=MAX_MESSAGE_BYTES,
            max_batch_bytes=MAX_MESSAGE_BYTES,
            max_delay=0 if self._fifo else MAX_DELAY_SECONDS,
            max_wait=wait,
            # SQS counts its 12 hours from the receive, and refuses a renewal that would reach beyond them. A renewal
            # asks for a full lease, so the last one must be made a lease before, with a second to spare.
            max_hold=MAX_VISIBILITY_SECONDS - lease - 1,
            lease=lease,
            can_release_later=True,
            ordered=self._fifo,
            retention=_DEFAULT_RETENTION_SECONDS,  # until prepare_receive has read the queue's own
        )
        self._connection: Connection | None = None
        self._open_guard = OpenGuard()  # before the two queues below, which share it
        self._empty_receives = 0
        self._asks_for_source = False
        self._dead_letters = self._dead_letter_queue(dead_letter_url or environment_variable("DEAD_LETTER_URL"))
        self._delayed = self._companion(delay_queue_url or environment_variable("DELAY_QUEUE_URL"))
        if self._delayed is not None and self._delayed._fifo:
            raise ConfigurationError(
                f"{self._delayed!r} is a FIFO queue, which delays no single message: give delay_queue_url= (or "
                f"DAWDLE_SQS_DELAY_QUEUE_URL) a standard queue"
            )

    def __repr__(self) -> str:
        return f"<SQS {self._address.url}>"

    @property
    def identity(self) -> str:
        """Account and name of the queue, `account/name`, by which dead letters say where they came from."""
        return identity_from_url(self._address.url)

    @property
    def description(self) -> Mapping[str, str | int]:
        """What telemetry says of it, by the names of OpenTelemetry's conventions for SQS."""
        parts = urlsplit(self._address.endpoint or self._address.url)
        return {
            "messaging.system": "aws_sqs",
            "messaging.destination.name": self.identity.rpartition("/")[2],
            "aws.sqs.queue.url": self._address.url,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (80 if parts.scheme == "http" else 443),
        }

    @property
    def location(self) -> str:
        """Where the queue is: the host of its requests, and the region that was given. Identities are unique there."""
        host = self._address.endpoint or urlsplit(self._address.url).netloc
        return host if self._address.region is None else f"{host} {self._address.region}"

    def client_arguments(self) -> Mapping[str, str | None]:
        """Return `region_name` and `endpoint_url` for another client of SQS that is to reach this queue.

        `session.create_client("sqs", **queue.client_arguments())`, of boto3 or aiobotocore. None: botocore's own
        settings decide. Loads botocore. Raises `ConfigurationError` for a region that is not the URL's, `BackendError`
        for settings of AWS that cannot be read.
        """
        from aiobotocore.session import (  # noqa: PLC0415 - an app without SQS loads no AWS code
            get_session,  # pyright: ignore[reportUnknownVariableType] - it has no types
        )

        from dawdle.backends.sqs._endpoint import resolve_endpoint  # noqa: PLC0415 - as above
        from dawdle.backends.sqs._errors import safe_cause, to_backend_error  # noqa: PLC0415 - as above

        try:
            region, url = resolve_endpoint(self._address, get_session())
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - it becomes a BackendError; safe_cause decides what may be printed
            what = f"AWS's settings for {self._address.url}"
            raise to_backend_error(error, what, uncertain=False) from safe_cause(error)
        return {"region_name": region, "endpoint_url": url}

    @property
    def dead_letters(self) -> "SQS | None":
        """The dead-letter queue; without `dead_letter_url`, None until `prepare_receive` reads the redrive policy."""
        return self._dead_letters

    @property
    def delayed(self) -> "SQS | None":
        """The second queue for delayed events; None: this one delays them."""
        return self._delayed

    async def __aenter__(self) -> Self:
        from dawdle.backends.sqs._connection import Connection  # noqa: PLC0415 - an app without SQS loads no AWS code

        self._open_guard.mark_open(self)
        try:
            self._connection = await Connection(
                self._address, int(self.limits.max_wait), past_botocore=self._past_botocore
            ).open()
        except BaseException:  # also when it is cancelled, or the queue could never be opened again
            self._open_guard.mark_closed()
            raise
        for companion in (self._dead_letters, self._delayed):
            if companion is not None:
                companion._connection = self._connection
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # First the state, then the wait: a call that begins while the connection closes must find it closed.
        connection, self._connection = self._require_open(), None
        for companion in (self._dead_letters, self._delayed):
            if companion is not None:
                companion._connection = None
        try:
            await connection.close()
        finally:
            self._open_guard.mark_closed()

    async def prepare_receive(self) -> None:
        """Read the queue's retention and redrive policy, and from it the dead-letter queue.

        Many policies do not allow sqs:GetQueueAttributes. Then a warning is logged and the app receives all the same.
        Missing or refused credentials raise: they may be there a second later, and this is asked only once.
        """
        from dawdle.backends.sqs._errors import AccessDeniedError  # noqa: PLC0415 - as above

        wanted = ("RedrivePolicy", "MessageRetentionPeriod")
        try:
            attributes = await self._require_open().attributes(self._address.url, wanted)
        except AccessDeniedError as error:
            if self._dead_letters is None:
                _log.warning(
                    "the attributes of %s cannot be read (%s), so its dead-letter queue is unknown and failed events "
                    "are retried without end: set dead_letter_url, or allow sqs:GetQueueAttributes",
                    self._address.url,
                    error,
                )
            return
        # Attributes are text, and the redrive policy is JSON in a text. A queue without one has no such attribute.
        retention = float(attributes.get("MessageRetentionPeriod", _DEFAULT_RETENTION_SECONDS))
        self.limits = msgspec.structs.replace(self.limits, retention=retention)
        self._apply_redrive_policy(json.loads(attributes.get("RedrivePolicy", "{}")))

    def _apply_redrive_policy(self, policy: dict[str, Any]) -> None:
        least = _MIN_FIFO_REDRIVE_RECEIVES if self._fifo else _MIN_REDRIVE_RECEIVES
        receives = int(policy.get("maxReceiveCount", least))
        if receives < least:
            _log.warning(
                "the redrive policy of %s moves a message to the dead-letter queue after %d receives, even one that "
                "never failed, since each stop of a worker counts as a receive%s: set maxReceiveCount to %d or more",
                self._address.url,
                receives,
                ", and each failure of an event before it in its group" if self._fifo else "",
                least,
            )
        arn = policy.get("deadLetterTargetArn")
        if self._dead_letters is None and arn is not None:
            self._dead_letters = self._dead_letter_queue(self._address.url_for_arn(arn))
        elif self._dead_letters is None:
            _log.warning(
                "%s has no dead-letter queue, so failed events are retried without end%s: set dead_letter_url, or give "
                "the queue a redrive policy",
                self._address.url,
                ", and hold their groups" if self._fifo else "",
            )

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages. One that is not text, too large, or delayed for more than 900 seconds is refused alone."""
        check = check_fifo_outgoing if self._fifo else check_outgoing
        return await call_with_valid(batch, check, lambda valid: self._require_open().send(self._address.url, valid))

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Poll for up to `limit` messages, at most 10. Cancelled, it may hide what SQS has for it until the lease ends.

        Raises `BackendError` at the latest 10 seconds after `wait`. Every other call does after 30 seconds.
        """
        if self._empty_receives >= _MAX_EMPTY_RECEIVES:
            # A queue with 120,000 messages in flight gives no more. SQS tells a long poll nothing of it: it comes back
            # empty, as from an empty queue. A poll that does not wait gets OverLimit, and the app reports that.
            wait = 0
        poll = Poll(
            self._address.url,
            limit=min(limit, _MAX_BATCH_ENTRIES),
            wait=min(int(wait), _MAX_WAIT_SECONDS),
            # On every receive, so that the lease is ours and not the visibility timeout that the queue is set to.
            lease=int(self.limits.lease or 0),
            with_source=self._asks_for_source,
        )
        found = await self._require_open().receive(poll)
        # A poll that did not wait begins the count anew, whatever it brought.
        self._empty_receives = 0 if found or self._empty_receives >= _MAX_EMPTY_RECEIVES else self._empty_receives + 1
        return found

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete received messages. A receipt handle that SQS no longer knows deletes nothing.

        That is no fault of a standard queue. A FIFO queue says that the message is still there.
        """
        answers = await call_with_valid(
            receipts, check_receipt, lambda valid: self._require_open().delete(self._address.url, valid)
        )
        if self._fifo:
            return answers
        # `lost` means that the message was deleted already, or that another receive has it now. Either way there is
        # nothing left to delete here, and a fault would only make the settler try again.
        return [None if fault is not None and fault.kind == "lost" else fault for fault in answers]

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Hide received messages for a full lease from now."""
        return await self._change_visibility(
            [ReleaseEntry(receipt, self.limits.lease or 0) for receipt in receipts], self._require_open()
        )

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Make received messages visible again in so many seconds, rounded up."""
        return await self._change_visibility(batch, self._require_open())

    async def count(self) -> Counts:
        """Return about how many messages are visible, in flight and delayed. Needs sqs:GetQueueAttributes.

        SQS counts on many machines, and its numbers may be a minute late.
        """
        attributes = await self._require_open().attributes(self._address.url, _COUNT_ATTRIBUTES)
        waiting, in_flight, delayed = (int(attributes.get(name, 0)) for name in _COUNT_ATTRIBUTES)
        return Counts(waiting=waiting, in_flight=in_flight, delayed=delayed)

    async def ping(self) -> None:
        """Ask for one attribute of the queue. A policy that does not allow sqs:GetQueueAttributes is an answer too."""
        from dawdle.backends.sqs._errors import AccessDeniedError  # noqa: PLC0415 - as above

        with suppress(AccessDeniedError):
            await self._require_open().attributes(self._address.url, ("QueueArn",))

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Renew]:
        """Yield a `renew` with a connection of its own, in the event loop of the caller, which is another thread's.

        It sends each request once and waits for a third of a lease at most. Renewals come again anyway, and a retry of
        botocore's might outlast the lease.
        """
        from dawdle.backends.sqs._connection import RESPONSE_SECONDS, Connection  # noqa: PLC0415 - as above

        lease = self.limits.lease or 0
        connection = await Connection(
            self._address,
            None,
            past_botocore=self._past_botocore,
            response_seconds=min(RESPONSE_SECONDS, lease / 3),
            max_attempts=1,
        ).open()
        try:

            async def renew(receipts: Sequence[str]) -> list[Fault | None]:
                return await self._change_visibility([ReleaseEntry(receipt, lease) for receipt in receipts], connection)

            yield renew
        finally:
            await connection.close()

    async def _change_visibility(self, batch: Sequence[ReleaseEntry], connection: "Connection") -> list[Fault | None]:
        return await call_with_valid(
            batch, check_release, lambda valid: connection.change_visibility(self._address.url, valid)
        )

    def _companion(self, url: str | None) -> "SQS | None":
        """Return a second queue of this backend, such as its dead-letter queue, with the same connections and guard."""
        if url is None:
            return None
        # Past `__init__`, which would look for second queues of its own in the environment.
        companion = SQS.__new__(SQS)
        companion._address = QueueAddress.checked(url, self._address.region, self._address.endpoint)
        companion._fifo = is_fifo(url)
        max_delay = 0 if companion._fifo else MAX_DELAY_SECONDS
        companion.limits = msgspec.structs.replace(self.limits, ordered=companion._fifo, max_delay=max_delay)
        companion._connection = self._connection
        companion._past_botocore = self._past_botocore
        companion._open_guard = self._open_guard
        companion._dead_letters = companion._delayed = None
        companion._empty_receives = 0
        companion._asks_for_source = False
        return companion

    def _dead_letter_queue(self, url: str | None) -> "SQS | None":
        """Return the dead-letter queue of this one.

        It asks SQS for each letter's source queue, unless this queue's URL has no account to compare that with.
        """
        companion = self._companion(url)
        if companion is not None:
            companion._asks_for_source = has_account_id(self.identity)
        return companion

    def _require_open(self) -> "Connection":
        if self._connection is None:
            raise BackendError(f"{self!r} is not open: use it inside `async with`", kind="refused")
        return self._connection


def _asks_for_botocore(client: str | None) -> bool:
    given, name = (client, "client") if client is not None else (environment_variable("CLIENT"), "DAWDLE_SQS_CLIENT")
    if given not in {None, "aiobotocore"}:
        raise ConfigurationError(f'{name} is "aiobotocore", or not given: {shown(given)} is no client of SQS here')
    return given is not None


def _whole_seconds(given: object, what: str, *, least: int, most: int) -> int:
    seconds = to_seconds(given, what, least=least, most=most)
    if not seconds.is_integer():
        raise ConfigurationError(f"{what} a whole number of seconds, not {given!r}")
    return int(seconds)
