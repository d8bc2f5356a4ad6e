"""Keys with control characters or template signs: written with escapes that reading must undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.engine.address import Address
from tests.world import KEY, Lab, actions


@pytest.mark.parametrize(
    "key", ["a\nb", "a\tb", "a\rb", "\x00", "\x7f", "\u2028", "${x}", "%{x}", "$${x}", "a$", "\\n"]
)
def test_what_is_written_is_read_back(key: str) -> None:
    address = Address("instance", "web", key)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("written", [r"a\nb", r"a\tb", "a$${b}", "a%%{b}"])
def test_a_machine_under_such_a_key_is_not_made_anew(tmp_path: Path, written: str) -> None:
    text = f"""
brevplan {{
  project = "lab"
}}
provider "local" {{}}
resource "instance" "m" {{
  for_each      = toset(["{written}"])
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
}}
"""
    lab = Lab(tmp_path, text)
    lab.apply()
    assert actions(lab.plan()) == {}
    lab.apply()
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000001"]
