"""A rule whose list of ranges came out empty lets nobody in: it is no rule for everybody."""

from __future__ import annotations

from pathlib import Path

from brevplan.diagnostics import DiagnosticsError
from tests.world import Lab, configuration


def test_an_empty_list_of_ranges_does_not_open_a_port_to_everybody(tmp_path: Path) -> None:
    rest = 'resource "firewall" "f" {\n  ingress {\n    from_port = 443\n    ip_ranges = []\n  }\n}\n'
    lab = Lab(tmp_path, configuration(1, body="firewalls = [firewall.f]", rest=rest))
    try:
        lab.apply()
    except DiagnosticsError:
        return  # refusing it is fine too
    rules = lab.machines()[0].body.firewall_rules
    assert rules is not None
    assert [rule.ip_ranges for rule in rules.ingress if rule.from_port == 443] != [()]
