"""The examples at other clouds, by the real command over HTTP: only the provider block is another one.

What an example asks for and a cloud does not have is refused by the plan, before anything is made:

    training-cluster  chooses disk sizes, and can put its workers to sleep: neither at Lambda nor at Shadeform
    dev-boxes         puts the machine of somebody who is away to sleep: neither at Lambda nor at Shadeform
    fleet             has a pool in a region that Lambda does not have; Shadeform takes it whole

Each has variables by which it does without, and then lives there from its first plan to its end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.clouds import Served, beside, living, simulated
from bench.measure import BREVPLAN
from brevplan.simcloud.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
CLOUDS = ("lambda", "shadeform")
BOTH = pytest.mark.parametrize("cloud", CLOUDS)
LIMIT_S = 60

NO_DISKS = ("-var", "storage={}")
ALL_AWAKE = ("-var", 'people={ alice = {}, bob = { type = "gpu_1x_h100_pcie" } }')
AMERICAN = (
    "-var",
    'pools={ serving = { type = "gpu_1x_a10", size = 3, services = ["inference"], public = true }, '
    'batch = { type = "gpu_8x_h100_sxm5" } }',
)

_LISTED = "firewalls     = [firewall.web]"

pytestmark = pytest.mark.slow


@dataclass
class Reader:
    """Somebody who copied an example and changed its provider block."""

    folder: Path
    cloud: str
    file: Path

    def run(self, *words: str, code: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BREVPLAN_")}
        done = subprocess.run(
            [BREVPLAN, *words], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def is_refused(self, *words: str) -> str:
        """Plan what cannot be; nothing is made."""
        before = self.machines()
        told = " ".join(self.run(*words, code=1).replace("│", " ").split())
        assert "Traceback" not in told
        assert self.machines() == before
        return told

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def machines(self) -> list[str]:
        store = Store(self.file)
        try:
            return [machine.body.cloud_id for machine in living(store)]
        finally:
            store.close()

    def left(self) -> list[str]:
        """Give what stands at the cloud: machines, keys and rulesets."""
        store = Store(self.file)
        try:
            return [machine.body.cloud_id for machine in living(store)] + beside(store, self.cloud)
        finally:
            store.close()

    def lives(self, machines: int, *words: str) -> None:
        """Plan, apply, and find nothing left to do."""
        self.run("plan", "-detailed-exitcode", *words, code=2)
        self.run("apply", "-auto-approve", *words)
        assert len(self.machines()) == machines
        assert "No changes." in self.run("plan", "-detailed-exitcode", *words)

    def ends(self, *words: str) -> None:
        self.run("destroy", "-auto-approve", *words)
        assert self.left() == []
        assert self.run("state", "list") == ""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with simulated(tmp_path, "-no-ssh") as clouds:
        yield clouds


def copied(example: str, served: Served, cloud: str) -> Reader:
    folder = served.folder.parent / example
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("*.db*"))
    reader = Reader(folder, cloud, served.folder / f"{cloud}.db")
    reader.edit("main.hcl", 'provider "local" {}\n', served.block(cloud))
    return reader


@BOTH
def test_quickstart_lives_from_apply_to_destroy(cloud: str, served: Served) -> None:
    reader = copied("quickstart", served, cloud)
    reader.run("fmt", "-check")
    reader.lives(1)
    reader.edit("main.hcl", "    from_port = 443\n", "    from_port = 8443\n")
    if cloud == "lambda":
        assert "0 added, 2 changed, 0 destroyed" in reader.run("apply", "-auto-approve")
    else:  # rules that a machine sets up itself change over SSH, or with another machine
        told = reader.is_refused("plan")
        assert 'on_change.firewalls = "error"' in told
        reader.edit("main.hcl", "[firewall.web]\n", '[firewall.web]\n\n  on_change {\n    firewalls = "replace"\n  }\n')
        assert "1 added, 1 changed, 1 destroyed" in reader.run("apply", "-auto-approve")
    reader.run("plan", "-detailed-exitcode")
    reader.edit("main.hcl", _LISTED, f'{_LISTED}\n  power_state   = "stopped"')
    assert f"{cloud} cannot stop and start machines" in reader.is_refused("plan")
    reader.edit("main.hcl", '\n  power_state   = "stopped"', "")
    reader.ends()


@BOTH
def test_training_cluster_grows_and_shrinks(cloud: str, served: Served) -> None:
    reader = copied("training-cluster", served, cloud)
    told = reader.is_refused("plan")
    assert "Error: Disk of a fixed size" in told
    assert "The disk of cpu_4x_general is always 100 " in told
    told = reader.is_refused("plan", *NO_DISKS, "-var", "asleep=true")
    assert f"gpu_8x_h100_sxm5 cannot be stopped and started at {cloud}." in told
    reader.lives(5, *NO_DISKS)
    reader.lives(7, *NO_DISKS, "-var", "workers=6")
    reader.lives(3, *NO_DISKS, "-var", "workers=2")
    reader.ends(*NO_DISKS, "-var", "workers=2")


@BOTH
def test_dev_boxes_of_those_who_are_awake(cloud: str, served: Served) -> None:
    reader = copied("dev-boxes", served, cloud)
    assert f"gpu_1x_a10 cannot be stopped and started at {cloud}." in reader.is_refused("plan")
    reader.lives(2, *ALL_AWAKE)
    reader.run("destroy", "-auto-approve", *ALL_AWAKE, code=1)
    assert len(reader.machines()) == 2, "they are protected"
    reader.edit("main.hcl", "prevent_destroy = each.value.awake", "prevent_destroy = false")
    reader.run("apply", "-auto-approve", *ALL_AWAKE)
    reader.ends(*ALL_AWAKE)


@BOTH
def test_fleet_found_again_after_a_lost_state(cloud: str, served: Served) -> None:
    reader = copied("fleet", served, cloud)
    words: tuple[str, ...] = ()
    if cloud == "lambda":
        assert 'There is no location "europe-west4".' in reader.is_refused("plan")
        words = AMERICAN
    machines = 5 if words else 7
    reader.lives(machines, *words)
    (reader.folder / "brevplan.db").unlink()
    assert " to import, 0 to add, 0 to change, 0 to destroy." in reader.run("plan", *words)
    reader.run("apply", "-auto-approve", *words)
    reader.run("plan", "-detailed-exitcode", *words)
    assert len(reader.machines()) == machines
    reader.ends(*words)


def test_every_example_is_tried_here() -> None:
    tried = {"quickstart", "training-cluster", "dev-boxes", "fleet", "multi-cloud"}

    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == tried
