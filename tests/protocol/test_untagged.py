"""What a cloud without tags cannot give (protocol, section 7), and what it gives all the same."""

from __future__ import annotations

from pathlib import Path

from brevplan.simcloud.model import with_body
from tests.world import Lab, actions, configuration

BODY = 'tags = { team = "ml" }\n  user_data = "#!/bin/sh"'
FORGET = """
removed {
  from = instance.m
  lifecycle {
    destroy = false
  }
}
"""


def untagged(folder: Path, **fields: str) -> Lab:
    return Lab(folder, configuration(2, **fields), tags=False)


def test_a_lost_state_is_adopted_by_the_mark_in_the_names(tmp_path: Path) -> None:
    lab = untagged(tmp_path)
    lab.apply()
    before = lab.recorded()
    (tmp_path / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import", "instance.m[1]": "import"}
    lab.apply()
    assert lab.recorded() == before
    assert lab.faults.count("create_instance") == 2


def test_what_does_not_come_back_is_never_a_diff(tmp_path: Path) -> None:
    """7: tags and start-up scripts do not come back from such a cloud: after a lost state they are no difference."""
    lab = untagged(tmp_path, body=BODY)
    lab.apply()
    assert actions(lab.plan()) == {}
    (tmp_path / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import", "instance.m[1]": "import"}
    lab.apply()
    assert actions(lab.plan()) == {}


def test_what_is_forgotten_is_neither_told_of_nor_adopted(tmp_path: Path) -> None:
    """2: where the mark cannot be taken off, a tombstone keeps the machine from being reported or adopted."""
    lab = untagged(tmp_path)
    lab.apply()
    lab.text = configuration(0).replace('resource "instance" "m"', 'resource "instance" "other"') + FORGET
    lab.apply()
    plan = lab.plan()
    assert (actions(plan), plan.orphans) == ({}, [])
    lab.text = configuration(2)
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
    assert {machine.body.cloud_cred_ref_id for machine in lab.machines()} == {"bp-lab"}


def test_an_imported_machine_is_found_again_by_its_block_alone(tmp_path: Path) -> None:
    """7: an imported machine bears no mark: after a lost state only its `import` block leads to it."""
    lab = untagged(tmp_path)
    lab.apply()
    cloud = lab.cloud()
    machines = cloud.machines()
    with cloud.write():
        for machine in machines:
            cloud.save(with_body(machine, ref_id="", cloud_cred_ref_id=""), machine)
    cloud.close()
    (tmp_path / "brevplan.db").unlink()
    block = "\n".join(f'import {{\n  to = instance.m[{n}]\n  id = "i-0000000{n + 1}"\n}}' for n in range(2))
    lab.text = configuration(2, rest=block)
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000001", "instance.m[1]": "i-00000002"}
    (tmp_path / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import", "instance.m[1]": "import"}
    lab.text = configuration(2)
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
