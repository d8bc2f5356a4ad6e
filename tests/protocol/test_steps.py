"""What each step of an apply writes down and asks for, and in which order. One test a sentence of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from brevplan.contract.client import Connection
from brevplan.contract.errors import CloudError, InstanceNotFound, NotReady, Rejected, Unavailable
from brevplan.contract.model import (
    CreateInstanceAttrs,
    Instance,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.engine.ports import Intent, IntentState, Role
from brevplan.providers.local import LocalClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.state.lock import is_held
from tests.protocol.test_approved import approve, carry_out
from tests.world import Lab, actions, configuration


def intents(lab: Lab) -> list[Intent]:
    store = lab.state()
    try:
        return [intent for intent in store.intents() if intent.state is IntentState.OPEN]
    finally:
        store.close()


def roles(lab: Lab) -> list[Role]:
    store = lab.state()
    try:
        return sorted(record.role for record in store.records())
    finally:
        store.close()


def at(lab: Lab, operation: str, look: Callable[[Call], object], fault: Fault = NO_FAULT) -> list[object]:
    """Look at every call of an operation; give the list of what was seen, which grows."""
    seen: list[object] = []

    def choose(call: Call) -> Fault:
        if call.operation != operation:
            return NO_FAULT
        seen.append(look(call))
        return fault

    lab.faults.choose = choose
    return seen


class Altered(LocalClient):
    """A client whose answers to a create, and whose prices, can be others than the cloud's."""

    def __init__(self, connection: Connection, lab: AlteredLab) -> None:
        super().__init__(connection, lab.faults)
        self.lab = lab

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        return self.lab.answer(await super().create_instance(attrs))

    async def get_instance_types(self, wanted: InstanceTypeFilter = InstanceTypeFilter()) -> list[InstanceType]:  # noqa: B008  # as the contract has it
        return [self._priced(item) for item in await super().get_instance_types(wanted)]

    def _priced(self, item: InstanceType) -> InstanceType:
        if item.base_price is None:
            return item
        dearer = with_fields(item.base_price, amount=item.base_price.amount * self.lab.times)
        return with_fields(item, base_price=dearer)


class AlteredLab(Lab):
    answer: Callable[[Instance], Instance] = staticmethod(lambda machine: machine)
    times = 1

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder, text)
        self.outside = replace(self.outside, spec_of=self._altered)

    def _altered(self, name: str) -> ProviderSpec:
        return replace(self._spec(name), connect=lambda connection: Altered(connection, self))


def test_an_intent_is_written_only_with_slot_and_token_in_hand(tmp_path: Path) -> None:
    """3.1: "The step holds its concurrency slot and its rate token. Only then is the intent committed"."""
    lab = Lab(tmp_path, configuration(12, provider="requests_per_minute = 20"))
    seen = at(lab, "create_instance", lambda call: [intent.ref_id for intent in intents(lab)] == [call.target])
    lab.apply()
    # the first few tokens lie there already and may be taken together
    assert seen[-6:] == [True] * 6


def test_intents_of_one_moment_share_a_transaction(tmp_path: Path) -> None:
    """3.1: "Those that hold both at the same moment share one transaction"."""
    lab = Lab(tmp_path, configuration(25))
    seen = at(lab, "create_instance", lambda call: len(intents(lab)))
    lab.apply()
    assert seen[0] == 10, "as many as there are slots"


def test_not_found_while_waiting_is_not_the_end_inside_the_window(tmp_path: Path) -> None:
    """2: "Not-found while waiting is not the end inside that window"."""
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "60s"\n  list_lag = "30s"'))
    at(lab, "get_instance", lambda call: None, Fault(before=InstanceNotFound("no such machine yet")))
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert lab.faults.count("get_instance") >= 1
    assert lab.faults.count("terminate_instance") == 0


@pytest.mark.parametrize("kind", ["bound elsewhere", "terminating"])
def test_an_answer_about_another_machine_burns_the_attempt(tmp_path: Path, kind: str) -> None:
    """3.9: a create "answered with a machine that is bound elsewhere, or already terminating" is "never bound"."""
    lab = AlteredLab(tmp_path, configuration(1))
    lab.apply()
    wrong = {
        "bound elsewhere": lab.machines()[0].body,
        "terminating": with_fields(lab.machines()[0].body, cloud_id="i-00000009", status=LifecycleStatus.TERMINATING),
    }[kind]
    lab.answer = lambda machine: wrong
    lab.text = configuration(2)
    done = lab.apply()
    assert done.result is not None
    assert "which is another machine" in done.result.failed[0].error
    assert lab.recorded() == {"instance.m[0]": "i-00000001"}
    store = lab.state()
    assert [intent.state for intent in store.intents()] == [IntentState.RETIRED]
    store.close()
    lab.answer = lambda machine: machine
    lab.apply()
    lab.apply()
    assert sorted(lab.recorded().values()) == sorted(machine.body.cloud_id for machine in lab.machines())


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("update_tags", 'tags = { a = "b" }'),
        ("stop_instance", 'power_state = "stopped"'),
        ("resize_volume", 'disk_size = "900GB"'),
        ("terminate_instance", None),
    ],
)
def test_a_step_is_written_down_before_its_call(tmp_path: Path, operation: str, body: str | None) -> None:
    """4: "Each has its durable step row before the call"."""
    lab = Lab(tmp_path, configuration(1, body='disk_size = "500GB"'))
    lab.apply()
    lab.text = configuration(1, body=body) if body is not None else configuration(0)

    def running(call: Call) -> list[str]:
        store = lab.state()
        try:
            newest = store.runs(1)[0]
            return [step.status for step in store.steps(newest.plan_id)]
        finally:
            store.close()

    seen = at(lab, operation, running)
    lab.apply()
    assert seen[0] == ["running"]


def test_a_destroyed_machine_is_recorded_until_list_and_get_say_gone(tmp_path: Path) -> None:
    """4: "A destroy is `destroying` until the cloud says gone (list and get), then side objects … are released"."""
    lab = Lab(tmp_path, configuration(1, provider='list_lag = "30s"\n  grace_window = "1s"'))
    lab.apply()
    lab.clock.elapsed += 60
    lab.text = configuration(0, provider='list_lag = "30s"\n  grace_window = "1s"')
    began = lab.clock.elapsed
    lab.faults.calls.clear()
    seen = at(lab, "release", lambda call: (roles(lab), lab.clock.elapsed - began >= 30))
    lab.apply()
    assert seen == [([Role.DESTROYING], True)]
    operations = [call.operation for call in lab.faults.calls]
    assert operations.index("terminate_instance") < operations.index("get_instance") < operations.index("release")
    assert roles(lab) == []


def test_what_stood_beside_a_machine_ended_by_hand_goes_before_its_row(tmp_path: Path) -> None:
    """4: "side objects made for it … are released …; only then is the row gone", whoever ended the machine."""
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    (machine,) = lab.machines()
    lab.cloud().delete_machine(machine.body.cloud_id)
    first = machine.body.ref_id
    busy = Fault(before=Unavailable("busy", http_status=503))
    seen = at(lab, "release", lambda call: (call.target, roles(lab)), busy)
    done = lab.apply()
    assert done.result is not None
    assert done.result.failed, "what stood beside the old machine could not be removed: nothing new is bought"
    assert set(map(str, seen)) == {str((first, [Role.CURRENT]))}
    assert lab.machines() == []
    seen = at(lab, "release", lambda call: (call.target, roles(lab)))
    lab.apply()
    assert seen == [(first, [Role.CURRENT])]
    assert len(lab.machines()) == 1
    assert roles(lab) == [Role.CURRENT]


def test_a_plan_that_only_refreshes_leaves_what_stood_beside_to_the_next_apply(tmp_path: Path) -> None:
    """4: "only then is the row gone"."""
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    (machine,) = lab.machines()
    lab.cloud().delete_machine(machine.body.cloud_id)
    lab.faults.calls.clear()
    lab.apply(Options(mode=Mode.REFRESH_ONLY))
    assert lab.faults.count("release") == 0
    assert roles(lab) == [Role.DESTROYING]
    lab.text = configuration(0)
    lab.apply()
    assert lab.faults.count("release") == 1
    assert roles(lab) == []


@pytest.mark.parametrize("error", [Unavailable("busy", http_status=503), NotReady("it boots")], ids=["503", "early"])
def test_a_terminate_that_is_refused_for_now_is_tried_again(tmp_path: Path, error: CloudError) -> None:
    """4: "`NotReady` … is retried, not final"; "A refused or lagging terminate is retried until its timeout"."""
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = configuration(0)
    began = lab.clock.elapsed
    lab.faults.choose = lambda call: (
        Fault(before=error) if call.operation == "terminate_instance" and lab.clock.elapsed < began + 300 else NO_FAULT
    )
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert lab.machines() == []


def test_a_terminate_that_is_refused_to_the_end_stays_recorded_and_is_never_current(tmp_path: Path) -> None:
    """4: "… and stays recorded"; "A destroying machine never counts as current"."""
    lab = Lab(tmp_path, configuration(1, body='timeouts {\n delete = "2m"\n }'))
    lab.apply()
    lab.text = lab.text.replace("count         = 1", "count         = 0")
    at(lab, "terminate_instance", lambda call: None, Fault(before=Unavailable("busy", http_status=503)))
    began = lab.clock.elapsed
    done = lab.apply()
    assert done.result is not None
    assert done.result.failed
    assert 120 <= lab.clock.elapsed - began < 300
    assert roles(lab) == [Role.DESTROYING]
    lab.text = lab.text.replace("count         = 0", "count         = 1")
    plan = lab.plan()
    assert sorted(change.action.value for change in plan.effective) == ["create", "delete"]
    lab.faults.choose = lambda call: NO_FAULT
    lab.apply()
    lab.apply()
    assert actions(lab.plan()) == {}
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000002"]


def test_the_lock_is_held_from_before_the_refresh_until_after_the_outputs(tmp_path: Path) -> None:
    """5: "One lock a state file: taken by `apply` … from before the refresh until after the outputs"."""
    lab = Lab(tmp_path, configuration(2, rest='output "ids" {\n  value = instance.m[*].id\n}\n'))
    held: list[bool] = []

    def look(call: Call) -> Fault:
        held.append(is_held(tmp_path / "brevplan.db"))
        return NO_FAULT

    lab.faults.choose = look
    lab.apply()
    assert len(held) >= 4
    assert all(held)
    assert not is_held(tmp_path / "brevplan.db")


def test_a_plan_only_reads(tmp_path: Path) -> None:
    """5: "`plan`, `watch` and the like only read at the clouds"."""
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    lab.faults.calls.clear()
    lab.text = configuration(5, body='tags = { a = "b" }').replace("gpu_1x_a10", "gpu_1x_h100_pcie")
    assert lab.plan().has_changes
    assert lab.faults.calls
    assert not [call for call in lab.faults.calls if call.changes]
    lab.faults.calls.clear()
    lab.apply(approve=False)
    assert not [call for call in lab.faults.calls if call.changes]


def test_an_approved_plan_lists_each_account_once_before_it_begins(tmp_path: Path) -> None:
    """6: "`apply PLANFILE` lists the touched accounts once"."""
    lab = Lab(tmp_path, configuration(3))
    path = approve(lab)
    lab.faults.calls.clear()
    carry_out(lab, path)
    operations = [call.operation for call in lab.faults.calls]
    assert operations[: operations.index("create_instance")].count("list_instances") == 1


def test_the_rest_of_an_approved_plan_is_never_dearer_than_shown(tmp_path: Path) -> None:
    """6: "Some left: goes on … after checking stock, price (never dearer than shown)"."""
    lab = AlteredLab(tmp_path, configuration(2))
    path = approve(lab)
    at(lab, "create_instance", lambda call: None, Fault(before=Rejected("not now")))
    carry_out(lab, path)
    lab.faults.choose = lambda call: NO_FAULT
    lab.times = 2
    with pytest.raises(DiagnosticsError) as problem:
        carry_out(lab, path)
    assert "the price is now 1.5 USD/hr, above the 0.75 shown" in problem.value.diagnostics[0].detail
    assert lab.machines() == []
    lab.times = 1
    carry_out(lab, path)
    assert len(lab.machines()) == 2


class Unfenced(LocalClient):
    """A client of a cloud that has no fence, so that a launch which is late lands."""

    async def fence(self, ref_id: RefId) -> bool:
        return False


class UnfencedLab(Lab):
    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder, text, idempotent=False)
        self.outside = replace(self.outside, spec_of=self._unfenced)

    def _unfenced(self, name: str) -> ProviderSpec:
        return replace(self._spec(name), connect=self._connect_unfenced)

    def _connect_unfenced(self, connection: Connection) -> LocalClient:
        traits = self._connect(connection).traits
        client = Unfenced(connection, self.faults)
        client.traits = traits
        return client


def surfaced(folder: Path) -> UnfencedLab:
    """Give a lab whose first launch got no answer, was retired, and has landed ten minutes later all the same."""
    lab = UnfencedLab(folder, configuration(1, provider='grace_window = "60s"'))
    faults = [Fault(after=Unavailable("the answer was lost"), late_s=600)]
    lab.faults.choose = lambda call: faults.pop() if call.operation == "create_instance" and faults else NO_FAULT
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000002"}
    lab.clock.elapsed += 600
    return lab


def test_a_retired_attempt_that_appears_is_ended_as_planned(tmp_path: Path) -> None:
    """3.6: "One that appears is shown as `ADDRESS (deposed REF)`, counted and approved as a destroy"."""
    lab = surfaced(tmp_path)
    plan = lab.plan()
    assert [(str(change.address), change.action.value, change.cloud_id) for change in plan.effective] == [
        ("instance.m[0]", "delete", "i-00000001")
    ]
    assert plan.effective[0].deposed == plan.effective[0].ref_id != ""
    assert plan.counts.destroy == 1
    lab.apply(approve=False)
    assert len(lab.machines()) == 2
    lab.apply()
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000002"]
    assert actions(lab.plan()) == {}


def test_a_retired_attempt_that_appears_is_adopted_where_nothing_stands(tmp_path: Path) -> None:
    """3.6: "or adopted if its address has no machine"."""
    lab = UnfencedLab(tmp_path, configuration(1, provider='grace_window = "60s"'))
    faults = [
        Fault(before=Rejected("and now it is refused")),
        Fault(after=Unavailable("the answer was lost"), late_s=600),
    ]
    lab.faults.choose = lambda call: faults.pop() if call.operation == "create_instance" and faults else NO_FAULT
    lab.apply()
    assert lab.recorded() == {}
    lab.clock.elapsed += 600
    assert actions(lab.plan()) == {"instance.m[0]": "import"}
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000001"}
    assert actions(lab.plan()) == {}
