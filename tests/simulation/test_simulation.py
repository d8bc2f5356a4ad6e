"""Schedules by seed lose and double nothing, and the auditor sees it when a guard is missing."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import Guard
from tests.simulation.run import seeds
from tests.simulation.schedule import play

SCHEDULES = 2000
SLICES = 40
MOST_FOR_A_GUARD = 1500


@pytest.mark.parametrize("part", range(SLICES))
def test_no_schedule_loses_or_doubles_a_machine(part: int) -> None:
    size = SCHEDULES // SLICES
    failed = {}
    for seed in range(part * size, (part + 1) * size):
        verdict = play(seed)
        assert verdict.counts["runs"] > verdict.counts["quiet runs"] > 1
        if verdict.problems:
            failed[seed] = verdict.problems
    assert failed == {}


@pytest.mark.parametrize("guard", Guard)
def test_the_auditor_sees_that_a_guard_is_missing(guard: Guard) -> None:
    found = next((seed for seed in range(MOST_FOR_A_GUARD) if play(seed, guard).problems), None)
    assert found is not None, f"{MOST_FOR_A_GUARD} schedules without the {guard.value}, and nobody noticed"


def test_a_seed_plays_the_same_again() -> None:
    for seed in (3, 17):
        first, second = play(seed), play(seed)
        assert first.trace == second.trace
        assert len(first.trace) > 20


def test_seeds_are_read_as_a_range_or_as_one() -> None:
    assert seeds("5:8") == range(5, 8)
    assert seeds("7") == range(7, 8)
