"""Durations and times as a command takes them, `5m` or `2026-11-28T20:00`: what `type=` of an option is."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

__all__ = ["duration", "past", "time"]

SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")


def duration(text: str) -> float:
    """Return the seconds of a duration such as `90`, `5m`, `1h30m` or `2d`."""
    written = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", written):
        return float(written)
    if not written or PART.sub("", written).strip():
        raise click.BadParameter(f"{text!r} is no duration: write 90 (seconds), 5m, 1h30m, 2d or 1w")
    return sum(float(number) * SECONDS[unit] for number, unit in PART.findall(written))


def time(text: str) -> datetime:
    """Return a time with a zone; one that names none is in the zone of this machine."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: write 2026-11-28T20:00 (in this machine's zone) or 2026-11-28T20:00+00:00"
        ) from None


def past(text: str) -> datetime:
    """Return a time as `time` does, or that of a duration ago: `2h` is two hours ago."""
    try:
        return datetime.now(UTC) - timedelta(seconds=duration(text))
    except click.BadParameter:
        return time(text)
