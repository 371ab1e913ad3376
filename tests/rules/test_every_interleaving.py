"""No handler of any event is ever without a durable message, whatever two workers and four faults do.

The model is described at the head of `tests.rules.model`. These searches are exhaustive: what they do not find is not
there, for one event, two workers, two handlers and as many faults as the scenario says.
"""

import pytest

from tests.rules.model.mutants import OTHERS, PLANTED
from tests.rules.model.scenarios import CHAIN, DELAY, FAN_OUT, REACH, SCENARIOS
from tests.rules.model.search import Search

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

FEWER = 2
"""Faults, where many searches are to be quick."""


@pytest.mark.parametrize("scenario", [FAN_OUT._replace(faults=2), CHAIN._replace(faults=1)], ids=lambda each: each.name)
def test_whatever_a_fault_or_two_do_each_handler_keeps_a_message(scenario):
    found = Search(scenario).run()
    assert found.story is None, found.story
    assert found.worlds > 100


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_whatever_two_faults_do_in_whatever_order_each_handler_keeps_a_message(scenario):
    found = Search(scenario._replace(faults=min(scenario.faults, FEWER))).run()
    assert found.story is None, found.story


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.faults > FEWER], ids=lambda each: each.name)
def test_whatever_happens_in_whatever_order_each_handler_keeps_a_message(scenario):
    found = Search(scenario).run()
    print(f"{scenario.name}, {scenario.faults} faults: {found}")
    assert found.story is None, found.story


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [*PLANTED, *OTHERS], ids=lambda each: each.name)
def test_a_mistake_is_found_and_its_story_names_the_step(mutant):
    found = Search(mutant.scenario._replace(faults=FEWER), mutant.rules, mutant.protocol).run()
    print(found)
    assert found.story is not None, f"not found in {found}"
    headline, *steps = found.story.splitlines()
    assert mutant.wrong in headline
    assert mutant.step in "\n".join(steps)


def test_the_chain_takes_three_hops():
    assert 2 * REACH < DELAY < 3 * REACH
