"""Direct events under deploys, and handlers that raise odd errors: no handler is lost. Rows 31 and 34."""

import asyncio
from collections.abc import Callable
from typing import Final

from dawdle import Reject, RetryLater
from tests.faults.cluster import MAX_ATTEMPTS, Cluster, Happened, SeedResult
from tests.faults.fault_injection import NO_FAULTS, FaultRates
from tests.faults.row import Figures, Scale, row
from tests.faults.run_record import random_behaviour
from tests.faults.seeds import run_seeds

DEPLOYS: Final = 4
EVENTS: Final = 40


@row(31, "virtual", "deploys under direct load, handlers of 0 to 40 s, 3 nodes", must="lost 0")
def deploys(scale: Scale) -> Figures:
    async def story(seed: int, result: SeedResult) -> None:
        # Every third time the queue loses answers as well; what is stored again is then stored twice.
        rates = FaultRates(lost=0.1, unavailable=0.1, entries=0.1) if seed % 3 == 0 else NO_FAULTS
        async with Cluster(
            seed, result, nodes=3, rates=rates, plan=random_behaviour(seed, longest=40), concurrency=4
        ) as cluster:
            over = 60.0 * DEPLOYS
            cluster.signal_some(EVENTS, over=over, direct=True)
            cluster.signal_some(EVENTS // 4, over=over)
            for deploy in range(DEPLOYS):
                await cluster.clock.advance(60 * cluster.random.random())
                rates, cluster.faults.rates = cluster.faults.rates, NO_FAULTS  # a queue that is away outlasts any flush
                await cluster.replace(deploy % 3)
                cluster.faults.rates = rates
                result.counts["deploys"] += 1
            cluster.stop_faults()
            await cluster.drain()
            again = cluster.signaled_again  # a direct event is owed from the call on, also where the call raised
            cluster.check_promises(
                lambda run: cluster.faults.faults_of_event[run[0]] + cluster.interrupted[run[0]] + again[run[0]]
            )

    return run_seeds(scale, 400, story, needs="deploys")


ODD: Final[dict[str, Callable[[], BaseException]]] = {}


def odd(make: Callable[[], BaseException]) -> Callable[[], BaseException]:
    """Register an odd error under the name of its function."""
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
    async def story(seed: int, result: SeedResult) -> None:
        name = list(ODD)[seed % len(ODD)]
        direct = seed // len(ODD) % 2 == 1
        async with Cluster(seed, result, nodes=2, handlers=("a", "b")) as cluster:
            bad_runs = 0

            def register(app_index: int) -> None:
                async def bad(event: Happened) -> None:
                    nonlocal bad_runs
                    bad_runs += 1
                    await cluster.sleep(cluster.random.random())
                    error = ODD[name]()
                    raise error

                cluster.apps[app_index].register(bad, Happened, name="odd")

            for index in range(2):
                register(index)
            numbers = cluster.signal_some(6, over=20, **({"direct": True} if direct else {}))
            await cluster.clock.advance(25)
            await cluster.drain()
            cluster.check_promises(lambda run: 0)
            letters = [message for message in cluster.dead.messages() if '"dawdleowed":"odd"' in message.body]
            attempts = 1 if name == "a_reject_in_a_group" else MAX_ATTEMPTS
            result.must(len(letters) == len(numbers), f"{name}: {len(letters)} letters of {len(numbers)} events")
            result.must(bad_runs == attempts * len(numbers), f"{name}: {bad_runs} runs of {len(numbers)} events")
            for app in cluster.apps:
                result.must(app.health().healthy, f"{name}: unhealthy, {app.health().reasons}")
            result.counts["odd errors"] += bad_runs

    return run_seeds(scale, 20 * len(ODD), story, needs="odd errors")
