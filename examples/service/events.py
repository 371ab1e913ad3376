"""The events. The first one is the body of a request too."""

from pydantic import BaseModel, PositiveInt

import dawdle


@dawdle.event("orders.placed")
class OrderPlaced(BaseModel):
    order_id: str
    email: str
    total: PositiveInt


@dawdle.event("parcels.booked")
class ParcelBooked(BaseModel):
    order_id: str
    parcel: str


@dawdle.event("reviews.asked", expires=3600)
class ReviewAsked(BaseModel):
    """A week after the parcel. An hour late is too late: the customer sleeps."""

    order_id: str
