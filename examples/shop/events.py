"""What happens in the shop."""

from datetime import datetime

import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int
    placed_at: datetime


class ReminderDue(msgspec.Struct, frozen=True):
    order_id: str
