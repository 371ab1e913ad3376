"""An app's calls of functions. A call is an event of its own type, so storing it is left to `signal`."""

import inspect
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ParamSpec, cast

from dawdle._app.settings import Settings
from dawdle._app.signal_calls import SignalCalls
from dawdle._handlers.function import CallOptions, Function, refusal
from dawdle.errors import ArgumentError, ConfigurationError, EventError, EventTooLargeError, NotAnEventError

__all__ = ["Function", "FunctionCalls"]

P = ParamSpec("P")


class FunctionCalls(SignalCalls):
    """The part of an app that has functions run elsewhere."""

    _settings: Settings

    async def call(self, function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Have a function run, on any node that has it, and return the id of the call when the queue has stored it.

        The function is one with `@dawdle.function` above it. Its result is not returned: the function stores what it
        makes, or signals an event. `function.options(…)` has the options of a call.

        Raises `ArgumentError` if the arguments do not fit the signature or cannot travel, `NotAnEventError` for what is
        no registered function, and otherwise as `signal` does.
        """
        return await self._call(function, args, kwargs)

    async def call_after(
        self, seconds: float | timedelta, function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> str:
        """Have a function run in so many seconds, 0 or more, of any length. Otherwise as `call`."""
        return await self._call(function, args, kwargs, seconds)

    async def _call(
        self,
        given: object,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        after: float | timedelta | None = None,
    ) -> str:
        if not isinstance(given, Function):
            if inspect.iscoroutine(given):
                given.close()  # or Python warns that it was never awaited
            raise NotAnEventError(refusal(given))
        function = cast("Function[..., object]", given)
        options: CallOptions = function.call_options
        if after is not None:
            twice = options.keys() & {"delay", "at", "direct"}
            if twice:
                raise ConfigurationError(
                    f"call_after() says when the function runs, and so does options({', '.join(sorted(twice))}=…): "
                    f"write call(), or remove the option"
                )
            options = {**options, "delay": after}
        if function.queue is not None:
            options = {**options, "queue": function.queue}
        call = function.signature.bind(args, kwargs)
        try:
            return await self.signal(call, **options)
        except EventTooLargeError:
            raise
        except EventError as error:  # nothing is stored
            wrong = function.signature.wrong_argument(call, self._settings.codec)
            raise ArgumentError(wrong or f"cannot call {function.name}: {error}") from error
