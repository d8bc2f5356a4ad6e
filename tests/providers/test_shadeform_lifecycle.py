"""The whole engine through the face of Shadeform: real requests within the process, under the virtual clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Rejected
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.providers.shadeform import ShadeformClient
from brevplan.simcloud.faces.shadeform import KEYS, ShadeformFace
from brevplan.simcloud.faults import Fault, Trouble, Way
from tests.protocol.test_create import on
from tests.providers.face_lab import BROKEN_LAUNCHES, LOST, FaceLab, applied, is_adopted_whole
from tests.providers.shadeform_bench import ENDPOINT, KEY, SPEC_FILE, transport_to
from tests.world import actions, configuration


def text(count: int = 1, body: str = "", rest: str = "", key: str = KEY) -> str:
    local = configuration(count, body=body, rest=rest)
    return local.replace('provider "local" {', f'provider "shadeform" {{\n  api_key = "{key}"')


class ShadeLab(FaceLab):
    """A lab whose cloud is reached over the API of Shadeform."""

    usual: ClassVar[Mapping[str, Any]] = {"boot_s": 90.0}
    endpoint = ENDPOINT

    def __init__(
        self, folder: Path, given: str, *, limit: int | None = None, how: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(folder, given, how)
        self.wire = transport_to(ShadeformFace(self.sim, KEY, limit=limit), self.clock)

    def client(self, connection: Connection) -> ShadeformClient:
        return ShadeformClient(connection)

    def rows(self) -> list[str]:
        """Give the names of the living machines."""
        return [machine.body.name for machine in self.machines()]

    def written(self, number: int = 0) -> set[str]:
        """Give the tags of a machine as they stand at the cloud."""
        return set(self.machines()[number].body.tags.values())

    def keys(self) -> list[str]:
        if not self.sim.store.exists():
            return []
        with self.sim.store.read():
            return sorted(key["name"] for key in self.sim.store.objects(KEYS).values())

    def is_converged(self, machines: int) -> bool:
        """Check that cloud, state and configuration agree, and that each machine has its key and no other is left."""
        assert super().is_converged(machines)
        assert len(self.keys()) == machines
        return True


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ShadeLab]:
    made = ShadeLab(tmp_path, text(2))
    yield made
    assert made.wire.violations == []


def test_apply_and_then_there_is_nothing_to_do(lab: ShadeLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }')
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
    applied(lab)
    assert lab.clock.elapsed >= 90
    assert lab.is_converged(2)
    names = lab.rows()
    assert all(name.startswith("bp-lab-") for name in names)
    assert {name.partition("_")[2] for name in names} == {"m-0", "m-1"}
    assert lab.keys() == sorted(name.partition("_")[0] for name in names)
    assert {"team=ml", "cloudCredRefID=bp-lab"} <= lab.written()
    assert len({tag for tag in lab.written() if tag.startswith("brevplanAddress=instance.m[")}) == 1


def test_one_list_a_refresh_however_many_machines(lab: ShadeLab) -> None:
    lab.text = text(5)
    applied(lab)
    lab.wire.calls.clear()
    lab.plan()
    assert lab.wire.calls == ["GET /v1/instances"]


def test_a_lost_state_is_adopted_whole(lab: ShadeLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  image_id = "ubuntu-24.04-x86-64"')
    assert is_adopted_whole(lab)
    assert lab.is_converged(2)


def test_tags_and_names_change_in_place_and_the_marks_stay(lab: ShadeLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    (before,) = lab.recorded().values()
    lab.text = text(1, body='tags = { team = "ops", more = "1" }\n  name = "renamed"')
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    applied(lab)
    assert list(lab.recorded().values()) == [before]
    assert lab.rows()[0].endswith("_renamed")
    assert {"team=ops", "more=1", "cloudCredRefID=bp-lab"} <= lab.written()
    assert "team=ml" not in lab.written()
    assert lab.is_converged(1)


def test_another_type_is_another_machine_with_another_key(lab: ShadeLab) -> None:
    lab.text = text(1)
    applied(lab)
    first = lab.keys()
    lab.text = lab.text.replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    applied(lab)
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]
    assert lab.keys() != first
    assert lab.is_converged(1)


@BROKEN_LAUNCHES
def test_a_lost_answer_neither_loses_nor_doubles(lab: ShadeLab, fault: Fault) -> None:
    lab.faults.choose = on("create_instance", fault)
    applied(lab)
    assert lab.is_converged(2)


def test_an_answer_that_cannot_be_read_neither_loses_nor_doubles(tmp_path: Path) -> None:
    lab = ShadeLab(tmp_path, text(1))
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.MALFORMED)))
    applied(lab)
    assert lab.is_converged(1)
    assert len(lab.wire.violations) == SPEC_FILE.exists(), "the answer that was broken on purpose, and no other"


def test_a_lost_answer_of_a_list_that_lags_is_one_machine(tmp_path: Path) -> None:
    lab = ShadeLab(tmp_path, text(1), how={"boot_s": 30.0, "list_lag_s": 40.0})
    lab.faults.choose = on("create_instance", LOST)
    applied(lab)
    assert lab.faults.count("create_instance") == 1
    assert lab.is_converged(1)
    assert lab.wire.violations == []


def test_without_a_fence_a_launch_that_lands_late_is_shown_and_ended(lab: ShadeLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(before=None, after=Trouble(Way.DROPPED), late_s=500.0))
    applied(lab)
    assert len(lab.recorded()) == 1
    lab.clock.elapsed += 1000
    (surplus,) = [address for address in actions(lab.plan()) if address.startswith("instance.m[0] bp-lab-")]
    assert actions(lab.plan())[surplus] == "delete"
    applied(lab)
    assert len(lab.machines()) == 1
    assert lab.is_converged(1)


def test_a_launch_called_off_by_the_cloud_never_lands(lab: ShadeLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=500.0))
    applied(lab)
    (late,) = [machine for machine in lab.machines() if machine.body.cloud_id not in _sim_ids(lab)]
    lab.sim.call_off(late.ref_id)
    lab.clock.elapsed += 1000
    assert len(lab.machines()) == 1
    assert actions(lab.plan()) == {}


def _sim_ids(lab: ShadeLab) -> set[str]:
    return {f"i-{int(cloud_id[-12:]):08d}" for cloud_id in lab.recorded().values()}


def test_a_key_that_could_not_be_registered_is_tried_again_without_a_grace_window(lab: ShadeLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("add_ssh_key", Fault(after=Trouble(Way.STATUS, 503)))
    applied(lab)
    assert lab.faults.count("create_instance") == 1
    assert lab.faults.count("add_ssh_key") == 2
    assert lab.is_converged(1)


def test_no_stock_closes_the_attempt_and_leaves_no_key(lab: ShadeLab) -> None:
    lab.text = text(1).replace("gpu_1x_a10", "gpu_8x_b200_sxm6")
    done = lab.apply(Options(allow_no_stock=True))
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert (lab.machines(), lab.keys()) == ([], [])
    store = lab.state()
    assert store.intents() == []
    store.close()


def test_the_limit_of_the_account_is_told(tmp_path: Path) -> None:
    lab = ShadeLab(tmp_path, text(2), limit=1)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert len(lab.machines()) == len(lab.keys()) == 1


def test_accepted_and_then_failed_is_ended_and_told(lab: ShadeLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "no capacity" in str(done.result.failed) + " ".join(map(str, lab.events))
    assert (lab.machines(), lab.keys()) == ([], [])
    applied(lab)
    assert lab.is_converged(1)


def test_destroy_leaves_no_machine_and_no_key(tmp_path: Path) -> None:
    lab = ShadeLab(tmp_path, text(3), how={"boot_s": 10.0, "end_s": 120.0})
    applied(lab)
    applied(lab, options=Options(Mode.DESTROY))
    assert (lab.machines(), lab.keys(), lab.recorded()) == ([], [], {})
    assert lab.clock.elapsed >= 130, "a key is in use until its machine is gone"
    assert lab.wire.violations == []


def test_a_forgotten_machine_bears_no_mark(lab: ShadeLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    assert lab.written() == {"team=ml"}
    assert lab.rows() == ["m-0"]
    assert (actions(lab.plan()), lab.plan().orphans) == ({}, [])


def test_a_renamed_address_is_written_beside_the_mark(lab: ShadeLab) -> None:
    lab.text = text(1)
    applied(lab)
    moved = "moved {\n  from = instance.m\n  to   = instance.n\n}\n"
    lab.text = text(1, rest=moved).replace('resource "instance" "m"', 'resource "instance" "n"')
    applied(lab)
    assert "brevplanAddress=instance.n[0]" in lab.written()
    assert not [tag for tag in lab.written() if "instance.m" in tag]
    assert lab.is_converged(1)


def test_a_changed_firewall_is_an_error_where_it_cannot_be_changed(lab: ShadeLab) -> None:
    firewall = 'resource "firewall" "web" {\n  ingress {\n    from_port = PORT\n  }\n}\n'
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall.replace("PORT", "80"))
    applied(lab)
    assert lab.is_converged(1)
    lab.text = lab.text.replace("from_port = 80", "from_port = 81")
    plan = lab.plan()
    assert [change.blocked for change in plan.changes if "instance" in str(change.address) and change.blocked]


def test_a_wrong_key_blocks_instead_of_buying_again(lab: ShadeLab) -> None:
    applied(lab)
    lab.text = text(2, key="another-key")
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert lab.faults.count("create_instance") == 2


def test_an_error_shows_its_reason_and_no_key(lab: ShadeLab) -> None:
    broken = Fault(before=Rejected(f"your key {KEY} is odd", http_status=400))
    lab.faults.choose = on("create_instance", broken, broken)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 2
    shown = str(done.result.failed) + " ".join(map(str, lab.events)) + " ".join(lab.said)
    assert "your key (secret) is odd" in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    "body",
    ['tags = { "a=b" = "ml" }', 'sub_location = "a"', 'filesystems = ["one", "two"]'],
    ids=["tags", "sub_location", "filesystems"],
)
def test_what_shadeform_cannot_do_is_told_before_anything_is_destroyed(lab: ShadeLab, body: str) -> None:
    lab.text = text(1)
    applied(lab)
    lab.text = text(1, body=body).replace("gpu_1x_a10", "gpu_1x_h100_sxm5")
    with pytest.raises(DiagnosticsError, match="Not possible here"):
        lab.apply()
    assert [machine.body.instance_type.endswith("gpu_1x_a10") for machine in lab.machines()] == [True]
