"""A shop whose handlers fail, for the tests of `dawdle dead`; and the letters that they leave."""

import asyncio
import importlib.util
import sys
from textwrap import dedent

SHOP = dedent("""
    import dawdle, msgspec
    from dawdle.backends.sqlite import SQLite

    class OrderPlaced(msgspec.Struct, frozen=True):
        order_id: str
        total: int = 0

    class OrderCancelled(msgspec.Struct, frozen=True):
        order_id: str

    registry = dawdle.Registry()

    @registry.on_event(name="book_parcel")
    async def book_parcel(event: OrderPlaced) -> None:
        raise dawdle.Reject("the carrier does not answer")

    @registry.on_event(name="send_receipt")
    async def send_receipt(event: OrderPlaced) -> None:
        if event.total == 7:
            raise dawdle.Reject("no such address:\\n[red] 7, Mill Lane")

    @registry.on_event(name="refund")
    async def refund(event: OrderCancelled) -> None:
        raise dawdle.Reject("the bank is closed")

    app = dawdle.Dawdle(SQLite("shop.db"), registry=registry)
""")


def load():
    """The shop of the current directory, as a module."""
    spec = importlib.util.spec_from_file_location("shop", "shop.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


def leave_letters(*events, headers=None):
    """Signal events of the shop, and run its handlers: `(name of the type, arguments)`."""
    shop = load()

    async def main():
        async with shop.app:
            ids = [await shop.app.signal(getattr(shop, name)(*args), headers=headers) for name, *args in events]
            await shop.app.idle()
            return ids

    return asyncio.run(main())


def stored():
    """What is in the file now: how many letters there are, and how many events wait."""
    shop = load()

    async def main():
        async with shop.app.connected():
            letters = [letter async for letter in shop.app.dead_letters()]
            waiting = [event async for event in shop.app.browse(queue="default")]
            return letters, waiting

    return asyncio.run(main())
