"""A secret among a firewall's arguments: compared by its digest like any other, so that nothing is left to plan."""

from __future__ import annotations

from pathlib import Path

from tests.world import Lab, actions, configuration


def test_a_secret_description_is_no_lasting_difference(tmp_path: Path) -> None:
    rest = (
        'variable "s" {\n  sensitive = true\n  default = "x"\n}\n'
        'resource "firewall" "f" {\n  ingress {\n    from_port = 1\n    description = var.s\n  }\n}\n'
    )
    lab = Lab(tmp_path, configuration(0, rest=rest))
    lab.apply()
    assert actions(lab.plan()) == {}
