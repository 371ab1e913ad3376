"""Reads the environment variables for options that the code does not give. No other room reads them."""

import os
from importlib import import_module

from dawdle._log import Log
from dawdle.abc import Backend, Clock
from dawdle.errors import ConfigurationError

__all__ = ["backend_from_environment", "start_listener_from_environment"]

_log = Log(__name__)

_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}

VARIABLES = (
    "DAWDLE_BACKEND",
    "DAWDLE_SQLITE_PATH",
    "DAWDLE_SQS_CLIENT",
    "DAWDLE_SQS_DEAD_LETTER_URL",
    "DAWDLE_SQS_DELAY_QUEUE_URL",
    "DAWDLE_SQS_ENDPOINT_URL",
    "DAWDLE_SQS_QUEUE_URL",
    "DAWDLE_SQS_REGION",
    "DAWDLE_START_LISTENER",
)
"""All variables that dawdle reads, here and in its backends."""

_KINDS = {"DAWDLE_SQS_QUEUE_URL": "sqs", "DAWDLE_SQLITE_PATH": "sqlite"}
"""The variables that alone say which backend is meant."""


def backend_from_environment(clock: Clock) -> Backend:
    """Return the backend that `DAWDLE_BACKEND` names: `memory`, `local` (the same), `sqlite`, `sqs`, or a dotted name.

    Without it, a queue URL of SQS means SQS, the path of a file means SQLite, and else it is memory.
    """
    _warn_of_misspelled()
    named = [variable for variable in _KINDS if os.environ.get(variable, "").strip()]
    name = os.environ.get("DAWDLE_BACKEND", "").strip() or _kind_of(named)
    if name in {"memory", "local"}:
        for variable in named:
            _log.warning(
                "DAWDLE_BACKEND=%s, so events stay in this process and %s is not used: unset one of the two",
                name,
                variable,
            )
        from dawdle.backends.memory import Memory  # noqa: PLC0415 - as for SQS, below

        return Memory(clock=clock)
    if name == "sqs":
        from dawdle.backends.sqs import SQS  # noqa: PLC0415 - only a program that uses SQS loads its code

        return SQS()
    if name == "sqlite":
        from dawdle.backends.sqlite import SQLite  # noqa: PLC0415 - as for SQS

        return SQLite(clock=clock)
    if ":" in name:
        raise ConfigurationError(
            f"DAWDLE_BACKEND={name!r} is no backend: write a dot instead of ':', {name.replace(':', '.')}"
        )
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise ConfigurationError(
            f"DAWDLE_BACKEND={name!r} is no backend: set it to memory (or local, the same), sqlite, sqs, or the dotted "
            f"name of a backend class, such as shop.queues.OrdersQueue"
        )
    try:
        made: object = getattr(import_module(module_name), attribute)()
    except Exception as error:
        raise ConfigurationError(f"could not make DAWDLE_BACKEND={name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Backend):
        raise ConfigurationError(f"DAWDLE_BACKEND={name!r} gives {made!r}, which is not a dawdle.abc.Backend")
    return made


def _warn_of_misspelled() -> None:
    """Log each variable that looks like one of dawdle's and is none: without a word events would stay in memory."""
    unknown = [name for name in os.environ if name.startswith("DAWDLE_") and name not in VARIABLES]
    if not unknown:
        return
    from difflib import get_close_matches  # noqa: PLC0415 - nearly no process needs it

    for name in unknown:
        # A variable of the user's own may begin with our name too, so only a close one is a mistake.
        for meant in get_close_matches(name, VARIABLES, n=1, cutoff=0.8):
            _log.warning("%s is no environment variable of dawdle, so it has no effect: did you mean %s?", name, meant)


def _kind_of(named: list[str]) -> str:
    """Return the backend that these variables mean. Raises `ConfigurationError` if they mean two."""
    if len(named) > 1:
        raise ConfigurationError(
            f"{' and '.join(named)} are set, and each names a queue: unset one of the two, or set DAWDLE_BACKEND to "
            f"{' or '.join(_KINDS[variable] for variable in named)}"
        )
    return _KINDS[named[0]] if named else "memory"


def start_listener_from_environment() -> bool:
    """Return the value of `DAWDLE_START_LISTENER`; true if it is not set."""
    text = os.environ.get("DAWDLE_START_LISTENER", "").strip().lower()
    if text in _YES or not text:
        return True
    if text in _NO:
        return False
    raise ConfigurationError(
        f"DAWDLE_START_LISTENER={text!r} is neither yes nor no: set it to one of {', '.join(sorted(_YES | _NO))}"
    )
