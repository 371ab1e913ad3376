"""What it costs to read each event back before it is stored, beside the rest of sealing and of `signal`, in memory.

    python tests/bench/read_back.py [--rounds 15]

Each event is sealed with and without the check, and signaled with and without it, in rounds that alternate. The best
of each is printed, in microseconds an event: these machines are noisy, and noise only adds.
"""

import argparse
import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable

import attrs
import msgspec
import pydantic

import dawdle
from dawdle._rules import codec as codec_module
from dawdle._rules.codec import seal
from dawdle.backends.memory import Memory


class Struct(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0
    email: str | None = None
    counts: list[int] = []
    is_paid: bool = True


@dataclasses.dataclass(frozen=True)
class Data:
    order_id: str
    total: int = 0
    email: str | None = None
    counts: list[int] = dataclasses.field(default_factory=list)
    is_paid: bool = True


@attrs.frozen
class Attrs:
    order_id: str
    total: int = 0
    email: str | None = None
    counts: list[int] = attrs.field(factory=list)
    is_paid: bool = True


class Model(pydantic.BaseModel):
    order_id: str
    total: int = 0
    email: str | None = None
    counts: list[int] = []
    is_paid: bool = True


class StructLine(msgspec.Struct):
    sku: str
    count: int


@dataclasses.dataclass
class DataLine:
    sku: str
    count: int


class ModelLine(pydantic.BaseModel):
    sku: str
    count: int


class ManyStructs(msgspec.Struct):
    lines: list[StructLine]


@dataclasses.dataclass
class ManyData:
    lines: list[DataLine]


class ManyModels(pydantic.BaseModel):
    lines: list[ModelLine]


class Open(msgspec.Struct):
    value: object


FIELDS = {"order_id": "o-1", "total": 5, "email": "a@b.c", "counts": [1, 2, 3]}
LINES = [{"sku": f"sku-{number}", "count": number} for number in range(1000)]
SMALL = [Struct(**FIELDS), Data(**FIELDS), Attrs(**FIELDS), Model(**FIELDS), Open(FIELDS)]
LARGE = [
    ManyStructs([StructLine(**each) for each in LINES]),
    ManyData([DataLine(**each) for each in LINES]),
    ManyModels(lines=[ModelLine(**each) for each in LINES]),
    Open(LINES),
]
CHECK = codec_module._require_round_trip


def without(*_: object) -> None:
    """Stand in for the check."""


def sealing(event: object, codec: dawdle.abc.Codec, times: int) -> Callable[[], float]:
    """Return a measurement of `seal`, in microseconds an event."""
    options = {"wire_name": "x", "event_id": "e" * 32, "source": "shop", "now": 1.75e9, "headers": {}}

    def measure() -> float:
        started = time.process_time()
        for _ in range(times):
            seal(event, codec=codec, delay_ms=0, cause=None, max_body=1 << 20, **options)
        return (time.process_time() - started) / times * 1e6

    return measure


def signaling(event: object, codec: dawdle.abc.Codec, times: int) -> Callable[[], float]:
    """Return a measurement of `signal_many` into memory, in microseconds an event."""

    async def signal_all() -> float:
        async with dawdle.Dawdle(Memory(), registry=dawdle.Registry(), codec=codec) as app:
            started = time.process_time()
            await app.signal_many([event] * times)
            return (time.process_time() - started) / times * 1e6

    return lambda: asyncio.run(signal_all())


def best_of(measure: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Return the best without the check and with it."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds * 2):
        is_checked = bool(number % 2)
        codec_module._require_round_trip = CHECK if is_checked else without
        found[is_checked].append(measure())
    codec_module._require_round_trip = CHECK
    return min(found[False]), min(found[True])


def main() -> None:
    """Print a line for each event and codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    print(f"{'event':12} {'codec':12} {'seal':>8} {'checked':>8}   {'signal':>8} {'checked':>8}   more")
    for event in (*SMALL, *LARGE):
        times = 1000 if event in SMALL else 5
        for codec in (dawdle.JSON(), dawdle.MessagePack()):
            bare, checked = best_of(sealing(event, codec, times), rounds)
            signal, signal_checked = best_of(signaling(event, codec, times), rounds)
            print(
                f"{type(event).__name__:12} {type(codec).__name__:12} {bare:8.2f} {checked:8.2f}   "
                f"{signal:8.2f} {signal_checked:8.2f}   {(checked - bare):.2f} us",
                flush=True,
            )


if __name__ == "__main__":
    main()
