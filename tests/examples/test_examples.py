"""Every example, as its reader would run it: formatted, valid, applied, lost, damaged, found again, destroyed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brevplan.simcloud.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/main.hcl") if 'provider "local"' in path.read_text())
"""Those that need no account; what is for others is tried at simulated clouds."""


class Reader:
    """Somebody who copied an example into a folder of their own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("*.db*"))

    def run(self, *words: str, code: int = 0) -> str:
        return self.done(*words, code=code).stdout

    def done(self, *words: str, code: int) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BREVPLAN_")}
        done = subprocess.run(
            [sys.executable, "-m", "brevplan", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def fails(self, *words: str) -> str:
        """Run a command that must end with 1; give what it says about it."""
        return self.done(*words, code=1).stderr

    def disarm(self) -> None:
        """Take the protection away that an example puts on its machines: by applying `false`, as its owner would."""
        path = self.folder / "main.hcl"
        armed = "prevent_destroy = each.value.awake"
        if armed in path.read_text():
            self.run("destroy", "-auto-approve", code=1)
            path.write_text(path.read_text().replace(armed, "prevent_destroy = false"))
            self.run("apply", "-auto-approve")

    def machines(self) -> list[str]:
        store = Store(str(self.folder / "local-cloud.db"))
        try:
            return sorted(machine.body.cloud_id for machine in store.machines())
        finally:
            store.close()

    def delete_one(self) -> str:
        store = Store(str(self.folder / "local-cloud.db"))
        try:
            gone = str(store.machines()[0].body.cloud_id)
            store.delete_machine(gone)
            return gone
        finally:
            store.close()


@pytest.fixture(params=NAMES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    return Reader(request.param, tmp_path)


def test_there_are_four() -> None:
    assert NAMES == ["dev-boxes", "fleet", "quickstart", "training-cluster"]


def test_example_is_formatted_and_valid(reader: Reader) -> None:
    reader.run("fmt", "-check")
    assert "Success!" in reader.run("validate")


def test_example_lives_from_apply_to_destroy(reader: Reader) -> None:
    reader.run("apply", "-auto-approve")
    reader.run("plan", "-detailed-exitcode")
    made = reader.machines()
    assert made
    reader.delete_one()
    assert "Plan: 1 to add, 0 to change, 0 to destroy." in reader.run("plan", "-detailed-exitcode", code=2)
    reader.run("apply", "-auto-approve")
    assert len(reader.machines()) == len(made)
    (reader.folder / "brevplan.db").unlink()
    reader.run("plan", "-out", "lost.plan")
    changes = json.loads(reader.run("show", "-json", "lost.plan"))["resource_changes"]
    assert {tuple(change["change"]["actions"]) for change in changes} == {("no-op",)}
    assert all("importing" in change["change"] for change in changes)
    reader.run("apply", "-auto-approve")
    reader.run("plan", "-detailed-exitcode")
    reader.disarm()
    reader.run("destroy", "-auto-approve")
    assert reader.machines() == []
    assert reader.run("state", "list") == ""


def test_plan_file_is_read_by_a_terraform_plan_reader(tmp_path: Path) -> None:
    reader = Reader("training-cluster", tmp_path)
    reader.run("plan", "-out", "p.plan")
    document = json.loads(reader.run("show", "-json", "p.plan"))
    assert document["format_version"] == "1.2"
    creates = [change for change in document["resource_changes"] if change["change"]["actions"] == ["create"]]
    assert len(creates) == 9
    worker = next(change for change in creates if change["address"] == "instance.worker[0]")
    assert (worker["type"], worker["name"], worker["index"], worker["mode"]) == ("instance", "worker", 0, "managed")
    assert worker["change"]["before"] is None
    assert worker["change"]["after"]["instance_type"] == "gpu_8x_h100_sxm5"
    assert worker["change"]["after_unknown"]["public_ip"] is True
    assert worker["change"]["after_sensitive"]["user_data"] is True
    assert "user_data" not in worker["change"]["after"]
    assert document["brevplan"]["cost"]["hourly_after"] == pytest.approx(96.04)


def test_training_cluster_sleeps_and_wakes(tmp_path: Path) -> None:
    reader = Reader("training-cluster", tmp_path)
    reader.run("apply", "-auto-approve")
    asleep = reader.run("apply", "-auto-approve", "-var", "asleep=true")
    assert "Resources: 0 added, 0 changed, 0 destroyed, 4 stopped." in asleep
    reader.run("plan", "-detailed-exitcode", "-var", "asleep=true")
    awake = reader.run("apply", "-auto-approve")
    assert "4 started." in awake
    assert len(reader.machines()) == 7


def test_training_cluster_grows_and_shrinks(tmp_path: Path) -> None:
    reader = Reader("training-cluster", tmp_path)
    reader.run("apply", "-auto-approve")
    reader.run("apply", "-auto-approve", "-var", "workers=6")
    assert len(reader.machines()) == 9
    reader.run("apply", "-auto-approve", "-var", "workers=1")
    assert len(reader.machines()) == 4
    reader.run("plan", "-detailed-exitcode", "-var", "workers=1")


def test_fleet_opens_the_ports_of_each_pool(tmp_path: Path) -> None:
    reader = Reader("fleet", tmp_path)
    reader.run("apply", "-auto-approve")
    instance = 'module.pool["{}"].instance.machine[0]'
    assert len(reader.run("state", "list", "module.pool").splitlines()) == 9
    assert len(reader.run("state", "list", 'module.pool["research"]', "instance.gateway").splitlines()) == 4
    rules = {name: reader.run("state", "show", instance.format(name)) for name in ("batch", "research", "serving")}
    assert "tcp 8000 from 0.0.0.0/0" in rules["serving"]
    assert "tcp 8888 from 198.51.100.7/32, 203.0.113.0/24" in rules["research"]
    assert "8000" not in rules["batch"]


def test_fleet_grows_by_one_pool_and_touches_no_other(tmp_path: Path) -> None:
    reader = Reader("fleet", tmp_path)
    reader.run("apply", "-auto-approve")
    pools = reader.folder / "variables.hcl"
    text = pools.read_text().replace("size     = 2", "size     = 3").replace("batch = {", "night = {")
    pools.write_text(text.replace("gpu_8x_h100_sxm5", "gpu_1x_a10"))
    plan = reader.run("plan", "-concise")
    assert "Plan: 3 to add, 0 to change, 2 to destroy." in plan
    assert 'module.pool["research"].instance.machine[2] will be created' in plan
    assert 'module.pool["night"].instance.machine[0] will be created' in plan
    assert 'module.pool["batch"].instance.machine[0] will be destroyed' in plan
    assert "serving" not in plan.partition("Changes to Outputs:")[0]
    reader.run("apply", "-auto-approve")
    reader.run("plan", "-detailed-exitcode")
    assert len(reader.machines()) == 8


def test_fleet_tells_a_pool_that_is_too_large(tmp_path: Path) -> None:
    reader = Reader("fleet", tmp_path)
    told = reader.fails("plan", "-var", 'pools={ serving = { type = "gpu_1x_a10", size = 100 } }')
    assert "A pool has 0 to 99 machines, and serving would have 100." in told
    assert "modules/pool/variables.hcl line" in told


def test_fleet_tells_a_range_that_is_none(tmp_path: Path) -> None:
    told = Reader("fleet", tmp_path).fails("plan", "-var", 'office=["here"]')
    assert "Each must be a range such as 203.0.113.0/24." in told
