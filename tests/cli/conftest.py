"""A directory with an app in it, as the user of a command has it, and the command in this process."""

import sys
from weakref import WeakValueDictionary

import pytest

from dawdle import events
from tests.cli.command import Cli


@pytest.fixture(autouse=True)
def declares_for_itself(monkeypatch):
    """Keep the types of a shop that a test makes from the tests after it: they live until they are collected."""
    monkeypatch.setattr(events, "_declared", WeakValueDictionary(events._declared))


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run commands in an empty directory. What they import is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.setattr(events, "_declared", WeakValueDictionary())  # what other tests have declared
    before = set(sys.modules)
    yield Cli(tmp_path)
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(str(place).startswith(str(tmp_path)) for place in places):
            del sys.modules[name]
