"""Credentials are refreshed when botocore says so, and a call that does not need that pays nothing for it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from botocore.exceptions import NoCredentialsError

from dawdle.backends.sqs._data_plane._credentials import SessionCredentials

pytestmark = pytest.mark.anyio


class Source:
    """Where temporary credentials come from: how often it was asked, and whether it answers."""

    def __init__(self):
        self.asked = 0
        self.lasts = timedelta(hours=1)
        self.held = asyncio.Event()
        self.held.set()
        self.now = datetime.now(UTC)
        self.credentials = AioRefreshableCredentials(
            "key-0", "secret", "token", self.now + self.lasts, self.refresh, "test", time_fetcher=lambda: self.now
        )

    async def refresh(self):
        self.asked += 1
        await self.held.wait()
        expiry = (self.now + self.lasts).isoformat()
        return {"access_key": f"key-{self.asked}", "secret_key": "s", "token": "t", "expiry_time": expiry}


async def test_within_one_second_they_are_asked_once(monkeypatch):
    source, calls = Source(), []
    original = source.credentials.get_frozen_credentials

    async def counted():
        calls.append(1)
        return await original()

    monkeypatch.setattr(source.credentials, "get_frozen_credentials", counted)
    used = SessionCredentials(source.credentials)
    first = await used.frozen(100.0)
    for moment in (100.1, 100.9, 100.5):
        assert await used.frozen(moment) is first
    assert len(calls) == 1
    assert await used.frozen(101.0) is first
    assert await used.frozen(100.0) is first  # a clock that goes back asks again too
    assert len(calls) == 3


async def test_they_are_refreshed_before_they_expire():
    source = Source()
    used = SessionCredentials(source.credentials)
    assert (await used.frozen(1)).access_key == "key-0"
    source.now += timedelta(minutes=46)
    assert (await used.frozen(2)).access_key == "key-1"
    assert source.asked == 1


async def test_while_the_old_ones_are_good_nobody_waits_for_the_new_ones():
    source = Source()
    used = SessionCredentials(source.credentials)
    source.now += timedelta(minutes=46)
    source.held.clear()
    first = asyncio.create_task(used.frozen(2))
    await asyncio.sleep(0)
    assert (await used.frozen(2)).access_key == "key-0"
    source.held.set()
    assert (await first).access_key == "key-1"
    assert (await used.frozen(3)).access_key == "key-1"


async def test_once_they_are_nearly_expired_everybody_waits_for_the_new_ones():
    source = Source()
    used = SessionCredentials(source.credentials)
    assert (await used.frozen(1)).access_key == "key-0"
    source.now += timedelta(minutes=55)
    source.held.clear()
    calls = [asyncio.create_task(used.frozen(2)) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    source.held.set()
    assert {each.access_key for each in await asyncio.gather(*calls)} == {"key-1"}
    assert source.asked == 1


async def test_a_source_that_fails_raises_its_error_and_is_asked_again():
    source = Source()
    used = SessionCredentials(source.credentials)
    await used.frozen(1)
    source.now += timedelta(minutes=55)
    source.lasts = timedelta(seconds=-1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="refreshed credentials are still expired"):
            await used.frozen(2)
    assert source.asked == 2
    source.lasts = timedelta(hours=1)
    assert (await used.frozen(2)).access_key == "key-3"


async def test_keys_that_stay_are_equal_each_time_and_none_is_an_error():
    used = SessionCredentials(AioCredentials("key", "secret"))
    assert await used.frozen(1) == await used.frozen(2)
    with pytest.raises(NoCredentialsError):
        await SessionCredentials(None).frozen(1)
