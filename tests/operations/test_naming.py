"""Addresses for machines that have none of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.diagnostics import Source
from brevplan.engine.address import Address
from brevplan.engine.discovery import Discovered, Standing
from brevplan.operations.naming import Names
from brevplan.operations.project import load_sources
from tests.engine.build import record
from tests.engine.test_observed import facts, machine

TEXT = """
provider "local" {}
resource "instance" "web" {
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "k"
}
import {
  to = instance.wanted
  id = "i-9"
}
"""


def names(folder: Path) -> Names:
    world = facts(records=[record("instance.kept", cloud_id="i-8")])
    return Names(load_sources(folder, [Source("main.hcl", TEXT)]), world)


def found(name: str, address: str = "") -> Discovered:
    tagged = Address.parse(address) if address else None
    return Discovered("local", machine(1, name=name), Standing.ORPHAN, tagged)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (found("anything", "instance.old"), "instance.old"),
        (found("anything", "instance.web"), "instance.web_2"),
        (found("anything", "instance.wanted"), "instance.wanted_2"),
        (found("anything", "instance.kept"), "instance.kept_2"),
        (found("anything", "instance.old[3]"), "instance.old_3"),
        (found("anything", 'instance.old["a b"]'), "instance.old_a_b"),
        (found("anything", "module.a.instance.old"), "instance.old"),
        (found("gpu.box 1"), "instance.gpu_box_1"),
        (found("9lives"), "instance.machine_9lives"),
        (found("../../etc"), "instance.etc"),
        (found("${x}\"\n"), "instance.x"),
        (found("机器"), "instance.machine"),
        (found(""), "instance.i-1"),
    ],
)  # fmt: skip
def test_an_address_is_free_and_can_be_written(tmp_path: Path, item: Discovered, expected: str) -> None:
    assert str(names(tmp_path).of(item)) == expected


def test_no_address_is_given_twice(tmp_path: Path) -> None:
    chooser = names(tmp_path)
    assert [str(chooser.of(found("a"))) for _ in range(3)] == ["instance.a", "instance.a_2", "instance.a_3"]
