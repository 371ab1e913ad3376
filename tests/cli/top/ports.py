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
        self.drips = ""
        """`head` or `body`: that part of the answer comes byte by byte, and does not end."""
        self.stalled = 0
        self.waited_out = 0
        """Questions that did not leave, of those that it let hang or drip for ten seconds."""
        self.asked = 0
        self.connections = 0
        self.keeps = True
        self.released = Event()
        self.url = ""

    def says(self, *stats):
        self.body = msgspec.json.encode(list(stats))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.port = self.server.port
        self.port.connections += 1

    def do_GET(self):
        self.port.asked += 1
        if self.port.hangs or self.port.drips:
            self.stall()
        if not self.port.drips:
            self.answer()

    def stall(self):
        self.port.stalled += 1
        drips = self.port.drips
        if drips:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if drips == "body" else b"X-Slow: "))
        for _ in range(200):
            if self.port.released.wait(0.05):
                return
            if drips:
                self.wfile.write(b" ")
        self.port.waited_out += 1

    def answer(self):
        found = self.path == "/stats"
        self.send_response(self.port.status if found else 404)
        self.send_header("Content-Length", str(len(self.port.body)))
        self.end_headers()
        self.wfile.write(self.port.body)
        self.close_connection = not self.port.keeps

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # who asks may leave


@contextmanager
def health_port():
    port = Port()
    server = Server(("127.0.0.1", 0), Handler)
    server.port = port
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
