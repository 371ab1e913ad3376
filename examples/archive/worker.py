"""A worker: it runs the functions until SIGTERM or Ctrl-C. Run it: python -m archive.worker.

The environment says which queue it shares with `archive.send`: DAWDLE_BACKEND=sqlite DAWDLE_SQLITE_PATH=archive.db, or
DAWDLE_SQS_QUEUE_URL=....
"""

import logging
import os

import dawdle

dawdle.discover("archive.jobs")

if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))
    dawdle.Dawdle().run()
