"""What a handler takes is read from its types or its annotation; what cannot be called with an event is refused."""

import functools
import inspect
import sys
from math import inf, nan
from typing import Annotated, Any, Generic, Optional, Protocol, TypeVar, Union, runtime_checkable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import Context, Registry, Retry
from dawdle.errors import ConfigurationError


class A(msgspec.Struct):
    pass


class B(msgspec.Struct):
    pass


class C(msgspec.Struct):
    pass


T = TypeVar("T")


class Env(msgspec.Struct, Generic[T]):
    payload: T


class SubA(A):
    pass


class SubSubA(SubA):
    pass


EVENT_TYPES = [A, B, C, SubA, SubSubA]
event_types = st.lists(st.sampled_from(EVENT_TYPES), min_size=1, max_size=6)


def bare(function, **options):
    """Return the handler that a bare `@on_event` makes."""
    registry = Registry()
    assert registry.on_event(function) is function
    (handler,) = registry
    return handler


def handler_of(function, *types, **options):
    """Return the handler that `@on_event(…)` makes."""
    registry = Registry()
    assert registry.on_event(*types, **options)(function) is function
    (handler,) = registry
    return handler


def refused(function, *types, **options):
    """Return the message of the error that `@on_event(…)` makes, and see that nothing was registered."""
    registry = Registry()
    with pytest.raises(ConfigurationError) as caught:
        registry.on_event(*types, **options)(function)
    assert not list(registry)
    return str(caught.value)


async def anything(event):
    pass


# What it takes


@pytest.mark.slow
@given(event_types, st.lists(st.sampled_from(EVENT_TYPES), max_size=3), st.sampled_from(EVENT_TYPES))
def test_a_handler_gets_instances_of_its_types_and_none_of_those_it_excludes(types, exclude, event_type):
    handler = handler_of(anything, *types, exclude=exclude)
    assert handler.matches(event_type) == (
        issubclass(event_type, tuple(types)) and not issubclass(event_type, tuple(exclude))
    )
    assert handler.types == tuple(dict.fromkeys(types))


@given(st.lists(st.sampled_from(EVENT_TYPES), max_size=3), st.sampled_from(EVENT_TYPES))
def test_a_handler_of_every_event_gets_all_but_what_it_excludes(exclude, event_type):
    for handler in (
        handler_of(anything, exclude=exclude),
        handler_of(anything, object, exclude=exclude),
        handler_of(anything, A, object, exclude=exclude),
    ):
        assert handler.types == ()
        assert handler.matches(event_type) == (not issubclass(event_type, tuple(exclude)))


@given(st.lists(st.sampled_from(EVENT_TYPES), min_size=1, max_size=4), st.booleans())
def test_a_bare_handler_takes_its_types_from_the_annotation_however_the_union_is_spelt(types, is_optional):
    members = [*types, *([None] if is_optional else [])]
    for annotation in (
        Union[tuple(members)],  # noqa: UP007 - one of the spellings
        functools.reduce(lambda left, right: left | right, members),
        Annotated[Union[tuple(members)], "a note"],  # noqa: UP007
        Union[Annotated[types[0], 1], Optional[Union[tuple(types)]]],  # noqa: UP007, UP045
    ):

        def handle(event):
            pass

        handle.__annotations__["event"] = annotation
        found = bare(handle).types
        assert set(found) == set(types), "in some order: equal unions share a cache"
        assert len(found) == len(set(found))


def test_a_bare_handler_of_object_or_any_gets_every_event():
    def one(event: object): ...
    def two(event: Any): ...
    def three(event: "object"): ...
    def four(event: "Any"): ...
    def five(event: A | object): ...

    for handle in (one, two, three, four, five):
        assert bare(handle).types == ()


def test_a_quoted_annotation_is_read_where_the_handler_is_defined():
    class Local(msgspec.Struct):
        pass

    registry = Registry()

    @registry.on_event
    async def handle(event: "Local | A | None", ctx: "Context"): ...

    (handler,) = registry
    assert handler.types == (Local, A)
    assert handler.takes_context


def test_a_local_class_is_known_by_its_closure_as_well():
    class Local(msgspec.Struct):
        pass

    async def handle(event: "Local"):
        return Local

    registry = Registry()
    registry.add(handle, (), {}, every=False)
    assert next(iter(registry)).types == (Local,)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` aliases came with Python 3.12")
def test_a_type_alias_is_read_as_what_it_stands_for():
    names = {"A": A, "B": B, "__name__": __name__}
    exec("type Both = A | B\ntype More = Both | None\ndef handle(event: More): ...", names)
    assert bare(names["handle"]).types == (A, B)


def test_a_base_class_takes_its_subclasses_but_is_no_event_itself():
    class Base:
        pass

    class Event(Base, msgspec.Struct):
        pass

    assert handler_of(anything, Base).matches(Event)
    assert not handler_of(anything, Base).matches(A)


@pytest.mark.parametrize("annotation", [int, str, dict, list[A], "A[", "Unknown", 5, None, A | int, Annotated[int, 1]])
def test_an_annotation_that_is_no_event_type_is_refused(annotation):
    def handle(event): ...

    handle.__annotations__["event"] = annotation
    registry = Registry()
    with pytest.raises(ConfigurationError, match="handle"):
        registry.on_event(handle)
    assert not list(registry)


@pytest.mark.parametrize("event_type", [int, str, dict, type(None), list])
def test_a_builtin_is_no_event_type(event_type):
    assert "not an event type" in refused(anything, event_type)
    assert "not an event type" in refused(anything, A, exclude=[event_type])


@pytest.mark.parametrize("event_type", ["A", 5, None, list[A], A()])
def test_what_is_no_class_is_no_event_type(event_type):
    assert "not an event type" in refused(anything, A, event_type)


def test_a_bare_handler_without_an_annotation_is_an_error_that_says_what_to_write():
    registry = Registry()
    with pytest.raises(ConfigurationError, match=r"annotate its first parameter, or write @on_event\(SomeEvent\)"):
        registry.on_event(anything)


# How it is called


def test_the_context_goes_to_a_second_parameter_that_must_be_given():  # noqa: C901 - a list of signatures
    def one(event): ...
    def two(event, ctx): ...
    def annotated(event, ctx: Context): ...
    def quoted(event, ctx: "Context"): ...
    def optional(event, ctx: Context | None): ...
    def wide(event, ctx: object): ...
    def default(event, ctx=None): ...
    def other_default(event, limit: int = 5): ...
    def many(event, *rest, **more): ...
    def all_of_them(*events): ...
    def only_positional(event, ctx, /): ...
    def named_default(event, *, verbose=False): ...
    def no_need(event=None): ...

    taking = [two, annotated, quoted, optional, wide, only_positional]
    for handle in taking:
        assert handler_of(handle, A).takes_context, handle
    for handle in (one, default, other_default, many, all_of_them, named_default, no_need):
        assert not handler_of(handle, A).takes_context, handle


def test_a_handler_that_takes_nothing_is_refused():
    def handle(): ...
    def named(*, event): ...
    def options(**options): ...

    for each in (handle, named, options):
        assert "takes no positional parameter: give it one for the event" in refused(each, A)


def test_a_handler_that_needs_more_than_it_gets_is_refused_by_name():
    def three(event, ctx, database): ...
    def named(event, *, database): ...
    def both(event, ctx, one, *, two): ...

    assert "three needs database, which dawdle does not pass" in refused(three, A)
    assert "named needs database, which dawdle does not pass" in refused(named, A)
    assert "both needs one, two, which dawdle does not pass" in refused(both, A)


def test_a_second_parameter_of_another_type_is_refused():
    def handle(event, database: A): ...
    def quoted(event, database: "A"): ...

    for each in (handle, quoted):
        message = refused(each, A)
        assert "second parameter database gets the dawdle.Context" in message
        assert "annotated A" in message


def test_a_method_in_a_class_body_is_refused_in_favour_of_the_bound_one():
    registry = Registry()
    with pytest.raises(ConfigurationError, match=r"method of a class.*app.register\(object.handle, …\)"):

        class Service:
            @registry.on_event(A)
            async def handle(self, event): ...

    assert not list(registry)


def test_bound_methods_class_methods_static_methods_and_callables_are_handlers():
    class Service:
        async def bound(self, event: A): ...

        @classmethod
        async def of_class(cls, event: A, ctx: Context): ...

        @staticmethod
        async def static(event: A): ...

        async def __call__(self, event: A, ctx: Context): ...

    class Plain:
        def __call__(self, event: A): ...

    service = Service()
    for handle, context, is_async, options in (
        (service.bound, False, True, {}),
        (Service.of_class, True, True, {}),
        (Service.static, False, True, {}),
        (service, True, True, {"name": "service"}),
        (Plain(), False, False, {"name": "plain"}),
    ):
        handler = handler_of(handle, A, **options)
        assert (handler.takes_context, handler.is_async) == (context, is_async), handle
        registry = Registry()
        assert registry.add(handle, (), options, every=False).types == (A,)


def test_a_partial_is_a_handler_by_what_is_left_of_its_parameters():
    async def handle(database, event: A): ...
    async def named(event: A, *, database): ...

    for partial in (functools.partial(handle, 5), functools.partial(named, database=5)):
        handler = handler_of(partial, A, name="partial")
        assert (handler.takes_context, handler.is_async) == (False, True)
    assert "needs database" in refused(functools.partial(named), A, name="partial")


def test_a_generator_is_refused():
    def one(event):
        yield

    async def two(event):
        yield

    for each in (one, two, functools.partial(one)):
        assert "is a generator, and a handler is awaited once" in refused(each, A, name="generator")


@pytest.mark.parametrize("function", [5, None, "send", object()])
def test_what_cannot_be_called_is_no_handler(function):
    assert "a handler is a function" in refused(function, A)


# What it is called by


def test_the_name_is_module_and_qualname_unless_it_is_given():
    def local(event): ...

    assert handler_of(anything, A).name == f"{__name__}.anything"
    here = test_the_name_is_module_and_qualname_unless_it_is_given.__name__
    assert handler_of(local, A).name == f"{__name__}.{here}.local"
    assert handler_of(lambda event: None, A).name == f"{__name__}.{here}.lambda"
    assert handler_of(local, A, name="a.b:c-D_9").name == "a.b:c-D_9"


def test_the_name_of_a_scripts_handler_is_its_files_stem(monkeypatch):
    def handle(event): ...

    handle.__module__, handle.__qualname__ = "__main__", "handle"
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", "/srv/shop/worker.py", raising=False)
    assert handler_of(handle, A).name == "worker.handle"


def test_the_name_of_a_module_that_is_run_is_the_modules(monkeypatch):
    def handle(event): ...

    handle.__module__, handle.__qualname__ = "__main__", "handle"

    class Spec:
        name = "shop.worker"

    monkeypatch.setattr(sys.modules["__main__"], "__spec__", Spec)
    assert handler_of(handle, A).name == "shop.worker.handle"
    Spec.name = "shop.__main__"
    assert handler_of(handle, A).name == "shop.handle"


def test_what_has_no_name_of_its_own_must_be_given_one():
    class Service:
        def __call__(self, event): ...

    for function in (Service(), functools.partial(anything)):
        assert "give it one with name=" in refused(function, A)
        assert handler_of(function, A, name="service").name == "service"


def test_a_name_of_its_own_that_is_too_long_must_be_replaced():
    def handle(event): ...

    handle.__qualname__ = "h" * 200
    assert "with name=" in refused(handle, A)


@given(st.from_regex(r"[\w.:-]{1,200}", fullmatch=True))
def test_a_name_of_letters_digits_and_joints_is_taken_also_as_an_alias(name):
    handler = handler_of(anything, A, name=name, aliases=[name])
    assert (handler.name, handler.options.aliases) == (name, (name,))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 201, "a\n", "\ud800", 5, b"x"])
def test_a_name_of_anything_else_is_refused_also_as_an_alias(name):
    assert "1 to 200 of letters" in refused(anything, A, name=name)
    assert "1 to 200 of letters" in refused(anything, A, aliases=["fine", name])


# Its options


@given(
    st.none() | st.integers(1, 10**6) | st.floats(0.001, 1e6) | st.just(inf),
    st.none() | st.integers(1, 1000),
    st.none() | st.just(Retry(max_attempts=2)),
)
def test_options_are_kept_as_they_were_given(timeout, concurrency, retry):
    given_options = {"timeout": timeout, "concurrency": concurrency, "retry": retry, "queue": "video"}
    options = handler_of(anything, A, **given_options).options
    assert {name: getattr(options, name) for name in given_options} == given_options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": 0}, "timeout is more than 0 seconds, or a timedelta, not 0"),
        ({"timeout": -1.5}, "timeout is more than 0 seconds, or a timedelta, not -1.5"),
        ({"timeout": nan}, "timeout is more than 0 seconds, or a timedelta, not nan"),
        ({"concurrency": 0}, "concurrency is a whole number of 1 or more, not 0"),
        ({"concurrency": 1.5}, "concurrency is a whole number of 1 or more, not 1.5"),
        ({"concurrency": "4"}, "concurrency is a whole number of 1 or more, not '4'"),
        ({"retry": 5}, "retry is a dawdle.Retry(…), not 5"),
        ({"retry": Retry}, "retry is a dawdle.Retry(…), not"),
        ({"aliases": "old.name"}, "aliases is a sequence of names"),
        (
            {"retries": 3},
            "no option retries; its options are name, aliases, exclude, retry, timeout, concurrency, queue",
        ),
        ({"b": 1, "a": 2}, "no option a, b;"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options, says):
    assert says in refused(anything, A, **options)


@pytest.mark.parametrize(
    ("option", "values", "says"),
    [
        ("timeout", ["5", [1], True, 10**400, 10**5000, b"5"], "timeout is more than 0 seconds, or a timedelta, not "),
        ("concurrency", [True, 1.0, -(10**5000)], "concurrency is a whole number of 1 or more, not "),
        ("aliases", [5, None, object()], "aliases is a sequence of names"),
        ("aliases", [[None], [5], b"name", [["x"]]], "a handler's name is 1 to 200"),
        ("name", [5, b"x", ["x"]], "a handler's name is 1 to 200"),
        ("exclude", [5, None, object()], "exclude is a sequence of event types"),
        ("exclude", ["A", [5], [None], [list[A]]], "not an event type"),
        ("queue", [5, "", b"video", ["video"]], "queue is the name of a queue of the app, not "),
    ],
)
def test_an_option_of_another_type_is_refused(option, values, says):
    for value in values:
        assert says in refused(anything, A, **{option: value})


def test_one_excluded_type_needs_no_brackets():
    assert handler_of(anything, exclude=A).options.exclude == (A,)


# What is no event type, and no handler


@runtime_checkable
class WithId(Protocol):
    order_id: str


class NotForRuntime(Protocol):
    def order(self) -> str: ...


@runtime_checkable
class Ordering(Protocol):
    def order(self) -> str: ...


class Ordered(msgspec.Struct):
    def order(self) -> str:
        return ""


class Unwilling(type):
    def __subclasscheck__(cls, other):
        raise RuntimeError("not telling")


@pytest.mark.parametrize("event_type", [WithId, NotForRuntime, Unwilling("Closed", (), {})])
def test_a_class_that_cannot_be_asked_for_subclasses_is_refused(event_type):
    def bare(event): ...

    bare.__annotations__["event"] = event_type
    for arguments in ((anything, event_type), (bare,)):
        assert "issubclass() with it fails" in refused(*arguments)
    assert "issubclass() with it fails" in refused(anything, A, exclude=[event_type])


def test_a_protocol_of_methods_is_a_base_class_of_whatever_has_them():
    handler = handler_of(anything, Ordering)
    assert handler.matches(Ordered)
    assert not handler.matches(A)


def test_any_among_the_types_is_every_event():
    def annotated(event: Annotated[Any, 1]): ...
    def union(event: Union[A, Any]): ...  # noqa: UP007 - the other spelling
    def optional(event: Optional[object]): ...  # noqa: UP045

    for handler in (
        handler_of(anything, Any),
        handler_of(anything, A, Any),
        bare(annotated),
        bare(union),
        bare(optional),
        handler_of(annotated),
    ):
        assert handler.types == ()
        assert handler.matches(B)


@pytest.mark.parametrize("annotation", [type(None), Annotated[None, 1], None])
def test_none_alone_is_no_event_type(annotation):
    def handle(event): ...

    handle.__annotations__["event"] = annotation
    for options in ({}, {"name": "handle"}):
        assert "handle" in refused(handle, **options)
    with pytest.raises(ConfigurationError, match="handle"):
        Registry().on_event(handle)


@pytest.mark.parametrize(
    "wrong", [classmethod(anything), property(anything), list[A], A | B, Annotated[A, 1], 5, None, "A", A(), int]
)
def test_what_is_neither_a_type_nor_a_handler_is_refused_where_it_is_written(wrong):
    with pytest.raises(ConfigurationError, match="on_event asks for .*, which is not an event type"):
        Registry().on_event(wrong)


@pytest.mark.parametrize("is_bare", [True, False])
def test_an_async_staticmethod_runs_in_the_event_loop(is_bare):
    registry = Registry()

    class Service:
        @(registry.on_event if is_bare else registry.on_event(A))
        @staticmethod
        async def handle(event: A): ...

    (handler,) = registry
    assert inspect.iscoroutinefunction(Service.handle)
    assert (handler.is_async, handler.types) == (True, (A,))
    assert handler.function is Service.handle, "by which it can be taken away again"


def test_a_callable_that_yields_is_refused():
    class Service:
        async def __call__(self, event):
            yield

    class Plain:
        def __call__(self, event):
            yield

    for service in (Service(), Plain(), functools.partial(Service())):
        assert "is a generator, and a handler is awaited once" in refused(service, A, name="service")


def test_a_partial_of_a_callable_runs_where_the_callable_does():
    class Service:
        async def __call__(self, event, limit): ...

    assert handler_of(functools.partial(Service(), limit=5), A, name="service").is_async


@pytest.mark.parametrize("function", [min, max, dict])
def test_what_does_not_say_what_it_takes_is_refused(function):
    assert "has no readable signature" in refused(function, A, name="min")


# Options without types


def test_with_options_only_the_types_come_from_the_annotation():
    def handle(event: A | B): ...
    def quoted(event: "A | None"): ...

    for options in ({}, {"retry": Retry(max_attempts=2)}, {"exclude": (C,), "name": "x"}):
        assert handler_of(handle, **options).types == (A, B)
        assert handler_of(quoted, **options).types == (A,)


def test_with_options_only_every_event_goes_to_a_handler_of_object_any_or_without_annotation():
    def one(event: object): ...
    def two(event: Any): ...
    def three(event, ctx: Context): ...

    for handle in (one, two, three, anything):
        assert handler_of(handle, exclude=(C,)).types == ()


@pytest.mark.parametrize("annotation", [int, "Unknown", list[A], A | int, 5])
def test_with_options_only_an_annotation_that_is_no_event_type_is_refused(annotation):
    def handle(event): ...

    handle.__annotations__["event"] = annotation
    assert "handle" in refused(handle, name="handle")


def test_a_quoted_annotation_is_read_where_the_decorator_stands():
    class Local(msgspec.Struct):
        pass

    registry = Registry()

    @registry.on_event(name="local", timeout=5)
    async def handle(event: "Local", ctx: "Context"): ...

    with pytest.raises(ConfigurationError, match="second parameter database"):

        @registry.on_event(A)
        async def wrong(event, database: "Local"): ...

    (handler,) = registry
    assert handler.types == (Local,)


def test_a_quoted_annotation_of_a_callable_is_read_where_its_class_is_defined():
    class Service:
        def __call__(self, event: "A"): ...

    assert handler_of(Service(), name="service").types == (A,)
    assert handler_of(functools.partial(Service()), name="service").types == (A,)


SAYS_INSTEAD = (
    r"asks for Env\[A\], and an event of Env does not know its type arguments: "
    r"write `class EnvOfA\(Env\[A\]\): \.\.\.`, signal that, and ask for it"
)


def test_a_generic_class_of_something_is_refused_with_the_class_to_write_instead():
    def handler(event: Env[A]): ...

    def either(event: B | Env[A]): ...

    for function in (handler, either):
        with pytest.raises(ConfigurationError, match=rf"^handler .*{function.__name__} {SAYS_INSTEAD}$"):
            Registry().on_event(function)
    with pytest.raises(ConfigurationError, match=f"^on_event {SAYS_INSTEAD}$"):
        Registry().on_event(Env[A])
    with pytest.raises(ConfigurationError, match=r"class EnvOf\(Env\[list\[int\]\]\)"):
        Registry().on_event(Env[list[int]])


def test_the_class_that_is_written_instead_of_a_generic_one_is_asked_for_as_any_other():
    class EnvOfA(Env[A]): ...

    registry = Registry()

    @registry.on_event
    def handler(event: EnvOfA): ...

    (made,) = registry
    assert made.matches(EnvOfA)
    assert not made.matches(Env)


def test_a_dependency_of_fastapi_is_refused():
    fastapi = pytest.importorskip("fastapi")

    async def handler(event: A, db: object = fastapi.Depends(dict)) -> None: ...

    with pytest.raises(ConfigurationError, match=r"is no endpoint, so db gets no Depends.*ctx.state"):
        Registry().on_event(handler)
