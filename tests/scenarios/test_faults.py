"""An unkind cloud: answers get lost, calls fail, lists lag, machines boot slowly. What is declared is what there is."""

import json
from pathlib import Path

import pytest
from stage import KEY, Stage

COUNT = 4

CONFIGURATION = """
brevplan {{ project = "acme" }}

provider "local" {{
  {faults}
  seed = {seed}
}}

resource "firewall" "web" {{
  ingress {{
    from_port = 443
  }}
}}

resource "instance" "web" {{
  count         = {count}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.web]
}}
"""

FAULTS = {
    "lost responses": "lost_response_rate = 0.5",
    "failures": "fail_rate = 0.3",
    "everything": 'lost_response_rate = 0.5\n  fail_rate = 0.3\n  list_lag = "300ms"\n  boot_time = "200ms"',
}


def _apply_until_done(stage: Stage) -> None:
    for _ in range(5):
        outcome = stage.run("apply -auto-approve -concise")
        if outcome.code == 0:
            return
    raise AssertionError(f"not done after five runs:\n{outcome.stdout}{outcome.stderr}")


@pytest.mark.parametrize(
    ("faults", "seed"), [("lost responses", 1), ("lost responses", 2), ("failures", 1), ("everything", 1)]
)
def test_faults_leave_exactly_the_declared_machines(faults: str, seed: int, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY, encoding="utf-8")
    stage = Stage(tmp_path)
    main = tmp_path / "main.hcl"
    main.write_text(CONFIGURATION.format(faults=FAULTS[faults], seed=seed, count=COUNT), encoding="utf-8")

    _apply_until_done(stage)

    with stage.audit() as store:
        living = store.machines()
    names = sorted(machine.body.name for machine in living)
    assert names == [f"web-{number}" for number in range(COUNT)]
    main.write_text(CONFIGURATION.format(faults="", seed=seed, count=COUNT), encoding="utf-8")
    stage.outputs.clear()
    resources = json.loads(_raw(stage, "show -json"))["values"]["root_module"]["resources"]
    recorded = {item["values"]["id"] for item in resources if item["type"] == "instance"}
    assert recorded == {machine.body.cloud_id for machine in living}
    plan = stage.run("plan -detailed-exitcode")
    assert plan.code == 0, plan.stdout + plan.stderr
    assert "nothing accounts for" not in plan.stdout
    assert stage.run("destroy -auto-approve -concise").code == 0
    with stage.audit() as store:
        assert store.machines() == []


def _raw(stage: Stage, words: str) -> str:
    outcome = stage.run(words)
    assert outcome.code == 0, outcome.stderr
    return outcome.stdout
