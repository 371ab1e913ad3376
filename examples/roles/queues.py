"""The map of queues, the same for every role: what differs is which of them a process listens to.

Both queues are in one SQLite file here. `SQS(...)` and any other backend go in its place, one by one.
"""

import os
from collections.abc import Collection, Sequence

import dawdle
from dawdle.abc import Backend
from dawdle.backends.sqlite import SQLite
from roles.events import VideoUploaded

ROUTES: dict[type, str | Sequence[str]] = {VideoUploaded: ("default", "video")}
"""Everybody hears of an upload on `default`, where the quick handlers run; `video` gets a copy, for the heavy one."""


def queues() -> dict[str, Backend]:
    path = os.environ.get("DAWDLE_SQLITE_PATH", "roles.db")
    return {"default": SQLite(path), "video": SQLite(path, name="video")}


def app(listen: Collection[str]) -> dawdle.Dawdle:
    return dawdle.Dawdle(queues=queues(), routes=ROUTES, listen=listen, concurrency={"video": 2})
