"""Credentials that are no good any more: one refresh for all, and no poll is cut by it."""

import asyncio
import logging
import stat
import time

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqs import _clients
from dawdle.errors import BackendError

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("way")]

PROGRAM = """#!/bin/sh
echo begun >> "{begun}"
while [ -e "{held}" ]; do sleep 0.02; done
echo asked >> "{asked}"
[ -e "{broken}" ] && {{ echo "secret canary-stderr" >&2; exit 1; }}
echo '{{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "canary-secret", "SessionToken": "canary-token"}}'
"""


class Source:
    """A program that botocore gets its credentials from, and how often it was asked."""

    def __init__(self, folder):
        self.begun, self.asked, self.held, self.broken = (
            folder / name for name in ("begun", "asked", "held", "broken")
        )
        self.program = folder / "credentials.sh"
        self.program.write_text(PROGRAM.format_map(vars(self)))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    @property
    def times(self):
        """How often it has answered."""
        return len(self.asked.read_text().split()) if self.asked.exists() else 0

    @property
    def begins(self):
        return len(self.begun.read_text().split()) if self.begun.exists() else 0


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    source = Source(tmp_path)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {source.program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return source


def expired(server, source, **options):
    """Refuse every call until the credentials have been asked for once more."""
    before = source.times
    return server.faults.add("expired_token", when=lambda _: source.times <= before, **options)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def test_twenty_calls_at_once_with_an_expired_token_lead_to_one_refresh_and_all_succeed(server, sqs, source):
    async with sqs() as queue:
        await queue.receive(1, 0)
        await queue.send([Outgoing(b"before")])
        assert source.times == 1, "both clients have them from one session"
        rule = expired(server, source)
        start = time.monotonic()
        source.held.touch()
        calls = asyncio.gather(*(queue.send([Outgoing(b"%d" % number)]) for number in range(20)))
        await until(lambda: rule.fired == 20)
        source.held.unlink()
        assert await calls == [[None]] * 20
        assert rule.fired == 20
        assert source.times == 2
        assert len(server.queue("orders")) == 21
        assert len(await queue.receive(10, 0)) == 10
        assert time.monotonic() - start < 30


async def test_a_call_that_fails_after_the_refresh_just_takes_the_new_clients(server, sqs, source):
    async with sqs() as queue:
        server.faults.add("delay", operation="ReceiveMessage", seconds=1, times=1)
        server.faults.add("expired_token", times=2)
        late = asyncio.create_task(queue.receive(1, 0))
        await until(lambda: server.requests["ReceiveMessage"] == 1)
        assert await queue.ack(["receipt"]) == [None]
        await server.clock.advance(1)
        assert await late == []
        assert source.times == 2


async def test_a_poll_under_way_is_not_cut_and_its_clients_are_closed_after_it(server, sqs, source, way):
    async with sqs() as queue:
        poll = asyncio.create_task(queue.receive(1, 20))
        await until(lambda: server.queue("orders").polls)
        expired(server, source)
        assert await queue.ack(["receipt"]) == [None]
        clients = queue._connection._clients
        (old,) = clients._retired
        assert old is not clients._current
        assert await queue.send([Outgoing(b"one")]) == [None]
        assert [delivery.receive_count for delivery in await poll] == [1]
        assert not clients._retired
        assert not old.botocore._poll_client._endpoint.http_session._sessions
        if way == "direct":
            assert old.calls._polls.transport._client._closed
            assert old.calls._requests.transport._client._closed


async def test_clients_that_are_retired_and_still_in_use_are_closed_with_the_rest(no_task_is_left, server, sqs, source):
    async with sqs() as queue:
        poll = asyncio.create_task(queue.receive(1, 20))
        await until(lambda: server.queue("orders").polls)
        expired(server, source)
        await queue.ack(["receipt"])
    with pytest.raises(BackendError):
        await poll


async def test_what_stays_refused_is_asked_for_once_in_ten_seconds_and_raises_as_before(
    server, sqs, source, monkeypatch
):
    assert _clients.REFRESH_RETRY_SECONDS == 10
    async with sqs() as queue:
        rule = server.faults.add("expired_token")
        for _ in range(3):
            answers = await asyncio.gather(*(queue.receive(1, 0) for _ in range(4)), return_exceptions=True)
            assert {answer.kind for answer in answers} == {"denied"}
        assert source.times == 2
        assert rule.fired == 4 + 4 + 4 + 4
        monkeypatch.setattr(_clients, "REFRESH_RETRY_SECONDS", 0)
        with pytest.raises(BackendError, match="ExpiredToken"):
            await queue.receive(1, 0)
        assert source.times == 3


@pytest.mark.parametrize("fault", ["access_denied", "throttle", "queue_missing", "server_error"])
async def test_other_refusals_ask_for_no_credentials(server, sqs, source, fault):
    async with sqs() as queue:
        rule = server.faults.add(fault)
        with pytest.raises(BackendError):
            await queue.receive(1, 0)
        assert (rule.fired, source.times) == (1, 1)


async def test_where_none_can_be_had_the_old_ones_stay_and_a_warning_says_so_without_secrets(
    server, sqs, source, caplog, monkeypatch
):
    async with sqs() as queue:
        source.broken.touch()
        server.faults.add("expired_token", times=5)
        answers = await asyncio.gather(*(queue.ack(["receipt"]) for _ in range(5)), return_exceptions=True)
        assert {answer.kind for answer in answers} == {"denied"}
        assert source.times == 2
        assert [record.name for record in caplog.records if record.name.startswith("dawdle")] == [
            "dawdle.backends.sqs._clients"
        ]
        assert "SQS refuses the credentials for http" in caplog.text
        assert "and new ones cannot be found: CredentialRetrievalError from custom-process" in caplog.text
        assert "canary" not in caplog.text + "".join(map(str, answers))
        assert await queue.ack(["receipt"]) == [None]


async def test_credentials_that_come_later_than_the_app_are_found(server, sqs, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with sqs() as queue:
        with pytest.raises(BackendError, match="no AWS credentials found: set AWS_ACCESS_KEY_ID") as caught:
            await queue.receive(1, 0)
        assert caught.value.kind == "denied"
        monkeypatch.setattr(_clients, "REFRESH_RETRY_SECONDS", 0)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        assert await queue.receive(1, 0) == []


async def test_a_refresh_that_is_cancelled_leaves_the_next_one_to_the_others(server, sqs, source):
    async with sqs() as queue:
        source.held.touch()
        rule = expired(server, source)
        first = asyncio.create_task(queue.ack(["receipt"]))
        await until(lambda: source.begins == 2)
        second = asyncio.create_task(queue.send([Outgoing(b"one")]))
        await until(lambda: rule.fired == 2 and not second.done())
        await asyncio.sleep(0.01)
        first.cancel()
        await until(lambda: source.begins == 3)
        source.held.unlink()
        assert await second == [None]
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_leaving_during_a_refresh_leaves_nothing_open(no_task_is_left, server, sqs, source):
    async with sqs() as queue:
        source.held.touch()
        expired(server, source)
        call = asyncio.create_task(queue.ack(["receipt"]))
        await until(lambda: source.begins == 2)
    source.held.unlink()
    with pytest.raises(BackendError, match="ExpiredToken"):
        await call


async def test_no_secret_is_in_what_a_refresh_logs(server, sqs, source, caplog):
    caplog.set_level(logging.DEBUG, logger="dawdle")
    async with sqs() as queue:
        expired(server, source)
        await queue.ack(["receipt"])
    assert source.times == 2
    assert not [record for record in caplog.records if record.name.startswith("dawdle") and "canary" in str(record)]
