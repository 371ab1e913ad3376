"""What workers and queues might have said."""

from dawdle.abc import Counts
from dawdle.cli._snapshot import Answer, HandlerStats, QueueStats, WorkerStats, bucket_of
from dawdle.cli.top._assembly import Asked, picture_of
from dawdle.cli.top._fleet import Fleet


def handler(name="receipt", **changes):
    return HandlerStats(**{"name": name, "types": ("OrderPlaced",), **changes})


def queue(name="default", **changes):
    return QueueStats(**{"name": name, "system": "aws_sqs", "place": "123/shop", "slots": 100, **changes})


def worker(*, pid=1, handlers=(), queues=(), **changes):
    settings = {"app": "shop:app", "host": "web-1", "uptime": 600.0, "window": 10.0, "queue_window": 60.0}
    return WorkerStats(**{**settings, "pid": pid, "handlers": handlers, "queues": queues, **changes})


def answer(*stats, url="http://web-1:8080", error=None):
    return Answer(url=url, stats=stats, error=error)


def asked(name="default", **changes):
    counts = Counts(waiting=1204, in_flight=57, delayed=12)
    settings = {"system": "aws_sqs", "place": "123/shop", "counts": counts, "dead_letters": 3}
    return Asked(name=name, **{**settings, **changes})


def picture(*, queues=(), workers=(), **changes):
    return picture_of(**{"time": 1_800_000_000.0, "app": "shop:app", **changes}, queues=queues, fleet=Fleet(workers))


def busy_picture():
    """One of everything."""
    names = ("shop.handlers.receipts.send_receipt", "shop.handlers.shipping.book", "audit")
    running = worker(
        handlers=tuple(
            handler(name, recent_runs=4120, runs=98_765, durations={bucket_of(0.003): 4000, bucket_of(0.09): 120})
            for name in names
        ),
        queues=(queue(recent_requests=300, recent_finished=900, recent_empty_receives=3, recent_received=412),),
    )
    return picture(
        queues=(asked(), asked("video", error="access denied")),
        workers=(answer(running), answer(url="http://web-2:8080", error="does not answer: connection refused")),
    )
