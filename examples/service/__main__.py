"""Serve it: `python -m service`. SIGTERM lets requests and handlers end, for up to 25 s."""

import logging
import os
import signal
import sys
from contextlib import nullcontext

import uvicorn

from service.settings import from_environment
from service.tracing import sent_traces
from service.web import make_web

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def leave(number: int, frame: object) -> None:
    sys.exit()


# When uvicorn has stopped, it raises its signal once more. By default that ends the process before the last traces go.
signal.signal(signal.SIGTERM, leave)
settings = from_environment()
with sent_traces() if settings.sends_traces else nullcontext():
    uvicorn.run(make_web(settings), host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))
