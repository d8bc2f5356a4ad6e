"""What is left out by -target or -exclude does not block either."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.contract.errors import Unavailable
from brevplan.engine.address import Address
from brevplan.engine.bench import Options
from brevplan.simcloud.faults import NO_FAULT, Fault
from tests.world import Lab, configuration


@pytest.mark.parametrize(
    "options",
    [Options(targets=(Address("instance", "m", 0),)), Options(excludes=(Address("instance", "m", 1),))],
)
def test_an_unverified_machine_that_is_left_out_blocks_nothing(tmp_path: Path, options: Options) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    cloud = lab.cloud()
    cloud.delete_machine(lab.recorded()["instance.m[1]"])
    cloud.close()
    lab.faults.choose = lambda call: Fault(before=Unavailable("down")) if call.operation == "get_instance" else NO_FAULT
    assert not lab.plan().complete
    assert lab.plan(options).complete
