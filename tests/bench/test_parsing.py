"""The measurement of parsing itself: it measures what it says, and a slow parser misses its budgets."""

from __future__ import annotations

from pathlib import Path

from bench import projects
from bench.budgets import of_parsing
from bench.measure import Cost
from bench.parsing import Parsing, Reading, read_file

COST = Cost(0, 1.0, 1.0, 50.0, 0, 0)


def test_reading_a_file_is_measured_with_and_without_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "main.hcl"
    path.write_text(projects.literal(50))

    found = read_file(path, tmp_path / "parsed", times=1)

    assert found.megabytes == path.stat().st_size / 1e6
    assert len(list((tmp_path / "parsed").glob("*.tree"))) == 1
    assert found.parse_s > 0
    assert found.cached_s > 0


def test_slow_reading_misses_its_budgets() -> None:
    slow = Parsing(10_000, Reading(megabytes=3.0, parse_s=4.0, cached_s=0.9), COST, COST, None)
    quick = Parsing(10_000, Reading(megabytes=3.0, parse_s=0.8, cached_s=0.2), COST, COST, None)

    assert [verdict.is_met for verdict in of_parsing(slow)] == [True, False, True, False]
    assert all(verdict.is_met for verdict in of_parsing(quick))
