"""A client in a process of its own. Run it: python -m shop.client http://127.0.0.1:8000 1000."""

import asyncio
import sys

import httpx

AT_ONCE = 10


async def place_orders(url: str, count: int) -> None:
    """Place orders, ten at a time, and print the id of the event that each one became."""
    numbers = iter(range(count))

    async def customer(http: httpx.AsyncClient) -> None:
        for number in numbers:
            answer = await http.post("/orders", json={"order_id": f"o-{number}", "total": 100})
            print(answer.raise_for_status().json()["event_id"])

    async with httpx.AsyncClient(base_url=url, timeout=30) as http, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(customer(http))


if __name__ == "__main__":
    asyncio.run(place_orders(sys.argv[1], int(sys.argv[2])))
