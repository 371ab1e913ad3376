"""Each test runs on asyncio's loop and on uvloop, and logs nothing."""

import gc
import logging
import socket
import threading
from importlib.util import find_spec

import pytest
from tests.backends.http.scripted import Authority, whole

NO_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="needs uvloop")


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=NO_UVLOOP)])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    gc.collect(1)  # an exception that was not retrieved is logged when its future goes; all of gc takes 0.1 s
    assert [each for each in caplog.records if "Using selector" not in each.getMessage()] == []


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


class RawServer:
    """In a thread, so that it goes on while the loop is held: answers one request a connection and closes."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for _ in range(2):
            connection, _ = self._listener.accept()
            self.accepted += 1
            with connection:
                connection.recv(65536)
                connection.sendall(whole())
            self.closed.set()

    def close(self):
        self._thread.join(15)
        self._listener.close()


@pytest.fixture
def raw_server():
    server = RawServer()
    yield server
    server.close()
