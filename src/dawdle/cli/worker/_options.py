"""What a worker is asked to do, and what its processes and their supervisor say to each other. Does none of it."""

from typing import Final, Literal

import msgspec

__all__ = ["Assignment", "LogLevel", "Ready", "Unloadable", "WorkerOptions", "read_message", "written"]

LogLevel = Literal["debug", "info", "warning", "error"]

MAX_TEXT: Final = 20_000
"""Characters of the text of an error that a process reports."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What each process of a worker works on, and how."""

    app: str
    """The app by name: `shop.main:app`."""
    queues: tuple[str, ...] = ()
    """The queues that it works on; (): those of the app."""
    concurrency: int | None = None
    """How many messages of each queue may be in flight; None: as the app says."""
    uvloop: bool = False
    log_level: LogLevel = "info"
    watched: bool = False
    """Whether its figures are asked for."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a process first."""

    options: WorkerOptions
    place: int
    places: int
    """How many processes the worker has."""
    reloads: bool
    """Whether a change of the code replaces it."""
    path: str
    """The Unix socket on which the process answers, if it is `watched`."""
    introduces: bool
    """Whether it says at its start what the app is made of."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """A process has entered its app, and its queues answer."""

    grace: float
    """Seconds that it may take to stop."""
    sources: tuple[str, ...]
    """The files and folders of the code that it has loaded, without libraries."""


class Unloadable(msgspec.Struct, frozen=True, tag="unloadable"):
    """A process cannot load its app: the code or a setting is wrong. It ends."""

    text: str
    sources: tuple[str, ...] = ()
    """Where the mistake may be: the files and folders of the code, whether or not it is loaded."""


_decoder: Final[msgspec.json.Decoder[Ready | Unloadable]] = msgspec.json.Decoder(Ready | Unloadable)


def written(message: Assignment | Ready | Unloadable) -> bytes:
    """Return a message as a line."""
    if isinstance(message, Unloadable):
        message = Unloadable(message.text[:MAX_TEXT], message.sources)
    return msgspec.json.encode(message) + b"\n"


def read_message(line: bytes) -> Ready | Unloadable:
    """Return what a process says in a line."""
    return _decoder.decode(line)
