"""A server that answers on a health port as a test wants it."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import msgspec


class Port:
    """What it answers, and what it was asked."""

    def __init__(self):
        self.body = b"[]"
        self.status = 200
        self.hangs = False
        self.asked = 0
        self.connections = 0
        self.keeps = True
        self.released = Event()
        self.url = ""

    def says(self, *stats):
        self.body = msgspec.json.encode(list(stats))


@contextmanager
def health_port():
    port = Port()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            port.connections += 1

        def do_GET(self):
            port.asked += 1
            if port.hangs:
                port.released.wait(20)
            found = self.path == "/stats"
            self.send_response(port.status if found else 404)
            self.send_header("Content-Length", str(len(port.body)))
            self.end_headers()
            self.wfile.write(port.body)
            self.close_connection = not port.keeps

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield port
    finally:
        port.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
