"""A registered function: what `@dawdle.function` returns and `dawdle.call` takes, and the handler of its calls.

A call is an event of a type of its own with one handler. So all that holds for handlers holds for functions.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast

from dawdle._handlers.around import Around
from dawdle._handlers.call_signature import CallSignature, read_call_signature
from dawdle._handlers.context import Context
from dawdle._handlers.handler import Handler
from dawdle._handlers.handler_name import default_name, described
from dawdle._handlers.options import HandlerOptions, read_options
from dawdle._handlers.signature import is_async, yields
from dawdle._handlers.site import current_site
from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError, shown
from dawdle.events import CALL_PREFIX, FunctionCall, name_call_type

__all__ = ["CallOptions", "Function", "FunctionOptions", "Runner", "read_function", "refusal"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class FunctionOptions(TypedDict, total=False):
    """The options of `function`; the docstring of `Registry.function` says what each does."""

    name: str
    aliases: Sequence[str]
    retry: Retry
    timeout: float | timedelta
    concurrency: int
    queue: str
    around: Around | Sequence[Around]


class CallOptions(TypedDict, total=False):
    """The options of one call; the docstring of `Function.options` says what each does."""

    delay: float | timedelta
    at: datetime
    expires: float | timedelta
    direct: bool
    id: str
    group: str
    headers: Mapping[str, str]
    source: str
    queue: str
    transaction: object


class Function(Generic[P, R_co]):
    """A function that any node can be asked to run: `await dawdle.call(resize, "a.png", width=64)`.

    `@dawdle.function` makes it. `resize("a.png")` calls the plain function here and now, as if it were not decorated.
    """

    def __init__(
        self,
        function: Callable[P, R_co],
        name: str,
        signature: CallSignature | None,
        *,
        queue: str | None = None,
        call_options: CallOptions | None = None,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        """The plain function."""
        self.name = name
        """Its name on the wire, without the `call:` of a call."""
        self.signature = signature
        """The type of its calls; None: it is not registered, and travels pickled."""
        self.queue = queue
        """The queue that it runs on; None: where its calls arrive."""
        self.call_options: CallOptions = {} if call_options is None else call_options

    def __repr__(self) -> str:
        return f"<dawdle.Function {self.name}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Let a pickled callable that refers to it find it where it runs: its module is imported there."""
        if self.signature is None:
            return _unregistered, (self.function, self.name, self.call_options)
        qualname = getattr(self, "__qualname__", "")
        found = _find(sys.modules.get(self.__module__), qualname)
        if not isinstance(found, Function) or found.signature is not self.signature:
            raise TypeError(f"function {self.name} is not at the top of a module, where another process could find it")
        return _imported, (self.__module__, qualname, self.call_options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the plain function. An `async def` returns its coroutine."""
        return self.function(*args, **kwargs)

    def options(self, **options: Unpack[CallOptions]) -> "Function[P, R_co]":
        """Return the function with options for its calls: `await dawdle.call(resize.options(delay=60), "a.png")`.

        - `delay`: seconds or a timedelta until it runs: 0 or more, of any length.
        - `at`: the time at which it runs, an aware datetime; instead of `delay`.
        - `expires`: seconds or a timedelta, more than 0, after which it is not run any more: the call is deleted. They
          count from when it is due.
        - `direct`: True starts it here and now, past the queue, if this app has it. If it fails, it goes to the queue
          and is retried there. Not together with `delay` or `at`.
        - `id`: your own id of the call, 1 to 128 printable ASCII characters without a space.
        - `group`: queues that keep order run the calls of one group in order; 1 to 128 such characters.
        - `headers`: text that travels with the call; names are 1 to 20 of a-z and 0-9.
        - `source`: where the call comes from, a URI-reference, instead of the app's `source`.
        - `queue`: the name of the queue to store it in; without it the function's own, or the app's default queue.
        - `transaction`: your own open transaction in the queue's database: the call is stored if and only if you commit
          it. Only a queue whose backend is `dawdle.abc.Transactional` can do that. Not together with `direct`.

        Options that were given before stay, where they are not given again. Raises `ConfigurationError` for an option
        that does not exist, and for a queue other than the one that the function runs on.
        """
        unknown = set(options) - set(CallOptions.__annotations__)
        if unknown:
            raise ConfigurationError(
                f"a call has no option {', '.join(sorted(unknown))}; its options are "
                f"{', '.join(CallOptions.__annotations__)}"
            )
        queue: object = options.get("queue")
        if queue is not None and not isinstance(queue, str):
            raise ConfigurationError(f"a call is stored in one queue: queue is its name, not {shown(queue)}")
        if queue is not None and self.queue is not None and queue != self.queue:
            raise ConfigurationError(
                f"function {self.name} runs on the queue {self.queue!r}, so a call on {shown(queue)} would never run: "
                f"remove one of the two"
            )
        both: CallOptions = {**self.call_options, **options}
        return Function(self.function, self.name, self.signature, queue=self.queue, call_options=both)


def _find(module: object, qualname: str) -> object:
    for part in qualname.split("."):
        module = getattr(module, part, None)
    return module


def _imported(module: str, qualname: str, options: CallOptions) -> Function[..., object]:
    found = _find(importlib.import_module(module), qualname)
    if not isinstance(found, Function):
        raise TypeError(f"the module {module} has no function {qualname} with @dawdle.function above it")
    function = cast("Function[..., object]", found)
    return function.options(**options) if options else function


def _unregistered(function: Callable[..., object], name: str, options: CallOptions) -> Function[..., object]:
    return Function(function, name, None, call_options=options)


class Runner:
    """The handler of a function's calls: it calls the function with the arguments of a call."""

    def __init__(self, function: Callable[..., object], signature: CallSignature) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self._signature = signature

    def __eq__(self, other: object) -> bool:
        """Whether both run one function for one type of calls: it is registered twice, and is one handler."""
        return isinstance(other, Runner) and (other.function, other._signature) == (self.function, self._signature)

    def __hash__(self) -> int:
        return hash(self.function)

    def __call__(self, call: FunctionCall, ctx: Context | None = None) -> object:
        args, kwargs = self._signature.arguments(call)
        if self._signature.context is not None:
            kwargs[self._signature.context] = ctx
        return self.function(*args, **kwargs)


def read_function(
    function: Callable[P, R_co], options: FunctionOptions, names: Mapping[str, object]
) -> tuple[Function[P, R_co], Handler]:
    """Return a function that can be called anywhere, and the handler of its calls.

    `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for what no other process
    could find again by its name: a lambda, a method, a partial, a class, an object.
    """
    given: Callable[P, R_co] = function.__func__ if isinstance(function, staticmethod) else function
    own_name = None
    if isinstance(given, Function):  # of another registry
        own_name, given = given.name, given.function
    unknown = set(options) - set(FunctionOptions.__annotations__)
    if unknown:
        raise ConfigurationError(
            f"a function has no option {', '.join(sorted(unknown))}; its options are "
            f"{', '.join(FunctionOptions.__annotations__)}"
        )
    read = read_options(cast("HandlerOptions", options))
    _require_function(given, named=read.name is not None)
    name = read.name or own_name or default_name(given)
    signature = read_call_signature(given, name, names)
    name_call_type(signature.call_type, CALL_PREFIX + name, [CALL_PREFIX + alias for alias in read.aliases])
    handler = Handler(
        function=Runner(given, signature),
        name=name,
        types=(signature.call_type,),
        options=read,
        takes_context=signature.context is not None,
        is_async=is_async(given),
        site=current_site(given),
    )
    return Function(given, name, signature, queue=read.queue), handler


def refusal(given: object) -> str:
    """Return why `call()` does not take an object, and what to write."""
    takes = "call() takes a function with @dawdle.function above it"
    if inspect.isawaitable(given):
        name = getattr(given, "__name__", "resize")
        return f"{takes}, and its arguments, not a coroutine: write `call({name}, …)` instead of `call({name}(…))`"
    if not callable(given):
        return f"{takes}, not {shown(given)}; an event is stored by signal(…)"
    what = _what(given) or ("a lambda" if _is_lambda(given) else "a function without it")
    return (
        f"{takes}, and {described(given)} is {what}: {_INSTEAD}. Only an app with functions=dawdle.SignedPickle(key) "
        f"calls other callables"
    )


def _require_function(given: object, *, named: bool) -> None:
    """Raise `ConfigurationError` for an object that is no function of its own, and say what to write."""
    called = described(given)
    what = _what(given)
    if what is None and _is_lambda(given) and not named:
        what = "a lambda, which has no name by which another process could find it"
    if what is not None:
        raise ConfigurationError(f"@dawdle.function takes a function, and {called} is {what}: {_INSTEAD}")
    if yields(cast("Callable[..., object]", given)):
        raise ConfigurationError(f"function {called} is a generator, and a call runs it once: remove the yield")


_INSTEAD = "write a `def` or `async def` of its own at the top of a module, with @dawdle.function above it"


def _is_lambda(given: object) -> bool:
    return getattr(given, "__name__", "") == "<lambda>"


def _what(given: object) -> str | None:
    """Return what an object is instead of a plain function; None for a plain function."""
    if inspect.isfunction(given):
        return None
    if isinstance(given, type):
        return "a class"
    if isinstance(given, functools.partial):
        return "a partial"
    if inspect.ismethod(given) or isinstance(given, classmethod):
        return "a method"
    if inspect.isbuiltin(given):
        return "a function in C"
    return f"an object of the type {type(given).__qualname__}"
