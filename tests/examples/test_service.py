"""The service sends its traces to a collector, the last ones too when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.ports import free_port, listens

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytestmark = [pytest.mark.once, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def collector():
    """A collector of OpenTelemetry's, as far as a test asks: yields its URL, and what was posted to it."""
    posted = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be asked to stop by SIGTERM")
def test_the_service_sends_its_traces_before_it_ends(collector, tmp_path):
    url, posted = collector
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAWDLE_", "OTEL_"))} | {
        "SHOP_DATABASE": str(tmp_path / "shop.db"),
        "PORT": str(port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # so what comes, comes because the service ends
    }
    with subprocess.Popen([sys.executable, "-m", "service"], cwd=EXAMPLES, env=environment) as process:
        try:
            assert listens(port, process, 60)
            order = json.dumps({"order_id": "o-1", "email": "anna@example.org", "total": 100}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/orders", order, {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == 202
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
        finally:
            process.kill()
    assert {path for path, _ in posted} == {"/v1/traces"}
    assert b"orders.placed" in b"".join(body for _, body in posted)
