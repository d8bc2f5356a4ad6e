"""A replacement of a machine with `ignore_changes`: the new one gets what is declared or what the old one had."""

from __future__ import annotations

from pathlib import Path

from brevplan.engine.address import Address
from brevplan.engine.bench import Options
from brevplan.simcloud.model import digest_of_user_data
from tests.world import Lab, configuration

IGNORING = "lifecycle {{\n    ignore_changes = [{}]\n  }}"
AGAIN = Options(replaced=(Address("instance", "m", 0),))


def test_ignored_user_data_reaches_the_new_machine_and_not_its_digest(tmp_path: Path) -> None:
    body = 'user_data = "#!/bin/sh"\n  ' + IGNORING.format("user_data")
    lab = Lab(tmp_path, configuration(1, body=body))
    lab.apply()
    lab.apply(AGAIN)
    machine = lab.machines()[0]
    assert machine.body.cloud_id == "i-00000002"
    assert machine.user_data_digest == digest_of_user_data(machine.body.cloud_id, "#!/bin/sh")


def test_ignored_firewalls_are_kept_by_the_new_machine(tmp_path: Path) -> None:
    body = "firewalls = [firewall.web]\n  " + IGNORING.format("firewalls")
    rest = 'resource "firewall" "web" {\n  ingress {\n    from_port = 443\n  }\n}\n'
    lab = Lab(tmp_path, configuration(1, body=body, rest=rest))
    lab.apply()
    lab.apply(AGAIN)
    rules = lab.machines()[0].body.firewall_rules
    assert rules is not None
    assert sorted(rule.from_port for rule in rules.ingress) == [22, 443]
