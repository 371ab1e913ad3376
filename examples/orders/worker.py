"""A worker: it runs the handlers until SIGTERM or Ctrl-C. Run it: python -m orders.worker."""

import logging
import os

import dawdle

dawdle.discover("orders.handlers")

if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))
    dawdle.Dawdle().run()
