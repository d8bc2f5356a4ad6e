"""Some hundreds of damaged states at the whole command, and whether the judge of them can see."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.engine.address import Address
from brevplan.engine.ports import PutRecord
from brevplan.state.store import StateStore
from tools.damage import HELD, OLDER, REFUSED, SAME, WRONG, Project, judge, make_projects, try_files
from tools.damage_ways import BY_SQL, ON_ANY, ON_LOGS


@pytest.mark.slow
def test_no_damage_leads_to_a_wrong_plan(tmp_path: Path) -> None:
    report = try_files(tmp_path, 300, seed=1, sizes=(0, 1, 40))
    assert report.wrong == []
    found = {outcome: sum(counts[outcome] for counts in report.counts.values()) for outcome in (REFUSED, SAME, OLDER)}
    assert all(number > 20 for number in found.values()), found
    assert sum(counts[WRONG] + counts[HELD] for counts in report.counts.values()) == 0
    assert set(report.counts) == {*ON_ANY, *ON_LOGS, *BY_SQL}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return next(make_projects(tmp_path_factory.mktemp("damage"), 3))


def test_the_judge_sees_a_wrong_plan(project: Project) -> None:
    """A state that is whole and says something else of a machine is what damage must never come to."""
    for path in project.folder.glob("brevplan.db*"):
        path.unlink()
    path = project.folder / "brevplan.db"
    path.write_bytes(project.shape.now[""])
    store = StateStore.open(path, create=False)
    assert store is not None
    store.take("")
    record = next(record for record in store.records("default") if str(record.address) == "instance.node[1]")
    store.transact([PutRecord(replace(record, address=Address("instance", "nod4", 1)))])
    store.close()
    seen = project.look({"": path.read_bytes()})
    assert seen.harm - project.quiet.harm
    assert judge(project.quiet, seen) == WRONG


@pytest.mark.parametrize("problem", ["exit code 3", "Traceback (most recent call last)"])
def test_the_judge_takes_no_excuse(project: Project, problem: str) -> None:
    assert judge(project.quiet, replace(project.quiet, problem=problem)) == WRONG
    assert judge(project.quiet, project.quiet) == SAME


@pytest.mark.parametrize("name", [*ON_ANY, *BY_SQL])
def test_every_way_changes_the_files(project: Project, name: str) -> None:
    """Not with every draw: a page may be swapped with itself."""
    ways = {**ON_ANY, **BY_SQL}
    draws = (ways[name](random.Random(seed), project.shape) for seed in range(8))
    assert any(draw != project.shape.now for draw in draws)
