"""How figures are written in a table: short, and of a width that does not jump. Values in, text out."""

from typing import Final

__all__ = ["UNKNOWN", "age", "count", "dollars", "memory", "plain", "rate", "seconds"]

UNKNOWN: Final = "-"


def plain(text: str) -> str:
    """Return a text that others wrote without what a terminal would obey: new lines, escape sequences."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "�" for each in text)


def count(value: int | None) -> str:
    """Write a whole number: `1,204`."""
    return UNKNOWN if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """Write how many, of a second or of an event: `0.04`, `3.0`, `412`, `1,204`."""
    if value is None:
        return UNKNOWN
    if 0 < value < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Write a duration that is measured: `310 µs`, `3.1 ms`, `1.2 s`, `3m 12s`."""
    if value is None:
        return UNKNOWN
    if value >= 60:
        return age(value)
    number, unit = (value * 1e6, "µs") if value < 0.0009995 else (value * 1e3, "ms") if value < 0.9995 else (value, "s")
    return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"


def age(value: float | None) -> str:
    """Write a time that has passed: `7s`, `3m 12s`, `2h 5m`, `3d 4h`."""
    if value is None:
        return UNKNOWN
    whole = int(value)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part}{smaller}"
    return f"{whole}s"


def dollars(value: float | None) -> str:
    """Write dollars: `$0.05`, `$12.30`, `$1,204`."""
    if value is None:
        return UNKNOWN
    return f"${value:.2f}" if value < 100 else f"${value:,.0f}"


def memory(value: int) -> str:
    """Write bytes: `84 MB`, `1.2 GB`."""
    megabytes = value / 1e6
    return UNKNOWN if not value else f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
