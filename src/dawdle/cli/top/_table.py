"""Tables of a fixed width: a column that does not fit is left out, the least important first. Pure; knows no terminal.

Lines are tuples of spans, a text and a style in rich's words. They are drawn by rich in a pipe and in pictures, and by
`_screen` in a terminal ten times a second. There rich's `Live` takes 1.8 ms for the same lines, and 5 ms with tables of
its own; this takes 0.2 ms.
"""

from collections.abc import Container, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

__all__ = ["Cell", "Column", "Line", "Span", "clipped", "size_of", "table"]

GAP: Final = 2
"""Blanks between two columns."""

MIN_NAME: Final = 20
"""Characters that a name keeps."""


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""


Line = tuple[Span, ...]
Cell = Span
"""What stands in a column: its text, not yet of the column's width."""


class Column(NamedTuple):
    """A column of figures. The first column of a table is its name: never left out, cut if it must be."""

    title: str
    rank: int = 0
    """Which one is left out first: the highest."""

    is_text: bool = False
    """Whether it stands at the left, as words do; figures stand at the right."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[Line]:
    """Return a title line and a line for each row, none of them wider than `width`."""
    titles = tuple(Span(column.title, "bold") for column in columns)
    sizes = [[size_of(cell.text) for cell in row] for row in (titles, *rows)]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    shown, widths[0] = _fitting(columns, widths, width)
    texts = {at for at in shown if columns[at].is_text}
    return [_line(row, size, shown, widths, texts) for row, size in zip((titles, *rows), sizes, strict=True)]


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> tuple[list[int], int]:
    """Return which columns fit, and how wide the name may be."""
    shown = list(range(len(columns)))
    while True:
        others = sum(widths[at] + GAP for at in shown[1:])
        if width - others >= min(widths[0], MIN_NAME) or len(shown) == 1:
            return shown, max(1, min(widths[0], width - others))
        shown.remove(max(shown[1:], key=lambda at: (columns[at].rank, at)))


def _line(
    cells: Sequence[Cell], sizes: Sequence[int], shown: Sequence[int], widths: Sequence[int], texts: Container[int]
) -> Line:
    spans = [Span(_name(cells[0].text, widths[0]), cells[0].style)]
    for at in shown[1:]:
        text, style = cells[at]
        blanks = " " * (GAP + widths[at] - sizes[at])
        if at in texts:
            spans.append(Span(" " * GAP + text + blanks[GAP:], style))
        elif style:
            spans += (Span(blanks), Span(text, style))
        else:
            spans.append(Span(blanks + text))
    return tuple(spans)


def size_of(text: str) -> int:
    """Return how many cells of a terminal a text takes: letters of some scripts take two."""
    return len(text) if text.isascii() else cell_len(text)


def _name(text: str, width: int) -> str:
    """Return a name of this width. A long one loses its beginning: names of one app begin alike and end differently."""
    if size_of(text) > width:
        kept = text[-(width - 1) :] if width > 1 else ""
        while cell_len(kept) > width - 1:  # letters that are two cells wide
            kept = kept[1:]
        text = f"…{kept}"
    return text + " " * (width - size_of(text))


def _cut(text: str, width: int) -> str:
    return set_cell_size(set_cell_size(text, max(0, width - 1)) + "…", width)


def clipped(line: Line, width: int) -> Line:
    """Return a line that ends at this width."""
    spans, left = list[Span](), width
    for span in line:
        size = size_of(span.text)
        if size > left:
            spans.append(Span(_cut(span.text, left), span.style))
            break
        spans.append(span)
        left -= size
    return tuple(spans)
