"""With signing_keys only what was signed runs, and nothing that was not is ever signed."""

import msgspec
import pytest

from dawdle import Context, Dawdle, EventError, Registry, Retry
from dawdle._rules.signing import Signer
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

KEYS = {"2026-11": "n" * 32, "2026-05": "o" * 32}


def body_of(number, **attributes):
    return msgspec.json.encode(
        {"specversion": "1.0", "id": f"e-{number}", "source": "/shop", "type": "Placed", **attributes}
        | {"data": {"number": number}}
    )


@pytest.fixture
def runs(registry):
    runs = []

    @registry.on_event(Placed, name="handler", retry=Retry(max_attempts=3, initial=1))
    async def handler(event, ctx: Context):
        runs.append((event.number, ctx.attempt))
        if ctx.attempt < 3:
            raise ValueError

    return runs


async def test_every_copy_is_signed_and_retries_hops_and_letters_go_on_as_ever(running, registry, queue, clock, runs):
    async with running(signing_keys=KEYS) as app:
        await app.signal(Placed(1), delay=2000)
        for _ in range(40):
            await clock.advance(60)
            assert all(b',"dawdlesignature":"2026-11:' in body for body in queue.messages())
    assert runs == [(1, 1), (1, 2), (1, 3)]


async def test_what_a_stranger_wrote_is_dead_lettered_with_the_reason_and_never_run(
    running, registry, queue, letters, runs
):
    good = Signer(KEYS).sign(body_of(1, dawdleattempt=3))
    old = Signer({"2026-05": KEYS["2026-05"]}).sign(body_of(2, dawdleattempt=3))
    foreign = Signer({"theirs": "t" * 32}).sign(body_of(4))
    async with running(signing_keys=KEYS) as app:
        for body in (good, old, body_of(3), good.replace(b'"e-1"', b'"e-5"'), foreign, b"garbage"):
            await queue.send([Outgoing(body)])
        await app.idle()
    assert runs == [(1, 3), (2, 3)]
    reasons = [letter["dawdleerror"] for letter in letters()]
    assert [letter["type"] for letter in letters()] == ["dawdle.undecodable"] * 4
    assert reasons == [
        "the message is not signed, and this app takes only signed messages (signing_keys)",
        "the signature is wrong: the message was changed on its way, or not signed with the key '2026-11'",
        "the message is signed with the key 'theirs', and this app knows 2026-11, 2026-05",
        "the message is not signed, and this app takes only signed messages (signing_keys)",
    ]


async def test_what_is_kept_for_want_of_a_dead_letter_queue_is_not_signed_by_that(running, registry, clock, runs):
    queue = Memory(clock=clock, max_delay=900, dead_letters=False)
    forged = body_of(1)
    async with running(queue, signing_keys=KEYS):
        await queue.send([Outgoing(forged)])
        await clock.advance(10_000)
        assert queue.messages() == [forged]
    assert runs == []


async def test_a_direct_event_that_fails_is_signed_for_the_queue(running, registry, queue, clock, runs):
    async with running(signing_keys=KEYS) as app:
        await app.signal(Placed(1), direct=True)
        await clock.advance(10)
    assert runs == [(1, 1), (1, 2), (1, 3)]


async def test_the_largest_event_fits_with_its_signature_and_a_retry(running, registry, queue, clock, letters):
    runs = []
    Large = msgspec.defstruct("Large", [("text", str)])

    @registry.on_event(Large, retry=Retry(max_attempts=2, initial=1))
    async def handler(event):
        runs.append(len(event.text))
        raise ValueError("x" * 5000)

    async with running(signing_keys=KEYS) as app:
        size = queue.limits.max_body - 4096 - 500
        for extra in range(500, 0, -1):
            try:
                await app.signal(Large("x" * (size + extra)))
            except EventError:
                continue
            break
        await clock.advance(10)
    assert runs == [size + extra] * 2
    assert len(letters()) == 1


async def test_a_letter_that_is_cut_to_fit_fits_with_its_signature(running, registry, queue, letters):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with running(signing_keys=KEYS) as app:
        await queue.send([Outgoing(b"x" * queue.limits.max_body)])
        await app.idle()
    assert len(letters()) == 1
    assert len(queue.dead_letters.messages()[0]) <= queue.limits.max_body
    assert queue.messages() == []


async def test_an_event_that_is_nested_too_deep_is_refused_where_it_is_signaled_and_where_it_comes(
    running, registry, queue, letters
):
    seen = []
    Deep = msgspec.defstruct("Deep", [("value", list)])

    @registry.on_event(Deep)
    async def handler(event):
        seen.append(event)

    def nested(depth):
        value = None
        for _ in range(depth):
            value = [value]
        return value

    async with running() as app:
        await app.signal(Deep(nested(198)))
        with pytest.raises(
            EventError, match="this Deep is nested too deep: 201 objects and arrays, and 200 is the most"
        ):
            await app.signal(Deep(nested(199)))
        await queue.send([Outgoing(b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}")])
        await app.idle()
    assert len(seen) == 1
    (letter,) = letters()
    assert "5,001 objects and arrays" in letter["dawdleerror"]


async def test_over_sqs_the_bytes_arrive_as_they_were_signed(monkeypatch, registry, runs):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "t",
        "AWS_SECRET_ACCESS_KEY": "t",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    async with SQSServer() as server:
        server.create_queue("orders", dead_letter="dead")
        url = server.queue_url("orders")
        app = Dawdle(SQS(url, wait=0), registry=registry, signing_keys=KEYS, retry=Retry(initial=0))
        async with Dawdle(SQS(url), registry=Registry(), start_listener=False) as stranger:
            await stranger.signal(Placed(66))
        async with app:
            await app.signal(Placed(7), headers={"who": "ü…\U0001f600"})
            await app.idle()
            while len(runs) < 3 or not len(server.queue("dead")):
                await app.idle()
    assert runs == [(7, 1), (7, 2), (7, 3)]
