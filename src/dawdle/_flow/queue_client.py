"""One queue as the flow uses it: a backend, its batchers, and the queues behind it. Decides nothing."""

from collections.abc import Callable, Sequence

import msgspec

from dawdle._flow.batcher import Batcher, Spawn
from dawdle._flow.call_state import CallState
from dawdle._flow.opening import identity_of
from dawdle._rules.delay import max_hop_of
from dawdle._rules.health import CallName
from dawdle._rules.signing import Signer
from dawdle._rules.terms import Terms
from dawdle.abc import Backend, Fault, Limits, Outgoing, ReleaseEntry
from dawdle.errors import BackendError

__all__ = ["QueueClient"]


class QueueClient:
    """A named backend whose calls are shared by all that send, ack and release at the same time."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        spawn: Spawn,
        unclaimed: float,
        signer: Signer,
        *,
        calls: CallState,
        main_queue: "QueueClient | None" = None,
    ) -> None:
        self.name = name
        self.backend = backend
        self.main_queue = self if main_queue is None else main_queue
        """Where copies of its messages go: itself, or the queue that it stands behind."""
        self.calls = calls
        """How its calls fare, and those of the queues behind it."""
        self._spawn = spawn
        self._unclaimed = unclaimed
        self._signer = signer
        self.identity: str | None = identity_of(name, backend) if main_queue is None else main_queue.identity
        """What it is called in every app that uses it; None where the backend does not say."""
        self.delayed = self._attached(backend.delayed)
        self.dead = self._attached(backend.dead_letters)
        self.terms = self._terms()
        limits = backend.limits
        self._send: Batcher[Outgoing, Fault | None] = Batcher(
            backend.send,
            spawn=spawn,
            max_count=limits.max_batch,
            max_bytes=limits.max_batch_bytes,
            size=_size,
            report=self._reporter("send"),
        )
        self._ack: Batcher[str, Fault | None] = Batcher(
            backend.ack, spawn=spawn, max_count=limits.max_batch, report=self._reporter("delete")
        )
        self._release: Batcher[ReleaseEntry, Fault | None] = Batcher(
            backend.release, spawn=spawn, max_count=limits.max_batch, report=self._reporter("release")
        )

    @property
    def full_name(self) -> str:
        """Its name for people: that of a queue behind another says so."""
        return f"{self.name} ({self.role})" if self.role else self.name

    @property
    def role(self) -> str:
        """What it is to its home, the same on every node: nothing, its delayed messages, or its dead letters."""
        if self.main_queue is self:
            return ""
        return "delayed" if self.main_queue.delayed is self else "dead letters"

    @property
    def limits(self) -> Limits:
        """What the backend can do, as far as it knows by now."""
        return self.backend.limits

    async def prepare_receive(self) -> None:
        """Let the backend look up what it needs to know, and take note of it."""
        await self.backend.prepare_receive()
        if self.dead is None:
            self.dead = self._attached(self.backend.dead_letters)
        self.terms = self._terms()

    @property
    def busy(self) -> bool:
        """Whether a call to it, or to a queue behind it, is unanswered."""
        behind = any(queue.busy for queue in (self.delayed, self.dead) if queue is not None)
        return behind or self._send.busy or self._ack.busy or self._release.busy

    async def send(self, outgoing: Outgoing, *, unsigned: bool = False) -> None:
        """Sign and store one message, where delayed ones go if it is delayed.

        `as_is`: not signed, since it is not ours. Raises `BackendError` when it is not stored.
        """
        if not unsigned:
            outgoing = self._signed(outgoing)
        queue = self.delayed if outgoing.delay > 0 and self.delayed is not None else self
        _raise(await queue._send.submit(outgoing))

    async def ack(self, receipt: str) -> None:
        """Delete one received message. Raises `BackendError` when it may still be there."""
        _raise(await self._ack.submit(receipt))

    async def release(self, receipt: str, seconds: float) -> None:
        """Let one received message be received again. Raises `BackendError` when that is not sure."""
        _raise(await self._release.submit(ReleaseEntry(receipt, seconds)))

    async def flush(self) -> None:
        """Return once every call that was asked for is answered."""
        for queue in (self, self.delayed, self.dead):
            if queue is not None:
                for batcher in (queue._send, queue._ack, queue._release):
                    await batcher.idle()

    def _attached(self, backend: Backend | None) -> "QueueClient | None":
        if backend is None or self.main_queue is not self:
            return None
        return QueueClient(
            self.name, backend, self._spawn, self._unclaimed, self._signer, calls=self.calls, main_queue=self
        )

    def _reporter(self, call: CallName) -> Callable[[Sequence[object] | BackendError], None]:
        """Return what notes how calls of one kind fare."""

        def tell(answer: Sequence[object] | BackendError) -> None:
            if isinstance(answer, BackendError):
                self.calls.failed(self.full_name, call, answer)
            else:
                self.calls.answered(self.full_name, call, answer)

        return tell

    def _signed(self, outgoing: Outgoing) -> Outgoing:
        if not self._signer.size:
            return outgoing
        return msgspec.structs.replace(outgoing, body=self._signer.sign(outgoing.body))

    def _terms(self) -> Terms:
        waits = self.limits if self.delayed is None else self.delayed.limits
        return Terms(
            max_hop=max_hop_of(waits.max_delay, waits.retention),
            has_dead_letters=self.dead is not None,
            durable=self.limits.durable,
            shared=self.limits.shared,
            unclaimed=self._unclaimed,
            max_body=(self if self.dead is None else self.dead).limits.max_body - self._signer.size,
            queue=self.identity,
        )

    def close(self) -> None:
        """Take nothing any more; whoever still waits is told."""
        for queue in (self, self.delayed, self.dead):
            if queue is not None:
                for batcher in (queue._send, queue._ack, queue._release):
                    batcher.close()


def _size(outgoing: Outgoing) -> int:
    return len(outgoing.body)


def _raise(fault: Fault | None) -> None:
    if fault is None:
        return
    if not isinstance(fault, Fault):
        raise BackendError(f"the queue answered with a {type(fault).__qualname__}, which is neither None nor a Fault")
    raise BackendError(f"{fault.reason} (the queue answered {fault.kind})", kind=fault.kind, uncertain=fault.uncertain)
