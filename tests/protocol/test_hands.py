"""Other people's hands at our machines, between two runs and in the middle of one. One test a sentence or a part of it.

Whatever was done: repeated apply ends with what is declared, and ends no machine that its plan did not show as ended.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import FirewallRule, FirewallRules, LifecycleStatus
from brevplan.engine.address import Address
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.identity import make_ref_id
from brevplan.operations.apply import Applied
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.model import Machine, cloud_id_of
from brevplan.simcloud.store import Store
from tests.world import Lab, actions, configuration

Hand = Callable[[Store, Machine], None]

BODY = """
  name        = "n${count.index}"
  tags        = { team = "ml" }
  power_state = "running"
  disk_size   = "500GB"
  firewalls   = [firewall.f]
"""
FIREWALL = """
resource "firewall" "f" {
  ingress {
    from_port = 443
  }
}
"""
TELNET = FirewallRules(ingress=(FirewallRule(from_port=23, to_port=23),))


def alter(**fields: object) -> Hand:
    return lambda store, machine: store.alter_machine(machine.body.cloud_id, **fields)


def destroy(store: Store, machine: Machine) -> None:
    store.delete_machine(machine.body.cloud_id)


def double(store: Store, machine: Machine) -> None:
    with store.write():
        number = store.next_number("machine")
        body = replace(machine.body, cloud_id=cloud_id_of(number))
        store.add(replace(machine, number=number, body=body))


def foreign(index: int, project: str = "lab") -> str:
    """Give a ref_id that another attempt, or another project, might bear at `instance.m[index]`."""
    return make_ref_id(project, "default", Address("instance", "m", index), "zzzzzz")


STOPPED = alter(status=LifecycleStatus.STOPPED)
RENAMED = alter(name="mine-now")
RETAGGED = alter(tags={"team": "sales", "owner": "ann"})
RULES = alter(firewall_rules=TELNET)
FAILED = alter(status=LifecycleStatus.FAILED)
TERMINATING = alter(status=LifecycleStatus.TERMINATING)
RESIZED = alter(disk_size=Bytes.parse("900GB"))
RETYPED = alter(instance_type="gpu_1x_h100_pcie")
OTHER_ADDRESS = alter(address="instance.m[2]")
OTHER_MARK = alter(ref_id=foreign(2), address="instance.m[2]")
NO_MARK = alter(ref_id="", cloud_cred_ref_id="", address="")
OTHER_PROJECT = alter(ref_id=foreign(2, "other"), cloud_cred_ref_id="bp-other")

# what the plan after it does with the machine, and the attributes that it says were changed by others
HANDS: dict[str, tuple[Hand, str, tuple[str, ...]]] = {
    "stopped": (STOPPED, "update", ("power_state", "status")),
    "renamed": (RENAMED, "update", ("name",)),
    "retagged": (RETAGGED, "update", ("tags",)),
    "rules changed": (RULES, "update", ("firewall_rules",)),
    "destroyed": (destroy, "create", ()),
    "terminating": (TERMINATING, "create", ()),
    "failed": (FAILED, "", ("status",)),
    "resized": (RESIZED, "replace", ("disk_size",)),
    "of another type": (RETYPED, "replace", ("instance_type",)),
    "with another declared address beside its mark": (OTHER_ADDRESS, "", ()),
    "with the mark of another address": (OTHER_MARK, "", ("ref_id",)),
    "without its mark": (NO_MARK, "", ("ref_id",)),
    "with the mark of another project": (OTHER_PROJECT, "", ("ref_id",)),
}
EVERY_HAND = pytest.mark.parametrize(("hand", "action", "drift"), list(HANDS.values()), ids=list(HANDS))


def lab_of(folder: Path, count: int = 3) -> Lab:
    lab = Lab(folder, configuration(count, body=BODY, rest=FIREWALL))
    lab.apply()
    return lab


def grow(lab: Lab, count: int) -> None:
    lab.text = configuration(count, body=BODY, rest=FIREWALL)


def lay_hand(lab: Lab, hand: Hand, index: int = 0) -> str:
    """Change the machine of that place in the cloud; give its cloud id."""
    cloud = lab.cloud()
    machine = cloud.machines()[index]
    hand(cloud, machine)
    cloud.close()
    return machine.body.cloud_id


def during(lab: Lab, operation: str, number: int, hand: Hand, index: int) -> None:
    """Let the hand fall when an operation is called for the n-th time."""
    done: list[str] = []

    def choose(call: Call) -> Fault:
        if call.operation == operation and lab.faults.count(operation) == number and not done:
            done.append(lay_hand(lab, hand, index))
        return NO_FAULT

    lab.faults.calls.clear()
    lab.faults.choose = choose


def careful_apply(lab: Lab, options: Options = EVERYTHING) -> Applied:
    """Apply, and see to it that only what the plan shows as ended was ended."""
    before = len(lab.faults.calls)
    done = lab.apply(options)
    lab.faults.choose = lambda call: NO_FAULT
    ended = {call.target for call in lab.faults.calls[before:] if call.operation == "terminate_instance"}
    assert ended <= {change.cloud_id for change in done.plan.effective if change.destroys}
    return done


def converges(lab: Lab, count: int) -> bool:
    """Apply until a plan is empty, and check that cloud and state then hold one machine an address."""
    for _ in range(3):
        careful_apply(lab)
    plan = lab.plan()
    assert actions(plan) == {}
    assert not plan.blocked
    assert not plan.orphans
    living = [m.body.cloud_id for m in lab.machines() if m.body.status is not LifecycleStatus.TERMINATING]
    assert sorted(lab.recorded().values()) == sorted(living)
    assert len(living) == count
    return True


def drifted(lab: Lab, cloud_id: str) -> tuple[str, ...]:
    return next((change.changed for change in lab.plan().drift if change.cloud_id == cloud_id), ())


@EVERY_HAND
def test_between_two_runs(tmp_path: Path, hand: Hand, action: str, drift: tuple[str, ...]) -> None:
    """1: "A recorded machine is matched by its cloud id": what was done to it is seen as a change of that machine."""
    lab = lab_of(tmp_path)
    cloud_id = lay_hand(lab, hand)
    assert actions(lab.plan()) == ({"instance.m[0]": action} if action else {})
    assert drifted(lab, cloud_id) == drift
    assert converges(lab, 3)


@EVERY_HAND
def test_in_the_middle_of_a_run_at_a_recorded_machine(
    tmp_path: Path, hand: Hand, action: str, drift: tuple[str, ...]
) -> None:
    """4: "each is repeated from what is observed": the next run sees it, this one goes on with its plan."""
    lab = lab_of(tmp_path)
    grow(lab, 6)
    during(lab, "create_instance", 2, hand, 0)
    done = careful_apply(lab)
    assert done.result is not None
    assert done.result.counts.add == 3
    assert actions(lab.plan()) == ({"instance.m[0]": action} if action else {})
    assert converges(lab, 6)


@EVERY_HAND
def test_in_the_middle_of_a_run_at_a_machine_that_it_made(
    tmp_path: Path, hand: Hand, action: str, drift: tuple[str, ...]
) -> None:
    """3.3: "bound (cloud id) is committed": from then on the machine is that one, whatever its mark says."""
    lab = lab_of(tmp_path)
    grow(lab, 6)
    during(lab, "create_instance", 3, hand, 3)
    careful_apply(lab)
    assert converges(lab, 6)


@pytest.mark.parametrize(
    "hand",
    [destroy, FAILED, NO_MARK, OTHER_MARK, OTHER_PROJECT],
    ids=["destroyed", "failed", "without its mark", "with another mark", "with another project's mark"],
)
def test_while_a_new_machine_boots(tmp_path: Path, hand: Hand) -> None:
    """3.8: only a machine of its own intents that was never settled and failed is ended without a plan."""
    lab = Lab(tmp_path, configuration(2, provider='boot_time = "60s"'))
    during(lab, "list_instances", 4, hand, 0)
    done = lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    ended = {call.target for call in lab.faults.calls if call.operation == "terminate_instance"}
    assert ended <= {"i-00000001"}
    if hand in (destroy, FAILED):
        assert done.result is not None
        assert [str(failure.address) for failure in done.result.failed] == ["instance.m[0]"]
        assert actions(lab.plan()) == {"instance.m[0]": "create"}
    else:
        assert ended == set()
    assert converges(lab, 2)


def test_started_by_hand_is_stopped_again(tmp_path: Path) -> None:
    """4: "each is repeated from what is observed, not from what was sent"."""
    lab = Lab(tmp_path, configuration(2, body='power_state = "stopped"'))
    lab.apply()
    lay_hand(lab, alter(status=LifecycleStatus.RUNNING))
    assert lab.plan().counts.stop == 1
    lab.apply()
    assert {machine.body.status for machine in lab.machines()} == {LifecycleStatus.STOPPED}
    assert converges(lab, 2)


def test_stopped_by_hand_is_a_note_where_power_is_not_declared(tmp_path: Path) -> None:
    """2: a machine that is stopped is there: never a create, a replace or a destroy."""
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    lay_hand(lab, STOPPED)
    assert actions(lab.plan()) == {}
    assert converges(lab, 2)


@pytest.mark.parametrize("operation", ["update_tags", "stop_instance", "resize_volume", "rename_instance"])
def test_destroyed_between_the_plan_and_its_update(tmp_path: Path, operation: str) -> None:
    """4: a step whose machine is gone fails alone; the next plan is a plain create."""
    lab = lab_of(tmp_path)
    lab.text = (
        lab.text.replace('"ml"', '"sales"')
        .replace('"running"', '"stopped"')
        .replace("500GB", "700GB")
        .replace('"n$', '"k$')
    )
    during(lab, operation, 1, destroy, 0)
    done = careful_apply(lab)
    assert done.result is not None
    assert [str(failure.address) for failure in done.result.failed] == ["instance.m[0]"]
    assert actions(lab.plan())["instance.m[0]"] == "create"
    assert converges(lab, 3)


def test_destroyed_by_hand_before_our_own_destroy(tmp_path: Path) -> None:
    """4: "A destroy is `destroying` until the cloud says gone": gone already is what was wanted."""
    lab = lab_of(tmp_path)
    grow(lab, 1)
    during(lab, "terminate_instance", 1, destroy, 2)
    done = careful_apply(lab)
    assert done.result is not None
    assert done.result.complete
    assert converges(lab, 1)


def test_a_replacement_whose_old_machine_vanishes_is_not_made_twice(tmp_path: Path) -> None:
    """4: "Replace: two steps": a destroy that finds nothing is followed by one create."""
    lab = lab_of(tmp_path)
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_pcie")
    during(lab, "terminate_instance", 2, destroy, 0)
    careful_apply(lab)
    assert converges(lab, 3)


def test_destroyed_between_the_plan_and_its_adoption(tmp_path: Path) -> None:
    """2: a machine that is to be adopted and vanishes first is recorded as gone, and made by the next apply."""
    lab = lab_of(tmp_path)
    (tmp_path / "brevplan.db").unlink()
    lab.text = lab.text.replace('"ml"', '"sales"')
    during(lab, "update_tags", 1, destroy, 0)
    done = careful_apply(lab)
    assert done.result is not None
    assert [str(failure.address) for failure in done.result.failed] == ["instance.m[0]"]
    assert converges(lab, 3)


@pytest.mark.parametrize("when", ["between", "during"])
def test_doubled(tmp_path: Path, when: str) -> None:
    """2: "Orphans … Every plan names them with $/hr. Never destroyed by a normal plan, only by `-reap=REF`"."""
    lab = lab_of(tmp_path)
    if when == "between":
        twin = lay_hand(lab, double)
        assert twin == "i-00000001"
    else:
        grow(lab, 4)
        during(lab, "create_instance", 1, double, 0)
        done = careful_apply(lab)
        assert done.result is not None
        assert not done.result.complete
        assert "was not expected" in done.result.unexpected[0]
    count = len(lab.recorded())
    plan = lab.plan()
    assert actions(plan) == {}
    assert [(orphan.cloud_id, str(orphan.hourly)) for orphan in plan.orphans] == [("i-00000004", "0.75")]
    careful_apply(lab)
    assert len(lab.machines()) == count + 1
    careful_apply(lab, Options(reaped=frozenset({"i-00000004"})))
    assert converges(lab, count)


def test_doubled_and_the_state_lost_blocks_every_create_beside_it(tmp_path: Path) -> None:
    """2: "with several, blocked, showing all"; while an orphan stands "a create of such a machine is blocked"."""
    lab = lab_of(tmp_path)
    lay_hand(lab, double)
    (tmp_path / "brevplan.db").unlink()
    grow(lab, 4)
    plan = lab.plan()
    blocked = {str(change.address): change.blocked for change in plan.blocked}
    assert "2 machines bear the mark of this address: i-00000001, i-00000004" in blocked["instance.m[0]"]
    assert "instance.m[3]" in blocked
    assert "-reap=i-0000000" in blocked["instance.m[3]"], "both bear one ref_id: a cloud id tells which"
    careful_apply(lab)
    assert len(lab.machines()) == 4
    careful_apply(lab, Options(reaped=frozenset({"i-00000004"})))
    assert converges(lab, 4)


@pytest.mark.parametrize("hand", [OTHER_ADDRESS, OTHER_MARK], ids=["address tag", "mark"])
def test_called_by_another_address_and_the_state_lost_buys_nothing(tmp_path: Path, hand: Hand) -> None:
    """2: "So an empty state over living machines plans adoption, never a second fleet"."""
    lab = lab_of(tmp_path)
    lay_hand(lab, hand)
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan()
    blocked = {str(change.address): change.blocked for change in plan.blocked}
    assert set(blocked) == {"instance.m[0]", "instance.m[2]"}
    assert "i-00000001, i-00000003" in blocked["instance.m[2]"]
    assert [orphan.cloud_id for orphan in plan.orphans] == ["i-00000001", "i-00000003"]
    careful_apply(lab)
    assert len(lab.machines()) == 3


def test_an_undeclared_address_beside_the_mark_is_an_orphan_once_the_state_is_lost(tmp_path: Path) -> None:
    """2: "While one of the same kind, type and location stands, a create of such a machine is blocked"."""
    lab = lab_of(tmp_path)
    lay_hand(lab, alter(address="instance.gone"))
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan()
    assert [str(change.address) for change in plan.blocked] == ["instance.m[0]"]
    assert "-reap=" in plan.blocked[0].blocked
    assert [orphan.cloud_id for orphan in plan.orphans] == ["i-00000001"]


def test_machines_of_another_project_are_never_touched(tmp_path: Path) -> None:
    """1: what bears `bp-{project}` "is *ours*": nothing else is adopted, told of, reaped or ended."""
    (tmp_path / "theirs").mkdir()
    cloud = f'path = "{tmp_path}/shared.db"'
    theirs = Lab(tmp_path / "theirs", configuration(3, provider=cloud).replace('"lab"', '"theirs"'))
    theirs.apply()
    (tmp_path / "ours").mkdir()
    ours = Lab(tmp_path / "ours", configuration(2, provider=cloud))
    ours.apply()
    for text in (configuration(4, provider=cloud), configuration(0, provider=cloud)):
        ours.text = text
        assert ours.plan().orphans == []
        ours.apply()
    (tmp_path / "ours" / "brevplan.db").unlink()
    ours.apply()
    store = Store(tmp_path / "shared.db")
    left = store.machines()
    store.close()
    assert {machine.body.cloud_cred_ref_id for machine in left} == {"bp-theirs"}
    assert actions(theirs.plan()) == {}


def test_a_machine_given_to_another_project_is_not_ours_once_the_state_is_lost(tmp_path: Path) -> None:
    """1: "what bears it is *ours*": what bears another project's mark is not adopted, and no orphan."""
    lab = lab_of(tmp_path)
    cloud_id = lay_hand(lab, OTHER_PROJECT)
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan()
    assert plan.orphans == []
    assert cloud_id not in {change.cloud_id for change in plan.changes}
    careful_apply(lab)
    grow(lab, 0)
    careful_apply(lab)
    assert [machine.body.cloud_id for machine in lab.machines()] == [cloud_id]
