"""What goes over the wire: by OTLP to a receiver of the test's own, straight and through a collector's process."""

import gzip
import os
import sysconfig
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from dawdle import Dawdle, Retry
from dawdle.telemetry import OpenTelemetry
from tests.ports import free_port
from tests.servers import running as running_server
from tests.telemetry.conftest import OrderPlaced

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

REQUESTS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}
WAIT_SECONDS = 20
"""For what a collector passes on: it gathers batches."""


class Receiver:
    """An OTLP receiver over HTTP. It keeps what it gets, decoded."""

    def __init__(self):
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                with kept.changed:
                    kept.requests.append(REQUESTS[self.path].FromString(body))
                    kept.changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.requests = []
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def wait_for(self, spans, metrics):
        """Return when so many spans, and these metrics, have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.spans) >= spans and metrics <= self.metrics, WAIT_SECONDS), (
                self.requests
            )

    @property
    def spans(self):
        return [
            span
            for request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self):
        return {
            metric.name
            for request in self.requests
            if isinstance(request, ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=["straight", pytest.param("through a collector", marks=pytest.mark.once)])
def endpoint(request, receiver):
    """Where the program under test exports to."""
    if request.param == "straight":
        yield receiver.url
        return
    if find_spec("rotel") is None:
        pytest.skip("rotel, a collector, is not installed: nox -s collector does that")
    agent, port, grpc = Path(find_spec("rotel").origin).parent / "rotel-agent", free_port(), free_port()
    agent.chmod(0o755)
    command = [
        *(str(agent), "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--batch-timeout", "200ms"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--exporter", "otlp", "--otlp-exporter-protocol", "http"),
        *("--otlp-exporter-endpoint", receiver.url),
    ]
    environment = {**os.environ, "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")}
    with running_server(command, port, environment) as url:
        yield url


def value_of(attribute):
    return getattr(attribute.value, attribute.value.WhichOneof("value"))


def attributes_of(span):
    return {attribute.key: value_of(attribute) for attribute in span.attributes}


async def test_spans_and_figures_reach_a_receiver_whole(registry, queue, clock, receiver, endpoint):
    @registry.on_event(name="receipt", retry=Retry(max_attempts=1))
    async def handle(event: OrderPlaced):
        raise ConnectionError("away")

    resource = Resource.create({"service.name": "shop"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"), 60_000)
    meters = MeterProvider(metric_readers=[reader], resource=resource)
    telemetry = OpenTelemetry(tracer_provider=tracers, meter_provider=meters)
    async with Dawdle(queue, registry=registry, clock=clock, telemetry=telemetry) as app:
        event_id = await app.signal(OrderPlaced("o-1"))
        await app.idle()
        meters.force_flush()
    tracers.shutdown()
    meters.shutdown()
    names = ["dead_letter default (dead letters)", "process default receipt", "receive default"]
    names += ["send default", "settle default"]
    receiver.wait_for(len(names), {"messaging.process.duration", "dawdle.dead_lettered.messages", "dawdle.slots"})
    spans = {span.name: span for span in receiver.spans}
    assert sorted(spans) == names
    process, send = spans["process default receipt"], spans["send default"]
    assert (process.parent_span_id, process.trace_id) == (send.span_id, send.trace_id)
    assert attributes_of(process)["messaging.message.id"] == event_id
    assert attributes_of(process)["error.type"] == "ConnectionError"
    assert [event.name for event in process.events] == ["exception"]
