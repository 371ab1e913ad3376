"""One invocation: hands its messages to the queues, waits until all are settled or the time is over, and answers.

    read ──► enter the app ──► offer to the queues, listen ──► all settled, or time is over ──► stop ──► answer

The time, from the invocation on:

    ├──────────────── handlers run ────────────────┼── copies are stored ──┼── give back ──┼──┤ timeout
                                                  cut                   give up          answer
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Final, cast

import msgspec

import dawdle
from dawdle._log import Log
from dawdle.abc import Delivery
from dawdle.aws_lambda._errors import UnfinishedRecordsError
from dawdle.aws_lambda._foreign import ForeignEvent
from dawdle.aws_lambda._queue import LambdaQueue, Offer
from dawdle.aws_lambda._records import Message, messages_of, shape_of
from dawdle.aws_lambda._sandbox import Sandbox
from dawdle.errors import ConfigurationError, EventError, one_line

__all__ = ["Invocation"]

_log = Log(__name__)

MIN_MARGIN_SECONDS: Final = 0.5
MAX_MARGIN_SECONDS: Final = 5.0
MARGIN_SHARE: Final = 1 / 10
"""The part of the function's timeout that is kept for what must be stored after the handlers were cancelled."""

GIVE_UP_SHARE: Final = 1 / 3
"""The part of the margin that is kept for giving back what is unfinished."""

ANSWER_SHARE: Final = 1 / 10
"""The part of the margin that is kept for the answer."""

DELETE_AFTER_SECONDS: Final = 1.0
"""Seconds between two deletes of what is done, in an invocation that takes as long. A shorter one makes none: Lambda
deletes what is done when the function returns."""

_EVENT_ID: Final = re.compile(r"[!-~]{1,128}")


class Invocation:
    """One call of the function."""

    def __init__(self, sandbox: Sandbox, event: object, context: object) -> None:
        self._sandbox = sandbox
        self._app = sandbox.app
        self._event = event
        self._context = context
        self._cut_at = self._give_up_at = self._answer_at = inf

    async def run(self) -> object:
        """Handle the invocation, and return its answer."""
        self._set_times()
        shape = shape_of(self._event)
        if shape == "other":
            return await self._run_otherwise()
        if shape == "foreign":
            await self._handle_foreign()
            return None
        records: object = self._event
        if isinstance(records, dict):
            records = cast("dict[str, object]", records)["Records"]
        offers = self._by_queue(messages_of(records))
        await self._sandbox.enter()
        for queue in self._queues:
            queue.offer(offers.get(queue, ()), None if self._cut_at == inf else self._cut_at, self._sandbox.wake)
        try:
            await self._handle(offers)
            return await self._answer(sum(map(len, offers.values())), is_pipe=shape == "pipes")
        finally:
            for queue in self._queues:
                queue.end()

    def _set_times(self) -> None:
        time_left = getattr(self._context, "get_remaining_time_in_millis", None)
        if time_left is None:  # a test, or a script
            return
        seconds = time_left() / 1000
        margin = self._sandbox.margin
        if margin is None:
            margin = min(MAX_MARGIN_SECONDS, max(MIN_MARGIN_SECONDS, seconds * MARGIN_SHARE))
        now = asyncio.get_running_loop().time()
        self._cut_at = now + seconds - margin
        self._give_up_at = now + seconds - margin * GIVE_UP_SHARE
        self._answer_at = now + seconds - margin * ANSWER_SHARE

    # The messages of queues.

    @property
    def _queues(self) -> list[LambdaQueue]:
        both = ((queue, queue.delayed) for queue in self._sandbox.queues.values())
        return [each for pair in both for each in pair if each is not None]

    def _by_queue(self, messages: Iterable[Message]) -> dict[LambdaQueue, list[Offer]]:
        """Return the messages by the queue of the app that each comes from."""
        offers: dict[LambdaQueue, list[Offer]] = {}
        for message in messages:
            offers.setdefault(self._queue_of(message), []).append(self._offer(message))
        return offers

    def _queue_of(self, message: Message) -> LambdaQueue:
        """Return the queue that a message comes from. Raises `ConfigurationError` where the app does not have it."""
        queues = self._queues
        if not message.queue_arn and len(queues) == 1:  # a test that leaves it out
            return queues[0]
        for queue in queues:
            if queue.has_arn(message.queue_arn):
                return queue
        raise ConfigurationError(
            f"the function gets messages of {message.queue_arn or 'a queue without an ARN'}, and its app has "
            f"{', '.join(f'{name!r}: {queue!r}' for name, queue in self._sandbox.queues.items())}: make it a queue of "
            f"the app (DAWDLE_SQS_QUEUE_URL, or queues=), or remove this event source"
        )

    def _offer(self, message: Message) -> Offer:
        """Return a message in its parts: one, unless it holds several events of AWS, or none."""
        delivery = message.delivery
        try:
            bodies = self._sandbox.reader.bodies(delivery.body.decode(), message.id)
        except EventError as error:
            _log.error("message %s is dead-lettered: %s", message.id, error)
            bodies = None
        if bodies is None:
            return Offer(message, [delivery])
        if not bodies:
            _log.info("message %s is S3's test of a notification, and holds no event", message.id)
        return Offer(message, [_part(delivery, number, body) for number, body in enumerate(bodies)])

    async def _handle(self, offers: Collection[LambdaQueue]) -> None:
        """Let the app handle what is offered, for as long as there is time."""
        try:
            await self._app.start_listener()
            await self._require_listening(offers)
            await self._wait()
        finally:
            await self._stop()

    async def _require_listening(self, offers: Collection[LambdaQueue]) -> None:
        """Raise `ConfigurationError` where the records would never be received."""
        for _ in range(3):  # handlers that are registered make themselves known by way of the loop
            await asyncio.sleep(0)
        health = self._app.health()
        if not health.listening and not self._sandbox.is_over:
            raise ConfigurationError(
                "this app has no handlers: import the modules that have them, or call dawdle.discover(…), above "
                "dawdle.aws_lambda.handler(app)"
            )
        listened = {each.queue.partition(" ")[0] for each in health.queues}
        for name, queue in self._sandbox.queues.items():
            if name not in listened and (queue in offers or queue.delayed in offers):
                raise ConfigurationError(
                    f"the function gets messages of {queue!r}, and its app does not listen to this queue: add {name!r} "
                    f"to listen=, or remove this event source"
                )

    async def _wait(self) -> None:
        """Return when all records are settled, or nothing more will come of them. Raises why a queue cannot be used."""
        loop, wake, told = asyncio.get_running_loop(), self._sandbox.wake, False
        while not all(queue.is_settled for queue in self._queues) and not self._sandbox.is_over:
            failure = next((queue.failure for queue in self._queues if queue.failure is not None), None)
            if failure is not None:
                raise failure
            now = loop.time()
            if now >= self._give_up_at:
                return
            if now >= self._cut_at and not told:
                told = True
                self._warn_of_cut()
            if told and not any(queue.has_handed_out for queue in self._queues):
                return  # the rest was not begun, and is given back
            wake.clear()
            until = min(now + DELETE_AFTER_SECONDS, self._give_up_at if told else self._cut_at)
            try:
                async with asyncio.timeout_at(until):
                    await wake.wait()
            except TimeoutError:
                await self._delete_done()

    async def _delete_done(self) -> None:
        async with self._until(self._give_up_at):
            for queue in self._queues:
                await queue.delete_done()

    @asynccontextmanager
    async def _until(self, when: float) -> AsyncGenerator[None]:
        """Cut off what is in the block when this time comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if when == inf else when):
                yield

    def _warn_of_cut(self) -> None:
        running = ", ".join(self._app.running_handlers()) or "none"
        _log.warning(
            "the function's time is nearly over: cancelling its handlers (%s) and giving back %d messages that were "
            "not begun; raise the function's Timeout and the queue's visibility timeout, or lower the batch size",
            running,
            sum(queue.waiting for queue in self._queues),
        )

    async def _stop(self) -> None:
        """Receive no more, and let what still runs come to its end, such as direct events: nothing runs between."""
        ended = self._sandbox.ended
        if ended is None or ended.done():
            await self._sandbox.leave()
            return
        now = asyncio.get_running_loop().time()
        # A running handler has until the cut. Without a timeout it has what the app gives it on shutdown.
        grace = 0.0 if self._sandbox.stopping else None if self._cut_at == inf else max(0.0, self._cut_at - now)
        stop = asyncio.create_task(self._app.stop_listener(grace=grace), name="dawdle: end of the invocation")
        left = None if self._give_up_at == inf else max(0.0, self._give_up_at - now)
        await asyncio.wait([stop, ended], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await self._sandbox.leave()
        elif stop.done():
            stop.result()
        else:
            self._sandbox.stopped_late.add(stop)
            stop.add_done_callback(self._sandbox.stopped_late.discard)

    async def _answer(self, count: int, *, is_pipe: bool) -> object:
        """Return the answer for Lambda. Raises `UnfinishedRecordsError` where it would not read what is unfinished."""
        unfinished = [message for queue in self._queues for message in queue.unfinished()]
        if not unfinished:
            return {"batchItemFailures": []}
        _log.info("%d of %d messages are unfinished, and SQS gives them again", len(unfinished), count)
        async with self._until(self._answer_at):
            for queue in self._queues:
                await queue.give_back_rest()
        arns = {message.queue_arn for message in unfinished}
        # A pipe reads the report without any setting.
        if is_pipe or all([await self._is_read(arn) for arn in arns]):
            return {"batchItemFailures": [{"itemIdentifier": message.id} for message in unfinished]}
        async with self._until(self._answer_at):
            for queue in self._queues:
                await queue.delete_done()
        raise UnfinishedRecordsError(
            f"{len(unfinished)} of {count} messages are unfinished, and SQS gives them again; the others are deleted. "
            f"This is raised since Lambda is not known to read batchItemFailures here: give the event source mapping "
            f"the FunctionResponseTypes ReportBatchItemFailures, and write "
            f"dawdle.aws_lambda.handler(app, report_batch_item_failures=True)",
            message_ids=[message.id for message in unfinished],
        )

    def _is_read(self, queue_arn: str) -> Coroutine[object, object, bool]:
        left = self._answer_at - asyncio.get_running_loop().time()
        return self._sandbox.reporting.is_read(queue_arn, self._context, left)

    # Events that are in no queue.

    async def _handle_foreign(self) -> None:
        """Run the handlers of foreign events. What they do not finish is stored in the queue."""
        request = str(getattr(self._context, "aws_request_id", "")) or "invocation"
        found = self._sandbox.reader.invoked_with(self._event, request)
        decoded = [(_decoded(each, event_type), each) for event_type, each in found]
        await self._sandbox.enter()
        try:
            for event, each in decoded:
                await self._app.signal(
                    event,
                    direct=True,
                    id=each.id if _EVENT_ID.fullmatch(each.id) else None,
                    source=each.source,
                    headers={} if each.subject is None else {"subject": each.subject},
                )
        finally:
            await self._stop()

    async def _run_otherwise(self) -> object:
        """Answer an event that is none of ours."""
        if self._sandbox.otherwise is None:
            raise EventError(
                f"the function was invoked with {_described(self._event)}, and takes messages of SQS: give it an SQS "
                f"queue as its event source, declare a type for events of S3, EventBridge or SNS by foreign=, or give "
                f"handler() a function for all other events by otherwise="
            )
        await self._sandbox.enter()
        try:
            return await self._sandbox.otherwise(self._event, self._context)
        finally:
            await self._stop()


def _described(event: object) -> str:
    if not isinstance(event, dict):
        return f"a {type(event).__name__}"
    return one_line(f"the keys {', '.join(map(str, cast('dict[object, object]', event)))}")


def _part(delivery: Delivery, number: int, body: bytes) -> Delivery:
    """Return one of the events that a message holds. The first one has the message's own key and receipt."""
    if not number:
        return msgspec.structs.replace(delivery, body=body)
    return msgspec.structs.replace(
        delivery, body=body, key=f"{delivery.key}.{number}", receipt=f"{delivery.receipt}.{number}"
    )


def _decoded(event: ForeignEvent, event_type: type[object]) -> object:
    return dawdle.JSON().decode(msgspec.json.encode(event.data), event_type)
