"""The log lines of src/dawdle as `docs/reference/log-messages.md` lists them: reads both, and rewrites the page.

    python -m tests.docs.log_messages

puts the page in order. What the page says of a line stays with it when the line moves to another module or is reworded;
a line that is new is marked, to be written by hand.
"""

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PAGE = ROOT / "docs" / "reference" / "log-messages.md"

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
    "failure": "WARNING or ERROR",  # of dawdle._log: an error if nothing is tried again
}
NO_LINES = {"addHandler", "hasHandlers", "shows", "isEnabledFor"}
"""What else a module may ask of its logger."""

MAKES_A_LOGGER = {"Log", "EventLog", "getLogger"}
VALUES = re.compile(r"(?:%[-#0 +]*\d*(?:\.\d+)?[sradfg])+")
HEADING = re.compile(r"^## `(?P<logger>[\w.]+)`$")
TERM = re.compile(r"^(?P<level>[A-Z][A-Za-z ]+) `(?P<text>[^`]+)`$")
UNWRITTEN = ": Cause: WRITE ME\n: Cure: WRITE ME"
SIMILAR = 0.4
"""How like an old text a new one is, from 0 to 1, to take over what the page said of it."""


class Line(NamedTuple):
    """One line that may be logged; `…` stands for each value in it."""

    logger: str
    level: str
    text: str


class UnreadableLineError(Exception):
    """A log call whose text is not written where the call is."""


def lines_of_source() -> list[Line]:
    """Return every line that src/dawdle may log, each once, in the order of the page: by logger, then by text."""
    found: set[Line] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if name != "dawdle._log":  # the class itself
            found.update(lines_of(name, path.read_text(encoding="utf-8")))
    return sorted(found, key=lambda line: (line.logger, line.text.lstrip("… ").lower()))


def lines_of(logger: str, source: str) -> Iterator[Line]:
    """Yield what one module logs. Raises where that cannot be read: a text made elsewhere, a logger handed on."""
    tree = ast.parse(source)
    read: set[ast.expr] = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        # `_log.warning("…")`, and also `act(_log.warning, "…")`, which calls it in another thread
        for method, text in zip([call.func, *call.args], [*call.args, None], strict=False):
            if _is_of_logger(method):
                read.add(method)
                if method.attr not in NO_LINES:
                    yield Line(logger, LEVELS[method.attr], _text(logger, method, text))
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "_log"]
    for use in uses:
        if isinstance(use.ctx, ast.Load) and not any(use is method.value for method in read):
            raise UnreadableLineError(f"{logger}, line {use.lineno}: call the logger itself, or the page misses a line")
    if not uses and any(_makes_logger(node) for node in ast.walk(tree)):
        raise UnreadableLineError(f"{logger}: call its logger _log, as the other modules do")


def _is_of_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_log"


def _makes_logger(node: ast.AST) -> bool:
    made = node.func if isinstance(node, ast.Call) else None
    return (made.id if isinstance(made, ast.Name) else getattr(made, "attr", None)) in MAKES_A_LOGGER


def _text(logger: str, method: ast.Attribute, node: ast.expr | None) -> str:
    text = VALUES.sub("…", str(node.value)) if isinstance(node, ast.Constant) else ""
    if not re.search(r"[a-z]{3,}", text):
        raise UnreadableLineError(
            f"{logger}, line {method.lineno}: write the text of the line in the call itself, with a word to search for"
        )
    return text


def entries_of(page: str) -> dict[Line, str]:
    """Return the lines that a page lists, each with what the page says of it."""
    logger, line = "", None
    found: dict[Line, list[str]] = {}
    for row in page.splitlines():
        if heading := HEADING.match(row):
            logger, line = heading["logger"], None
        elif logger and (term := TERM.match(row)):
            line = Line(logger, term["level"], term["text"])
            found[line] = []
        elif line is not None:
            found[line].append(row)
    return {line: "\n".join(rows).strip() for line, rows in found.items()}


def written(lines: list[Line], entries: dict[Line, str]) -> str:
    """Return lines as the page lists them, with what its entries say; a reworded line keeps what was said of it."""
    left = {line: said for line, said in entries.items() if line not in lines}
    parts: list[str] = []
    for logger, group in groupby(lines, key=lambda line: line.logger):
        parts.append(f"## `{logger}`")
        parts += [f"{line.level} `{line.text}`\n{entries.get(line) or _taken_over(line, left)}" for line in group]
    return "\n\n".join(parts) + "\n"


def _taken_over(line: Line, left: dict[Line, str]) -> str:
    """Return what was said of a line that is gone and most like this one, in the same module if there is one."""
    here = {old.text: old for old in left if old.logger == line.logger}
    anywhere = {old.text: old for old in left}
    for known in (here, anywhere):
        for text in get_close_matches(line.text, known, 1, SIMILAR):
            return left.pop(known[text])
    return UNWRITTEN


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines, entries = lines_of_source(), entries_of(page)
    head = page.partition("\n## `")[0].rstrip()
    PAGE.write_text(f"{head}\n\n{written(lines, entries)}", encoding="utf-8")
    old, new = [line for line in entries if line not in lines], [line for line in lines if line not in entries]
    moved = {line.text for line in old} & {line.text for line in new}
    print(f"the page lists {len(lines)} lines: {len(new) - len(moved)} new or reworded, {len(moved)} moved")
    for line in new:
        if line.text not in moved:
            print(f"new or reworded, so look at its cause and cure: {line.logger} {line.text}")
    for line in old:
        if line.text not in moved:
            print(f"gone: {line.logger} {line.text}")


if __name__ == "__main__":
    main()
