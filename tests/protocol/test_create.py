"""How machines are made: intents, lost answers, grace windows, retired attempts. One test a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from brevplan.contract.errors import CloudError, OutOfStock, RateLimited, Sent, Unavailable
from brevplan.contract.model import LifecycleStatus
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.address import Address
from brevplan.engine.bench import Options
from brevplan.engine.change import Action
from brevplan.engine.ports import IntentState
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.world import Lab, actions, configuration

LOST = Unavailable("the answer was lost", sent=Sent.MAYBE)


def on(operation: str, *faults: Fault) -> Callable[[Call], Fault]:
    """Give the faults, one after another, to the calls of one operation."""
    left = list(faults)

    def choose(call: Call) -> Fault:
        return left.pop(0) if call.operation == operation and left else NO_FAULT

    return choose


def is_converged(lab: Lab, machines: int) -> bool:
    """Check that cloud, state and configuration agree, and that a plan says so."""
    lab.faults.choose = lambda call: NO_FAULT
    living = {machine.body.cloud_id for machine in lab.machines()}
    recorded = lab.recorded()
    assert len(living) == machines
    assert set(recorded.values()) == living
    assert len(recorded) == machines
    plan = lab.plan()
    assert actions(plan) == {}
    assert plan.orphans == []
    return True


def test_a_create_is_bound_settled_and_closes_its_intent(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3, provider='boot_time = "90s"'))
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert done.result.counts.add == 3
    store = lab.state()
    assert store.intents() == []
    assert all(record.settled and record.seen for record in store.records())
    store.close()
    assert lab.clock.elapsed >= 90
    assert is_converged(lab, 3)


def test_the_intent_is_durable_before_the_launch_request(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    seen: list[str] = []

    def look(call: Call) -> Fault:
        if call.operation == "create_instance":
            store = lab.state()
            seen.extend(intent.ref_id for intent in store.intents() if intent.ref_id == call.target)
            store.close()
        return NO_FAULT

    lab.faults.choose = look
    lab.apply()
    assert len(seen) == 1
    assert lab.machines()[0].body.ref_id == seen[0]


def test_an_intent_holds_no_secret_in_plain_text(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body='user_data = "password=hunter2"'))

    def look(call: Call) -> Fault:
        if call.operation == "create_instance":
            store = lab.state()
            assert "hunter2" not in repr(store.intents())
            assert "$digest" in repr(store.intents())
            store.close()
        return NO_FAULT

    lab.faults.choose = look
    assert lab.apply().result is not None
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in everything


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize(
    "fault", [Fault(after=LOST), Fault(before=LOST)], ids=["after the effect", "before the effect"]
)
def test_a_lost_answer_neither_loses_nor_doubles(tmp_path: Path, idempotent: bool, fault: Fault) -> None:
    lab = Lab(tmp_path, configuration(2, provider='grace_window = "60s"'), idempotent=idempotent)
    lab.faults.choose = on("create_instance", fault, fault)
    done = lab.apply()
    assert done.result is not None
    assert done.result.failed == []
    assert is_converged(lab, 2)


def test_an_uncertain_create_is_looked_for_over_the_whole_grace_window(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(before=LOST))
    lab.apply()
    # once before the fence and once after it
    assert lab.clock.elapsed >= 120
    assert lab.faults.count("fence") == 1
    assert is_converged(lab, 1)


def test_a_machine_that_the_list_shows_late_is_bound(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='list_lag = "40s"\n  grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(after=LOST))
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert lab.faults.count("create_instance") == 1
    assert is_converged(lab, 1)


def test_a_launch_that_lands_late_is_fenced_off(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(after=LOST, late_s=90))
    lab.apply()
    lab.clock.elapsed += 300
    assert is_converged(lab, 1)


def test_a_list_that_lacks_one_living_machine_does_not_count_towards_the_window(tmp_path: Path) -> None:
    grace = 'grace_window = "60s"'
    lab = Lab(tmp_path, configuration(2, provider=grace), idempotent=False, fences=False)
    lab.apply()
    partial = Fault(leaves_out=0.5, salt=0)  # one of the two, and the new one
    unanswered = on("create_instance", Fault(after=LOST))
    began = lab.clock.elapsed

    def choose(call: Call) -> Fault:
        if call.operation == "list_instances" and "create_instance" in [one.operation for one in lab.faults.calls]:
            return partial if lab.clock.elapsed - began < 200 else NO_FAULT
        return unanswered(call)

    lab.faults.calls.clear()
    lab.faults.choose = choose
    lab.text = configuration(3, provider=grace)
    lab.apply()  # it gives up after a few lists of this kind, and leaves the attempt open
    lab.clock.elapsed += 300
    lab.apply()
    assert lab.faults.count("create_instance") == 1
    assert is_converged(lab, 3)


def test_a_retired_attempt_is_remembered_and_its_ref_id_never_used_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(before=LOST))
    lab.apply()
    launches = [call.target for call in lab.faults.calls if call.operation == "create_instance"]
    assert len(launches) == len(set(launches)) == 2
    store = lab.state()
    assert [(i.ref_id, i.state) for i in store.intents()] == [(launches[0], IntentState.RETIRED)]
    store.close()


def test_a_retired_attempt_leaves_nothing_beside_the_machine_that_did_not_come(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(before=LOST))
    lab.apply()
    first = next(call.target for call in lab.faults.calls if call.operation == "create_instance")
    after = [call.operation for call in lab.faults.calls if call.target == first]
    assert after == ["create_instance", "fence", "release"]


@pytest.mark.parametrize(
    ("error", "word"),
    [(OutOfStock("no more of these"), "no more of these"), (RateLimited("slowly", retry_after=30), "")],
    ids=["out of stock", "rate limited"],
)
def test_a_refusal_closes_the_intent_and_releases_side_objects(tmp_path: Path, error: CloudError, word: str) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = on("create_instance", Fault(before=error))
    done = lab.apply()
    assert done.result is not None
    assert lab.faults.count("release") == 1
    store = lab.state()
    assert store.intents() == []
    store.close()
    if word:
        assert word in done.result.failed[0].error
        assert lab.machines() == []
    else:
        assert done.result.complete
        assert lab.clock.elapsed >= 30


def test_accepted_and_then_failed_is_terminated_in_the_same_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "60s"'))
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10))
    done = lab.apply()
    assert done.result is not None
    assert "failed" in done.result.failed[0].error
    assert lab.machines() == []
    assert actions(lab.plan()) == {"instance.m[0]": "create"}
    lab.apply()
    assert is_converged(lab, 1)


def test_a_machine_that_vanishes_after_its_create_is_made_anew(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "60s"'))
    lab.faults.choose = on("create_instance", Fault(vanish=True))
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    lab.apply()
    assert is_converged(lab, 1)


def test_two_machines_of_one_create_are_reported(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.faults.choose = on("create_instance", Fault(twice=True))
    done = lab.apply()
    assert done.result is not None
    assert not done.result.complete
    assert "was not expected" in done.result.unexpected[0]
    plan = lab.plan()
    assert [orphan.cloud_id for orphan in plan.orphans] == ["i-00000002"]
    assert plan.orphans[0].hourly is not None


def test_a_bound_and_unsettled_machine_is_finished_by_the_next_apply(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2, provider='boot_time = "1h"', body='timeouts {\n create = "10m"\n }'))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 2
    assert all(failure.uncertain for failure in done.result.failed)
    plan = lab.plan()
    assert [change.finish for change in plan.effective] == [True, True]
    assert plan.counts.change == 2
    lab.clock.elapsed += 3600
    lab.apply()
    assert is_converged(lab, 2)


def test_a_stop_request_binds_what_is_under_way_and_starts_nothing_new(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(30, provider='boot_time = "10m"'))
    runs = []

    def stop_at_third(call: Call) -> Fault:
        if lab.faults.count("create_instance") == 3:
            runs[0].stop()
        return NO_FAULT

    lab.faults.choose = stop_at_third
    done = lab.apply(on_run=runs.append)
    assert done.result is not None
    assert done.result.interrupted
    assert 0 < len(lab.machines()) < 30
    assert set(lab.recorded().values()) == {machine.body.cloud_id for machine in lab.machines()}
    assert lab.clock.elapsed < 60, "boots are not waited for"
    lab.apply()
    assert is_converged(lab, 30)


def test_parallelism_bounds_calls_and_not_machines_that_boot(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(25, provider='boot_time = "10m"'))
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert lab.clock.elapsed < 660, "twenty-five boots at once, not ten after ten"


def test_waiting_is_one_shared_poll(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(25, provider='boot_time = "100s"'))
    lab.apply()
    assert lab.faults.count("list_instances") < 30


def test_creates_are_replaced_by_plain_creates_when_the_destroy_succeeded(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_pcie")
    assert actions(lab.plan()) == {"instance.m[0]": "replace"}
    lab.faults.choose = on("create_instance", Fault(before=OutOfStock("gone in the meantime")))
    done = lab.apply()
    assert done.result is not None
    assert done.result.counts.destroy == 1
    lab.faults.choose = lambda call: NO_FAULT
    plan = lab.plan()
    assert [change.action for change in plan.effective] == [Action.CREATE]
    lab.apply()
    assert is_converged(lab, 1)


def test_a_run_ends_no_machine_that_an_earlier_run_made(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "1h"', body='timeouts {\n create = "10m"\n }'))
    lab.apply()
    cloud = lab.cloud()
    cloud.alter_machine("i-00000001", status=LifecycleStatus.FAILED)
    cloud.close()
    assert actions(lab.plan()) == {}, "it is left as it is, and the plan says the way out"
    lab.apply()
    assert "-replace=instance.m[0]" in lab.plan().changes[0].notes[0]
    assert lab.faults.count("terminate_instance") == 0
    plan = lab.plan(Options(replaced=(Address("instance", "m", 0),)))
    assert [change.action for change in plan.effective] == [Action.REPLACE]


def test_a_retired_attempt_of_another_workspace_is_none_of_ours(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='grace_window = "60s"'), idempotent=False)
    lab.faults.choose = on("create_instance", Fault(after=LOST, late_s=500))
    lab.apply()
    plan = lab.plan(workspace="stage")
    assert [change.action for change in plan.effective] == [Action.CREATE]


def test_two_machines_of_an_open_launch_are_told_and_shown(tmp_path: Path) -> None:
    text = configuration(1, provider='list_lag = "100s"\n  grace_window = "100s"')
    lab = Lab(tmp_path, text, idempotent=False)
    down = Fault(before=Unavailable("down", http_status=503))

    def blind(call: Call) -> Fault:
        if call.operation == "create_instance":
            return Fault(twice=True, after=LOST)
        return down if call.operation == "list_instances" and lab.faults.count("create_instance") else NO_FAULT

    lab.faults.choose = blind
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    with pytest.raises(DiagnosticsError, match="Open launch"):
        lab.apply()
    lab.clock.elapsed += 1000
    plan = lab.plan()
    assert "2 machines bear the mark" in plan.blocked[0].blocked
