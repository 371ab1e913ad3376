"""The first table as a picture: an SVG that is legible on a phone, by day and by night."""

from html import escape
from typing import Final

from tests.bench.findings import Findings, RowFinding

WIDTH: Final = 360
_LEFT: Final = 104
"""Where bars begin; names stand before it."""

_LONGEST: Final = 180
_BAR: Final = 13
_STEP: Final = 18
_TITLE: Final = 24
_GAP: Final = 12

STYLE: Final = """
    text { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .name { text-anchor: end }
    .note { font-size: 11.5px; fill: #59636e }
    .card { fill: #f6f8fa; stroke: #d1d9e0 }
    .ours { fill: #0969da }
    .theirs { fill: #afb8c1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .card { fill: #151b23; stroke: #3d444d }
      .ours { fill: #4493f8 }
      .theirs { fill: #656c76 }
    }
"""


def plot(found: Findings) -> str:
    """Return the SVG: a group of bars for each row of the first table, each group to its own scale."""
    rows = [row for row in found.rows if "/" not in row.row.name and row.contestants]
    parts, y = [], 14
    for row in rows:
        drawn, y = group(row, y)
        parts.extend(drawn)
    note = f"{found.date}, {found.machine['python']}; each group to its own scale"
    parts.append(f'<text class="note" x="14" y="{y + 12}">{escape(note)}</text>')
    height = y + 26
    told = " ".join(tell(row) for row in rows)
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * 1.3:.0f}" height="{height * 1.3:.0f}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">\n'
        f'  <title id="title">What an event costs, in CPU of the client</title>\n'
        f'  <desc id="desc">{escape(told)}</desc>\n'
        f"  <style>{STYLE}  </style>\n"
        f'  <rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
        f"  {body}\n</svg>\n"
    )


def group(row: RowFinding, y: int) -> tuple[list[str], int]:
    title = row.row.title.replace("`", "")
    parts = [f'<text class="head" x="14" y="{y + 14}">{escape(title)}</text>']
    longest = max(its.value for its in row.contestants.values())
    y += _TITLE
    for name, its in row.contestants.items():
        length = max(1.5, its.value / longest * _LONGEST)
        kind = "ours" if name == "dawdle" else "theirs"
        parts += [
            f'<text class="name" x="{_LEFT - 8}" y="{y + 11}">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{y + 11}">{its.value:,.3g} {row.row.unit}</text>'
            if its.value < 1000
            else f'<text x="{_LEFT + length + 6:.1f}" y="{y + 11}">{its.value:,.0f} {row.row.unit}</text>',
        ]
        y += _STEP
    return parts, y + _GAP


def tell(row: RowFinding) -> str:
    each = ", ".join(f"{name} {its.value:,.1f}" for name, its in row.contestants.items())
    unit = {"µs": "microseconds an event", "ms": "milliseconds", "B": "bytes"}[row.row.unit]
    return f"{row.row.title.replace('`', '')}, in {unit}: {each}."
