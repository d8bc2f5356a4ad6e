"""What is believed of lists and absences; adoption, orphans, accounts. One test a sentence of the protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.contract.errors import AuthFailed, Unavailable
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Action, Mode
from brevplan.engine.ports import PutRecord
from brevplan.simcloud.faults import NO_FAULT, Fault
from tests.world import KEY, Lab, actions, configuration


def test_one_list_call_an_account(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(30))
    lab.apply()
    lab.faults.calls.clear()
    plan = lab.plan()
    assert not plan.has_changes
    assert [call.operation for call in lab.faults.calls] == ["list_instances"]


def test_a_failed_list_makes_machines_unverified_and_nothing_is_done(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    lab.text = configuration(5).replace("gpu_1x_a10", "gpu_1x_h100_pcie")
    lab.faults.choose = lambda call: (
        Fault(before=AuthFailed("wrong key")) if call.operation == "list_instances" else NO_FAULT
    )
    plan = lab.plan()
    assert plan.effective == []
    assert len(plan.blocked) == 5
    assert all("unverified" in change.blocked for change in plan.blocked)
    assert not plan.complete
    done = lab.apply()
    assert done.result is None
    assert len(lab.machines()) == 3


def test_absence_is_believed_when_list_and_get_agree(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    cloud = lab.cloud()
    cloud.delete_machine(lab.recorded()["instance.m[1]"])
    cloud.close()
    plan = lab.plan()
    assert actions(plan) == {"instance.m[1]": "create"}
    assert plan.effective[0].gone


def test_a_machine_that_only_get_shows_is_alive(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2, provider='list_lag = "10m"\n  grace_window = "1s"'))
    lab.apply()
    lab.faults.calls.clear()
    plan = lab.plan()
    assert actions(plan) == {}
    assert lab.faults.count("get_instance") == 2


def test_a_much_shorter_list_with_one_machine_alive_is_not_believed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(20, provider='list_lag = "10m"\n  grace_window = "1s"'))
    lab.apply()
    state = lab.state()
    state.take("")
    state.transact([PutRecord(replace(record, seen=True)) for record in state.records()])  # a list showed them all
    state.close()
    lab.text = configuration(25, provider='list_lag = "10m"\n  grace_window = "1s"')
    plan = lab.plan()
    assert plan.effective == []
    assert "lacks 20 of 20" in plan.blocked[0].blocked


def test_an_empty_list_is_believed_when_gets_agree(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(20))
    lab.apply()
    (tmp_path / "local-cloud.db").unlink()
    plan = lab.plan()
    assert list(actions(plan).values()) == ["create"] * 20


def test_a_failing_get_leaves_its_machine_unverified(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    cloud = lab.cloud()
    cloud.delete_machine(lab.recorded()["instance.m[1]"])
    cloud.close()
    lab.faults.choose = lambda call: Fault(before=Unavailable("down")) if call.operation == "get_instance" else NO_FAULT
    plan = lab.plan()
    assert plan.effective == []
    assert [str(change.address) for change in plan.blocked] == ["instance.m[1]"]


def test_an_empty_state_over_living_machines_plans_adoption(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(4))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan()
    assert plan.counts.imports == 4
    assert (plan.counts.add, plan.counts.change, plan.counts.destroy) == (0, 0, 0)
    lab.apply()
    assert len(lab.machines()) == 4
    assert actions(lab.plan()) == {}


def test_an_adopted_machine_that_differs_counts_in_both_classes(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.text = configuration(2, body='tags = { team = "ml" }')
    plan = lab.plan()
    assert (plan.counts.imports, plan.counts.change) == (2, 2)
    lab.apply()
    assert [machine.body.tags for machine in lab.machines()] == [{"team": "ml"}] * 2
    assert actions(lab.plan()) == {}


def test_two_machines_with_the_mark_of_one_address_block_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = lambda call: Fault(twice=True) if call.operation == "create_instance" else NO_FAULT
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.faults.choose = lambda call: NO_FAULT
    plan = lab.plan()
    assert plan.effective == []
    assert "2 machines bear the mark" in plan.blocked[0].blocked
    assert "i-00000001" in plan.blocked[0].blocked
    assert "i-00000002" in plan.blocked[0].blocked


def orphaned(tmp_path: Path) -> Lab:
    """Give a lab whose cloud holds one machine that nothing accounts for."""
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.text = configuration(1)
    return lab


def test_an_orphan_is_named_with_its_price_and_never_destroyed_by_a_normal_plan(tmp_path: Path) -> None:
    lab = orphaned(tmp_path)
    plan = lab.plan()
    assert [(orphan.address, orphan.instance_type) for orphan in plan.orphans] == [("instance.m[1]", "gpu_1x_a10")]
    assert str(plan.orphans[0].hourly) == "0.75"
    lab.apply()
    assert len(lab.machines()) == 2


def test_an_orphan_blocks_a_create_of_its_type_and_place(tmp_path: Path) -> None:
    lab = orphaned(tmp_path)
    rest = configuration(1).split('resource "instance" "m"')[1].replace("count         = 1", "count = 1")
    lab.text = configuration(1, rest=f'resource "instance" "n" {rest}')
    plan = lab.plan()
    assert actions(plan) == {"instance.m[0]": "import"}
    assert "-reap=" in plan.blocked[0].blocked
    assert "-ignore-orphans" in plan.blocked[0].blocked
    assert actions(lab.plan(Options(ignore_orphans=True)))["instance.n[0]"] == "create"


def test_reap_destroys_one_orphan(tmp_path: Path) -> None:
    lab = orphaned(tmp_path)
    ref = lab.plan().orphans[0].ref_id
    options = Options(reaped=frozenset({ref}))
    assert lab.plan(options).counts.destroy == 1
    done = lab.apply(options)
    assert done.result is not None
    assert done.result.complete
    assert len(lab.machines()) == 1
    assert lab.plan().orphans == []


def test_another_project_in_the_same_account_is_not_ours(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2).replace('"lab"', '"other"'))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.text = configuration(2)
    plan = lab.plan()
    assert plan.counts.add == 2
    assert plan.orphans == []


def test_another_workspace_is_not_an_orphan(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan(workspace="stage")
    assert plan.counts.add == 2
    assert plan.orphans == []


def test_another_account_behind_the_same_block_re_buys_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    lab.text = configuration(3, provider='path = "elsewhere.db"')
    plan = lab.plan()
    assert plan.effective == []
    assert len(plan.blocked) == 3
    assert "-accept-account=local" in plan.blocked[0].blocked
    accepted = lab.plan(accepted_accounts=frozenset({"local"}))
    assert list(actions(accepted).values()) == ["create"] * 3


def test_an_account_that_shows_our_mark_is_taken_for_the_same(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    (tmp_path / "local-cloud.db").rename(tmp_path / "moved.db")
    lab.text = configuration(3, provider='path = "moved.db"')
    assert actions(lab.plan()) == {}
    lab.apply()
    assert actions(lab.plan()) == {}


def test_an_alias_can_be_renamed_while_its_machines_are_visible(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2, provider='alias = "old"').replace("count  ", "provider = local.old\n  count "))
    lab.apply()
    lab.text = lab.text.replace('"old"', '"new"').replace("local.old", "local.new")
    assert actions(lab.plan()) == {}
    lab.apply()
    store = lab.state()
    assert {record.alias for record in store.records()} == {"local.new"}
    store.close()


def test_a_provider_block_that_still_has_machines_cannot_be_removed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    lab.text = 'brevplan {\n  project = "lab"\n}\n'
    with pytest.raises(DiagnosticsError) as problem:
        lab.plan()
    assert "not configured" in problem.value.diagnostics[0].summary
    assert 'provider "local" {}' in problem.value.diagnostics[0].hint


def test_prevent_destroy_is_kept_when_the_block_is_deleted(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body="lifecycle {\n prevent_destroy = true\n }"))
    lab.apply()
    lab.text = configuration(0)
    plan = lab.plan()
    assert plan.effective == []
    assert "prevent_destroy" in plan.blocked[0].blocked
    lab.text = configuration(1, body="lifecycle {\n prevent_destroy = false\n }")
    lab.apply()
    lab.text = configuration(0)
    assert actions(lab.plan()) == {"instance.m[0]": "delete"}


def test_destroy_over_an_empty_state_ends_what_bears_the_mark(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    done = lab.apply(Options(mode=Mode.DESTROY))
    assert done.result is not None
    assert done.result.counts.destroy == 3
    assert lab.machines() == []


def test_drift_is_seen_and_mended(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body='tags = { team = "ml" }\n  power_state = "running"'))
    lab.apply()
    cloud = lab.cloud()
    cloud.alter_machine("i-00000001", tags={"team": "sales"})
    cloud.close()
    plan = lab.plan()
    assert [(change.action, change.changed) for change in plan.effective] == [(Action.UPDATE, ("tags",))]
    assert [change.changed for change in plan.drift] == [("tags",)]
    lab.apply()
    assert lab.machines()[0].body.tags == {"team": "ml"}


def test_a_destroy_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    lab.text = configuration(1)
    lab.faults.choose = lambda call: (
        Fault(before=replace_error()) if call.operation == "terminate_instance" else NO_FAULT
    )
    done = lab.apply()
    assert done.result is not None
    assert done.result.failed
    lab.faults.choose = lambda call: NO_FAULT
    plan = lab.plan()
    assert [(change.action, bool(change.deposed)) for change in plan.effective] == [(Action.DELETE, True)]
    lab.apply()
    assert len(lab.machines()) == 1
    assert actions(lab.plan()) == {}


def replace_error() -> AuthFailed:
    return AuthFailed("not allowed to terminate")


def test_an_empty_state_without_refresh_buys_no_second_fleet(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    plan = lab.plan(refresh=False)
    assert (plan.counts.imports, plan.counts.add) == (2, 0)


def test_an_unverified_address_that_is_read_is_blocked_and_no_error(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, rest='output "ip" {\n  value = instance.m[0].public_ip\n}\n'))
    lab.faults.choose = lambda call: (
        Fault(before=AuthFailed("wrong key")) if call.operation == "list_instances" else NO_FAULT
    )
    assert "unverified" in lab.plan().blocked[0].blocked


def test_one_of_two_machines_with_one_mark_can_be_reaped(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = lambda call: Fault(twice=True) if call.operation == "create_instance" else NO_FAULT
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.faults.choose = lambda call: NO_FAULT
    lab.apply(Options(reaped=frozenset({"i-00000002"})))
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000001"]
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000001"}


def test_a_pending_machine_is_adopted_and_waited_for(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "10m"', body='timeouts {\n create = "1m"\n }'))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    change = lab.plan().effective[0]
    assert change.finish
    assert change.imports
    lab.text = lab.text.replace('"1m"', '"30m"')
    lab.apply()
    assert lab.machines()[0].body.public_ip
    assert actions(lab.plan()) == {}


def test_tags_that_are_null_are_none(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body="tags = { a = null }"))
    lab.apply()
    assert actions(lab.plan()) == {}


def test_steps_that_would_wait_in_a_ring_find_an_order(tmp_path: Path) -> None:
    machine = (
        'resource "instance" "{}" {{\n  instance_type = "{}"\n  location = "us-west-1"\n  public_key = "{}"\n  {}\n}}\n'
    )
    head = 'brevplan {\n  project = "lab"\n}\nprovider "local" {}\n'
    before = [("d", ""), ("b", "depends_on = [instance.d]"), ("c", "depends_on = [instance.b]")]
    lab = Lab(tmp_path, head + "".join(machine.format(name, "gpu_1x_a10", KEY, rest) for name, rest in before))
    lab.apply()
    lab.text = (
        head
        + machine.format("d", "cpu_4x_general", KEY, "")
        + machine.format("c", "gpu_1x_a10", KEY, "tags = { d = instance.d.id }")
    )
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert actions(lab.plan()) == {}


def test_a_plan_right_after_an_apply_is_empty_though_the_list_lags(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(12, provider='list_lag = "4s"'))
    lab.apply()
    assert actions(lab.plan()) == {}
    assert lab.plan().complete
    lab.clock.elapsed += 10
    lab.apply()
    store = lab.state()
    assert all(record.seen for record in store.records())
    store.close()
