"""An app's calls of functions. A call is an event of its own type, so storing it is left to `signal`."""

import inspect
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ParamSpec, cast

from dawdle._app.settings import Settings
from dawdle._app.signal_calls import SignalCalls
from dawdle._app.signaling import event_id_of
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
        function = cast("Function[..., object]", given) if isinstance(given, Function) else self._pickled(given)
        options = _options_of(function, after)
        if function.signature is None:
            return await self._call_pickled(function, args, kwargs, options)
        call = function.signature.bind(args, kwargs)
        try:
            event_id = await self.signal(call, **options)
        except EventTooLargeError:
            raise
        except EventError as error:  # nothing is stored
            wrong = function.signature.wrong_argument(call, self._settings.codec)
            if wrong is None:  # it is no argument, but a header, or the call as a whole
                raise
            raise ArgumentError(wrong) from error
        if self._handlers.handler_named(function.name) is None:
            self._start_log.lacks(function.name)
        return event_id

    def _pickled(self, given: object) -> Function[..., object]:
        """Return what may be called although it is not registered. Raises `NotAnEventError` for all else."""
        pickles = self._settings.functions
        if pickles is not None and callable(given):
            return pickles(given)
        if inspect.iscoroutine(given):
            given.close()  # or Python warns that it was never awaited
        raise NotAnEventError(refusal(given))

    async def _call_pickled(
        self,
        function: Function[..., object],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        options: CallOptions,
    ) -> str:
        pickles = self._settings.functions
        if pickles is None:
            raise ConfigurationError(
                f"this app takes no pickled call of {function.name}: give it Dawdle(functions=dawdle.SignedPickle(key))"
            )
        event_id = options["id"] = event_id_of(options.get("id"))  # it is signed too
        return await self.signal(pickles.call_of(function, args, kwargs, event_id), **options)


def _options_of(function: Function[..., object], after: float | timedelta | None) -> CallOptions:
    """Return the options of a call; `after`: those of `call_after`."""
    options = function.call_options.copy()
    if function.queue is not None:
        options["queue"] = function.queue
    if after is not None:
        twice = options.keys() & {"delay", "at", "direct"}
        if twice:
            raise ConfigurationError(
                f"call_after() says when the function runs, and so does options({', '.join(sorted(twice))}=…): write "
                f"call(), or remove the option"
            )
        options["delay"] = after
    return options
