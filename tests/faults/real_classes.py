"""Classes of errors, each with its own back-off: 5xx, throttling, expired token, access denied, missing queue."""

import asyncio
import contextlib
import math
import os
import sys
import time

import dawdle
from dawdle.backends.sqs import SQS
from tests.faults.apps import OrderPlaced, Watched
from tests.faults.rig import QueuePair, Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale, row
from tests.faults.workers import LEAVING


def _watched(pair: QueuePair, **options: int) -> Watched:
    """Return an app with one receiver: at most one batch of messages in flight."""
    return Watched(SQS(pair.url, lease=30, wait=1), concurrency=10, **options)


@contextlib.asynccontextmanager
async def _entered(on: Rig, count: int, figures: Figures):
    """Run apps on queues of their own; yields them once each has received."""
    pairs = [on.pair() for _ in range(count)]
    apps = [_watched(pair) for pair in pairs]
    for watched in apps:
        await watched.app.__aenter__()
    try:
        if await until(lambda: all(watched.received for watched in apps), 20) is None:
            raise TimeoutError("a receive did not come back before anything was broken")
        yield apps, pairs
    finally:
        left = time.monotonic()
        leaving = (watched.app.__aexit__(None, None, None) for watched in apps)
        await asyncio.gather(*(asyncio.create_task(each, name=LEAVING) for each in leaving))
    figures.must("all left after", time.monotonic() - left, time.monotonic() - left < 5, "< 5 s")
    for watched in apps:
        watched.left(figures)
    on.drained(figures, *(pair.url for pair in pairs))


@row(11, "real", "half of all answers 5xx, then all of them", must="≤ 5 requests/s per receiver, 0 lost")
def server_errors(scale: Scale) -> Figures:
    """Ten apps: half of the answers for 20 s, with an event a second, and all of them for 10 s."""
    figures, count = Figures(), 10

    async def go(on: Rig) -> None:
        stored: list[tuple[Watched, str]] = []

        async def trickle(watched: Watched, end: float) -> None:
            while time.monotonic() < end:
                with contextlib.suppress(dawdle.SignalError):
                    stored.append((watched, await watched.app.signal(OrderPlaced())))
                await asyncio.sleep(1)

        async with _entered(on, count, figures) as (apps, _):
            for name, share, seconds in (("half", 0.5, 20), ("all", 1.0, 10)):
                long = max(4.0, seconds * scale.share)
                number = on.add_fault_rule("server_error", share=share, seed=11)
                before, end = on.requests("ReceiveMessage"), time.monotonic() + long
                await asyncio.gather(*(trickle(watched, end) for watched in apps if share < 1))
                await asyncio.sleep(max(0, end - time.monotonic()))
                rate = (on.requests("ReceiveMessage") - before) / long / count
                on.remove_fault_rules(number)
                figures.must(f"{name}: requests/s per receiver", rate, 0 < rate <= 5, "≤ 5")
            await until(lambda: all(watched.runs[each] for watched, each in stored), 40)
        figures.note("failed receives", sum(len(watched.failed) for watched in apps))
        lost = sum(not watched.runs[each] for watched, each in stored)
        figures.must("lost", lost, lost == 0, f"0 of {len(stored)}")

    with rig(scale) as on:
        asyncio.run(go(on))
    return figures


@row(12, "real", "90 % throttled for 20 s", must="full rate ≤ 30 s after")
def throttled(scale: Scale) -> Figures:
    """Handlers of 0.1 s, 20 at a time: 200 a second, whatever the machine does beside."""
    figures, long = Figures(), max(4.0, 20 * scale.share)

    async def handle(event: OrderPlaced, ctx: dawdle.Context) -> None:
        await asyncio.sleep(0.1)

    async def go(on: Rig, pair: QueuePair) -> None:
        watched = Watched(SQS(pair.url, lease=30, wait=1), handle, concurrency=20)
        await signal_all(pair.url, [OrderPlaced()] * 1_500)
        async with watched.app:
            await asyncio.sleep(1)
            started = time.monotonic()
            await asyncio.sleep(3)
            full = watched.rate(started, time.monotonic())
            number = on.add_fault_rule("throttle", share=0.9, seed=12)
            throttled = time.monotonic()
            await asyncio.sleep(long)
            on.remove_fault_rules(number)
            over = time.monotonic()
            slow = watched.rate(throttled + 1, over)
            feeding = asyncio.create_task(signal_all(pair.url, [OrderPlaced()] * 8_000, rate=220))
            back = await until(lambda: watched.rate(time.monotonic() - 2, time.monotonic()) >= 0.8 * full, 45)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await until(lambda: on.counts(pair.url).all == 0, 60)
        watched.left(figures)
        figures.must("events/s before", full, full > 20, "more")
        figures.must("while throttled", slow, slow < full * 0.8, "less")
        figures.must("full rate after", back, back is not None and back <= 32, "≤ 30 s, seen over 2 s")
        told = {error for _, error in watched.failed}
        figures.must("throttled receives", len(watched.failed), any("Throttled" in error for error in told), "told so")
        on.drained(figures, pair.url)

    with rig(scale) as on:
        asyncio.run(go(on, on.pair()))
    return figures


PROCESS = """
import datetime, json, pathlib, sys, urllib.request
server, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with (folder / "asked").open("a") as asked:
    asked.write("x")
if (folder / "expired").exists():
    urllib.request.urlopen(urllib.request.Request(f"{server}/_control/faults", method="DELETE")).close()
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
print(json.dumps({"Version": 1, "AccessKeyId": "new", "SecretAccessKey": "s", "SessionToken": "t",
                  "Expiration": until.isoformat()}))
"""
"""A credential process: it logs that it was called, and from then on returns credentials that are valid."""


@row(13, "real", "expired token in mid-run", must="one refresh, recovered ≤ 5 s")
def expired(scale: Scale) -> Figures:
    """Credentials come from a process that counts its calls; the server rejects old ones until it is called again."""
    figures = Figures()

    def asked(on: Rig) -> int:
        return len((on.folder / "asked").read_text())

    async def go(on: Rig, pair: QueuePair) -> None:
        watched = Watched(SQS(pair.url, lease=30, wait=1))
        told: dict[str, float] = {}
        refused = 0

        async def signal_on() -> None:
            nonlocal refused
            while True:
                try:
                    told[await watched.app.signal(OrderPlaced())] = time.monotonic()
                except dawdle.SignalError:
                    refused += 1
                await asyncio.sleep(0.05)

        async with watched.app:
            signaling = asyncio.create_task(signal_on())
            await asyncio.sleep(2)
            before, handled = asked(on), len(watched.handled)
            (on.folder / "expired").touch()
            on.add_fault_rule("expired_token")
            struck = time.monotonic()
            back = await until(lambda: any(watched.runs[each] for each, at in told.items() if at > struck + 0.2), 15)
            on.remove_fault_rules()
            await asyncio.sleep(2)
            signaling.cancel()
            await asyncio.gather(signaling, return_exceptions=True)
            await until(lambda: all(watched.runs[each] for each in told), 40)
        watched.left(figures)
        figures.must("asked for credentials at start", before, before >= 1, "1 or more")
        figures.must("handled before", handled, handled > 0, "more")
        refreshes = asked(on) - before
        figures.must("refreshes", refreshes, refreshes == 1, "1")
        figures.must("recovered after", back, back is not None and back <= 5, "≤ 5 s")
        figures.note("signals refused", refused)
        lost = sum(not watched.runs[each] for each in told)
        figures.must("lost", lost, lost == 0, f"0 of {len(told)}")
        on.drained(figures, pair.url)

    with rig(scale) as on:
        pair = on.pair()
        _take_credentials_from_a_process(on)
        asyncio.run(go(on, pair))
    return figures


def _take_credentials_from_a_process(on: Rig) -> None:
    """Change the environment for the rest of the row."""
    script, config = on.folder / "process.py", on.folder / "config"
    script.write_text(PROCESS)
    config.write_text(f"[default]\ncredential_process = {sys.executable} -S -E {script} {on.server} {on.folder}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = str(config)


@row(14, "real", "access denied for a minute", must="≤ 6 requests/min per receiver, unhealthy")
def denied(scale: Scale) -> Figures:
    figures, count, long = Figures(), 5, max(12.0, 60 * scale.share)

    async def go(on: Rig) -> None:
        async with _entered(on, count, figures) as (apps, _):
            on.add_fault_rule("access_denied")
            struck, before = time.monotonic(), _calls(on)
            await asyncio.sleep(long)
            asked = _calls(on) - before
            most = max(sum(at >= struck for at, _ in watched.failed) for watched in apps)
            limit = max(2, math.ceil(long / 10))
            figures.note("seconds", long)
            figures.must("most failed receives of one", most, 0 < most <= limit, f"≤ {limit}")
            # One poll of each may have been open when it began, and no other call is made.
            figures.must("all requests of 5", asked, asked <= count * (limit + 1), f"≤ {count * (limit + 1)}")
            unwell = sum(not watched.app.health().healthy for watched in apps)
            figures.must("unhealthy", unwell, unwell == count, f"{count}")
            on.remove_fault_rules()

    with rig(scale) as on:
        asyncio.run(go(on))
    return figures


def _calls(on: Rig) -> int:
    return sum(on.control("GET", "requests").values())


@row(15, "real", "the queue gone for 12 s and back", must="never created, found again ≤ 60 s after")
def gone(scale: Scale) -> Figures:
    figures, long = Figures(), max(3.0, 12 * scale.share)

    async def go(on: Rig) -> None:
        async with _entered(on, 3, figures) as (apps, pairs):
            number, struck = on.add_fault_rule("queue_missing"), time.monotonic()
            made = on.requests("CreateQueue")
            await asyncio.sleep(long)
            asked = max(sum(at >= struck for at, _ in watched.failed) for watched in apps)
            on.remove_fault_rules(number)
            back = time.monotonic()
            for pair in pairs:
                await signal_all(pair.url, [OrderPlaced()])
            await until(lambda: all(len(watched.handled) == 1 for watched in apps), 65)
            created = on.requests("CreateQueue") - made
            found = max(watched.first_receive_after(back) or 99.0 for watched in apps)
            figures.must("failed receives of one", asked, 0 < asked <= math.ceil(long / 5), f"≤ {math.ceil(long / 5)}")
            figures.must("found again after", found, found <= 61, "≤ 60 s")
            figures.must("created by the app", created, created == 0, "0")
            handled = sum(len(watched.handled) for watched in apps)
            figures.must("handled after", handled, handled == 3, "3")

    with rig(scale) as on:
        asyncio.run(go(on))
    return figures
