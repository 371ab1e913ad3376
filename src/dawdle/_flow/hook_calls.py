"""Calls the hooks. An error that a hook raises is logged, and changes nothing else."""

from dawdle._log import About, EventLog
from dawdle.hooks import Hook, Moment

__all__ = ["HookCaller"]

_log = EventLog(__name__)


class HookCaller(tuple[Hook, ...]):
    """The hooks of one app. False without any, so that a caller need not build facts that no hook gets."""

    # A tuple, and not an object that has one: its truth, which is asked for several times an event, is no Python call.
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<HookCaller of {len(self)} hooks>"

    def __call__(self, moment: Moment) -> None:
        for hook in self:
            try:
                hook(moment)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException:  # noqa: BLE001 - a hook's SystemExit or CancelledError is its own failure, no more
                _log.exception(
                    "hook %r raised an error on %s: the error is ignored, and the event is handled as usual",
                    hook,
                    type(moment).__name__,
                    about=_about(moment),
                )


def _about(moment: Moment) -> About | None:
    """Return the event that a moment is about; None for one about a queue or the app."""
    known = {name: getattr(moment, name, None) for name in About._fields}
    return About(**known) if known["event_id"] else None
