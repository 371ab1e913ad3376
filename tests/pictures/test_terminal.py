"""A picture shows what a command printed, in its colors, and asks no other site for anything."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminal of this kind", allow_module_level=True)

from tests.pictures.terminal import draw, printed

PROGRAM = "import sys; print('\\x1b[31mred\\x1b[0m', sys.stdout.isatty()); input()"


def test_what_a_command_prints_in_a_terminal_is_drawn(tmp_path):
    command = [sys.executable, "-c", PROGRAM]
    written = printed(command, columns=40, where=tmp_path, environment={}, until=lambda text: "True" in text)
    draw(written, tmp_path / "picture.svg", title="program", columns=40)
    picture = (tmp_path / "picture.svg").read_text()
    assert "red" in picture
    assert "program" in picture
    assert "url(http" not in picture


def test_a_command_that_ends_is_drawn_whole(tmp_path):
    written = printed([sys.executable, "-c", "print('done')"], columns=40, where=tmp_path, environment={})
    assert written.strip() == "done"
