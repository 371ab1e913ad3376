"""Tells the hooks. A hook that raises is logged, and nothing else happens because of it."""

from collections.abc import Sequence

from dawdle._log import Log
from dawdle.hooks import Hook, Moment

__all__ = ["HookCaller"]

_log = Log(__name__)


class HookCaller:
    """The hooks of one app. False while there are none, so that nobody makes facts for nobody."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __call__(self, moment: Moment) -> None:
        for hook in self._hooks:
            try:
                hook(moment)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException:  # noqa: BLE001 - its SystemExit or CancelledError is no more than its failure
                _log.exception("the hook %r raised on %s; nothing else changes", hook, type(moment).__name__)
