"""What the web apps of these tests signal."""

from pydantic import BaseModel


class Placed(BaseModel):
    order_id: str
    total: int = 0
