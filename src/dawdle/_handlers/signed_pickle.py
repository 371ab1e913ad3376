"""Calls of any callable, pickled and signed. The one place where a message becomes code, and only with a key.

The version of Python is a part of the wire name, since another version may not be able to run the bytecode of this
one. So a node with another version does not know the type, and leaves the call to a node that has this one.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast

from dawdle._handlers.context import Context
from dawdle._handlers.function import Function
from dawdle._handlers.handler import Handler, Options
from dawdle._handlers.signature import yields
from dawdle._rules.pickle_signing import PickleSigner
from dawdle.errors import ArgumentError, ConfigurationError, EventError, NotAnEventError, Reject, shown
from dawdle.events import PICKLED_HANDLER, PICKLED_PREFIX, FunctionCall, name_call_type

__all__ = ["PickledCall", "SignedPickle"]

P = ParamSpec("P")
R = TypeVar("R")

_WIRE_NAME: Final = f"{PICKLED_PREFIX}{sys.version_info.major}.{sys.version_info.minor}"


class PickledCall(FunctionCall, frozen=True):
    """A callable and its arguments, as bytes that only a node with the key unpickles."""

    name: str
    pickled: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"<PickledCall of {self.name}, {len(self.pickled)} bytes>"


name_call_type(PickledCall, _WIRE_NAME)


class SignedPickle:
    """Lets an app call any callable, lambdas too: `Dawdle(functions=dawdle.SignedPickle(key))`. Off without it.

    **A program that has the key and can write to the queue can run any code on every node that has the key.** Functions
    with `@dawdle.function` need none of this. Use it where the same people run all the nodes, keep the key as you keep
    the password of a server, and give it to no node that only signals events.

    `await dawdle.call(lambda: print("Hello World!"))` pickles the callable with its arguments by cloudpickle, and signs
    it (HMAC-SHA256 over type, id, name and bytes). A node checks the signature before it unpickles a byte. A wrong one
    is dead-lettered, and so is a pickled call on a node without `SignedPickle`. A call that cannot be unpickled, since
    a module is missing, has failed and is retried. A node with another version of Python (3.11, 3.12) leaves the call
    to one with the same version.

    - `key`: bytes or text, at least 16 bytes; the same on every node.
    - `old_keys`: keys that are accepted too, while nodes change from one key to the next.

    Needs `pip install "dawdle[pickle]"`. Raises `ConfigurationError` without it, and for a key that is too short.
    """

    def __init__(self, key: bytes | str, *, old_keys: Sequence[bytes | str] = ()) -> None:
        import importlib.util  # noqa: PLC0415 - only an app with pickled calls needs it

        self._signer = PickleSigner(key, old_keys)
        if importlib.util.find_spec("cloudpickle") is None:
            raise ConfigurationError('SignedPickle needs cloudpickle: pip install "dawdle[pickle]"')

    def __call__(self, function: Callable[P, R], /) -> Function[P, R]:
        """Return a callable as type checkers want it: `await dawdle.call(pickle(lambda: print("Hello")))`.

        It also has options: `pickle(work).options(delay=60)`. Raises `NotAnEventError` for what cannot be called once.
        """
        if isinstance(function, Function):  # it needs no pickle, and goes by its name
            return cast("Function[P, R]", function)
        # The repr of a partial shows its arguments, and the name of a call is shown in logs.
        called = str(getattr(function, "__qualname__", None) or type(function).__qualname__)
        if not callable(function) or inspect.isawaitable(function):
            raise NotAnEventError(f"a pickled call takes a callable and its arguments, not {called}")
        if yields(function):
            raise NotAnEventError(f"{called} is a generator, and a call runs it once: remove the yield")
        return Function(function, called, None)

    def __repr__(self) -> str:
        return "<SignedPickle>"

    def __reduce__(self) -> str:
        raise TypeError("a SignedPickle holds a key, which must not travel: use it outside of the callable")

    def call_of(
        self, function: Function[..., object], args: Sequence[object], kwargs: Mapping[str, object], event_id: str
    ) -> PickledCall:
        """Return a pickled call. Raises `ArgumentError`, and `EventError` for what cannot be pickled."""
        _require_arguments(function, args, kwargs)
        dumps = cast("Callable[[object], bytes]", importlib.import_module("cloudpickle").dumps)
        try:
            pickled = dumps((function.function, tuple(args), dict(kwargs)))
        except Exception as error:
            raise EventError(
                f"cannot pickle {function.name} and its arguments: {error}. Let it open what it needs when it runs"
            ) from error
        return PickledCall(function.name, pickled, self._signer.sign(_WIRE_NAME, event_id, function.name, pickled))

    def handler(self) -> Handler:
        """Return the handler of pickled calls."""
        # A `def` handler runs in a thread, and awaits in the loop what its function returns. So a large pickle does not
        # block the loop, and an `async def` runs where it should.
        return Handler(
            function=self._run,
            name=PICKLED_HANDLER,
            types=(PickledCall,),
            options=Options(),
            takes_context=True,
            is_async=False,
        )

    def _run(self, call: PickledCall, ctx: Context) -> object:
        if not self._signer.accepts(call.signature, ctx.event_type, ctx.event_id, call.name, call.pickled):
            raise Reject(
                f"the signature of the pickled call of {shown(call.name)} is wrong: it was signed with another key, or "
                f"changed"
            )
        import pickle  # noqa: PLC0415 - as above

        function, args, kwargs = cast(
            "tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]",
            pickle.loads(call.pickled),  # noqa: S301 - its signer has the key, and may run code here
        )
        return function(*args, **kwargs)


def _require_arguments(function: Function[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Raise `ArgumentError` for arguments that a callable does not take, as far as it shows its signature."""
    try:
        signature = inspect.signature(function.function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"cannot call {function.name}: {error}. It is {function.name}{signature}") from None
