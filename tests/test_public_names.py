"""Every public name is in `__all__`, says that it is dawdle's own, and explains itself, also after a pickle."""

import copy
import inspect
import pickle
import pydoc
import re
import traceback
import typing
from types import ModuleType

import msgspec
import pytest

import dawdle
import dawdle.errors
from dawdle import from_thread

MODULES = [name for name in dawdle.__all__ if isinstance(getattr(dawdle, name), ModuleType)]
NAMES = [name for name in dawdle.__all__ if name not in {*MODULES, "default_registry"}]
CLASSES = [getattr(dawdle, name) for name in NAMES if isinstance(getattr(dawdle, name), type)]
SIGNALING = [dawdle.signal, dawdle.signal_many, from_thread.signal, from_thread.signal_many, dawdle.event]


def test_all_holds_every_public_name():
    doors = {"aiohttp", "asgi", "aws_lambda", "cli", "fastapi"}
    modules = {"abc", "backends", "clock", "errors", "events", "hooks", "logs", "telemetry", "testing"}
    assert {name for name in vars(dawdle) if not name.startswith("_")} - modules - doors == set(dawdle.__all__)


@pytest.mark.parametrize("name", dawdle.__all__)
def test_a_public_name_has_a_docstring_and_says_that_it_is_dawdle_s(name):
    value = getattr(dawdle, name)
    assert inspect.getdoc(value)
    assert (value.__name__ if isinstance(value, ModuleType) else f"{value.__module__}.{name}") == f"dawdle.{name}"


def test_help_shows_every_public_name_and_no_private_module_of_one():
    text = pydoc.plain(pydoc.render_doc(dawdle))
    for name in NAMES:
        assert re.search(rf"^    (class |async )?{name}(\(| = |$)", text, re.MULTILINE), name
    assert "from_thread" in text
    assert not [name for name in NAMES for module in ("_app", "_rules", "errors") if f"{module}.{name}(" in text]


@pytest.mark.parametrize("function", SIGNALING, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_a_docstring_names_every_option_and_the_signature_has_them_typed(function):
    options = [
        each for each in inspect.signature(function).parameters.values() if each.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert options
    for option in options:
        assert f"`{option.name}" in (function.__doc__ or "")
        assert option.annotation is not inspect.Parameter.empty
    assert not [each for each in inspect.signature(function).parameters.values() if each.kind is each.VAR_KEYWORD]


def test_the_docstring_of_on_event_names_every_option():
    hints = typing.get_type_hints(type(dawdle.on_event.__self__).on_event)
    for option in typing.get_args(hints["options"])[0].__annotations__:
        assert f"- `{option}`" in (dawdle.on_event.__doc__ or "")


def test_the_docstrings_of_functions_name_every_option_and_calls_have_those_of_signal():
    for described, hints in [
        (dawdle.function, typing.get_type_hints(type(dawdle.function.__self__).function)),
        (dawdle.Function.options, typing.get_type_hints(dawdle.Function.options)),
    ]:
        options = typing.get_args(hints["options"])[0].__annotations__
        for option in options:
            assert f"- `{option}`" in (described.__doc__ or "")
    assert list(options) == [
        name for name, each in inspect.signature(dawdle.signal).parameters.items() if each.kind is each.KEYWORD_ONLY
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if not inspect.ismethod(getattr(dawdle, name))])
def test_a_public_name_is_pickled_by_the_name_that_a_reader_writes(name):
    value = getattr(dawdle, name)
    data = pickle.dumps(value)
    assert b"dawdle" in data
    assert b"dawdle." not in data
    assert pickle.loads(data) is value


@pytest.mark.parametrize(
    "error",
    [
        dawdle.BackendError("no", kind="throttled", uncertain=True),
        dawdle.ConfigurationError("no"),
        dawdle.NoAppError("no"),
        dawdle.NotAnEventError("no"),
        dawdle.Reject("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_pickled_and_copied_and_its_traceback_says_dawdle(error):
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == ("no", vars(error))
    assert traceback.format_exception_only(error) == [f"dawdle.{type(error).__name__}: no\n"]


@pytest.mark.parametrize(
    "value",
    [
        dawdle.Retry(max_attempts=3, never=(ValueError,)),
        dawdle.Health(healthy=False, reasons=("why",)),
        dawdle.LongRunning(handler="a.b", runs=1, seconds=61.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_pickled_and_copied_and_can_be_changed(value):
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), msgspec.structs.replace(value)):
        assert type(twin) is type(value)
        assert twin == value


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_type_hints_of_a_class_are_found_in_the_module_that_it_names(kind):
    typing.get_type_hints(kind)
    assert repr(kind) == f"<class 'dawdle.{kind.__name__}'>"


def test_a_handler_and_an_event_type_are_called_as_their_own_module_calls_them():
    class Placed(msgspec.Struct):
        number: int = 0

    registry = dawdle.Registry()

    @registry.on_event(Placed)
    def handle(event: Placed) -> None: ...

    (handler,) = registry
    assert handler.name == f"{__name__}.{handle.__qualname__}".replace(".<locals>", "")
    assert dawdle.events.wire_name(Placed) == Placed.__qualname__
    assert dawdle.events.wire_name(dawdle.Retry) == "Retry"
