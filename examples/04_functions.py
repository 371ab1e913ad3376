"""A function that runs on any worker that has it, now or later. Run: python 04_functions.py

a.png is 200 wide
b.png is 64 wide
"""

import asyncio

import dawdle


@dawdle.function
async def resize(path: str, width: int = 64) -> None:
    print(f"{path} is {width} wide")


async def main() -> None:
    async with dawdle.Dawdle():
        await dawdle.call(resize, "a.png", width=200)
        await dawdle.call_after(1, resize, "b.png")
        await asyncio.sleep(2)  # the queue is in memory here, so this process is the worker too


asyncio.run(main())
