"""The real command, really killed: no machine is lost and none doubled, and the audit that says so is not blind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench import projects
from bench.crash import CLOUDS, EMBEDDED, LOSING, Ground, audit, audit_of_the_end, run_trials
from bench.measure import BREVPLAN, Workbench
from brevplan.simcloud.model import with_body
from brevplan.simcloud.store import Store

TRIALS = 10
LOSING_TRIALS = 3
MACHINES = EMBEDDED.machines


@pytest.mark.slow
def test_apply_killed_at_random_moments_ends_with_exactly_the_declared_machines() -> None:
    trials = list(run_trials(1, TRIALS, LOSING_TRIALS))
    assert {trial.cloud for trial in trials} == {*CLOUDS, LOSING}
    assert [f"seed {trial.seed}: {trial.problems}" for trial in trials if trial.problems] == []
    assert sum(trial.kills for trial in trials) >= TRIALS // 2, "the kills came too late to mean anything"
    interrupted = [made for trial in trials for made in trial.made_at_kill if 0 < made < MACHINES]
    assert interrupted, "no kill came while machines were being made"
    assert sum(trial.unanswered for trial in trials) >= LOSING_TRIALS, "no answer was lost"


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["lambda", "shadeform"])
def test_apply_killed_at_a_cloud_over_http_leaves_nothing_behind(provider: str) -> None:
    trials = list(run_trials(3, 3, 1, ground=Ground(provider)))
    assert [f"seed {trial.seed}: {trial.problems}" for trial in trials if trial.problems] == []
    assert sum(trial.kills for trial in trials) >= 2, "the kills came too late to mean anything"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[Workbench, Path, Store]]:
    bench = Workbench(tmp_path)
    folder = bench.project("fleet", projects.counted(MACHINES))
    cost = bench.run((BREVPLAN, "apply", "-auto-approve"), folder, limit_s=60)
    assert cost.exit_code == 0
    store = Store(folder / "local-cloud.db")
    yield bench, folder, store
    store.close()


@pytest.mark.slow
def test_audit_of_a_quiet_fleet_finds_nothing(fleet: tuple[Workbench, Path, Store]) -> None:
    assert audit(*fleet) == []


@pytest.mark.slow
def test_audit_of_a_doubled_and_a_lost_machine_finds_both(fleet: tuple[Workbench, Path, Store]) -> None:
    bench, folder, store = fleet
    first, second = store.machines()[:2]
    store.delete_machine(second.body.cloud_id)
    with store.write():
        number = store.next_number("machine")
        twin = with_body(first, cloud_id=f"i-{number:08d}", ref_id=f"{first.ref_id[:-6]}aaaaaa")
        store.add(replace(twin, number=number))
    found = "\n".join(audit(bench, folder, store))
    assert f"orphan i-{number:08d} ({first.body.address})" in found
    assert f"2 machines are at {first.body.address}" in found
    assert f"{second.body.address} is recorded as {second.body.cloud_id}, which is gone" in found
    assert "plan -detailed-exitcode exits" in found


@pytest.mark.slow
def test_audit_of_a_cloud_over_http_finds_what_is_left_behind(tmp_path: Path) -> None:
    bench, ground = Workbench(tmp_path), Ground("lambda")
    with ground.project(bench, "fleet", {}) as folder:
        assert bench.run((BREVPLAN, "apply", "-auto-approve"), folder, limit_s=60).exit_code == 0
        store = Store(ground.file(folder))
        assert audit(bench, folder, store, ground) == []
        with store.write():
            left = {"name": "bp-bench-left", "region": "us-west-1", "rules": [], "created": "2026-01-01T00:00:00Z"}
            store.put_object("lambda-ruleset", "f00", left)
        assert audit(bench, folder, store, ground) == ["lambda-ruleset bp-bench-left is kept for no machine"]
        assert audit_of_the_end(bench, folder, store, ground) == ["lambda-ruleset bp-bench-left is left after destroy"]
        store.close()
