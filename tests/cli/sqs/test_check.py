"""`dawdle check` of an app on SQS: it tries what the app's own role needs."""

import json

import pytest

from tests.cli.sqs.queues import REGION, make

APP = """
import dawdle, msgspec
from dawdle.backends.sqs import SQS

registry = dawdle.Registry()

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str

@registry.on_event(name="receipt")
async def receipt(event: OrderPlaced) -> None: ...

queue = SQS({url!r}, region={region!r}, endpoint_url={endpoint!r})
app = dawdle.Dawdle(queue, registry=registry)
web = dawdle.Dawdle(queue, registry=registry, start_listener=False)
"""


@pytest.fixture
def shop(cli, loop, client, server):
    made = loop.run(make(client))
    cli.write("shop.py", APP.format(url=made.events, region=REGION, endpoint=server.endpoint_url))
    return cli, made


def rules(ran):
    return {each["rule"] for each in json.loads(ran.out)}


def test_a_queue_that_is_well_made_has_no_finding(shop):
    cli, _ = shop
    ran = cli("check", "shop:app", "--json")
    assert (rules(ran), ran.code) == (set(), 0)


def test_a_permission_that_the_role_lacks_is_found(shop, server):
    cli, made = shop
    rule = server.faults.add("access_denied", operation="ReceiveMessage", queue=made.name)
    try:
        found = json.loads(cli("check", "shop:app", "--json").out)
        assert rules(cli("check", "shop:web", "--json")) == {"handlers.idle"}, "a web app receives nothing"
    finally:
        server.faults.remove(rule)
    assert {each["rule"] for each in found} == {"sqs.permission"}
    assert "ReceiveMessage" in found[0]["what"]


def test_a_queue_that_is_gone_is_found(shop, loop):
    cli, made = shop
    loop.run(made.delete(made.events))
    ran = cli("check", "shop:app", "--json")
    assert "sqs.missing" in rules(ran)
    assert ran.code == 1


def test_a_server_that_does_not_answer_is_found(cli):
    cli.write(
        "shop.py", APP.format(url="http://127.0.0.1:9/000000000000/q", region=REGION, endpoint="http://127.0.0.1:9")
    )
    ran = cli("check", "shop:app", "--json")
    (found,) = json.loads(ran.out)
    assert found["rule"].startswith("queue.")
    assert "127.0.0.1:9" in found["what"]
