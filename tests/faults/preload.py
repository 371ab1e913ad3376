"""What the parent of all workers imports before it forks: every row, the AWS client and its files, the runtime.

Creating a client costs an eighth of a second: it lists a thousand folders and reads a megabyte of JSON. Rows start
processes by the thousand, so the parent creates one client, and its children inherit what it has read.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

from dawdle import Dawdle
from dawdle.backends.memory import Memory
from dawdle.backends.sqs import SQS
from tests.faults.rig import credentials
from tests.faults.table import all_rows


def _once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that works once for the same arguments, whichever object it is called on."""
    kept: dict[object, Any] = {}

    @functools.wraps(method)
    def found(self: object, *arguments: object, **named: object) -> Any:
        key = (arguments, tuple(named.items()))
        if key not in kept:
            kept[key] = method(self, *arguments, **named)
        return kept[key]

    return found


async def _make_a_client() -> None:
    async with SQS("http://127.0.0.1:9/1/none"):
        pass


async def _enter_an_app() -> None:
    async with Dawdle(Memory(), start_listener=False):  # the first app loads the runtime
        pass


JSONFileLoader.load_file = _once(JSONFileLoader.load_file)
Loader.list_available_services = _once(Loader.list_available_services)
all_rows()
with credentials():
    asyncio.run(_make_a_client())
asyncio.run(_enter_an_app())
