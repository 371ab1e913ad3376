"""The events that the tests of the app speak of."""

import msgspec


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


class Cancelled(msgspec.Struct, frozen=True):
    number: int = 0
