"""Two machines that bear the same ref_id: a plan that says it ends both ends both."""

from __future__ import annotations

from pathlib import Path

from brevplan.engine.bench import Options
from brevplan.simcloud.faults import NO_FAULT, Fault
from tests.world import Lab, configuration


def test_reaping_twins_ends_both(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = lambda call: Fault(twice=True) if call.operation == "create_instance" else NO_FAULT
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.faults.choose = lambda call: NO_FAULT
    lab.text = configuration(0)
    options = Options(reaped=frozenset(orphan.ref_id for orphan in lab.plan().orphans))
    planned = lab.plan(options).counts.destroy
    done = lab.apply(options)
    assert planned == 2
    assert done.result is not None
    assert done.result.counts.destroy == 2
    assert lab.machines() == []
