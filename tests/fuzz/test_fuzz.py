"""A few thousand made-up texts at every run of the suite; `make fuzz` makes two hundred thousand."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Source
from brevplan.lang.json_reader import read_json
from tests.fuzz.laws import check, check_problems
from tests.fuzz.texts import SORTS, seeds

SEED = 20_000
"""Another one than that of `make fuzz`."""


@pytest.mark.parametrize("sort", SORTS)
def test_laws_hold_for_texts_by_a_seed(sort: str) -> None:
    results = Counter(check(sort, SORTS[sort](Random(f"{SEED}:{number}"))) for number in range(500))
    # were nearly all of them wrong, or none, they would try little
    least = 5 if sort == "signs in no order" else 15
    assert max(results.values()) <= 500 - least, results


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@pytest.mark.parametrize("sort", SORTS)
@given(random=st.randoms(use_true_random=False))
def test_laws_hold_for_texts_that_shrink(sort: str, random: Random) -> None:
    check(sort, SORTS[sort](random))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(text=st.text(max_size=60))
def test_laws_hold_for_any_text(text: str) -> None:
    for sort in SORTS:
        check(sort, text)
    _, problems = read_json(Source("x.json", text))
    check_problems(problems, text)


def test_name_that_ends_with_a_part_beginning_wrong_is_pointed_at() -> None:
    # the scanner once looked for the mistake behind the end of the text
    assert check("signs in no order", "endif::\u0301") == "wrong"


def test_texts_to_be_broken_are_found() -> None:
    assert len(seeds()) > 200


def test_run_of_one_input_can_be_replayed() -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "--seed", "3", "--only", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "1 inputs in" in done.stdout
