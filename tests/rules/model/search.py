"""Visits every world that can be reached, and tells the shortest story of what broke.

A world is visited once, with as many faults left as it can be reached with: whatever may happen with fewer left may
happen then as well. So worlds are visited in the order of the faults that they cost.
"""

import gc
from collections import deque
from time import process_time
from typing import NamedTuple

from tests.rules.model.steps import Protocol, Step, Steps
from tests.rules.model.truth import Rules, Scenario
from tests.rules.model.world import IDLE, World


class Found(NamedTuple):
    """What a search came to."""

    worlds: int
    steps: int
    seconds: float
    """Of this process's own time: what else the machine does says nothing about the search."""
    story: str | None = None

    def __str__(self) -> str:
        return self.story or f"{self.worlds:,} worlds, {self.steps:,} steps, {self.seconds:.1f} s"


class Visited:
    """The worlds that were visited, each with how it was first reached, and where it leads to without a fault."""

    def __init__(self) -> None:
        self.worlds: list[World] = []
        self.came_from: list[int] = []
        self.leads_to: list[list[int]] = []
        self._numbers: dict[World, int] = {}

    def __contains__(self, world: World) -> bool:
        return world in self._numbers

    def number_of(self, world: World) -> int | None:
        return self._numbers.get(world)

    def add(self, world: World, came_from: int) -> int:
        number = self._numbers[world] = len(self.worlds)
        self.worlds.append(world)
        self.came_from.append(came_from)
        self.leads_to.append([])
        return number

    def path_to(self, number: int) -> list[World]:
        path = []
        while number >= 0:
            path.append(self.worlds[number])
            number = self.came_from[number]
        return path[::-1]

    def stuck(self) -> int | None:
        """The first world from which nothing that goes well leads to an end."""
        back: list[list[int]] = [[] for _ in self.worlds]
        for number, following in enumerate(self.leads_to):
            for each in following:
                back[each].append(number)
        ends = [number for number, world in enumerate(self.worlds) if _is_end(world)]
        saved, todo = set(ends), ends
        while todo:
            for each in back[todo.pop()]:
                if each not in saved:
                    saved.add(each)
                    todo.append(each)
        return next((number for number in range(len(self.worlds)) if number not in saved), None)


def _is_end(world: World) -> bool:
    return not world.messages and world.workers == (IDLE, IDLE)


class Search:
    """One scenario, searched to the end or to what breaks first."""

    def __init__(self, scenario: Scenario, rules: Rules | None = None, protocol: Protocol | None = None) -> None:
        self._scenario = scenario
        self._steps = Steps(scenario, rules or Rules(), protocol or Protocol())
        self._visited = Visited()
        self._taken = 0
        self._are_alike = scenario.are_alike

    def run(self) -> Found:
        started = process_time()
        gc.disable()  # a million tuples and no cycle among them
        try:
            story = self._visit_all()
        finally:
            gc.enable()
        if story is None and self._scenario.ends:
            stuck = self._visited.stuck()
            if stuck is not None:
                story = self._story(self._visited.path_to(stuck), None, "nothing that goes well ends this")
        return Found(len(self._visited.worlds), self._taken, process_time() - started, story)

    def _visit_all(self) -> str | None:
        first = self._canonical(self._steps.first)
        waiting: list[list[tuple[World, int]]] = [[] for _ in range(self._scenario.faults + 1)]
        waiting[0].append((first, -1))
        for used, reached in enumerate(waiting):
            todo = deque(
                self._visited.add(world, came_from) for world, came_from in reached if world not in self._visited
            )
            while todo:
                number = todo.popleft()
                story = self._visit(number, self._scenario.faults - used, todo, waiting[used:])
                if story is not None:
                    return story
            reached.clear()
        return None

    def _visit(
        self, number: int, faults_left: int, todo: "deque[int]", waiting: list[list[tuple[World, int]]]
    ) -> str | None:
        visited = self._visited
        world = visited.worlds[number]
        wrong = self._steps.complaint_about(world)
        if wrong is not None:
            return self._story(visited.path_to(number), None, wrong)
        for step in self._steps.of(world, faults_left):
            self._taken += 1
            if step.complaint is not None:
                return self._story(visited.path_to(number), step, step.complaint)
            reached = self._canonical(step.world)
            if step.faults:
                if reached not in visited:
                    waiting[step.faults].append((reached, number))
                continue
            next_number = visited.number_of(reached)
            if next_number is None:
                next_number = visited.add(reached, number)
                todo.append(next_number)
            visited.leads_to[number].append(next_number)
        return None

    def _canonical(self, world: World) -> World:
        return world.canonical(alike=self._are_alike)

    def _story(self, path: list[World], last: Step | None, wrong: str) -> str:
        """The story of a path: each step in words. Workers keep their numbers, also where the search swapped them."""
        world, lines = self._steps.first, []
        for reached in path[1:]:
            step = self._step_from(world, reached, None)
            lines.append(step.text)
            world = step.world
        if last is not None:
            lines.append(self._step_from(world, self._canonical(last.world), last.complaint).text)
        steps = "".join(f"\n{number:4}. {line}" for number, line in enumerate(lines, start=1))
        return f"{self._scenario.name}: {wrong}, {'after' if lines else 'from the start'}{steps}"

    def _step_from(self, world: World, reached: World, complaint: str | None) -> Step:
        steps = self._steps.of(world, self._scenario.faults)
        return next(step for step in steps if step.complaint == complaint and self._canonical(step.world) == reached)
