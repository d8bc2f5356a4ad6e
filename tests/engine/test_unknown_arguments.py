"""Arguments that are known only after another machine is made: the new machine must have them, not the default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import KEY, Lab, actions, configuration


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ('disk_size = "${instance.m[0].ssh_port + 1500}GB"', "disk_size", "1522 GB"),
        (
            'image_id = instance.m[0].ssh_user == "ubuntu" ? "ubuntu-24.04-x86-64" : "x"',
            "image_id",
            "ubuntu-24.04-x86-64",
        ),
        (
            'sub_location = instance.m[0].ssh_user == "ubuntu" ? "us-west-1b" : "us-west-1a"',
            "sub_location",
            "us-west-1b",
        ),
    ],
)
def test_what_is_declared_is_made(tmp_path: Path, argument: str, field: str, value: str) -> None:
    rest = f"""
resource "instance" "late" {{
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
  {argument}
}}
"""
    lab = Lab(tmp_path, configuration(1, rest=rest))
    lab.apply()
    late = next(machine.body for machine in lab.machines() if machine.body.address == "instance.late")
    assert str(getattr(late, field)) == value
    assert actions(lab.plan()) == {}
