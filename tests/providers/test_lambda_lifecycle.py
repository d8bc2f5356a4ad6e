"""The real engine on Lambda Cloud's API: what it plans, makes and unmakes, under a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from brevplan.contract.client import Connection
from brevplan.contract.errors import CloudError, OutOfQuota, OutOfStock
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import EVERYTHING
from brevplan.engine.change import Mode, Plan
from brevplan.operations.apply import Applied
from brevplan.providers import registry
from brevplan.providers.lambda_cloud import LambdaClient, connect
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.lambda_cloud import Quirks, face
from brevplan.simcloud.faces.server import Wire
from brevplan.simcloud.faults import Call, Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour, Machine
from brevplan.simcloud.store import Store
from tests.providers.lambda_bench import API_KEY, ENDPOINT, LAMBDA, checked, violations
from tests.world import KEY, Lab, actions

ADDRESS = "instance.m[0]"


class LambdaLab(Lab):
    """A project whose cloud is a face of Lambda's API; each run connects anew, to the same file."""

    def __init__(self, folder: Path, count: int = 1, body: str = "", rest: str = "", how: Behaviour = LAMBDA) -> None:
        super().__init__(folder, "")
        self.quirks = Quirks()
        self.key = API_KEY
        self.how = how
        self.write(count, body, rest)
        self.transports: list[httpx.AsyncBaseTransport] = []

    def write(self, count: int = 1, body: str = "", rest: str = "") -> None:
        self.text = f"""
brevplan {{
  project = "lab"
}}
provider "lambda" {{
  api_key  = "{API_KEY}"
  endpoint = "{ENDPOINT}"
}}
resource "instance" "m" {{
  count         = {count}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
  {body}
}}
{rest}
"""

    def _spec(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._connected)

    def _connected(self, connection: Connection) -> LambdaClient:
        transport = checked(Wire([face(self.sim(), self.key, quirks=self.quirks)], self.clock))
        self.transports.append(transport)
        return connect(replace(connection, extra={"transport": transport}))

    def sim(self) -> SimCloud:
        return SimCloud(self.path, self.clock, self.how, self.faults)

    @property
    def path(self) -> Path:
        return self.folder / "lambda.db"

    def machines(self) -> list[Machine]:
        store = Store(self.path)
        try:
            return store.machines()
        finally:
            store.close()

    def beside(self) -> list[tuple[str, str]]:
        """Give kind and name of what stands beside machines."""
        store = Store(self.path)
        try:
            with store.read():
                kinds = ("lambda-key", "lambda-ruleset")
                return [(kind, one["name"]) for kind in kinds for one in store.objects(kind).values()]
        finally:
            store.close()

    def destroy(self) -> Applied:
        return self.apply(replace(EVERYTHING, mode=Mode.DESTROY))

    def befall(self, operation: str, fault: Fault, *, times: int = 1) -> None:
        """Let a fault befall the next calls of an operation."""
        left = times

        def choose(call: Call) -> Fault:
            nonlocal left
            if call.operation != operation or not left:
                return Fault()
            left -= 1
            return fault

        self.faults.choose = choose


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LambdaLab]:
    found = LambdaLab(tmp_path)
    yield found
    assert [text for transport in found.transports for text in violations(transport)] == []


def applied(lab: LambdaLab) -> None:
    assert succeeds(lab.apply())
    assert is_quiet(lab.plan())


def succeeds(done: Applied) -> bool:
    assert done.result is not None
    assert done.result.failed == []
    return done.result.complete


def is_quiet(plan: Plan) -> bool:
    return actions(plan) == {}


FIREWALL = """
resource "firewall" "web" {
  ingress {
    from_port = 443
    ip_ranges = ["192.0.2.0/24"]
  }
  ingress {
    from_port = 8000
    to_port   = 8100
    protocol  = "tcp"
    ip_ranges = %s
  }
}
"""
FIREWALLED = 'firewalls = [firewall.web]\n  tags = { team = "ml" }'


def test_plan_apply_and_a_plan_that_is_empty(lab: LambdaLab) -> None:
    lab.how = replace(lab.how, boot_s=90.0, list_lag_s=5.0)
    lab.write(2, FIREWALLED, FIREWALL % '"private"')
    assert actions(lab.plan()) == {"firewall.web": "create", "instance.m[0]": "create", "instance.m[1]": "create"}
    applied(lab)
    assert len(lab.machines()) == 2
    assert sorted(kind for kind, _ in lab.beside()) == ["lambda-key"] * 2 + ["lambda-ruleset"] * 2


def test_an_edited_rule_is_changed_in_place(lab: LambdaLab) -> None:
    lab.write(1, FIREWALLED, FIREWALL % '["10.0.0.0/8"]')
    applied(lab)
    (before,) = lab.machines()
    lab.write(1, FIREWALLED, FIREWALL % '["10.0.0.0/16"]')
    assert actions(lab.plan()) == {"firewall.web": "update", ADDRESS: "update"}
    applied(lab)
    assert [one.number for one in lab.machines()] == [before.number]
    assert lab.faults.count("patch_ruleset") == 1


def test_a_rule_added_by_hand_is_a_difference_and_is_taken_away(lab: LambdaLab) -> None:
    lab.write(1, FIREWALLED, FIREWALL % '"private"')
    applied(lab)
    store = Store(lab.path)
    with store.write():
        ((id_, ruleset),) = store.objects("lambda-ruleset").items()
        by_hand = {"protocol": "tcp", "port_range": [9, 9], "source_network": "0.0.0.0/0", "description": "mine"}
        store.put_object("lambda-ruleset", id_, {**ruleset, "rules": [*ruleset["rules"], by_hand]})
    assert actions(lab.plan()) == {ADDRESS: "update"}
    applied(lab)
    with store.read():
        assert store.objects("lambda-ruleset")[id_]["rules"] == ruleset["rules"]
    store.close()


def test_a_machine_ended_by_hand_is_made_again_and_what_stood_beside_it_goes(lab: LambdaLab) -> None:
    applied(lab)
    (first,) = lab.machines()
    store = Store(lab.path)
    store.delete_machine(first.body.cloud_id)
    store.close()
    lab.clock.elapsed += 600.0
    assert actions(lab.plan()) == {ADDRESS: "create"}
    applied(lab)
    (second,) = lab.machines()
    assert {name for _, name in lab.beside()} == {second.ref_id} != {first.ref_id}


def test_another_type_makes_another_machine_and_leaves_nothing_of_the_first(lab: LambdaLab) -> None:
    applied(lab)
    first = {name for _, name in lab.beside()}
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    applied(lab)
    assert [one.body.instance_type for one in lab.machines()] == ["gpu_1x_h100_sxm5"]
    assert len(lab.beside()) == 2
    assert first.isdisjoint(name for _, name in lab.beside())


def test_destroy_leaves_no_machine_no_key_and_no_ruleset(lab: LambdaLab) -> None:
    lab.how = replace(lab.how, end_s=40.0)
    lab.write(2, FIREWALLED, FIREWALL % '"private"')
    applied(lab)
    assert succeeds(lab.destroy())
    assert lab.machines() == []
    assert lab.beside() == []


def test_a_machine_that_boots_is_ended_as_soon_as_that_can_be(lab: LambdaLab) -> None:
    applied(lab)
    (machine,) = lab.machines()
    lab.quirks = Quirks(silent_while_booting=True)
    store = Store(lab.path)
    with store.write():
        store.save(structs.replace(machine, ready_at=machine.ready_at + 600.0), machine)
    store.close()
    began = lab.clock.elapsed
    assert succeeds(lab.destroy())
    assert lab.clock.elapsed > began + 400.0
    assert lab.machines() == []


@pytest.mark.parametrize("way", [Way.DROPPED, Way.TRUNCATED, Way.MALFORMED])
@pytest.mark.parametrize("lag", [0.0, 30.0])
def test_a_launch_without_an_answer_is_found_once_and_never_bought_twice(lab: LambdaLab, way: Way, lag: float) -> None:
    lab.how = replace(lab.how, list_lag_s=lag)
    lab.befall("create_instance", Fault(after=Trouble(way)))
    assert succeeds(lab.apply())
    assert lab.faults.count("create_instance") == 1
    assert len(lab.machines()) == 1
    assert is_quiet(lab.plan())


def test_a_launch_that_never_came_is_fenced_and_made_anew(lab: LambdaLab) -> None:
    lab.befall("create_instance", Fault(before=Trouble(Way.DROPPED)))
    applied(lab)
    assert lab.faults.count("create_instance") == 2
    assert lab.faults.count("delete_ssh_key") == 1
    (machine,) = lab.machines()
    assert ("lambda-key", machine.ref_id) in lab.beside()
    first = next(call.target for call in lab.faults.calls if call.operation == "create_instance")
    assert machine.ref_id != first


def test_a_launch_that_is_very_late_finds_its_key_gone(lab: LambdaLab) -> None:
    lab.befall("create_instance", Fault(late_s=200.0, after=Trouble(Way.DROPPED)))
    applied(lab)
    assert lab.clock.elapsed >= 60.0, "a whole window was waited for before the fence"
    assert len(lab.machines()) == 1
    lab.clock.elapsed += 400.0
    assert len(lab.machines()) == 1
    assert is_quiet(lab.plan())


def test_a_late_launch_that_lands_in_the_window_is_taken(lab: LambdaLab) -> None:
    lab.befall("create_instance", Fault(late_s=40.0, after=Trouble(Way.DROPPED)))
    applied(lab)
    assert lab.faults.count("create_instance") == 1
    assert len(lab.machines()) == 1


@pytest.mark.parametrize("operation", ["list_ssh_keys", "add_ssh_key", "add_ruleset"])
def test_what_breaks_before_a_launch_is_tried_again_and_leaves_nothing(lab: LambdaLab, operation: str) -> None:
    lab.befall(operation, Fault(after=Trouble(Way.DROPPED)))
    applied(lab)
    assert len(lab.machines()) == 1
    assert {name for _, name in lab.beside()} == {lab.machines()[0].ref_id}
    assert len(lab.beside()) == 2


@pytest.mark.parametrize("refusal", [OutOfStock("none left"), OutOfQuota("no more")], ids=["stock", "quota"])
def test_a_refused_launch_leaves_neither_key_nor_ruleset(lab: LambdaLab, refusal: CloudError) -> None:
    lab.befall("create_instance", Fault(before=refusal))
    result = lab.apply().result
    assert result is not None
    assert not result.complete
    assert lab.faults.count("create_instance") == 1
    assert (lab.machines(), lab.beside()) == ([], [])


def test_a_lost_state_is_found_again_by_the_marks(lab: LambdaLab) -> None:
    lab.write(2, FIREWALLED, FIREWALL % '"private"')
    applied(lab)
    for file in lab.folder.glob("brevplan.db*"):
        file.unlink()
    found = actions(lab.plan())
    assert {found[address] for address in ("instance.m[0]", "instance.m[1]")} == {"import"}
    applied(lab)
    assert len(lab.machines()) == 2


def test_a_wrong_key_never_buys_a_fleet_again(lab: LambdaLab) -> None:
    applied(lab)
    lab.text = lab.text.replace(API_KEY, "secret_lambda_wrong")
    result = lab.apply().result
    assert result is None
    assert lab.faults.count("create_instance") == 1
    assert len(lab.machines()) == 1
    plan = lab.plan()
    assert not plan.complete
    blocked = [change.blocked for change in plan.changes if change.blocked]
    assert len(blocked) == 1
    assert "secret_lambda_wrong" not in blocked[0]


def test_a_key_that_was_rotated_is_believed_once_it_shows_a_machine_of_ours(lab: LambdaLab) -> None:
    applied(lab)
    lab.key = "secret_lambda_new"
    lab.text = lab.text.replace(API_KEY, lab.key)
    applied(lab)
    assert lab.faults.count("create_instance") == 1


def test_nothing_secret_is_written_down(lab: LambdaLab) -> None:
    lab.write(1, 'user_data = "#!/bin/sh hunter2"')
    applied(lab)
    everything = b"".join(path.read_bytes() for path in lab.folder.glob("brevplan.db*"))
    assert everything
    assert b"hunter2" not in everything
    assert API_KEY.encode() not in everything


def test_without_a_project_nothing_is_made_at_a_cloud_that_costs(tmp_path: Path) -> None:
    lab = LambdaLab(tmp_path)
    lab.text = lab.text.replace('project = "lab"', "")
    with pytest.raises(DiagnosticsError) as caught:
        lab.apply()
    assert [item.summary for item in caught.value.diagnostics] == ["No project"]
    assert lab.machines() == []
    assert lab.beside() == []


@pytest.mark.parametrize(
    "body",
    [
        'tags = { Team = "ml" }',
        'sub_location = "a"',
        'options = { hostname = "not one" }',
        'options = { image_family = "a" }\n  image_id = "b"',
    ],
    ids=["tags", "sub_location", "options", "image_id"],
)
def test_what_lambda_cannot_do_is_told_before_anything_is_destroyed(tmp_path: Path, body: str) -> None:
    lab = LambdaLab(tmp_path)
    applied(lab)
    lab.write(1, body)
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    with pytest.raises(DiagnosticsError, match="Not possible here"):
        lab.apply()
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_a10"]
