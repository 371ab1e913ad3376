"""Traces, by HTTP to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, such as http://localhost:4318."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


@contextmanager
def sent_traces() -> Generator[None]:
    """Send the traces of this process. At the end of the block the last ones are sent."""
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "shop")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # it reads the variable
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
