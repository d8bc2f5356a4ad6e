"""An account whose catalogue cannot be read stands in the way of what needs it, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Rejected
from brevplan.diagnostics import DiagnosticsError
from brevplan.providers.local import LocalClient, UntaggedClient
from brevplan.simcloud.faults import NO_FAULT, Fault
from tests.world import KEY, ChosenFaults, Lab, actions

MACHINE = """
resource "instance" "{name}" {{
  provider      = {provider}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{key}"
}}
"""

HEAD = """
brevplan { project = "lab" }
provider "local" {}
provider "local" {
  alias = "silent"
  path  = "silent.db"
}
"""


class TwoClouds(Lab):
    """One cloud that says what it sells, and one that does not."""

    def _connect(self, connection: Connection) -> UntaggedClient:
        if not str(connection.settings.get("path")).startswith("silent"):
            return super()._connect(connection)
        faults = ChosenFaults(
            lambda call: Fault(before=Rejected("no")) if call.operation == "get_instance_types" else NO_FAULT
        )
        return LocalClient(connection, faults)


def test_what_needs_it_is_blocked_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = HEAD + MACHINE.format(name="a", provider="local", key=KEY)
    lab = TwoClouds(tmp_path, text + MACHINE.format(name="b", provider="local.silent", key=KEY))
    plan = lab.plan()
    assert actions(plan) == {"instance.a": "create"}
    (blocked,) = plan.blocked
    assert str(blocked.address) == "instance.b"
    assert "its catalogue cannot be read: local get_instance_types: no" in blocked.blocked
    done = lab.apply()
    assert done.result is not None
    assert done.result.counts.add == 1
    assert lab.recorded().keys() == {"instance.a"}


def test_what_asks_for_it_in_data_is_an_error(tmp_path: Path) -> None:
    lab = TwoClouds(tmp_path, HEAD + 'data "instance_types" "all" {\n  provider = local.silent\n}\n')
    with pytest.raises(DiagnosticsError) as caught:
        lab.plan()
    assert [item.summary for item in caught.value.diagnostics] == ["Data source cannot be read"]
