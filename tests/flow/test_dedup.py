"""On a queue that stores nothing twice, a copy that is sent twice is one, and no other is taken for it."""

import msgspec
import pytest
from tests.backends.limited import Limited

from dawdle import Context, Dawdle, Registry, Retry, RetryLater
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Forgetful(Limited):
    """Stores what it is sent, and loses its next answers."""

    lost = 0

    async def send(self, batch):
        answers = await super().send(batch)
        if self.lost:
            self.lost -= 1
            raise BackendError("the answer was lost")
        return answers


@pytest.fixture
def queue(clock):
    return Forgetful(clock=clock, stores_once=True)


def app_on(queue, clock, registry, **options):
    retry = Retry(max_attempts=3, initial=5, jitter=0)
    return Dawdle(queue, registry=registry, clock=clock, retry=retry, **options)


async def test_every_message_has_a_dedup_and_the_first_one_is_the_events_id(queue, clock):
    registry, said = Registry(), []

    @registry.on_event(Placed, name="flaky")
    async def flaky(event: Placed) -> None:
        raise ConnectionError

    @registry.on_event(Placed, name="early")
    async def early(event: Placed, ctx: Context) -> None:
        said.append(ctx.attempt)
        if len(said) < 4:
            raise RetryLater(1)

    async with app_on(queue, clock, registry) as app:
        event_id = await app.signal(Placed(1), delay=30)
        await clock.advance(100)
    sent = [each.dedup for each in (*queue.sent, *queue.dead_letters.sent)]
    assert sent[0] == event_id
    assert len(sent) == len(set(sent)) == 1 + 2 + 3 + 1  # the event, two retries, three times later, a letter
    assert len(said) == 4
    assert None not in sent


async def test_a_copy_whose_answer_was_lost_is_stored_once(queue, clock):
    registry, attempts = Registry(), []

    @registry.on_event(Placed, name="flaky")
    async def flaky(event: Placed, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        queue.lost = int(ctx.attempt == 1)
        if ctx.attempt == 1:
            raise ConnectionError

    async with app_on(queue, clock, registry) as app:
        await app.signal(Placed(1))
        await clock.advance(100)
    assert attempts == [1, 2]
    dedups = [each.dedup for each in queue.sent]
    assert len(dedups) == 3
    assert len(set(dedups)) == 2


async def test_what_two_nodes_settle_is_stored_once(queue, clock):
    """The first one's handler fails, its copy is stored, and the process ends before the message is deleted."""
    attempts = []

    def node():
        registry = Registry()

        @registry.on_event(Placed, name="flaky")
        async def flaky(event: Placed, ctx: Context) -> None:
            attempts.append(ctx.attempt)
            if ctx.attempt == 1:
                raise ConnectionError

        return app_on(queue, clock, registry)

    delete, queue.ack = queue.ack, no_ack
    async with node() as app:
        await app.signal(Placed(1))
        await clock.advance(1)
    queue.ack = delete
    async with node():
        await clock.advance(100)
    assert sorted(attempts) == [1, 1, 2]
    assert queue.messages() == []


async def no_ack(receipts):
    raise BackendError("not now", kind="refused")


async def test_what_is_redriven_and_given_up_again_at_once_has_a_letter_again(queue, clock):
    registry, attempts = Registry(), []

    @registry.on_event(Placed, name="broken", retry=Retry(max_attempts=1))
    async def broken(event: Placed) -> None:
        attempts.append(event)
        raise ConnectionError

    async with app_on(queue, clock, registry) as app:
        await app.signal(Placed(1))
        for number in range(1, 4):
            await clock.advance(2)
            assert len(queue.dead_letters.messages()) == 1
            assert len(attempts) == number
            assert await app.redrive() == 1


async def test_an_event_past_the_queue_that_fails_has_a_dedup_for_each_handler(queue, clock):
    registry = Registry()

    @registry.on_event(Placed, name="one", retry=Retry(max_attempts=1))
    async def one(event: Placed) -> None:
        raise ConnectionError

    @registry.on_event(Placed, name="two", retry=Retry(max_attempts=1))
    async def two(event: Placed) -> None:
        raise ConnectionError

    async with app_on(queue, clock, registry) as app:
        await app.signal(Placed(1), direct=True)
        await clock.advance(1)
    assert len({each.dedup for each in queue.dead_letters.sent}) == len(queue.dead_letters.messages()) == 2
