"""What the environment says: `SHOP_DATABASE`, `CARRIER_KEY`, and `OTEL_EXPORTER_OTLP_ENDPOINT` to send traces."""

import os
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True):
    database: Path
    sends_traces: bool
    carrier_key: str = "k-2026"


def from_environment() -> Settings:
    return Settings(
        database=Path(os.environ.get("SHOP_DATABASE", "shop.db")),
        sends_traces="OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ,
        carrier_key=os.environ.get("CARRIER_KEY", "k-2026"),
    )
