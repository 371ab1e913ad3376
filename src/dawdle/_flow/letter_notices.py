"""Calls the handlers of dead letters, `@dawdle.on_dead_letter`, once a letter is stored. Stores nothing itself.

    stored ──► waits ──► decoded, its handlers run ──► done, failed, or cut off by a stop: all of it is logged

They are beside everything else: no settling waits for them, they take no slot, and what they raise changes nothing. A
letter waits here as bytes, and is decoded when its turn comes. The stop and `idle()` wait for them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, NamedTuple

from dawdle._flow.failure_log import FailureLog
from dawdle._flow.handler_scope import LetterRun, current_letter_run, enter_letter_run, is_running, this_task
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.carry import Carry, set_carried
from dawdle._handlers.context import Context
from dawdle._handlers.handler import Handler
from dawdle._handlers.letter_handler import takes_letter
from dawdle._handlers.letter_types import LetterTypes
from dawdle._log import About, EventLog
from dawdle._rules.copies import Copy
from dawdle._rules.dead_letter import DeadLetter, letter_stored
from dawdle._rules.signing import Signer
from dawdle.abc import Clock, Codec, Deadline

__all__ = ["LetterNotices"]

_log = EventLog(__name__)

MAX_AT_ONCE: Final = 10
"""Letters whose handlers run at the same time."""

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""Letters that wait for that. Beyond it a letter is in the dead-letter queue, and its handlers are not called."""


class _Notice(NamedTuple):
    """A letter that was stored, as it is in the dead-letter queue."""

    copy: Copy
    key: str
    queue: str
    died: float
    """When it was given up, by the queue's clock."""
    about: About


class _Calls:
    """The calls for one letter, and whether they have begun."""

    __slots__ = ("began", "notice")

    def __init__(self, notice: _Notice) -> None:
        self.notice = notice
        self.began = False


class LetterNotices:
    """The calls of one app's handlers of dead letters."""

    def __init__(
        self,
        *,
        app: object,
        handlers: AppHandlers,
        codecs: Mapping[str, Codec],
        signer: Signer,
        carry: Carry,
        clock: Clock,
        failures: FailureLog,
        state: Callable[[], object],
        start: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        is_dying: Callable[[], bool],
    ) -> None:
        self._app = app
        self._handlers = handlers
        self._codecs = codecs
        self._signer = signer
        self._carry = carry
        self._clock = clock
        self._failures = failures
        self._state = state
        self._start = start
        self._is_dying = is_dying
        self._waiting: deque[_Notice] = deque()
        self._waiting_bytes = 0
        self._running: dict[asyncio.Task[None], _Calls] = {}
        self._left_out = 0
        self._cut_off = False
        self._quiet: asyncio.Event | None = None

    @property
    def busy(self) -> bool:
        """Whether a handler of a letter runs, or waits until it may."""
        return bool(self._waiting or self._running)

    @property
    def is_idle(self) -> bool:
        """Whether code that waits for all that is due need not wait for it. A handler of letters waits for none."""
        return not self.busy or self.is_here

    @property
    def is_here(self) -> bool:
        """Whether the calling code is in a handler of a letter of this app."""
        # Code in such a handler that waits for all of them must not wait for itself.
        run = current_letter_run()
        return run is not None and run.app is self._app

    def stored(self, message: InFlightMessage, copy: Copy, about: About) -> None:
        """Note that the queue has stored a letter, and call its handlers soon."""
        if not self._handlers.of_letters:
            return
        if self._cut_off:
            _log_not_called(about)
            return
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            if not self._left_out:
                _log.warning(
                    "dead letters come faster than their on_dead_letter handlers take them, and %d wait: the handlers "
                    "are not called for further ones until these are done; the letters are in the dead-letter queue",
                    len(self._waiting),
                    about=about,
                )
            self._left_out += 1
            return
        key = about.event_id or ("" if message.delivery is None else message.delivery.key)
        self._waiting.append(_Notice(copy, key, message.main_queue.name, message.now(), about))
        self._waiting_bytes += len(copy.body)
        self._start_next()

    async def wait_quiet(self) -> None:
        """Return once no handler of a letter runs or waits. In such a handler it returns at once."""
        while not self.is_idle:
            self._quiet = self._quiet or asyncio.Event()
            self._quiet.clear()
            await self._quiet.wait()

    def cut_off(self) -> None:
        """Cancel the handlers that run, and call no other: the grace is over."""
        self._cut_off = True
        for notice in self._waiting:
            _log_not_called(notice.about)
        self._waiting.clear()
        self._waiting_bytes = 0
        for task in self._running:
            task.cancel()

    def allow(self) -> None:
        """Call handlers again, after a stop that was not for good."""
        self._cut_off = False

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < MAX_AT_ONCE:
            notice = self._waiting.popleft()
            self._waiting_bytes -= len(notice.copy.body)
            calls = _Calls(notice)
            try:
                task = self._start(self._tell(calls))
            except RuntimeError:  # the app has died just now, and runs nothing any more
                _log_not_called(notice.about)
                continue
            self._running[task] = calls
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        calls = self._running.pop(task)
        if not calls.began:  # cancelled before its first step
            _log_not_called(calls.notice.about)
        self._start_next()
        if self._left_out and not self._waiting:
            _log.warning(
                "the on_dead_letter handlers were not called for %d dead letters, which came faster than they took "
                "them: look at the dead-letter queue with app.dead_letters()",
                self._left_out,
                about=None,
            )
            self._left_out = 0
        if self._quiet is not None:  # each that waits looks for itself
            self._quiet.set()

    async def _tell(self, calls: _Calls) -> None:
        """Call the handlers that take a letter, side by side."""
        await asyncio.sleep(0)  # an eager task runs before its creator goes on, and that is a settling
        calls.began, notice = True, calls.notice
        try:
            await self._call_all(notice)
        except Exception:  # noqa: BLE001 - a bug in dawdle must not end the app
            _log.exception(
                "could not call the on_dead_letter handlers for %s %s because of a bug in dawdle; the letter is in the "
                "dead-letter queue; report this traceback",
                notice.about.event_type,
                notice.about.event_id,
                about=notice.about,
            )

    async def _call_all(self, notice: _Notice) -> None:
        handlers = self._handlers.of_letters
        types = LetterTypes(self._handlers, [each for handler in handlers for each in handler.types])
        letter = letter_stored(notice.copy, notice.key, notice.queue, notice.died, types, self._codecs, self._signer)
        set_carried(self._carry, letter.headers)
        calls = [self._call(handler, letter, notice.about) for handler in handlers if takes_letter(handler, letter)]
        if len(calls) == 1:
            await calls[0]
        elif calls:
            await asyncio.gather(*calls)

    async def _call(self, handler: Handler, letter: DeadLetter, about: About) -> None:
        """Call one handler with a letter. Nothing is raised but the end of the app."""
        about = About(letter.event_id, letter.event_type, handler.name, letter.attempts, about.queue)
        run = LetterRun(self._app, self._context_of(handler, letter))
        enter_letter_run(run)
        arguments = (letter, run.context) if handler.takes_context else (letter,)
        seconds, task = handler.options.timeout or 0.0, this_task()
        deadline = Deadline(self._clock, self._clock.monotonic() + seconds)
        try:
            async with deadline:
                await handler.function(*arguments)  # type: ignore[misc]  # is_async was asked where it was registered
        except asyncio.CancelledError as error:
            if self._cut_off or self._is_dying():
                _log.warning(
                    "on_dead_letter handler %s was cancelled on %s %s, since the app stops; the letter is in the "
                    "dead-letter queue",
                    handler.name,
                    letter.event_type,
                    letter.event_id,
                    about=about,
                )
                raise
            while task.cancelling():  # the handler's own doing, and its failure
                task.uncancel()
            self._failures.log_of_letter(about, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not is_running(task):
                raise  # the coroutine is being closed: its loop has ended
            if isinstance(error, TimeoutError) and deadline.expired():
                late = TimeoutError(f"it ran longer than its timeout of {seconds:g} s")
                late.__cause__ = error
                error = late
            self._failures.log_of_letter(about, error)
        finally:
            run.ended = True

    def _context_of(self, handler: Handler, letter: DeadLetter) -> Context:
        return Context(
            event_id=letter.event_id,
            event_type=letter.event_type,
            handler=handler.name,
            queue=letter.queue,
            attempt=letter.attempts,
            max_attempts=letter.attempts,
            signaled_at=letter.signaled_at,
            body=letter.body,
            state=self._state(),
        )


def _log_not_called(about: About) -> None:
    _log.warning(
        "the on_dead_letter handlers were not called for %s %s, since the app stops; the letter is in the dead-letter "
        "queue",
        about.event_type,
        about.event_id,
        about=about,
    )
