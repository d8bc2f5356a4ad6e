"""A stopped machine becomes one of another type where the cloud can do that; elsewhere another machine is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.contract.model import LifecycleStatus
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.apply import Apply
from brevplan.simcloud.faults import NO_FAULT, Call, Fault, Trouble, Way
from tests.world import Lab, actions, configuration

STOPPED = 'power_state = "stopped"'
LARGER = "gpu_1x_h100_pcie"


def text(type_name: str = "gpu_1x_a10", body: str = STOPPED) -> str:
    return configuration(1, body=body).replace("gpu_1x_a10", type_name)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path, text(), retypes=True)
    made.apply()
    return made


def seen(lab: Lab) -> tuple[str, str]:
    (machine,) = lab.machines()
    return machine.body.instance_type, machine.body.status.value


def test_a_stopped_machine_stays_the_same_machine(lab: Lab) -> None:
    before = lab.recorded()
    lab.text = text(LARGER)
    (change,) = lab.plan().effective
    assert (change.action.value, change.changed) == ("update", ("instance_type",))
    assert change.after is not None
    assert change.after["instance_type_id"] == f"us-west-1-noSub-{LARGER}"
    assert change.price_after == 0, "it is stopped"
    done = lab.apply().result
    assert done is not None
    assert done.complete
    assert (lab.recorded(), seen(lab)) == (before, (LARGER, "stopped"))
    assert actions(lab.plan()) == {}


def test_it_is_changed_before_it_is_started(lab: Lab) -> None:
    before = lab.recorded()
    lab.text = text(LARGER, 'power_state = "running"\n  disk_size = "2TB"')
    plan = lab.plan()
    assert actions(plan) == {"instance.m[0]": "update"}
    (change,) = plan.effective
    assert (change.price_before, float(change.price_after or 0)) == (0, 2.49)
    lab.faults.calls.clear()
    lab.apply()
    changed = [call.operation for call in lab.faults.calls if call.changes]
    assert changed == ["change_instance_type", "start_instance", "resize_volume"]
    assert (lab.recorded(), seen(lab)) == (before, (LARGER, "running"))
    assert actions(lab.plan()) == {}


def test_a_running_machine_is_replaced_and_the_plan_says_how_to_keep_it(lab: Lab) -> None:
    lab.text = text(body='power_state = "running"')
    lab.apply()
    lab.text = text(LARGER, 'power_state = "running"')
    (change,) = lab.plan().effective
    assert (change.action.value, change.reasons["instance_type"]) == (
        "replace", "it can be kept when it is stopped first",
    )  # fmt: skip


def test_a_cloud_that_cannot_replaces_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path, text())
    lab.apply()
    lab.text = text(LARGER)
    (change,) = lab.plan().effective
    assert (change.action.value, change.reasons) == ("replace", {})


def test_another_architecture_is_another_machine(lab: Lab) -> None:
    lab.text = text("gpu_1x_gh200")
    assert actions(lab.plan()) == {"instance.m[0]": "replace"}


def test_so_is_another_region(lab: Lab) -> None:
    lab.text = text(LARGER).replace('"us-west-1"', '"europe-west4"')
    assert actions(lab.plan()) == {"instance.m[0]": "replace"}


def test_what_the_new_type_cannot_do_is_a_mistake(lab: Lab) -> None:
    for name, reason in (("gpu_1x_nothing", "Unknown instance type"), ("gpu_1x_rtx_a6000", "Cannot be stopped")):
        lab.text = text(name)
        with pytest.raises(DiagnosticsError, match=reason):
            lab.plan()


@pytest.mark.parametrize("fault", [Fault(after=Trouble(Way.DROPPED)), Fault(before=Trouble(Way.STATUS, 503))])
def test_a_lost_answer_is_asked_for_again(lab: Lab, fault: Fault) -> None:
    calls: list[Call] = []

    def choose(call: Call) -> Fault:
        if call.operation == "change_instance_type":
            calls.append(call)
            return fault if len(calls) == 1 else NO_FAULT
        return NO_FAULT

    before = lab.recorded()
    lab.faults.choose = choose
    lab.text = text(LARGER)
    lab.apply()
    assert len(calls) == 2
    assert (lab.recorded(), seen(lab)) == (before, (LARGER, "stopped"))
    assert actions(lab.plan()) == {}


def test_a_start_that_fails_after_the_change_is_all_that_is_left(lab: Lab) -> None:
    lab.text = text(LARGER, 'power_state = "running"')
    lab.faults.choose = lambda call: (
        Fault(before=Trouble(Way.STATUS, 400)) if call.operation == "start_instance" else NO_FAULT
    )
    done = lab.apply().result
    assert done is not None
    assert not done.complete
    lab.faults.choose = lambda call: NO_FAULT
    assert seen(lab) == (LARGER, "stopped")
    (change,) = lab.plan().effective
    assert change.changed == ("power_state",)
    lab.apply()
    assert seen(lab) == (LARGER, "running")
    assert actions(lab.plan()) == {}


def test_a_machine_that_somebody_started_meanwhile_is_left_as_it_is(lab: Lab) -> None:
    lab.text = text(LARGER)

    def start(running: Apply) -> None:
        store = lab.cloud()
        try:
            (machine,) = store.machines()
            store.alter_machine(machine.body.cloud_id, status=LifecycleStatus.RUNNING)
        finally:
            store.close()

    done = lab.apply(on_run=start).result
    assert done is not None
    assert not done.complete
    assert seen(lab) == ("gpu_1x_a10", "running")
