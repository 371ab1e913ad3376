"""Serve it: `python -m service`. SIGTERM lets requests and handlers end, for up to 25 s."""

import logging
import os

import uvicorn

from service.web import make_web

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
uvicorn.run(make_web(), host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))
