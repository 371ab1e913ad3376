"""A def handler runs in a thread, so it may block, and signals from there. Run: python 05_threads.py

a.png is resized
a.png is published
"""

import asyncio
import time

import msgspec

import dawdle


class PhotoUploaded(msgspec.Struct, frozen=True):
    name: str


class PhotoResized(msgspec.Struct, frozen=True):
    name: str


@dawdle.on_event
def resize(photo: PhotoUploaded) -> None:
    time.sleep(0.1)  # the event loop goes on meanwhile
    print(f"{photo.name} is resized")
    dawdle.from_thread.signal(PhotoResized(photo.name))


@dawdle.on_event
async def publish(photo: PhotoResized) -> None:
    print(f"{photo.name} is published")


async def main() -> None:
    async with dawdle.Dawdle() as app:
        await app.signal(PhotoUploaded("a.png"))
        await app.idle()


asyncio.run(main())
