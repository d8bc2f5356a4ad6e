"""One configuration on three clouds, by the real command: only the provider blocks are those of simulated clouds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.clouds import living, simulated
from bench.measure import BREVPLAN
from brevplan.simcloud.store import Store

EXAMPLE = Path(__file__).parents[2] / "examples" / "multi-cloud"
CLOUDS = ("fluidstack", "lambda", "shadeform")

pytestmark = pytest.mark.slow


def run(folder: Path, *words: str, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BREVPLAN_")}
    done = subprocess.run(
        [BREVPLAN, *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def machines(folder: Path) -> dict[str, int]:
    found = {}
    for cloud in CLOUDS:
        store = Store(folder / f"{cloud}.db")
        found[cloud] = len(living(store))
        store.close()
    return found


def test_one_fleet_on_three_clouds(tmp_path: Path) -> None:
    folder = tmp_path / "multi-cloud"
    shutil.copytree(EXAMPLE, folder)
    run(folder, "validate")
    run(folder, "fmt", "-check")
    with simulated(tmp_path, "-no-ssh", names=CLOUDS) as served:
        blocks = "\n".join(served.block(cloud) for cloud in CLOUDS)
        (folder / "providers.hcl").write_text(blocks)
        planned = run(folder, "plan", "-detailed-exitcode", code=2)
        assert "Plan: 5 to add, 0 to change, 0 to destroy." in planned
        run(folder, "apply", "-auto-approve")
        assert machines(served.folder) == {"fluidstack": 1, "lambda": 2, "shadeform": 1}
        assert "No changes." in run(folder, "plan", "-detailed-exitcode")
        told = json.loads(run(folder, "output", "-json", "machines"))
        assert {cloud: len(found) for cloud, found in told.items()} == {"fluidstack": 1, "lambda": 2, "shadeform": 1}
        run(folder, "apply", "-auto-approve", "-var", "trainers=1", "-var", "burst=2")
        assert machines(served.folder) == {"fluidstack": 1, "lambda": 1, "shadeform": 2}
        run(folder, "destroy", "-auto-approve", "-var", "trainers=1", "-var", "burst=2")
        assert machines(served.folder) == dict.fromkeys(CLOUDS, 0)
