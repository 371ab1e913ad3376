"""The port of a worker with several processes: asks them all, and answers for them. Decides nothing."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
from aiohttp import web

from dawdle.cli._running import CommandError
from dawdle.cli.worker._answers import Reply, Seen, health, live, ready, stats
from dawdle.cli.worker._child import Child
from dawdle.cli.worker._figures import METRICS_TYPE, NO_METRICS, Merged, can_measure, exposition
from dawdle.cli.worker._memory import rss_of
from dawdle.cli.worker._pool import Pool
from dawdle.cli.worker._values import Address

__all__ = ["serving"]

STOP_SECONDS: Final = 1.0


@asynccontextmanager
async def serving(address: Address, pool: Pool, children: Callable[[], Sequence[Child]]) -> AsyncGenerator[None]:
    """Answer on a port, in the block, for the processes that run then."""
    host, port = address
    answers = _Port(pool, children)
    web_app = web.Application()
    web_app.add_routes(
        [
            web.get("/live", answers.probe(live, "/live")),
            web.get("/ready", answers.probe(lambda seen: ready(seen, len(pool.places)), "/ready")),
            web.get("/health", answers.probe(lambda seen: health(seen, len(pool.places)), "/health")),
            web.get("/stats", answers.stats),
            web.get("/metrics", answers.metrics),
        ]
    )
    runner = web.AppRunner(web_app, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            where = f"port {port}{'' if host is None else f' of {host}'}"
            raise CommandError(
                f"cannot serve the probes on {where}: {os.strerror(error.errno) if error.errno else error}"
            ) from error
        yield
    finally:
        await runner.cleanup()


class _Port:
    def __init__(self, pool: Pool, children: Callable[[], Sequence[Child]]) -> None:
        self._pool = pool
        self._children = children

    def probe(
        self, answer: Callable[[Sequence[Seen]], Reply], path: str
    ) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
        """Return an endpoint that asks each process the same, and answers with the result."""

        async def endpoint(request: web.Request) -> web.Response:
            del request
            children = self._children()
            answers = await asyncio.gather(*(child.ask(path) for child in children))
            seen: list[Seen] = []
            for child, its in zip(children, answers, strict=True):
                with suppress(KeyError):  # it ended meanwhile
                    seen.append(
                        Seen(
                            process=child.place,
                            pid=child.pid,
                            state=self._pool.state(child.number),
                            rss=rss_of(child),
                            status=None if its is None else its.status,
                            answer=None if its is None else msgspec.Raw(its.body),
                        )
                    )
            return _response(answer(seen))

        return endpoint

    async def stats(self, request: web.Request) -> web.Response:
        """Answer with the figures of all processes that answer."""
        del request
        answers = await asyncio.gather(*(child.ask("/stats") for child in self._children()))
        return _response(stats([each.body for each in answers if each is not None and each.status == 200]))

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with the metrics of the processes, by the label `process`."""
        del request
        if not can_measure():
            return web.Response(status=web.HTTPNotFound.status_code, text=NO_METRICS)
        # Of the two that share a place while one replaces the other, the one that works: two have one label.
        chosen = {child.place: child for child in self._children() if self._pool.working(child.place) == child.number}
        answers = await asyncio.gather(*(child.ask("/metrics") for child in chosen.values()))
        texts = {
            place: each.body.decode()
            for place, each in zip(chosen, answers, strict=True)
            if each is not None and each.status == 200
        }
        body = await asyncio.to_thread(exposition, Merged(dict(sorted(texts.items()))))
        return web.Response(body=body, headers={"content-type": METRICS_TYPE})


def _response(reply: Reply) -> web.Response:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
