"""The whole engine through the face of FluidStack: real requests within the process, under the virtual clock."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from email import message_from_string
from pathlib import Path
from typing import Any, ClassVar

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Rejected
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.change import Mode
from brevplan.operations.planning import Request
from brevplan.providers.fluidstack import FluidStackClient
from brevplan.simcloud.faces.fluidstack import PROJECT, Quirks, face
from brevplan.simcloud.faults import Fault, Trouble, Way
from tests.protocol.test_create import on
from tests.providers.face_lab import BROKEN_LAUNCHES, LOST, FaceLab, applied, is_adopted_whole
from tests.providers.fluidstack_bench import ENDPOINT, KEY, OTHER_PROJECT, SPEC_FILE, transport_to
from tests.world import actions, configuration

REGION = "us-west-1"


def text(
    count: int = 1, body: str = "", rest: str = "", *, key: str = KEY, project: str = PROJECT, block: str = ""
) -> str:
    local = configuration(count, body=body, rest=rest)
    given = f'  api_key = "{key}"\n  project = "{project}"\n  region  = "{REGION}"\n  {block}'
    return local.replace('provider "local" {', f'provider "fluidstack" {{\n{given}')


class FluidLab(FaceLab):
    """A lab whose cloud is reached over the API of FluidStack."""

    usual: ClassVar[Mapping[str, Any]] = {"boot_s": 90.0, "stop_s": 20.0}
    endpoint = ENDPOINT

    def __init__(
        self, folder: Path, given: str, *, limit: int | None = None, how: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(folder, given, how)
        self.face = face(self.sim, KEY, projects=(PROJECT, OTHER_PROJECT), region=REGION, quirks=Quirks(limit=limit))
        self.wire = transport_to(self.face, self.clock)

    def client(self, connection: Connection) -> FluidStackClient:
        return FluidStackClient(connection)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FluidLab]:
    made = FluidLab(tmp_path, text(2))
    yield made
    assert made.wire.violations == []


def test_apply_and_then_there_is_nothing_to_do(lab: FluidLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  image_id = "ubuntu24.04"')
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
    applied(lab)
    assert lab.clock.elapsed >= 90
    assert lab.is_converged(2)
    assert {machine.body.name for machine in lab.machines()} == {"m-0", "m-1"}
    for machine in lab.machines():
        tags = machine.body.tags
        assert tags["team"] == "ml"
        assert tags["brev-cloud-cred-ref-id"] == "bp-lab"
        assert tags["brev-ref-id"].startswith("bp-lab-")
        assert machine.body.public_key.endswith(" test"), "the key has come with the user data"


def test_one_list_a_refresh_however_many_machines(lab: FluidLab) -> None:
    lab.text = text(5)
    applied(lab)
    lab.wire.calls.clear()
    lab.plan()
    assert lab.wire.calls == ["GET /instances"]


def test_a_lost_state_is_adopted_whole(lab: FluidLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  image_id = "ubuntu24.04"\n  spot = true')
    assert is_adopted_whole(lab)
    assert lab.is_converged(2)


def test_stopped_and_started_it_is_the_same_machine(lab: FluidLab) -> None:
    lab.text = text(1)
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body='power_state = "stopped"')
    applied(lab)
    assert lab.machines()[0].body.status.value == "stopped"
    assert lab.is_converged(1)
    lab.text = text(1, body='power_state = "running"')
    applied(lab)
    assert lab.machines()[0].body.status.value == "running"
    assert lab.recorded() == before
    assert lab.is_converged(1)


@pytest.mark.parametrize("operation", ["stop_instance", "start_instance"])
def test_a_lost_answer_of_a_change_of_power_is_a_success_at_the_second_try(lab: FluidLab, operation: str) -> None:
    lab.text = text(1)
    applied(lab)
    lab.faults.choose = on(operation, LOST)
    for state in ("stopped", "running"):
        lab.text = text(1, body=f'power_state = "{state}"')
        applied(lab)
        assert lab.machines()[0].body.status.value == state
    assert lab.faults.count(operation) == 2
    assert lab.is_converged(1)


def test_another_type_is_another_machine(lab: FluidLab) -> None:
    lab.text = text(1)
    applied(lab)
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    applied(lab)
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]
    assert lab.is_converged(1)


def test_changed_tags_wait_for_the_next_machine(lab: FluidLab) -> None:
    """Tags are given at the launch: what becomes of a change is `on_change`'s to say."""
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    (before,) = lab.machines()
    lab.text = text(1, body='tags = { team = "ops" }')
    assert "instance.m[0]" not in actions(lab.plan())
    lab.text = text(1, body='tags = { team = "ops" }\n  on_change {\n    tags = "replace"\n  }')
    applied(lab)
    (after,) = lab.machines()
    assert after.body.tags["team"] == "ops"
    assert after.body.cloud_id != before.body.cloud_id
    assert lab.is_converged(1)


@BROKEN_LAUNCHES
def test_a_lost_answer_neither_loses_nor_doubles(lab: FluidLab, fault: Fault) -> None:
    lab.faults.choose = on("create_instance", fault)
    applied(lab)
    assert lab.is_converged(2)


def test_an_answer_that_cannot_be_read_neither_loses_nor_doubles(tmp_path: Path) -> None:
    lab = FluidLab(tmp_path, text(1))
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.MALFORMED)))
    applied(lab)
    assert lab.is_converged(1)
    assert len(lab.wire.violations) == SPEC_FILE.exists(), "the answer that was broken on purpose, and no other"


def test_a_lost_answer_of_a_list_that_lags_is_one_machine(tmp_path: Path) -> None:
    lab = FluidLab(tmp_path, text(1), how={"boot_s": 30.0, "list_lag_s": 40.0})
    lab.faults.choose = on("create_instance", LOST)
    applied(lab)
    assert lab.faults.count("create_instance") == 1
    assert lab.is_converged(1)
    assert lab.wire.violations == []


def test_without_a_fence_a_launch_that_lands_late_is_shown_and_ended(lab: FluidLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=500.0))
    applied(lab)
    assert len(lab.recorded()) == 1
    lab.clock.elapsed += 1000
    (surplus,) = [address for address in actions(lab.plan()) if address.startswith("instance.m[0] bp-lab-")]
    assert actions(lab.plan())[surplus] == "delete"
    applied(lab)
    assert len(lab.machines()) == 1
    assert lab.is_converged(1)


def test_a_launch_called_off_by_the_cloud_never_lands(lab: FluidLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=500.0))
    applied(lab)
    here = {f"i-{int(cloud_id[-12:]):08d}" for cloud_id in lab.recorded().values()}
    (late,) = [machine for machine in lab.machines() if machine.body.cloud_id not in here]
    lab.sim.call_off(late.ref_id)
    lab.clock.elapsed += 1000
    assert lab.is_converged(1)


def test_no_stock_closes_the_attempt(lab: FluidLab) -> None:
    lab.text = text(1).replace("gpu_1x_a10", "gpu_8x_b200_sxm6")
    done = lab.apply(Options(allow_no_stock=True))
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert lab.machines() == []
    assert lab.faults.count("create_instance") == 1
    store = lab.state()
    assert store.intents() == []
    store.close()


def test_the_limit_of_the_project_is_told(tmp_path: Path) -> None:
    lab = FluidLab(tmp_path, text(2), limit=1)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "quota" in str(done.result.failed) + " ".join(map(str, lab.events))
    assert len(lab.machines()) == 1


def test_rec_accepted_and_then_out_of_stock_is_ended_and_told(lab: FluidLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "out of stock" in str(done.result.failed) + " ".join(map(str, lab.events))
    assert lab.machines() == []
    applied(lab)
    assert lab.is_converged(1)


def test_an_answer_that_says_out_of_stock_at_once_is_ended_and_told(lab: FluidLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(fails_after_s=0.0))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert lab.machines() == []
    assert lab.recorded() == {}


def test_destroy_leaves_no_machine(tmp_path: Path) -> None:
    lab = FluidLab(tmp_path, text(3), how={"boot_s": 10.0, "end_s": 120.0})
    applied(lab)
    applied(lab, options=Options(Mode.DESTROY))
    assert (lab.machines(), lab.recorded()) == ([], {})
    assert lab.clock.elapsed >= 130
    assert lab.wire.violations == []


def test_a_forgotten_machine_keeps_its_mark_and_is_not_taken_back(lab: FluidLab) -> None:
    lab.text = text(1)
    applied(lab)
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    assert lab.machines()[0].body.tags["brev-ref-id"].startswith("bp-lab-")
    assert (actions(lab.plan()), lab.plan().orphans) == ({}, [])


def test_a_changed_firewall_is_an_error_where_it_cannot_be_changed(lab: FluidLab) -> None:
    firewall = 'resource "firewall" "web" {\n  ingress {\n    from_port = PORT\n  }\n}\n'
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall.replace("PORT", "80"))
    applied(lab)
    assert lab.is_converged(1)
    lab.text = lab.text.replace("from_port = 80", "from_port = 81")
    plan = lab.plan()
    assert [change.blocked for change in plan.changes if "instance" in str(change.address) and change.blocked]


def test_a_wrong_key_blocks_instead_of_buying_again(lab: FluidLab) -> None:
    applied(lab)
    lab.text = text(2, key="another-key")
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert lab.faults.count("create_instance") == 2


def test_another_project_blocks_instead_of_buying_again(lab: FluidLab) -> None:
    """Its list is empty, and says nothing about the machines of the first."""
    applied(lab)
    lab.text = text(2, project=OTHER_PROJECT)
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert len(plan.changes) >= 2


def test_an_unknown_project_blocks_instead_of_buying_again(lab: FluidLab) -> None:
    applied(lab)
    lab.text = text(2, project="00000000-0000-4000-b000-00000000dead")
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))


def test_prices_of_the_block_are_those_of_the_plan(lab: FluidLab) -> None:
    lab.text = text(2, block="prices = { gpu_1x_a10 = 1.25 }")
    plan = lab.plan()
    assert [str(change.price_after) for change in plan.changes if change.address.kind == "instance"] == ["1.25"] * 2
    applied(lab)
    assert lab.is_converged(2)


def test_ssh_goes_to_the_private_address_where_the_block_says_so(lab: FluidLab) -> None:
    lab.text = text(1, body="ssh {}", block="private_access = true")
    applied(lab)
    assert {door.host for door in lab.hand.doors} == {"10.0.0.1"}
    assert lab.is_converged(1)


def test_an_error_shows_its_reason_and_no_key(lab: FluidLab) -> None:
    broken = Fault(before=Rejected(f"your key {KEY} is odd", http_status=400))
    lab.faults.choose = on("create_instance", broken, broken)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 2
    shown = str(done.result.failed) + " ".join(map(str, lab.events)) + " ".join(lab.said)
    assert "your key (secret) is odd" in shown
    assert KEY not in shown


def test_a_machine_that_boots_cannot_be_stopped_yet_and_is_later(tmp_path: Path) -> None:
    lab = FluidLab(tmp_path, text(1), how={"boot_s": 60.0, "stop_s": 5.0})
    applied(lab)
    lab.sim.stop(lab.machines()[0].body.cloud_id)
    lab.clock.elapsed += 10
    lab.sim.start(lab.machines()[0].body.cloud_id)
    lab.text = text(1, body='power_state = "stopped"')
    applied(lab)
    assert lab.machines()[0].body.status.value == "stopped"
    assert lab.faults.count("stop_instance") > 1, "refused while it was booting, and tried again"
    assert lab.wire.violations == []


# What FluidStack cannot do is known before anything is destroyed


def mistakes(lab: FluidLab) -> str:
    with pytest.raises(DiagnosticsError) as caught:
        lab.plan()
    with pytest.raises(DiagnosticsError):
        lab.apply()
    return " ".join(f"{item.summary}: {item.detail}" for item in caught.value.diagnostics)


@pytest.mark.parametrize(
    ("body", "words"),
    [('image_id = "image://ubuntu22.04"', "without image://"), ('options = { ephemeral = "maybe" }', "ephemeral"),
     ('filesystems = ["fs-1"]', "file system"), ('sub_location = "a"', "no zones"), ('disk_size = "100GB"', "disk"),
     ('tags = { "a b" = "x" }', "the key"), ('tags = { brev-ref-id = "x" }', "marks machines"),
     # the reason is shown, and the value is not
     ('user_data = "#cloud-config-archive hunter2"', "start-up script"), ('user_data = "hunter2"', "start-up script")],
    ids=lambda value: value.partition(" ")[0],
)  # fmt: skip
def test_a_successor_that_the_provider_refuses_is_an_error_of_the_plan_and_nothing_is_destroyed(
    lab: FluidLab, body: str, words: str
) -> None:
    lab.text = text(1)
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body=body).replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    shown = mistakes(lab)
    assert words in shown
    assert "hunter2" not in shown
    assert lab.recorded() == before
    assert lab.faults.count("terminate_instance") == 0
    assert lab.faults.count("create_instance") == 1


def test_a_key_that_lets_nobody_in_is_an_error_of_the_plan(lab: FluidLab) -> None:
    lab.text = re.sub(r'public_key( +)= "[^"]*"', r'public_key\1= "AAAA"', text(1))
    assert "SSH public key" in mistakes(lab)
    assert lab.wire.calls.count("POST /instances") == 0


# User data


@pytest.mark.parametrize("own", ["#cloud-config\npackages: [htop]\n", "#!/bin/sh\necho hello\n"])
def test_what_a_user_wants_at_the_first_start_arrives_joined_with_ours(lab: FluidLab, own: str) -> None:
    escaped = own.replace("\n", "\\n")
    lab.text = text(1, body=f'user_data = "{escaped}"')
    applied(lab)
    (machine,) = lab.machines()
    message = message_from_string(b64decode(machine.body.options["user_data"]).decode())
    parts = {part.get_filename(): part.get_payload(decode=True).decode() for part in message.get_payload()}
    assert "ssh_authorized_keys" in parts["brevplan-2-key.cfg"]
    if own.startswith("#cloud-config"):
        assert parts["brevplan-1-user.cfg"] == own
    else:
        assert b64encode(own.encode()).decode() in parts["brevplan-3-start.sh"]
    assert machine.body.public_key.endswith(" test")
    assert lab.is_converged(1)


# Prices


class KeepingLab(FluidLab):
    """A lab of a user with a home: catalogues are kept there."""

    def request(self, options: Options = EVERYTHING, **fields: Any) -> Request:
        return Request(options, environment={"XDG_CACHE_HOME": str(self.folder / "cache")}, **fields)

    def price(self, block: str) -> str:
        self.text = text(1, block=block)
        (change,) = self.plan().changes
        return str(change.price_after)


def test_prices_that_are_taken_out_of_the_block_are_gone_at_once(tmp_path: Path) -> None:
    """Catalogues are kept for five minutes, by the account: none of a block with prices may be among them."""
    lab = KeepingLab(tmp_path, "")
    assert lab.price("prices = { gpu_1x_a10 = 1.25 }") == "1.25"
    assert lab.price("") == "None"
    assert lab.price("prices = { gpu_1x_a10 = 2.5 }") == "2.5"
    assert lab.price("prices = { gpu_1x_a10 = 3 }") == "3"
    assert lab.price("") == "None"
    assert lab.wire.calls.count("GET /capacity") == 4, "and one without prices is kept and used"
