"""A handler with a limit under a backlog: row 32, on a test clock."""

import asyncio
from collections.abc import Iterator
from typing import Final

from tests.faults.backlog import SLOTS, Backlog, Scenario
from tests.faults.row import Figures, Scale, row
from tests.faults.seeds import run_seeds
from tests.faults.world import Tally

SMALL, LARGE = 500, 10_000
SHARE: Final = 0.9
"""Of what the limit allows, that is used."""

ROUNDING: Final = 3.0
"""Seconds that a backlog of seconds may end late, since delays are whole seconds and a tenth of it is less."""

FEW_LATE: Final = 8.1
"""Seconds that a few events may end late, and what calls take: one node has them all in a receive, and in memory."""

BEYOND: Final = 4.0
"""Copies per event, beyond those that the longest delay makes necessary."""

PATIENCE: Final = 3
"""Times what it would take; then it hangs."""

LONGEST: Final = 600.0
"""Seconds of the machine's that one backlog may take."""

VISIBLE: Final = 2.0
"""Seconds after which what a stop gives back is visible: what the stopping node receives again meanwhile, for one."""

A_WHILE: Final = 60
QUICKLY: Final = 0.02
"""Seconds in which an event is handled where no call takes any time."""


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

    async def story(seed: int, tally: Tally) -> None:
        if seed < len(stories):
            await _work_off(seed, stories[seed], tally)
        else:
            await (_several, _killed, _stopped)[seed - len(stories)](seed, tally)

    # No fault strikes a call here: what is told is that every backlog was worked off.
    whole = Scale(seed=scale.seed)
    return run_seeds(whole, len(stories) + 3, story, needs="backlogs", longest=LONGEST)


async def _work_off(seed: int, scenario: Scenario, tally: Tally) -> None:
    alone = await _median_alone(seed, scenario)
    async with Backlog(seed, scenario) as backlog:
        done = await backlog.pass_time(round(PATIENCE * backlog.ideal) + A_WHILE)
        tally.must(done, f"{scenario}: {len(backlog.done)} are done after {PATIENCE} times what they take")
        if not done:
            return
        few = scenario.events < SMALL
        late = backlog.took - backlog.ideal
        allowed = FEW_LATE if few else max(backlog.ideal * (1 / SHARE - 1), ROUNDING)
        tally.must(late <= allowed, f"{scenario}: {backlog.took:.1f} s instead of {backlog.ideal:.1f} s")
        tally.must(backlog.beyond <= BEYOND, f"{scenario}: {backlog.beyond:.2f} copies per event beyond its hops")
        tally.must(
            backlog.median <= max(3 * alone, QUICKLY),
            f"{scenario}: others wait {backlog.median:.3f} s, and {alone:.3f} s without it",
        )
        _judge(backlog, tally)
        kind = "few" if few else "long" if allowed > ROUNDING else "short"
        tally.reach(f"{kind}: late, s", late)
        tally.reach(f"{kind}: times the ideal", backlog.took / backlog.ideal)
        tally.reach("copies beyond the hops", backlog.beyond)
        tally.reach("others' median, ratio", backlog.median / alone if alone else float(backlog.median > QUICKLY))


def _judge(backlog: Backlog, tally: Tally) -> None:
    """Hold what must be so in every backlog."""
    tally.counts["backlogs"] += 1
    tally.counts["events"] += backlog.scenario.events
    tally.counts["copies"] += backlog.copies
    quarter, half = SLOTS // 4, SLOTS // 2
    tally.must(backlog.most_of_one <= quarter, f"{backlog.most_of_one} wait for one handler, of {SLOTS} slots")
    tally.must(backlog.most_of_all <= half, f"{backlog.most_of_all} wait in one node, of {SLOTS} slots")
    tally.reach("wait for one", backlog.most_of_one)
    tally.reach("wait for all", backlog.most_of_all)


async def _median_alone(seed: int, scenario: Scenario) -> float:
    """Return what others wait where there is no backlog."""
    async with Backlog(seed, scenario._replace(events=1)) as backlog:
        await backlog.pass_time(A_WHILE, until_done=False)
        return backlog.median


async def _several(seed: int, tally: Tally) -> None:
    """Four handlers with a limit want every event."""
    async with Backlog(seed, Scenario(events=SMALL, mean=1.0), handlers=("a", "b", "c", "d")) as backlog:
        tally.must(await backlog.pass_time(4 * SMALL), "several limits: not all is done")
        share = backlog.ideal / backlog.took
        tally.must(share >= SHARE, f"several limits: {share:.2f} of what they allow")
        tally.must(backlog.beyond <= BEYOND, f"several limits: {backlog.beyond:.2f} copies beyond the hops")
        tally.reach("several: times the ideal", 1 / share)
        _judge(backlog, tally)


async def _killed(seed: int, tally: Tally) -> None:
    """Nodes are killed, and others join: nothing is lost, and only what they had in hand runs twice."""
    async with Backlog(seed, Scenario(kind="exponential", mean=1.0, events=1000, nodes=4)) as backlog:
        for _ in range(10):
            await backlog.pass_time(20)
            next(node for node in backlog.nodes if node.alive).kill()
            await backlog.join(listening=True)
        tally.must(await backlog.pass_time(3000), f"killed: {len(backlog.done)} of 1000 are done")
        twice = sum(backlog.calls.values()) - len(backlog.calls)
        # What ran in a node, and what had run there and was about to be deleted.
        tally.must(twice <= 2 * 10, f"killed: {twice} runs more, of 10 nodes with one run each")
        tally.counts["killed"] += 10
        tally.counts["run twice"] += twice
        _judge(backlog, tally)


async def _stopped(seed: int, tally: Tally) -> None:
    """Nodes stop in the middle: what waits there is given back at once, and what runs there ends."""
    async with Backlog(seed, Scenario(mean=1.0, events=1000, nodes=4)) as backlog:
        for node in backlog.nodes[:3]:
            await backlog.pass_time(20)
            waiting = sum(node.waiting)
            leaving = asyncio.create_task(node.app.__aexit__(None, None, None))
            await backlog.clock.advance(VISIBLE)
            held = len(backlog.queue.held_by(node.number))
            tally.must(waiting >= 5, f"stopped: only {waiting} waited there")
            tally.must(held <= 1, f"stopped: {held} are held {VISIBLE} s later")
            await backlog.clock.advance(40)
            await leaving
            backlog.nodes.remove(node)
            tally.counts["stopped"] += 1
            await backlog.join(listening=True)
        tally.must(await backlog.pass_time(3000), f"stopped: {len(backlog.done)} of 1000 are done")
        twice = sum(backlog.calls.values()) - len(backlog.calls)
        tally.must(not twice, f"stopped: {twice} runs more")
        _judge(backlog, tally)
