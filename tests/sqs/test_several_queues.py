"""Several SQS queues in one app: in two regions, beside other kinds of queues, and with clients that they share."""

import asyncio
import json

import msgspec
import pytest

from dawdle import BackendError, Dawdle, Registry, Reject
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS, _client_set
from dawdle.errors import ConfigurationError
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Uploaded(msgspec.Struct, frozen=True):
    name: str = ""


@pytest.fixture
def opened(monkeypatch):
    """The client sets that were opened, with the queues that each is for."""
    opened = []
    open_set = _client_set.ClientSet.open

    async def noting(self, settings):
        opened.append(settings.queues)
        return await open_set(self, settings)

    monkeypatch.setattr(_client_set.ClientSet, "open", noting)
    return opened


@pytest.fixture
async def server():
    async with SQSServer() as server:
        for name in ("orders", "video", "audit"):
            server.create_queue(f"{name}-dead")
            server.create_queue(name, dead_letter=f"{name}-dead", max_receives=100)
        yield server


def queues_on(server, *names, **options):
    return {name: SQS(server.queue_url(name), **options) for name in names}


def noting(*names_and_queues):
    registry, ran = Registry(), []
    for name, queue in names_and_queues:

        @registry.on_event(name=name, **({} if queue is None else {"queue": queue}))
        async def handler(event, ctx, name=name):
            ran.append((name, ctx.queue, type(event).__name__))

    return registry, ran


async def until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_queues_of_one_endpoint_share_their_clients(server, opened):
    queues = {"default": SQS(server.queue_url("orders"), wait=1), **queues_on(server, "video", "audit", wait=1)}
    registry, ran = noting(("all", None))
    async with Dawdle(queues=queues, routes={Uploaded: "video"}, registry=registry, grace=0.1) as app:
        assert opened == [3]
        await app.signal_many([Placed(), Uploaded()])
        await until(lambda: len(ran) == 2)
        assert sorted(ran) == [("all", "default", "Placed"), ("all", "video", "Uploaded")]


async def test_what_is_opened_at_another_time_shares_nothing(server, opened):
    async with Dawdle(SQS(server.queue_url("orders")), registry=Registry()):
        async with Dawdle(SQS(server.queue_url("video")), registry=Registry()) as app:
            assert opened == [1, 1]
        with pytest.raises(ConfigurationError, match="write `async with app:`"):
            await app.signal(Placed())


async def test_queues_with_other_regions_hosts_or_polls_have_clients_of_their_own(server, opened):
    async with SQSServer(queues=("orders",), region="eu-west-1") as other:
        queues = {
            "default": SQS(server.queue_url("orders")),
            "west": SQS(other.queue_url("orders"), region="eu-west-1"),
            "slow": SQS(server.queue_url("video"), wait=5),
            "audit": SQS(server.queue_url("audit")),
        }
        async with Dawdle(queues=queues, registry=Registry(), start_listener=False) as app:
            assert sorted(opened) == [1, 1, 2]
            await app.signal(Placed(), queue=["default", "west", "audit"])
        assert [each.queue("orders").visible for each in (server, other)] == [1, 1]
        assert (server.queue("audit").visible, server.queue("video").visible) == (1, 0)


async def test_a_queue_that_is_closed_leaves_the_others_their_clients(server, opened):
    first, second = queues_on(server, "orders", "video").values()
    await asyncio.gather(first.__aenter__(), second.__aenter__())
    assert opened == [2]
    await first.__aexit__(None, None, None)
    assert await second.send([Outgoing(b"{}")]) == [None]
    with pytest.raises(BackendError, match="is not open"):
        await first.send([Outgoing(b"{}")])
    await second.__aexit__(None, None, None)


async def test_an_error_of_the_clients_is_raised_for_each_queue_that_shares_them(monkeypatch, server):
    async def broken(self, settings):
        await asyncio.sleep(0)
        raise ValueError("no such profile")

    monkeypatch.setattr(_client_set.ClientSet, "open", broken)
    first, second = queues_on(server, "orders", "video").values()
    errors = await asyncio.gather(first.__aenter__(), second.__aenter__(), return_exceptions=True)
    assert [type(error) for error in errors] == [BackendError, BackendError]
    monkeypatch.undo()


@pytest.mark.parametrize("turns", [1, 5])
async def test_one_that_is_cancelled_while_it_opens_leaves_the_others_to_open_themselves(server, monkeypatch, turns):
    opened, goes_on, open_set = [], asyncio.Event(), _client_set.ClientSet.open

    async def slow(self, settings):
        opened.append(settings.queues)
        await goes_on.wait()
        return await open_set(self, settings)

    monkeypatch.setattr(_client_set.ClientSet, "open", slow)
    queues = list(queues_on(server, "orders", "video", "audit").values())
    opening = [asyncio.create_task(queue.__aenter__()) for queue in queues]
    for _ in range(turns):
        await asyncio.sleep(0)
    opening[0].cancel()
    opening[2].cancel()
    goes_on.set()
    done = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError, SQS, asyncio.CancelledError]
    assert opened == ([1] if turns == 1 else [3, 1])
    await queues[1].__aexit__(None, None, None)
    async with queues[0]:  # each may be opened again
        pass


async def test_two_queues_of_one_name_in_two_regions_serve_one_app_and_keep_their_letters_apart(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    registry, broken = Registry(), True

    @registry.on_event(Placed, name="ship")
    async def ship(event, ctx):
        ran.append(ctx.queue)
        if broken:
            raise Reject("no such country")

    ran = []
    async with SQSServer(region="us-east-1") as east, SQSServer(region="eu-west-1") as west:
        for server in (east, west):
            server.create_queue("dead")
            server.create_queue("orders", dead_letter="dead", max_receives=100)
        queues = {
            "default": SQS(east.queue_url("orders"), region="us-east-1", wait=1),
            "west": SQS(west.queue_url("orders"), region="eu-west-1", wait=1),
        }
        assert queues["default"].identity == queues["west"].identity
        async with Dawdle(queues=queues, registry=registry, grace=0.1) as app:
            await app.signal(Placed())
            await app.signal(Placed(), queue="west")
            await until(lambda: east.queue("dead").visible + west.queue("dead").visible == 2)
            assert sorted([letter.queue async for letter in app.dead_letters()]) == ["default", "west"]
            assert sorted(ran) == ["default", "west"]
            broken = False
            assert await app.redrive(queue="west") == 1
            await until(lambda: len(ran) == 3)
            assert ran[2] == "west"
            assert await app.redrive() == 1
            await until(lambda: len(ran) == 4)
            assert ran[3] == "default"


async def test_one_queue_under_two_names_is_an_error_at_the_start(server):
    queues = {"default": SQS(server.queue_url("orders")), "again": SQS(server.queue_url("orders"))}
    with pytest.raises(ConfigurationError, match="'default' and 'again' of this app are the same queue, .*/orders"):
        await Dawdle(queues=queues, registry=Registry()).__aenter__()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_sqs_and_another_kind_of_queue_serve_one_app(server, tmp_path, kind):
    other = Memory() if kind == "memory" else SQLite(tmp_path / "app.db")
    registry, ran = noting(("receipt", None), ("log", "audit"))
    queues = {"default": SQS(server.queue_url("orders"), wait=1), "audit": other}
    routes = {Placed: ("default", "audit")}
    async with Dawdle(queues=queues, routes=routes, registry=registry, grace=0.1) as app:
        await app.signal(Placed())
        await until(lambda: len(ran) == 2)
        assert sorted(ran) == [("log", "audit", "Placed"), ("receipt", "default", "Placed")]
        await app.idle()
        assert [each.queue for each in app.health().queues] == ["default", "audit"]
    assert server.queue("orders").visible == 0


async def test_the_copy_on_sqs_says_which_queue_it_is_for(server):
    queues = {"default": SQS(server.queue_url("orders")), "audit": SQS(server.queue_url("audit"))}
    async with Dawdle(
        queues=queues, routes={Placed: ("default", "audit")}, registry=Registry(), start_listener=False
    ) as app:
        event_id = await app.signal(Placed(7))
    async with queues["audit"]:
        (delivery,) = await queues["audit"].receive(10, 0)
    copy = json.loads(delivery.body)
    assert (copy["id"], copy["dawdleonly"], copy["data"]) == (event_id, "audit", {"number": 7})
