"""A small shop, as the pictures show it: a package with events, handlers and an app on a queue in a file."""

from pathlib import Path

FILES = {
    "pyproject.toml": '[tool.dawdle]\napp = "shop.main:app"\n',
    "shop/__init__.py": "",
    "shop/events.py": """
import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int
    email: str = ""


class OrderCancelled(msgspec.Struct, frozen=True):
    order_id: str
    reason: str | None = None
""",
    "shop/handlers.py": """
import asyncio

import dawdle
from shop.events import OrderCancelled, OrderPlaced


@dawdle.on_event(name="send_receipt", timeout=30, concurrency=20)
async def send_receipt(event: OrderPlaced) -> None:
    await asyncio.sleep(0.004)


@dawdle.on_event(name="reserve_stock", retry=dawdle.Retry(max_attempts=3, initial=0.2))
async def reserve_stock(event: OrderPlaced) -> None:
    await asyncio.sleep(0.002)
    if event.order_id.endswith("13"):
        raise LookupError(f"there is no stock for order {event.order_id}")


@dawdle.on_event(name="update_stats")
def update_stats(event: OrderPlaced | OrderCancelled) -> None: ...


@dawdle.function(name="export_day")
async def export_day(day: str, path: str = "export.csv") -> None: ...
""",
    "shop/main.py": """
import dawdle

dawdle.discover("shop")
app = dawdle.Dawdle(grace=10)
""",
}


def write_project(folder: Path) -> None:
    """Write the files of the shop into a folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip(), encoding="utf-8")
