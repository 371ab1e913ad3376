"""The page of the command has every command and option, as they are."""

from tests.docs.command_page import PAGE, page


def test_the_page_of_the_command_is_what_the_commands_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.docs.command_page"
