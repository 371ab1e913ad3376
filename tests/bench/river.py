"""What one event costs from signal to settle, in memory, as a ratio to a bare `create_task` of the same run.

    python tests/bench/river.py [--events 20000] [--rounds 5]

200 tasks signal one event after another; each event is sealed, stored, received, opened, handled and acked. The
bare task is the least that anything concurrent costs here. Rounds alternate, and the best of each kind is printed:
these machines are noisy, and noise only adds.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec

import dawdle
from dawdle.backends.memory import Memory

SIGNALERS = 200


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0


async def bare_tasks(events: int) -> float:
    """Return the seconds that it takes to start and await so many tasks that do nothing, 200 at a time."""

    async def nothing() -> None: ...

    async def worker() -> None:
        for _ in range(events // SIGNALERS):
            await asyncio.create_task(nothing())

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(SIGNALERS)))
    return time.perf_counter() - started


def river(handlers: int) -> Callable[[int], Awaitable[float]]:
    """Return a measurement of events with so many handlers each."""

    async def measure(events: int) -> float:
        registry, runs, done = dawdle.Registry(), 0, asyncio.Event()

        def add(number: int) -> None:
            @registry.on_event(OrderPlaced, name=f"handler-{number}")
            async def handler(event: OrderPlaced) -> None:
                nonlocal runs
                runs += 1
                if runs == events * handlers:
                    done.set()

        for number in range(handlers):
            add(number)

        async with dawdle.Dawdle(Memory(), registry=registry, concurrency=SIGNALERS) as app:

            async def signaler() -> None:
                for number in range(events // SIGNALERS):
                    await app.signal(OrderPlaced("o-1", number))

            started = time.perf_counter()
            await asyncio.gather(*(signaler() for _ in range(SIGNALERS)))
            await done.wait()
            await app.idle()
            return time.perf_counter() - started

    return measure


async def main(events: int, rounds: int) -> None:
    kinds: dict[str, Callable[[int], Awaitable[float]]] = {
        "bare create_task": bare_tasks,
        "one handler": river(1),
        "three handlers": river(3),
    }
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(rounds):
        for name, measure in kinds.items():
            best[name] = min(best[name], await measure(events))
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(f"Python {sys.version.split()[0]}, {loop}, {events} events, best of {rounds}")
    for name, seconds in best.items():
        print(f"{name:18} {seconds / events * 1e6:8.1f} µs an event {seconds / best['bare create_task']:8.1f} ×")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(arguments.events // SIGNALERS * SIGNALERS, arguments.rounds))
