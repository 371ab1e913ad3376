"""A handler with a limit under a backlog: row 32, on a test clock."""

import asyncio
from collections.abc import Iterator
from typing import Final

from tests.faults.backlog import SLOTS, BacklogRun, Scenario
from tests.faults.cluster import SeedResult
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds

SMALL, LARGE = 500, 10_000
SHARE: Final = 0.9
"""Share of what the limit allows that must be used."""

ROUNDING: Final = 3.0
"""Seconds that a backlog of seconds may end late, since delays are whole seconds and a tenth of it is less."""

FEW_LATE: Final = 8.1
"""Seconds that a few events may end late, and what calls take: one node has them all in a receive, and in memory."""

BEYOND: Final = 4.0
"""Copies per event, beyond those that the longest delay makes necessary."""

PATIENCE: Final = 3
"""Times the ideal duration after which a backlog counts as hanging."""

LONGEST: Final = 600.0
"""Seconds of real time that one backlog may take."""

VISIBLE: Final = 2.0
"""Seconds after which released messages are visible: the stopping node may receive one again meanwhile."""

A_WHILE: Final = 60
QUICKLY: Final = 0.02
"""Seconds in which an event is handled where calls take no time."""


def backlogs(events: int) -> Iterator[Scenario]:
    """Return the backlogs of a table: the queue in memory has one node."""
    for queue, nodes in (("memory", 1), ("simulated", 1), ("simulated", 4)):
        for kind in ("constant", "exponential"):
            for mean in (0.2, 1.0):
                for limit in (1, 10):
                    yield Scenario(queue, kind, mean, events, limit, nodes)  # type: ignore[arg-type]  # they are these


@row(
    32,
    "virtual",
    "limits under a backlog of 500 and 10,000 events",
    must="≥ 0.9 of what the limit allows, ≤ 4 copies beyond the hops, others' median ≤ 3×, a quarter of the slots wait",
)
def limits_under_a_backlog(scale: Scale) -> Figures:
    """The table; a few events; several limits at once; nodes that are killed, join and stop."""
    small = list(backlogs(SMALL))
    stories = [
        *small[:: max(1, round(0.2 / scale.share))],
        *(backlogs(LARGE) if scale.share >= 1 else ()),
        *(Scenario(events=20, mean=1.0, nodes=nodes) for nodes in (1, 4, 16)),
    ]

    async def story(seed: int, result: SeedResult) -> None:
        if seed < len(stories):
            await _work_off(seed, stories[seed], result)
        else:
            await (_several, _killed, _stopped)[seed - len(stories)](seed, result)

    # No fault strikes a call here: what is told is that every backlog was worked off.
    whole = Scale(seed=scale.seed)
    return run_seeds(whole, len(stories) + 3, story, needs="backlogs", longest=LONGEST)


async def _work_off(seed: int, scenario: Scenario, result: SeedResult) -> None:
    alone = await _median_alone(seed, scenario)
    async with BacklogRun(seed, scenario) as backlog:
        done = await backlog.pass_time(round(PATIENCE * backlog.ideal) + A_WHILE)
        result.must(done, f"{scenario}: {len(backlog.done)} are done after {PATIENCE} times what they take")
        if not done:
            return
        few = scenario.events < SMALL
        late = backlog.took - backlog.ideal
        allowed = FEW_LATE if few else max(backlog.ideal * (1 / SHARE - 1), ROUNDING)
        result.must(late <= allowed, f"{scenario}: {backlog.took:.1f} s instead of {backlog.ideal:.1f} s")
        result.must(
            backlog.extra_copies <= BEYOND, f"{scenario}: {backlog.extra_copies:.2f} copies per event beyond its hops"
        )
        result.must(
            backlog.median <= max(3 * alone, QUICKLY),
            f"{scenario}: others wait {backlog.median:.3f} s, and {alone:.3f} s without it",
        )
        _judge(backlog, result)
        kind = "few" if few else "long" if allowed > ROUNDING else "short"
        result.note_max(f"{kind}: late, s", late)
        result.note_max(f"{kind}: times the ideal", backlog.took / backlog.ideal)
        result.note_max("copies beyond the hops", backlog.extra_copies)
        result.note_max("others' median, ratio", backlog.median / alone if alone else float(backlog.median > QUICKLY))


def _judge(backlog: BacklogRun, result: SeedResult) -> None:
    """Check what must hold in every backlog."""
    result.counts["backlogs"] += 1
    result.counts["events"] += backlog.scenario.events
    result.counts["copies"] += backlog.copies
    quarter, half = SLOTS // 4, SLOTS // 2
    result.must(
        backlog.max_waiting_for_one <= quarter, f"{backlog.max_waiting_for_one} wait for one handler, of {SLOTS} slots"
    )
    result.must(
        backlog.max_waiting_for_all <= half, f"{backlog.max_waiting_for_all} wait in one node, of {SLOTS} slots"
    )
    result.note_max("wait for one", backlog.max_waiting_for_one)
    result.note_max("wait for all", backlog.max_waiting_for_all)


async def _median_alone(seed: int, scenario: Scenario) -> float:
    """Return how long other events wait where there is no backlog."""
    async with BacklogRun(seed, scenario._replace(events=1)) as backlog:
        await backlog.pass_time(A_WHILE, until_done=False)
        return backlog.median


async def _several(seed: int, result: SeedResult) -> None:
    """Four handlers with a limit want every event."""
    async with BacklogRun(seed, Scenario(events=SMALL, mean=1.0), handlers=("a", "b", "c", "d")) as backlog:
        result.must(await backlog.pass_time(4 * SMALL), "several limits: not all is done")
        share = backlog.ideal / backlog.took
        result.must(share >= SHARE, f"several limits: {share:.2f} of what they allow")
        result.must(
            backlog.extra_copies <= BEYOND, f"several limits: {backlog.extra_copies:.2f} copies beyond the hops"
        )
        result.note_max("several: times the ideal", 1 / share)
        _judge(backlog, result)


async def _killed(seed: int, result: SeedResult) -> None:
    """Nodes are killed, and others join: nothing is lost, and only messages that were in flight there run twice."""
    async with BacklogRun(seed, Scenario(kind="exponential", mean=1.0, events=1000, nodes=4)) as backlog:
        for _ in range(10):
            await backlog.pass_time(20)
            next(node for node in backlog.nodes if node.alive).kill()
            await backlog.join(listening=True)
        result.must(await backlog.pass_time(3000), f"killed: {len(backlog.done)} of 1000 are done")
        twice = sum(backlog.calls.values()) - len(backlog.calls)
        # What ran in a node, and what had run there and was about to be deleted.
        result.must(twice <= 2 * 10, f"killed: {twice} runs more, of 10 nodes with one run each")
        result.counts["killed"] += 10
        result.counts["run twice"] += twice
        _judge(backlog, result)


async def _stopped(seed: int, result: SeedResult) -> None:
    """Nodes stop in the middle: waiting messages are released at once, and running handlers finish."""
    async with BacklogRun(seed, Scenario(mean=1.0, events=1000, nodes=4)) as backlog:
        for node in backlog.nodes[:3]:
            await backlog.pass_time(20)
            waiting = sum(node.waiting)
            leaving = asyncio.create_task(node.app.__aexit__(None, None, None))
            await backlog.clock.advance(VISIBLE)
            held = len(backlog.queue.held_by(node.number))
            result.must(waiting >= 5, f"stopped: only {waiting} waited there")
            result.must(held <= 1, f"stopped: {held} are held {VISIBLE} s later")
            await backlog.clock.advance(40)
            await leaving
            backlog.nodes.remove(node)
            result.counts["stopped"] += 1
            await backlog.join(listening=True)
        result.must(await backlog.pass_time(3000), f"stopped: {len(backlog.done)} of 1000 are done")
        twice = sum(backlog.calls.values()) - len(backlog.calls)
        result.must(not twice, f"stopped: {twice} runs more")
        _judge(backlog, result)
