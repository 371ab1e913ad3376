"""What the environment says: `SHOP_DATABASE`, and `OTEL_EXPORTER_OTLP_ENDPOINT` if traces are to be sent."""

import os
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True):
    database: Path
    sends_traces: bool


def from_environment() -> Settings:
    return Settings(
        database=Path(os.environ.get("SHOP_DATABASE", "shop.db")),
        sends_traces="OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ,
    )
