"""What is done about a video. All workers register all handlers; the queue decides where each runs."""

import hashlib
import os

import dawdle
from roles.events import VideoEncoded, VideoUploaded


def note(ctx: dawdle.Context) -> None:
    """Write down which handler ran, for which event, in which process, and from which queue."""
    handler = ctx.handler.rpartition(".")[2]
    print(f"{handler} {ctx.event_id} {os.getpid()} {ctx.queue}", flush=True)


@dawdle.on_event
async def thank(event: VideoUploaded, ctx: dawdle.Context) -> None:
    note(ctx)


@dawdle.on_event(queue="video")
def encode(event: VideoUploaded, ctx: dawdle.Context) -> None:
    digest = hashlib.pbkdf2_hmac("sha256", event.video_id.encode(), b"salt", 200_000)  # a core is busy for a while
    note(ctx)
    dawdle.from_thread.signal(VideoEncoded(event.video_id, frames=len(digest)))


@dawdle.on_event
async def publish(event: VideoEncoded, ctx: dawdle.Context) -> None:
    note(ctx)
