"""Scenarios as data: each says what it promises, and draws the same faults for the same seed."""

from __future__ import annotations

import random

import pytest

from chaos.scenario import Promise
from chaos.scenarios import SCENARIOS


def test_scenarios_have_names_of_their_own() -> None:
    assert len({kind.name for kind in SCENARIOS}) == len(SCENARIOS)


@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.name)
def test_a_scenario_states_its_promise_in_one_sentence(kind: type[Promise]) -> None:
    assert kind.promise().endswith(".")
    assert kind.promise() != Promise.promise()


@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.name)
def test_a_seed_draws_the_same_faults_again(kind: type[Promise]) -> None:
    def drawn(seed: int) -> object:
        return kind().draw(random.Random(f"{kind.name}/{seed}"), seed, first=False)

    for seed in range(20):
        assert drawn(seed) == drawn(seed)
