"""What may happen next: every step of every worker, every fault, and the passing of time."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.rules.model.truth import HARMLESS, Rules, Scenario, Taken, Truths
from tests.rules.model.world import IDLE, NOBODY, Early, Known, Message, Unsent, WorkerState, World, later, opened

DONE = Known("done")

MOST_RECEIVES = 6
"""More of them make no difference."""


class Step(NamedTuple):
    text: str
    world: World
    faults: int = 0
    complaint: str | None = None


class Protocol:
    """The order of sends and acks, as the settler has it. A mutant has another."""

    def begins(self, state: WorkerState) -> WorkerState:
        """What a worker does first to carry a settlement out."""
        return state

    def after_sends(self, state: WorkerState) -> WorkerState:
        """What it does when each copy has an answer, or none is to be had."""
        return WorkerState("releases", wait=state.wait) if state.doubtful else WorkerState("acks")

    def known_after_sends(self, state: WorkerState) -> Known:
        """What it remembers then, should the message come back to it."""
        return Known("owed", state.doubtful, state.wait) if state.doubtful else DONE

    def after_direct_sends(self, state: WorkerState) -> WorkerState:
        """The same for an event that no queue holds: what is in doubt is sent again."""
        return WorkerState("sends", unsent=state.doubtful, is_direct=True) if state.doubtful else IDLE

    def after_stop_of_waiting(self, taken: WorkerState) -> WorkerState:
        """What becomes of a direct event that is interrupted while it waits for its slot."""
        return taken

    def is_kept(self, answered: bool) -> bool:
        """Whether a copy that was sent early counts as stored."""
        return answered

    def after_ack(self, state: WorkerState) -> WorkerState:
        """What it does when the message is deleted."""
        return IDLE

    def after_loss(self, state: WorkerState) -> WorkerState:
        """What it does when it learns, while its handlers run, that the message is not its own any more."""
        return IDLE


class Steps:
    """The steps of one scenario."""

    def __init__(self, scenario: Scenario, rules: Rules, protocol: Protocol) -> None:
        self._scenario = scenario
        self._truths = Truths(scenario, rules)
        self._protocol = protocol
        self._handlers = frozenset(scenario.handlers)
        self._are_alike = scenario.are_alike
        self._stages = {
            "waits": self._wait,
            "runs": self._run,
            "sends": self._send,
            "acks": self._ack,
            "releases": self._release,
        }

    @property
    def first(self) -> World:
        """The event is stored, and no worker has it yet."""
        scenario = self._scenario
        if scenario.is_direct:
            names = tuple(handler.name for handler in scenario.lookups[0].handlers)
            missing = tuple(sorted(self._handlers.difference(names))) if scenario.is_named else ()
            state = WorkerState("waits", scenario.body, scenario.truth, names, is_direct=True, missing=missing)
            return World((), (state, IDLE))
        stored = Message(scenario.body, scenario.truth, scenario.wait, receives=scenario.receives)
        return World((stored,), over=scenario.over)

    def complaint_about(self, world: World) -> str | None:
        """Say what is wrong with a world: who is owed and kept by nothing, and who is miscounted."""
        kept = set(world.over)
        for message in world.messages:
            kept |= self._truths.owed_by(message.body)
            wrong = self._truths.miscounts(message.body, message.truth)
            if wrong is not None:
                return f"{self._called(message.body)} is miscounted: {wrong}"
        for state in world.workers:
            if state.is_direct:
                kept |= self._held_by(state)
        lost = sorted(self._handlers - kept)
        return f"the event is lost for {' and '.join(lost)}" if lost else None

    def _held_by(self, state: WorkerState) -> set[str]:
        """The handlers that a direct event in flight still owes; of a message the queue has it."""
        if not state.is_direct:
            return set()
        kept = {early.name for early in state.early if early.is_kept}
        held = {name for name in state.handlers if name not in kept}.union(state.missing)
        for copy in (*state.unsent, *state.doubtful):
            held |= self._truths.owed_by(copy.body)
        return held

    def of(self, world: World, faults_left: int) -> Iterator[Step]:
        """Everything that may happen in this world. A step that no other worker can notice happens alone."""
        for worker, state in enumerate(world.workers):
            if state.phase in ("acks", "releases") and world.claimed_by(worker) is None:
                yield from self._stages[state.phase](world, worker, state, faults_left)
                return
        for worker, state in enumerate(world.workers):
            if state.phase == "idle":
                if worker == 0 or not (self._are_alike and world.workers[0] is world.workers[1]):
                    yield from self._receive(world, worker)
                continue
            yield from self._stages[state.phase](world, worker, state, faults_left)
            yield from self._adopt(world, worker)
            if faults_left:
                yield from self._break(world, worker)
        waits = [each.wait for each in world.messages if each.wait > 0]
        if waits:
            yield Step(f"{min(waits):g} s pass", later(world, min(waits)))

    # A worker's own steps

    def _receive(self, world: World, worker: int) -> Iterator[Step]:
        for message in dict.fromkeys(world.messages):
            if message.wait > 0 or message.holder != NOBODY:
                continue
            receives = min(message.receives + 1, MOST_RECEIVES) if self._scenario.counts_receives else 0
            taken = self._recalled(message.known[worker]) or self._truths.take(
                worker, message.body, message.truth, message.age, receives
            )
            state = self._begun(taken.state)
            held = message.held_by(worker, receives)
            text = f"worker {worker} receives {self._called(message.body)}, and {_doing(state)}"
            reached = self._noted(world.instead(message, held).with_worker(worker, state), worker)
            yield Step(text, reached, 0, taken.complaint)

    def _recalled(self, known: Known) -> Taken | None:
        """What a worker remembers to do with a message that came back."""
        match known.what:
            case "done":
                return Taken(WorkerState("acks"))
            case "owed":
                return Taken(WorkerState("sends", unsent=known.unsent, wait=known.wait))
        return None

    def _noted(self, world: World, worker: int) -> World:
        """A worker that is to ack remembers that all is done, before it does."""
        message = world.claimed_by(worker)
        state = world.workers[worker]
        if state.phase != "acks" or state.unsent or message is None or not self._scenario.remembers:
            return world
        return world.instead(message, message.known_by(worker, DONE))

    def _begun(self, state: WorkerState) -> WorkerState:
        return state if state.phase == "runs" else self._protocol.begins(state)

    def _wait(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        """A direct event waits for its slot."""
        yield Step(f"worker {worker} starts the direct event", world.with_worker(worker, state._replace(phase="runs")))
        if faults_left:
            taken = self._truths.settle(state, self._truths.interrupted(state.handlers))
            after = self._protocol.after_stop_of_waiting(taken.state)
            text = f"worker {worker} is stopped before it starts the direct event, and {_doing(after)}"
            yield Step(text, world.with_worker(worker, after), 1, taken.complaint)

    def _end_early(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        """One handler ends while another one still runs, and its copy is sent: answered, unanswered, or lost."""
        running = [name for name in state.handlers if name not in {early.name for early in state.early}]
        if not self._scenario.stores_early or len(running) < 2:
            return
        for name in running:
            for number, outcome in enumerate(self._scenario.outcomes):
                if isinstance(outcome, HARMLESS):
                    continue
                copy, complaint = self._truths.early(state, name, outcome)
                for stored, answered, faults in ((True, True, 1), (True, False, 2), (False, False, 2)):
                    if faults > faults_left:
                        continue
                    is_kept = self._protocol.is_kept(answered)
                    after = state._replace(early=tuple(sorted((*state.early, Early(name, number, is_kept)))))
                    over, messages = world.over, world.messages
                    if stored and copy.is_letter:
                        over |= self._truths.owed_by(copy.body)
                    elif stored:
                        messages = (*messages, Message(copy.body, copy.truth, copy.wait))
                    how = "stored" if answered else "stored, but the answer is lost" if stored else "lost"
                    text = f"worker {worker} has {name}: {type(outcome).__name__.lower()}, its copy sent early is {how}"
                    reached = world._replace(messages=messages, over=over).with_worker(worker, after)
                    yield Step(text, reached, faults, complaint)

    def _run(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        yield from self._end_early(world, worker, state, faults_left)
        for ending in self._truths.endings(state):
            if ending.faults > faults_left:
                continue
            taken = self._truths.settle(state, ending)
            after = self._protocol.begins(taken.state)
            over = world.over | ending.done
            if not ending.is_interrupted and not self._scenario.is_named:
                # The handlers of an event are those of the node that first handles it, unless its type names others.
                over |= self._truths.owed_by(state.body).difference(state.handlers)
            text = f"worker {worker} has run {ending.text}, and {_doing(after)}"
            reached = self._noted(World(world.messages, world.workers, over).with_worker(worker, after), worker)
            yield Step(text, reached, ending.faults, taken.complaint)
        if state.is_isolated and faults_left:
            taken = self._truths.put_off(state)
            text = f"worker {worker} is never without another message, and has 1 to send"
            yield Step(text, world.with_worker(worker, self._begun(taken.state)), 1, taken.complaint)
        message = world.claimed_by(worker)
        if not state.is_direct and (message is None or message.holder != worker):
            after = self._protocol.after_loss(state)
            lost = _dropped(world, worker, message) if after is IDLE else world.with_worker(worker, after)
            yield Step(f"worker {worker} learns that its lease is lost, and {_doing(after)}", lost)

    def _send(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        for copy in dict.fromkeys(state.unsent):
            yield self._sent(world, worker, (copy,), stored=True, answered=True)
            if faults_left:
                yield self._sent(world, worker, (copy,), stored=True, answered=False)
                yield self._sent(world, worker, (copy,), stored=False, answered=False)
        if faults_left and len(state.unsent) > 1:
            yield self._sent(world, worker, state.unsent, stored=True, answered=False)
            yield self._sent(world, worker, state.unsent, stored=False, answered=False)

    def _sent(self, world: World, worker: int, copies: tuple[Unsent, ...], *, stored: bool, answered: bool) -> Step:
        state = world.workers[worker]
        unsent = list(state.unsent)
        for copy in copies:
            unsent.remove(copy)
        doubtful = state.doubtful if answered else tuple(sorted((*state.doubtful, *copies)))
        after = state._replace(unsent=tuple(unsent), doubtful=doubtful)
        message = world.claimed_by(worker)
        if not unsent:
            if message is not None and self._scenario.remembers:
                world = world.instead(message, message.known_by(worker, self._protocol.known_after_sends(after)))
            after = (self._protocol.after_direct_sends if state.is_direct else self._protocol.after_sends)(after)
        over = world.over
        messages = world.messages
        for copy in copies if stored else ():
            if copy.is_letter:
                over |= self._truths.owed_by(copy.body)
            else:
                messages = (*messages, Message(copy.body, copy.truth, copy.wait))
        what = " and ".join(f"{'a letter: ' * copy.is_letter}{self._called(copy.body)}" for copy in copies)
        ended = (
            "which is stored" if answered else "which is stored, but the answer is lost" if stored else "which is lost"
        )
        text = f"worker {worker} sends {what}, {ended}, and {_doing(after)}"
        world = World(messages, world.workers, over).with_worker(worker, after)
        return Step(text, self._noted(world, worker), 0 if answered else 1)

    def _ack(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        message = world.claimed_by(worker)
        acked = world.with_worker(worker, self._protocol.after_ack(state))
        if message is None:
            yield Step(f"worker {worker} acks what is gone", acked)
            return
        deleted = world._replace(messages=_without(world.messages, message))
        yield Step(
            f"worker {worker} acks, and the message is deleted", deleted.with_worker(worker, acked.workers[worker])
        )
        if message.holder != worker:
            yield Step(
                f"worker {worker} acks by an old receipt, and nothing is deleted",
                acked.instead(message, _unclaimed(message, worker)),
            )
        if faults_left:
            yield Step(f"worker {worker} acks, and the answer is lost: it tries again", deleted, 1)
            yield from self._gone(world, worker, "acks, which is lost until the lease ends")

    def _release(self, world: World, worker: int, state: WorkerState, faults_left: int) -> Iterator[Step]:
        message = world.claimed_by(worker)
        released = world.with_worker(worker, IDLE)
        if message is None:
            yield Step(f"worker {worker} releases what is gone", released)
            return
        free = _unclaimed(message, worker)
        if message.holder == worker:
            free = free._replace(wait=state.wait)
        yield Step(f"worker {worker} releases the message for {state.wait:g} s", released.instead(message, free))
        if faults_left:
            yield from self._gone(world, worker, "releases, which is lost")

    def _adopt(self, world: World, worker: int) -> Iterator[Step]:
        """A message in flight that comes again to the same process starts nothing: its newer receipt is used."""
        message = world.claimed_by(worker)
        if message is not None and message.holder == NOBODY and message.wait == 0:
            held = _unclaimed(message, worker).held_by(worker, message.receives)
            yield Step(
                f"worker {worker} receives what it has in flight, and takes the receipt", world.instead(message, held)
            )

    # Faults that may happen at any moment

    def _break(self, world: World, worker: int) -> Iterator[Step]:
        phase, message = world.workers[worker].phase, world.claimed_by(worker)
        is_held = message is not None and message.holder == worker
        # Elsewhere it is as if something were lost, but for what a worker remembers.
        if world.workers[worker].is_direct:
            # No queue holds it: what it still owes goes with the process, and that is not promised otherwise.
            lost = world._replace(over=world.over | self._held_by(world.workers[worker])).with_worker(worker, IDLE)
            yield Step(f"worker {worker} crashes, and is started anew", lost.forgotten_by(worker), 1)
        elif phase == "sends" or (is_held and (phase == "runs" or self._scenario.remembers)):
            yield from self._gone(world.forgotten_by(worker), worker, "crashes, and is started anew")
        if message is not None and is_held:
            stale = tuple(sorted((*message.stale, worker)))
            lost = world.instead(message, message._replace(holder=NOBODY, stale=stale))
            yield Step(f"worker {worker} loses its lease, and does not know it", lost, 1)

    def _gone(self, world: World, worker: int, how: str) -> Iterator[Step]:
        """A worker lets go of everything; what it held comes back when the lease ends."""
        message = world.claimed_by(worker)
        held = message is not None and message.holder == worker
        for lapse in self._scenario.lapses if held else (0.0,):
            text = f"worker {worker} {how}" + (f"; its message comes back in {lapse:g} s" if held else "")
            yield Step(text, _dropped(world, worker, message, lapse), 1)

    def _called(self, body: bytes) -> str:
        envelope = opened(body)
        if envelope is None:
            return "what is no event"
        owed = "all" if envelope.owed is None else envelope.owed
        return f"the event for {owed}, attempt {envelope.attempt}"


def _doing(state: WorkerState) -> str:
    match state.phase:
        case "idle":
            return "is idle"
        case "waits":
            return "waits for a slot"
        case "runs":
            return f"runs {' and '.join(state.handlers)}"
        case "sends":
            return f"has {len(state.unsent)} to send"
        case "acks":
            return "is to ack"
    return "is to release"


def _unclaimed(message: Message, worker: int) -> Message:
    """A message that this worker has no claim on any more."""
    if message.holder == worker:
        return message.held_by(NOBODY, message.receives)
    return message._replace(stale=tuple(each for each in message.stale if each != worker))


def _dropped(world: World, worker: int, message: Message | None, lapse: float = 0.0) -> World:
    dropped = world.with_worker(worker, IDLE)
    if message is None:
        return dropped
    free = _unclaimed(message, worker)
    return dropped.instead(message, free._replace(wait=lapse) if message.holder == worker else free)


def _without(messages: tuple[Message, ...], message: Message) -> tuple[Message, ...]:
    found = list(messages)
    found.remove(message)
    return tuple(found)
