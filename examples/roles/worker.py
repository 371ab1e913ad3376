"""A worker for the queues that it is told: python -m roles.worker video, or default, or both."""

import logging
import os
import sys

import dawdle
from roles.queues import app

dawdle.discover("roles.handlers")

if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))
    app(listen=sys.argv[1:]).run()
