"""One queue as the flow uses it: a backend, its batchers, and its attached queues. Decides nothing.

A queue may have two others attached, for its delayed messages and for its dead letters. These have clients of their
own, whose `main_queue` is this one.
"""

from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import TypeVar

import msgspec

from dawdle._flow.batcher import MAX_CALLS, Batcher, Spawn
from dawdle._flow.call_state import CallState
from dawdle._flow.opening import identity_of
from dawdle._flow.request_reports import RequestReports
from dawdle._flow.slots import Slots
from dawdle._rules.batch_size import entries_that_fit
from dawdle._rules.delay import max_hop_of
from dawdle._rules.outcome import error_text
from dawdle._rules.signing import Signer
from dawdle._rules.terms import Terms
from dawdle.abc import Backend, Countable, Fault, Limits, Outgoing, Pingable, ReleaseEntry, Transactional
from dawdle.errors import BackendError, ConfigurationError
from dawdle.hooks import CallName

__all__ = ["QueueClient"]

B = TypeVar("B", bound=Sized)


class QueueClient:
    """A named backend. Concurrent callers share its requests, by a batcher for each kind of call."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        spawn: Spawn,
        unclaimed: float,
        max_attempts: int,
        signer: Signer,
        *,
        calls: CallState,
        slots: Slots,
        reports: RequestReports,
        is_one_of_several: bool = False,
        main_queue: "QueueClient | None" = None,
    ) -> None:
        self.name = name
        self.backend = backend
        self.main_queue = self if main_queue is None else main_queue
        """The queue that copies of its messages go to: itself, or the queue that it is attached to."""
        self.calls = calls
        """Which calls to it and its attached queues fail now."""
        self.slots = slots
        """What limits how many messages of it are in flight; those of its delayed queue share them."""
        self.is_one_of_several = is_one_of_several
        """The app has other queues too, so the log names this one."""
        self._reports = reports
        self._spawn = spawn
        self._unclaimed = unclaimed
        self._max_attempts = max_attempts
        self._signer = signer
        self._signs = signer.size > 0
        self.identity: str | None = identity_of(name, backend) if main_queue is None else main_queue.identity
        """Its name in every app that uses it, such as a URL; None if the backend gives none."""
        self.delayed = self._attached(backend.delayed)
        self.dead = self._attached(backend.dead_letters)
        self.terms = self._terms()
        limits = backend.limits
        self._send: Batcher[Outgoing, Fault | None] = Batcher(
            self.reported(backend.send, "send"),
            spawn=spawn,
            max_count=limits.max_batch,
            max_bytes=limits.max_batch_bytes,
            size=_size,
            # Two calls at the same time may arrive in any order.
            max_calls=1 if limits.ordered else MAX_CALLS,
            report=self._reporter("send"),
        )
        self._ack: Batcher[str, Fault | None] = Batcher(
            self.reported(backend.ack, "delete"),
            spawn=spawn,
            max_count=limits.max_batch,
            report=self._reporter("delete"),
        )
        self._release: Batcher[ReleaseEntry, Fault | None] = Batcher(
            self.reported(backend.release, "release"),
            spawn=spawn,
            max_count=limits.max_batch,
            report=self._reporter("release"),
        )

    @property
    def full_name(self) -> str:
        """Its name in logs; that of an attached queue says what it is for."""
        return f"{self.name} ({self.role})" if self.role else self.name

    def labeled(self, what: str) -> str:
        """Return the label of a message as the log shows it: with the queue's name, where there are several."""
        return f"{what} of queue {self.name}" if self.is_one_of_several else what

    @property
    def role(self) -> str:
        """What it is for: "delayed" or "dead letters", empty for a main queue; the same on every node."""
        if self.main_queue is self:
            return ""
        return "delayed" if self.main_queue.delayed is self else "dead letters"

    @property
    def limits(self) -> Limits:
        """What the backend can do, as far as it is known by now."""
        return self.backend.limits

    async def prepare_receive(self) -> None:
        """Let the backend look up what it needs to know, and use what it found."""
        await self.backend.prepare_receive()
        # SQS finds the dead-letter queue only here, by the queue's redrive policy.
        if self.dead is None:
            self.dead = self._attached(self.backend.dead_letters)
        self.terms = self._terms()

    async def ping(self) -> None:
        """Ask the backend, and the one for delayed messages, whether it answers. Raises `BackendError`."""
        for queue in (self, self.delayed):
            if queue is None:
                continue
            try:
                await _ping(queue.backend)
            except Exception as error:
                kind = error.kind if isinstance(error, BackendError) else "unavailable"
                text = str(error) if isinstance(error, BackendError) else error_text(error)
                named = f"{text} (queue {queue.full_name})" if self.is_one_of_several else text
                raise BackendError(named, kind=kind, uncertain=False) from error
        # Sends that failed since the queue was away, or did not exist, may work again, and nothing else would show it:
        # a web app that is not ready gets no request that signals. What was denied is another matter.
        self.calls.recovered("unavailable")
        self.calls.recovered("missing")

    @property
    def busy(self) -> bool:
        """Whether a call to it or to an attached queue is unanswered."""
        attached = any(queue.busy for queue in (self.delayed, self.dead) if queue is not None)
        return attached or self._send.busy or self._ack.busy or self._release.busy

    async def send(self, outgoing: Outgoing, *, unsigned: bool = False) -> None:
        """Sign and store one message; a delayed one goes to the delayed queue, if there is one.

        `unsigned`: another program wrote the body, so it is stored as it is. Raises `BackendError` if it is not stored,
        or may not be.
        """
        if not unsigned:
            outgoing = self._signed(outgoing)
        fault = await self._sender(outgoing.delay).submit(outgoing)
        if fault is not None:
            raise _error_of(fault)

    async def send_many(self, batch: Sequence[Outgoing]) -> list[BackendError | None]:
        """Sign and store messages of one delay. Return for each of them None, or why it is not stored or may not be.

        They take one future in all, where `send` for each takes a task and a future for each.
        """
        if not batch:
            return []
        if self._signs:
            batch = [self._signed(outgoing) for outgoing in batch]
        answers = await self._sender(batch[0].delay).submit_many(batch)
        return [None if answer is None else _error_of(answer) for answer in answers]

    def transactional(self, delay: float) -> Transactional:
        """Return the backend that stores messages of this delay in a caller's transaction.

        Raises `ConfigurationError` for a queue that cannot.
        """
        backend = self._backend_for(delay)
        if isinstance(backend, Transactional):
            return backend
        raise ConfigurationError(
            f"the queue {self.name} cannot store in your transaction: its backend, {type(backend).__name__}, is no "
            f"dawdle.abc.Transactional. Remove transaction=, and signal after the commit"
        )

    async def check_transaction(self, transaction: object, delay: float) -> None:
        """Raise `ConfigurationError` if messages of this delay cannot be stored in the caller's transaction."""
        await self.transactional(delay).send_in(transaction, ())

    async def send_in(self, transaction: object, batch: Sequence[Outgoing]) -> list[BackendError | None]:
        """Sign messages of one delay and store them in the caller's transaction. Return what `send_many` returns.

        It goes past the batchers: the transaction is the caller's own batch, and so is its connection. Raises
        `ConfigurationError` for a queue that cannot, or a transaction of another database.
        """
        if not batch:
            return []
        backend, limits = self.transactional(batch[0].delay), self._backend_for(batch[0].delay).limits
        left, answers = [self._signed(outgoing) for outgoing in batch], list[Fault | BackendError | None]()
        while left:
            count = entries_that_fit(list(map(_size, left)), limits.max_batch, limits.max_batch_bytes)
            answers += await backend.send_in(transaction, left[:count])
            left = left[count:]
        return [None if answer is None else _error_of(answer) for answer in answers]

    async def ack(self, receipt: str) -> None:
        """Delete one received message. Raises `BackendError` if it may still be in the queue."""
        fault = await self._ack.submit(receipt)
        if fault is not None:
            raise _error_of(fault)

    async def release(self, receipt: str, seconds: float) -> None:
        """Make one received message visible again. Raises `BackendError` if it may still be hidden."""
        fault = await self._release.submit(ReleaseEntry(receipt, seconds))
        if fault is not None:
            raise _error_of(fault)

    async def flush(self) -> None:
        """Return when every open call is answered."""
        for queue in (self, self.delayed, self.dead):
            if queue is not None:
                for batcher in (queue._send, queue._ack, queue._release):
                    await batcher.idle()

    def _attached(self, backend: Backend | None) -> "QueueClient | None":
        if backend is None or self.main_queue is not self:  # an attached queue has none of its own
            return None
        return QueueClient(
            self.name,
            backend,
            self._spawn,
            self._unclaimed,
            self._max_attempts,
            self._signer,
            calls=self.calls,
            # What is due in the delay queue of an ordered one only moves on, and waits behind no handler.
            slots=self.slots.apart() if self.limits.ordered else self.slots,
            reports=self._reports,
            is_one_of_several=self.is_one_of_several,
            main_queue=self,
        )

    def reported(
        self,
        request: Callable[[B], Awaitable[list[Fault | None]]],
        call: CallName,
        in_app_loop: Callable[..., object] | None = None,
    ) -> Callable[[B], Awaitable[list[Fault | None]]]:
        """Return a request to this queue that is reported to the hooks: itself, if there are none.

        `in_app_loop` calls a function in the app's loop, where the request is made in another one.
        """
        return self._reports.reported(
            request,
            call,
            queue=lambda: self.full_name,
            limit=lambda: self.limits.max_batch,
            in_app_loop=in_app_loop,
        )

    def _reporter(self, call: CallName) -> Callable[[Sequence[object] | BackendError], None]:
        """Return a function that reports the results of one kind of call."""

        def report(result: Sequence[object] | BackendError) -> None:
            if isinstance(result, BackendError):
                self.calls.failed(self.full_name, call, result)
            else:
                self.calls.answered(self.full_name, call, result)

        return report

    def _backend_for(self, delay: float) -> Backend:
        return self.backend if delay <= 0 or self.delayed is None else self.delayed.backend

    def _sender(self, delay: float) -> Batcher[Outgoing, Fault | None]:
        return self._send if delay <= 0 or self.delayed is None else self.delayed._send

    def _signed(self, outgoing: Outgoing) -> Outgoing:
        if not self._signs:
            return outgoing
        return msgspec.structs.replace(outgoing, body=self._signer.sign(outgoing.body))

    def _terms(self) -> Terms:
        delaying = self.limits if self.delayed is None else self.delayed.limits
        return Terms(
            max_hop=max_hop_of(delaying.max_delay, delaying.retention),
            has_dead_letters=self.dead is not None,
            durable=self.limits.durable,
            shared=self.limits.shared,
            ordered=self.limits.ordered,
            unclaimed=self._unclaimed,
            max_attempts=self._max_attempts,
            max_body=(self if self.dead is None else self.dead).limits.max_body - self._signer.size,
            queue=self.identity,
        )

    def close(self) -> None:
        """Send no more requests, and fail the callers that still wait."""
        for queue in (self, self.delayed, self.dead):
            if queue is not None:
                for batcher in (queue._send, queue._ack, queue._release):
                    batcher.close()


async def _ping(backend: Backend) -> None:
    if isinstance(backend, Pingable):
        await backend.ping()
    elif isinstance(backend, Countable):
        await backend.count()


def _size(outgoing: Outgoing) -> int:
    return len(outgoing.body)


def _error_of(fault: Fault | BackendError) -> BackendError:
    if isinstance(fault, BackendError):
        return fault
    if not isinstance(fault, Fault):
        return BackendError(
            f"the backend answered an entry with a {type(fault).__qualname__}: it must be None or a dawdle.abc.Fault"
        )
    return BackendError(f"{fault.reason} (the queue answered {fault.kind})", kind=fault.kind, uncertain=fault.uncertain)
