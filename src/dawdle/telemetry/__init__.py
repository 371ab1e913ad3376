"""Traces and metrics of an app: `Dawdle(telemetry=OpenTelemetry())`, `Dawdle(telemetry=prometheus())`, or both.

Neither library is loaded, or need be installed, before its function is called.
"""

from dawdle.telemetry._opentelemetry import OpenTelemetry
from dawdle.telemetry._prometheus import Prometheus, prometheus

__all__ = ["OpenTelemetry", "Prometheus", "prometheus"]
