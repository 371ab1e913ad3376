"""Registering functions: what is taken, under which name, and how a call is bound to its parameters."""

import functools
import gc
import weakref
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dawdle
from dawdle import ArgumentError, Context, Function, Registry, Retry
from dawdle.errors import ConfigurationError
from dawdle.events import wire_name

if TYPE_CHECKING:
    from decimal import Decimal


class A(msgspec.Struct):
    a: int = 0


def made(name="resize", module="shop.images"):
    """Return a new function of this module and name."""

    async def resize(path: str, width: int = 64):
        return path, width

    resize.__qualname__, resize.__module__ = name, module
    return resize


def executed(register):
    """Register as a module does that is executed: each time anew."""
    names = {"__name__": "shop.images", "__file__": "shop/images.py", "register": register}
    exec(compile("register()", "shop/images.py", "exec"), names)


def names(registry):
    return [handler.name for handler in registry]


def test_a_function_has_its_module_and_qualified_name():
    registry = Registry()
    resize = registry.function(made())
    (handler,) = registry
    assert isinstance(resize, Function)
    assert (resize.name, handler.name) == ("shop.images.resize", "shop.images.resize")
    assert [wire_name(event_type) for event_type in handler.types] == ["call:shop.images.resize"]
    assert (handler.is_async, handler.takes_context, handler.is_function) == (True, False, True)


def test_its_options_are_those_of_its_handler():
    registry = Registry()
    options = {"name": "r", "aliases": ("old",), "retry": Retry(3), "timeout": 5, "concurrency": 2, "queue": "heavy"}
    resize = registry.function(**options)(made())
    (handler,) = registry
    assert resize.name == "r"
    assert {name: getattr(handler.options, name) for name in options} == options
    assert handler.names == ("r", "old")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"nam": "x"},
            "a function has no option nam; its options are name, aliases, retry, timeout, concurrency, queue, around",
        ),
        ({"exclude": (A,)}, "a function has no option exclude"),
        ({"name": "no name"}, "a handler's name is 1 to 200 of letters"),
        ({"aliases": "old"}, "aliases is a sequence of names"),
        ({"retry": 3}, r"retry is a dawdle.Retry\(…\), not 3"),
        ({"timeout": -1}, "timeout is more than 0"),
        ({"concurrency": 0}, "concurrency is a whole number of 1 or more"),
        ({"queue": 5}, "queue is the name of a queue of the app"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options, text):
    registry = Registry()
    with pytest.raises(ConfigurationError, match=text):
        registry.function(**options)(made())
    assert names(registry) == []


def several():
    yield 1


async def several_async():
    yield 1


class Service:
    async def work(self, number: int): ...

    @classmethod
    async def make(cls, number: int): ...

    def __call__(self, number: int): ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: 1, "is a lambda, which has no name by which another process could find it: write a `def`"),
        (A, "A is a class: write a `def` or `async def` of its own at the top of a module"),
        (functools.partial(made()), "is a partial"),
        (Service().work, "Service.work is a method"),
        (vars(Service)["make"], "is a method"),
        (Service.work, "takes self, so it is a method, and no object travels with a call"),
        (len, "len is a function in C"),
        (Service(), "is an object of the type Service"),
        (several, "several is a generator, and a call runs it once: remove the yield"),
        (several_async, "several_async is a generator"),
        (5, "is an object of the type int"),
    ],
)
def test_what_no_other_process_could_find_is_refused_with_what_to_write(function, text):
    registry = Registry()
    with pytest.raises(ConfigurationError, match=text):
        registry.function(function)
    with pytest.raises(ConfigurationError, match=text):
        registry.function()(function)
    assert names(registry) == []


def test_a_lambda_with_a_name_and_a_static_method_are_functions():
    registry = Registry()
    registry.function(name="double")(lambda number: 2 * number)

    class Images:
        @registry.function(name="resize")
        @staticmethod
        async def resize(path: str):
            return path

    assert names(registry) == ["double", "resize"]
    assert isinstance(Images().resize, Function)


def test_an_annotation_may_be_text_and_name_what_is_local():
    class Local(msgspec.Struct):
        b: int

    registry = Registry()

    @registry.function(name="one")
    async def one(event: "Local", ctx: "Context | None" = None): ...

    @registry.function
    async def other(event: "Local"): ...

    assert one.signature.bind((Local(1),), {}).event == Local(1)
    assert str(one.signature).startswith("one(event: ")
    assert "ctx" not in str(one.signature)
    assert other.signature.bind((Local(1),), {}).event == Local(1)


def test_an_annotation_that_only_a_type_checker_knows_is_refused_with_its_parameter():
    async def pay(amount: "Decimal"): ...

    with pytest.raises(
        ConfigurationError, match=r"the annotation 'Decimal' of its parameter amount names no type .*TYPE"
    ):
        Registry().function(pay)


async def required(number: int, ctx: Context): ...
async def twice(*, a: Context | None = None, b: Context | None = None): ...
async def in_between(number: int, ctx: Context | None = None, width: int = 5): ...
async def before_rest(number: int, ctx: Context | None = None, *rest: int): ...
async def by_place(number: int, ctx: Context | None = None, /): ...
async def several_contexts(*ctx: Context): ...


@pytest.mark.parametrize("function", [required, twice, in_between, before_rest, by_place, several_contexts])
def test_a_context_that_a_caller_would_have_to_pass_or_to_step_over_is_refused(function):
    text = r"its parameter (ctx|a) gets the dawdle.Context, .* as the last one, `\*, (ctx|a): dawdle.Context \| None = "
    with pytest.raises(ConfigurationError, match=text):
        Registry().function(function)


def test_another_function_under_a_taken_name_is_refused():
    registry = Registry()
    registry.function(name="work")(made("one"))
    with pytest.raises(
        ConfigurationError, match="the handler name 'work' is taken by one .*: give two .* another name"
    ):
        registry.function(name="work")(made("two"))
    with pytest.raises(ConfigurationError, match="the handler name 'work' is taken"):
        registry.on_event(A, name="work")(made("three"))
    other = Registry()
    other.on_event(A, name="old")(made("four"))
    other.include(registry)
    with pytest.raises(ConfigurationError, match="both have old as a name or an alias"):
        registry.function(name="new", aliases=["old"])(made("five"))
    assert names(other) == ["old", "work"]


def test_a_registered_function_is_no_handler_of_events():
    registry = Registry()
    resize = registry.function(made())
    text = "resize is a function for dawdle.call, and a call is no event"
    with pytest.raises(ConfigurationError, match=text):
        registry.on_event(resize)
    with pytest.raises(ConfigurationError, match=text):
        registry.on_event(A)(resize)
    with pytest.raises(ConfigurationError, match=text):
        dawdle.Dawdle(registry=registry).register(resize, A)


def test_what_a_function_has_of_its_own_hides_nothing_of_dawdle():
    function = made()
    function.options = function.name = "own"
    resize = Registry().function(function)
    assert resize.name == "shop.images.resize"
    assert resize.options(delay=1).call_options == {"delay": 1}


def test_a_function_whose_module_is_executed_again_replaces_itself():
    registry = Registry()
    for width in range(3):
        executed(lambda width=width: registry.function(concurrency=width + 1)(made()))
    (handler,) = registry
    assert handler.options.concurrency == 3


def test_a_factory_that_runs_twice_makes_two_functions():
    registry = Registry()

    def register():
        registry.function(made())
        registry.function(made())

    with pytest.raises(ConfigurationError, match="was registered twice, by a factory, a loop or a decorator"):
        executed(register)


def test_one_function_may_be_registered_twice_and_in_two_registries():
    app, shop, function = Registry(), Registry(), made()
    resize = app.function(function)
    app.function(timeout=5, aliases=["old"])(function)
    shop.function(resize)
    app.include(shop)
    assert {each.options.timeout for each in app} == {5, None}
    assert len({each.types for each in app}) == 1
    assert shop.function(name="mine")(resize).name == "mine"
    with pytest.raises(ConfigurationError, match="has both timeout=5.0 and timeout=6.0"):
        app.function(timeout=6)(function)


def test_a_function_that_is_gone_leaves_no_type_behind():
    def register():
        function = made()
        return weakref.ref(function), weakref.ref(Registry().function(function).signature.call_type)

    function, call_type = register()
    gc.collect()
    assert (function(), call_type()) == (None, None)


def test_the_wire_name_of_a_call_is_taken_by_no_event():
    for name in ("call:shop.images.resize", "pickled:3.12"):
        with pytest.raises(ConfigurationError, match="begins as those of calls do"):
            dawdle.event(name)(A)
        with pytest.raises(ConfigurationError, match="begins as those of calls do"):
            dawdle.event("a", aliases=[name])(A)


@Registry().function
async def importable(path: str): ...


def test_a_function_is_pickled_by_its_module_and_name():
    import pickle

    assert pickle.loads(pickle.dumps(importable)) is importable
    later = pickle.loads(pickle.dumps(importable.options(delay=5)))
    assert (later.signature, later.call_options) == (importable.signature, {"delay": 5})
    with pytest.raises(TypeError, match="function shop.images.resize is not at the top of a module"):
        pickle.dumps(Registry().function(made()))


# Binding

NUMBERS = st.integers(-(2**63), 2**63)
ARGUMENTS = st.lists(NUMBERS, max_size=5), st.dictionaries(st.sampled_from(["a", "b", "c", "d", "x", "self"]), NUMBERS)


def every(a, /, b=1, *rest, c, d=4, **more):
    return a, b, rest, c, d, more


def some(a, b=2, *, c=3):
    return a, b, c


def by_position(a=1, b=2, /):
    return a, b


@pytest.mark.parametrize("function", [every, some, by_position])
@given(*ARGUMENTS)
def test_a_call_binds_as_python_does_and_runs_as_the_plain_function(function, args, kwargs):
    registered = Registry().function(name="f")(function)
    try:
        expected = function(*args, **kwargs)
    except TypeError:
        with pytest.raises(ArgumentError, match=r"^cannot call f: .*\. It is f\("):
            registered.signature.bind(args, kwargs)
        return
    call = registered.signature.bind(args, kwargs)
    for codec in (dawdle.JSON(), dawdle.MessagePack()):
        read = codec.decode(codec.encode(call), type(call))
        assert read == call
        positional, named = registered.signature.arguments(read)
        assert function(*positional, **named) == expected


@pytest.mark.parametrize(("function", "data"), [(by_position, b'{"b":1}'), (every, b'{"a":1,"rest":[5],"c":1}')])
def test_a_foreign_call_in_which_an_argument_would_move_is_refused(function, data):
    registered = Registry().function(name="f")(function)
    call = dawdle.JSON().decode(data, registered.signature.call_type)
    with pytest.raises(
        TypeError, match=r"this call of f\(.*\) has no argument [ab], and one after it goes by its place"
    ):
        registered.signature.arguments(call)


class More(TypedDict):
    height: int


def starred(*sizes: *tuple[int, str], **more: Unpack[More]): ...
def spelled(*sizes: Unpack[tuple[int, str]], **more: Unpack[More]): ...  # noqa: UP044


@pytest.mark.parametrize("function", [starred, spelled])
def test_unpacked_arguments_have_their_own_types(function):
    call_type = Registry().function(function).signature.call_type
    assert dawdle.JSON().decode(b'{"sizes":[1,"a"],"more":{"height":1}}', call_type).more == {"height": 1}
    with pytest.raises(dawdle.EventError, match=r"Expected `int`, got `str` - at `\$.more.height`"):
        dawdle.JSON().decode(b'{"more":{"height":"1"}}', call_type)
    with pytest.raises(dawdle.EventError, match=r"Expected `str`, got `int` - at `\$.sizes\[1\]`"):
        dawdle.JSON().decode(b'{"sizes":[1,1]}', call_type)


def test_a_call_shows_only_the_arguments_that_it_has():
    @Registry().function
    def resize(path: str, width: Any = object()): ...

    call = resize.signature.bind(("a.png",), {})
    assert repr(call).endswith("resize(path='a.png')")
