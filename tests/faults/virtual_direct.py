"""Direct events, and handlers with odd errors: owed from the call on, whatever is deployed or raised. Rows 31, 34."""

import asyncio
from collections.abc import Callable
from typing import Final

from dawdle import Reject, RetryLater
from tests.faults.ledger import moody
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.trouble import CALM, Rates
from tests.faults.world import ATTEMPTS, Happened, Tally, World

DEPLOYS: Final = 4
EVENTS: Final = 40


@row(31, "virtual", "deploys under direct load, handlers of 0 to 40 s, 3 nodes", must="lost 0")
def deploys(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        # Every third time the queue loses answers as well; what is stored again is then stored twice.
        rates = Rates(lost=0.1, unavailable=0.1, entries=0.1) if seed % 3 == 0 else CALM
        async with World(seed, tally, nodes=3, rates=rates, plan=moody(seed, longest=40), concurrency=4) as world:
            over = 60.0 * DEPLOYS
            world.signal_some(EVENTS, over=over, direct=True)
            world.signal_some(EVENTS // 4, over=over)
            for deploy in range(DEPLOYS):
                await world.clock.advance(60 * world.random.random())
                rates, world.trouble.rates = world.trouble.rates, CALM  # a queue that is away outlasts any flush
                await world.replace(deploy % 3)
                world.trouble.rates = rates
                tally.counts["deploys"] += 1
            world.calm()
            await world.drain()
            again = world.signaled_again  # a direct event is owed from the call on, also where the call raised
            world.judge(lambda run: world.trouble.charged[run[0]] + world.interrupted[run[0]] + again[run[0]])

    return run_seeds(scale, 400, story, needs="deploys")


ODD: Final[dict[str, Callable[[], BaseException]]] = {}


def odd(make: Callable[[], BaseException]) -> Callable[[], BaseException]:
    """Register an odd error by its maker's name."""
    ODD[make.__name__] = make
    return make


@odd
def a_later_that_forgot_its_seconds() -> BaseException:
    class Forgetful(RetryLater):
        def __init__(self) -> None:
            pass

    return Forgetful()


@odd
def a_later_for_ever() -> BaseException:
    error = RetryLater(1)
    error.seconds = float("nan")
    return error


@odd
def a_message_that_exits() -> BaseException:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    return Unspeakable()


@odd
def a_generator_exit() -> BaseException:
    return GeneratorExit()


@odd
def a_stop_iteration() -> BaseException:
    return StopIteration()


@odd
def an_exit() -> BaseException:
    return SystemExit(3)


@odd
def a_cancellation() -> BaseException:
    return asyncio.CancelledError()


@odd
def a_group_of_exits() -> BaseException:
    return BaseExceptionGroup("both", [SystemExit(1), GeneratorExit()])


@odd
def a_group_in_groups() -> BaseException:
    error: BaseException = ValueError("at the bottom")
    for _ in range(50):
        error = BaseExceptionGroup("one", [error])
    return error


@odd
def a_reject_in_a_group() -> BaseException:
    return ExceptionGroup("both", [Reject("never"), ValueError("no")])


@row(34, "virtual", "odd errors: each, queued and direct", must="siblings run once, it is dead-lettered, lost 0")
def odd_errors(scale: Scale) -> Figures:
    async def story(seed: int, tally: Tally) -> None:
        name = list(ODD)[seed % len(ODD)]
        direct = seed // len(ODD) % 2 == 1
        async with World(seed, tally, nodes=2, handlers=("a", "b")) as world:
            bad_runs = 0

            def register(app_index: int) -> None:
                async def bad(event: Happened) -> None:
                    nonlocal bad_runs
                    bad_runs += 1
                    await world.pause(world.random.random())
                    error = ODD[name]()
                    raise error

                world.apps[app_index].register(bad, Happened, name="odd")

            for index in range(2):
                register(index)
            numbers = world.signal_some(6, over=20, **({"direct": True} if direct else {}))
            await world.clock.advance(25)
            await world.drain()
            world.judge(lambda run: 0)
            letters = [message for message in world.dead.messages() if '"dawdleowed":"odd"' in message.body]
            attempts = 1 if name == "a_reject_in_a_group" else ATTEMPTS
            tally.must(len(letters) == len(numbers), f"{name}: {len(letters)} letters of {len(numbers)} events")
            tally.must(bad_runs == attempts * len(numbers), f"{name}: {bad_runs} runs of {len(numbers)} events")
            for app in world.apps:
                tally.must(app.health().healthy, f"{name}: unhealthy, {app.health().reasons}")
            tally.counts["odd errors"] += bad_runs

    return run_seeds(scale, 20 * len(ODD), story, needs="odd errors")
