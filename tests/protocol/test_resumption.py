"""What the next run makes of what a dead one, or somebody else's, has left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from brevplan.contract.errors import Sent, Unavailable
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.address import Address
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.change import Mode
from brevplan.engine.ports import IntentState, PutRecord, Role, Write
from brevplan.operations.world import OpenStore
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.model import cloud_id_of
from brevplan.state.store import StateStore
from tests.world import KEY, CountingIds, Lab, actions, configuration

LOST = Unavailable("lost", sent=Sent.MAYBE)
DOWN = Fault(before=Unavailable("down", http_status=503))
GRACE = 'grace_window = "30s"'


def quiet(lab: Lab) -> None:
    lab.faults.choose = lambda call: NO_FAULT


def cut_off(lab: Lab, fault: Fault = DOWN, *, launches: int = 1) -> None:
    """Let launches meet a fault, and every list after the first of them fail: the run can settle nothing."""
    begun = []

    def choose(call: Call) -> Fault:
        if call.operation == "create_instance":
            begun.append(call)
            return fault if len(begun) <= launches else NO_FAULT
        return DOWN if begun and call.operation == "list_instances" else NO_FAULT

    lab.faults.choose = choose
    lab.apply()
    quiet(lab)


def open_launches(lab: Lab) -> list[str]:
    store = lab.state()
    try:
        return [str(intent.address) for intent in store.intents() if intent.state is IntentState.OPEN]
    finally:
        store.close()


def settled(lab: Lab, options: Options = EVERYTHING) -> None:
    """Apply until there is nothing more to say: what was found late asks for the same command again."""
    for _ in range(4):
        try:
            lab.apply(options)
        except DiagnosticsError:
            continue
        if not lab.plan(options).effective:
            return
    raise AssertionError("not settled")


def test_an_address_is_made_anew_only_when_its_unfinished_destroy_is_done(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = configuration(1).replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    lab.faults.choose = lambda call: DOWN if call.operation == "terminate_instance" else NO_FAULT
    lab.apply()
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_a10"]
    quiet(lab)
    lab.faults.calls.clear()
    lab.apply()
    order = [call.operation for call in lab.faults.calls if call.changes]
    assert order.index("terminate_instance") < order.index("create_instance")
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]


def test_what_cannot_be_ended_blocks_what_would_take_its_place(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = configuration(1).replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    lab.faults.choose = lambda call: DOWN if call.operation == "terminate_instance" else NO_FAULT
    lab.apply()
    hidden = {"list_instances": Fault(leaves_out=1.0), "get_instance": DOWN}
    lab.faults.choose = lambda call: hidden.get(call.operation, NO_FAULT)
    blocked = {str(change.address): change.blocked for change in lab.plan().blocked if change.creates}
    assert blocked == {"instance.m[0]": "it comes after the end of instance.m[0], which is blocked"}


def test_the_launch_of_an_address_that_is_not_declared_any_more_is_settled(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2, provider=GRACE), idempotent=False)
    cut_off(lab, Fault(before=LOST), launches=2)
    assert open_launches(lab) == ["instance.m[0]", "instance.m[1]"]
    lab.text = configuration(1, provider=GRACE)
    settled(lab)
    assert open_launches(lab) == []
    assert [machine.body.address for machine in lab.machines()] == ["instance.m[0]"]


def test_a_destroy_settles_what_was_launched_and_not_answered(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider=GRACE), idempotent=False)
    cut_off(lab, Fault(after=LOST, late_s=20))
    assert open_launches(lab) == ["instance.m[0]"]
    settled(lab, Options(mode=Mode.DESTROY))
    lab.clock.elapsed += 1000
    assert lab.machines() == []
    assert open_launches(lab) == []


def test_a_machine_made_before_its_predecessor_is_destroyed_takes_the_address_though_nobody_heard(
    tmp_path: Path,
) -> None:
    body = "lifecycle {\n create_before_destroy = true\n }"
    lab = Lab(tmp_path, configuration(1, provider=GRACE, body=body), idempotent=False)
    lab.apply()
    lab.text = configuration(1, provider=GRACE, body=body).replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    cut_off(lab, Fault(after=LOST))
    plan = lab.plan()
    assert actions(plan) == {f"instance.m[0] {ref(lab, Role.DEPOSED)}": "delete", "instance.m[0]": "update"}
    lab.apply()
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]
    assert lab.faults.count("create_instance") == 2


def test_an_attempt_is_given_up_together_with_the_one_that_follows_it(tmp_path: Path) -> None:
    """3.5: one transaction holds the retired attempt and the new one, so that no run finds neither."""
    lab = Lab(tmp_path, configuration(1, provider=GRACE), idempotent=False)
    unanswered = [Fault(before=LOST)]
    lab.faults.choose = lambda call: (
        unanswered.pop() if call.operation == "create_instance" and unanswered else NO_FAULT
    )
    seen: list[list[str]] = []
    lab.outside = replace(lab.outside, open_store=watching(seen))
    lab.apply()
    (together,) = [kinds for kinds in seen if "RetireIntent" in kinds]
    assert together == ["RetireIntent", "OpenStep", "OpenIntent"]


def watching(seen: list[list[str]]) -> OpenStore:
    """Open states that remember what each of their transactions held."""

    class Watched(StateStore):
        def transact(self, writes: Sequence[Write]) -> None:
            seen.append([type(write).__name__ for write in writes])
            super().transact(writes)

    return Watched.open


def test_a_double_can_be_reaped_whatever_reads_its_address(tmp_path: Path) -> None:
    rest = """
resource "instance" "reader" {
  instance_type = "gpu_1x_h100_sxm5"
  location      = "us-west-1"
  public_key    = instance.m[0].public_key
}
"""
    lab = Lab(tmp_path, configuration(1, rest=rest))
    lab.apply()
    cloud = lab.cloud()
    first = cloud.machines()[0]
    with cloud.write():
        number = cloud.next_number("machine")
        cloud.add(with_fields(first, number=number, body=with_fields(first.body, cloud_id=cloud_id_of(number))))
    cloud.close()
    (tmp_path / "brevplan.db").unlink()
    lab.text = lab.text.replace("gpu_1x_h100_sxm5", "gpu_1x_l40s")  # the reader must be replaced
    assert {str(change.address) for change in lab.plan().blocked} == {"instance.m[0]", "instance.reader"}
    lab.apply(Options(reaped=frozenset({str(cloud_id_of(number))})))
    settled(lab)
    assert [machine.body.address for machine in lab.machines()] == ["instance.m[0]", "instance.reader"]


def test_an_import_block_of_a_machine_that_was_replaced_since_stands_in_nobodys_way(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = configuration(1, rest='import {\n  to = instance.m[0]\n  id = "i-00000001"\n}')
    lab.apply(Options(replaced=(Address("instance", "m", 0),)))
    (tmp_path / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import"}
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000002"}


def test_what_stands_beside_a_machine_stays_while_its_twin_lives(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = lambda call: Fault(twice=True) if call.operation == "create_instance" else NO_FAULT
    lab.apply()
    quiet(lab)
    lab.apply(Options(reaped=frozenset({"i-00000002"})))
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000001"]
    assert lab.faults.count("release") == 0
    lab.text = configuration(0)
    lab.apply()
    assert lab.faults.count("release") == 1


CREATE_FIRST = "lifecycle {\n    create_before_destroy = true\n  }"


@pytest.mark.parametrize("lost", [True, False], ids=["found by its mark", "recorded"])
def test_what_was_to_be_destroyed_after_a_launch_is_destroyed_by_the_next_run(tmp_path: Path, lost: bool) -> None:
    lab = Lab(tmp_path, configuration(1, provider=GRACE, body=CREATE_FIRST))
    lab.apply()
    if lost:
        (tmp_path / "brevplan.db").unlink()
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    lab.idempotent = False
    cut_off(lab, Fault(after=LOST))
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_a10", "gpu_1x_h100_sxm5"]
    settled(lab)
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]


TWO = """
provider "local" {
  alias = "b"
  path  = "b.db"
}
resource "instance" "far" {
  provider      = local.b
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "key"
}
"""


def test_a_double_in_another_account_is_told_though_its_id_is_known_here(tmp_path: Path) -> None:
    lab = Lab(tmp_path, two_accounts(2))
    lab.apply(Options(targets=(Address("instance", "m"),)))
    lab.faults.choose = lambda call: Fault(twice=True) if call.operation == "create_instance" else NO_FAULT
    done = lab.apply()
    quiet(lab)
    assert done.result is not None
    assert len(done.result.unexpected) == 1
    plan = lab.plan()
    assert [(orphan.alias, orphan.cloud_id) for orphan in plan.orphans] == [("local.b", "i-00000002")]
    with pytest.raises(DiagnosticsError, match="Ambiguous orphan"):
        lab.plan(Options(reaped=frozenset({"i-00000002"}), mode=Mode.DESTROY))


def two_accounts(count: int) -> str:
    return configuration(count, rest=TWO.replace('"key"', f'"{KEY}"')).replace(
        "count         =", "provider      = local\n  count         ="
    )


def test_what_another_clone_moved_to_another_account_is_taken_in_there(tmp_path: Path) -> None:
    lab = Lab(tmp_path, two_accounts(0))
    lab.apply()
    shutil.copy(tmp_path / "brevplan.db", tmp_path / "older.db")
    lab.text = lab.text.replace("provider      = local.b", "provider      = local")
    lab.apply()
    shutil.copy(tmp_path / "older.db", tmp_path / "brevplan.db")
    assert actions(lab.plan()) == {"instance.far": "import"}


@pytest.mark.parametrize(
    "options",
    [Options(mode=Mode.REFRESH_ONLY), Options(targets=(Address("instance", "other"),))],
    ids=["refresh only", "another target"],
)
def test_a_row_is_renamed_only_together_with_its_machine(tmp_path: Path, options: Options) -> None:
    other = configuration(1).split("resource")[1].replace('"m"', '"other"')
    lab = Lab(tmp_path, configuration(1, rest=f"resource{other}"))
    lab.apply()
    lab.text = lab.text.replace('"m"', '"n"').replace("count ", "lifecycle {\n prevent_destroy = true\n }\n  count ", 1)
    lab.text += "moved {\n  from = instance.m\n  to   = instance.n\n}\n"
    lab.apply(options)
    assert {machine.body.address for machine in lab.machines()} == {"instance.m[0]", "instance.other[0]"}
    assert set(lab.recorded()) == {"instance.m[0]", "instance.other[0]"}
    lab.apply()
    assert {machine.body.address for machine in lab.machines()} == {"instance.n[0]", "instance.other[0]"}


def test_an_answer_about_a_machine_of_another_workspace_is_never_bound(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    store = lab.state()
    (row,) = store.records()
    store.epoch = store.meta().epoch
    store.transact([PutRecord(replace(row, workspace="stage"))])
    store.close()
    cloud = lab.cloud()
    machine = cloud.machines()[0]
    name = f"{row.ref_id[:-6]}aaaaab"  # that of the next launch: the cloud takes it for this machine
    with cloud.write():
        cloud.save(with_fields(machine, ref_id=name, body=with_fields(machine.body, ref_id=name)), machine)
    cloud.close()
    lab.outside = replace(lab.outside, ids=CountingIds(1))
    done = lab.apply()
    assert done.result is not None
    assert ["which is another machine" in item.error for item in done.result.failed] == [True]
    store = lab.state()
    assert [(found.workspace, found.cloud_id) for found in store.records()] == [("stage", "i-00000001")]
    store.close()


def test_without_a_refresh_nothing_is_bought_that_another_clone_has_made(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    shutil.copy(tmp_path / "brevplan.db", tmp_path / "older.db")
    lab.text = configuration(2)
    lab.apply()
    shutil.copy(tmp_path / "older.db", tmp_path / "brevplan.db")
    assert actions(lab.plan(refresh=False)) == {"instance.m[1]": "import"}


def ref(lab: Lab, role: Role) -> str:
    store = lab.state()
    try:
        return next(record.ref_id for record in store.records() if record.role is role)
    finally:
        store.close()


@pytest.mark.parametrize("change", [("gpu_1x_a10", "gpu_1x_h100_sxm5"), ("us-west-1", "us-east-1")])
def test_what_another_clone_put_in_place_of_a_machine_is_taken_in(tmp_path: Path, change: tuple[str, str]) -> None:
    path = f'path = "{tmp_path / "cloud.db"}"'
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    mine = Lab(tmp_path / "mine", configuration(2, provider=path))
    mine.apply()
    theirs = Lab(tmp_path / "theirs", configuration(2, provider=path).replace(*change))
    theirs.ids.skip(100)
    shutil.copy(tmp_path / "mine" / "brevplan.db", tmp_path / "theirs" / "brevplan.db")
    theirs.apply()
    mine.text = theirs.text
    mine.clock.elapsed += 60
    assert actions(mine.plan()) == {"instance.m[0]": "import", "instance.m[1]": "import"}
    mine.apply()
    assert mine.recorded() == theirs.recorded()
    assert mine.faults.count("create_instance") == 2
    assert actions(mine.plan()) == {}
