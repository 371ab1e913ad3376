"""An app as a user has it, for commands to work on."""

MAIN = """
import dawdle, msgspec
from dawdle.backends.sqlite import SQLite

registry = dawdle.Registry()

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0

@dawdle.event("cli.cancelled", aliases=("cancelled",), handlers=("crm",))
class OrderCancelled(msgspec.Struct, frozen=True):
    order_id: str

class Undeclared(msgspec.Struct, frozen=True):
    number: int

@registry.on_event(name="send_receipt", timeout=30, concurrency=4)
async def send_receipt(event: OrderPlaced) -> None: ...

@registry.on_event(name="audit", exclude=(OrderCancelled,))
def audit(event: object) -> None: ...

@registry.function(name="resize")
async def resize(path: str, width: int = 64) -> None: ...

app = dawdle.Dawdle(SQLite("app.db"), registry=registry)
"""
