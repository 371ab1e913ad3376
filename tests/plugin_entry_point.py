"""Whether pytest finds dawdle's plugin by itself: it does where dawdle is installed, and not in a bare checkout."""

from importlib.metadata import entry_points


def plugin_is_installed():
    return any(each.value == "pytest_dawdle" for each in entry_points(group="pytest11"))
