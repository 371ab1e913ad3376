"""The panels of the Grafana dashboard, and their picture: an SVG of the figures of one run, by day and by night."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2] / "docs"
DASHBOARD: Final = DOCS / "grafana" / "dawdle.json"
RUN: Final = DOCS / "grafana" / "run.json"
SVG: Final = DOCS / "images" / "dashboard.svg"

WIDTH: Final = 360
"""Of the picture, so that it is legible on a phone: its graphs stand one below another, and not in Grafana's grid."""

_GAP: Final = 6
_GRAPH: Final = 124
_STAT: Final = 74
_COLOURS: Final = ("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#57606a")
_STYLE: Final = """
    text { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .note { font-size: 11px; fill: #59636e }
    .end { text-anchor: end }
    .big { font-size: 24px; text-anchor: middle }
    .card { fill: #f6f8fa; stroke: #d1d9e0 }
    .axis { stroke: #d1d9e0; fill: none }
    .line { fill: none; stroke-width: 1.4 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .card { fill: #151b23; stroke: #3d444d }
      .axis { stroke: #3d444d }
    }
"""

Series = dict[str, Any]


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


def draw(found: Sequence[Series]) -> str:
    """Return the picture of a run."""
    all_of_them = panels()
    stats = [panel for panel in all_of_them if panel["type"] == "stat"]
    graphs = [panel for panel in all_of_them if panel["type"] == "timeseries"]
    body: list[str] = []
    width = (WIDTH - _GAP) / len(stats)
    for number, panel in enumerate(stats):
        body += _stat(panel, _of(panel, found), _GAP / 2 + number * width, _GAP / 2, width - _GAP / 2)
    y = _STAT + _GAP
    for panel in graphs:
        body += _graph_panel(panel, _of(panel, found), y)
        y += _GRAPH + _GAP
    told = "; ".join(f"{panel['title']}: {panel['description']}" for panel in all_of_them)
    lines = "\n  ".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * 1.3:.0f}" height="{y * 1.3:.0f}" '
        f'viewBox="0 0 {WIDTH} {y}" role="img" aria-labelledby="title desc">\n'
        f'  <title id="title">The dashboard, with the figures of a run</title>\n'
        f'  <desc id="desc">{escape(told)}</desc>\n'
        f"  <style>{_STYLE}  </style>\n  {lines}\n</svg>\n"
    )


def _of(panel: dict[str, Any], found: Sequence[Series]) -> list[Series]:
    return [series for series in found if series["panel"] == panel["title"]]


def _card(panel: dict[str, Any], x: float, y: float, w: float, h: float) -> list[str]:
    return [
        f'<rect class="card" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="4"/>',
        f'<text class="head" x="{x + 7:g}" y="{y + 16:g}">{escape(panel["title"])}</text>',
    ]


def _stat(panel: dict[str, Any], series: list[Series], x: float, y: float, w: float) -> list[str]:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    values = " / ".join(_amount(each["points"][-1][1], unit) for each in series)
    h = _STAT - _GAP / 2
    return [*_card(panel, x, y, w, h), f'<text class="big" x="{x + w / 2:g}" y="{y + h - 20:g}">{values}</text>']


def _graph_panel(panel: dict[str, Any], series: list[Series], y: float) -> list[str]:
    x, w, unit = _GAP / 2, WIDTH - _GAP, panel["fieldConfig"]["defaults"]["unit"]
    return [
        *_card(panel, x, y, w, _GRAPH),
        *_graph(series, unit, x + 52, y + 26, w - 62, _GRAPH - 64),
        *_legend(series, x + 7, y + _GRAPH - 7, w),
    ]


def _graph(series: list[Series], unit: str, x: float, y: float, w: float, h: float) -> list[str]:
    top = max((value for each in series for _, value in each["points"]), default=0) * 1.05 or 1
    last = max((at for each in series for at, _ in each["points"]), default=1)
    parts = [f'<path class="axis" d="M{x:g} {y:g}V{y + h:g}H{x + w:g}"/>']
    for share in (0, 0.5, 1):
        at = y + h * (1 - share)
        parts.append(f'<text class="note end" x="{x - 4:g}" y="{at + 3:.1f}">{_amount(top * share, unit)}</text>')
    parts += [
        f'<text class="note" x="{x:g}" y="{y + h + 12:g}">0 s</text>',
        f'<text class="note end" x="{x + w:g}" y="{y + h + 12:g}">{last} s</text>',
    ]
    for number, each in enumerate(series):
        points = " ".join(f"{x + w * at / last:.1f},{y + h * (1 - value / top):.1f}" for at, value in each["points"])
        parts.append(f'<polyline class="line" stroke="{_colour(number)}" points="{points}"/>')
    return parts


def _legend(series: list[Series], x: float, y: float, width: float) -> list[str]:
    parts, left = [], x
    for number, each in enumerate(series):
        name = name_of(each)
        if left + 6.4 * len(name) > x + width - 20:
            break
        parts.append(f'<rect x="{left:g}" y="{y - 8:g}" width="8" height="8" fill="{_colour(number)}"/>')
        parts.append(f'<text class="note" x="{left + 11:g}" y="{y:g}">{escape(name)}</text>')
        left += 22 + 6.2 * len(name)
    return parts


def name_of(series: Series) -> str:
    """Return the name of a series, as Grafana makes it of the legend."""
    name = series["legend"]
    for label, value in series["labels"].items():
        name = name.replace("{{" + label + "}}", value)
    return name


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _amount(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.0f} %"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if 0 < value < 1 else f"{value:.3g} s"
    return f"{value:.3g}" + ("/s" if unit in {"ops", "reqps"} else "")
