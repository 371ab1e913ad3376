"""What happens in the shop: the one thing that the app and the workers share."""

import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int
