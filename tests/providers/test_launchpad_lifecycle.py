"""The whole engine through the face of LaunchPad: real requests within the process, under the virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Rejected
from brevplan.contract.model import Instance
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.operations.offers import offers
from brevplan.providers.launchpad import LaunchpadClient
from brevplan.simcloud.faces.face import Reply, Request
from brevplan.simcloud.faces.launchpad import LaunchpadFace
from brevplan.simcloud.faults import NO_FAULT, Fault, Trouble, Way
from tests.protocol.test_create import on
from tests.providers.face_lab import BROKEN_LAUNCHES, LOST, FaceLab, applied, is_adopted_whole
from tests.providers.launchpad_bench import A10, ENDPOINT, HOME, REQUESTS, SOLD_OUT, TOKEN, tags_of, transport_to
from tests.world import KEY, actions, configuration

PROVIDER = """provider "launchpad" {{
  api_token       = "{token}"
  org_name        = "acme"
  requester_email = "ops@example.com"
  {allowlist}
"""


def text(count: int = 1, body: str = "", rest: str = "", token: str = TOKEN, home: str | None = HOME) -> str:
    local = configuration(count, body=body, rest=rest)
    allowlist = f'ip_allowlist = ["{home}"]' if home else ""
    block = PROVIDER.format(token=token, allowlist=allowlist)
    return local.replace('provider "local" {', block).replace("gpu_1x_a10", A10)


def firewall(*ranges: str, ports: str = "from_port = 1\n    to_port = 65535", more: str = "") -> str:
    texts = json.dumps(ranges)
    return f'resource "firewall" "web" {{\n  {more}\n  ingress {{\n    {ports}\n    ip_ranges = {texts}\n  }}\n}}\n'


class LaunchLab(FaceLab):
    """A lab whose cloud is reached over the API of LaunchPad."""

    usual: ClassVar[Mapping[str, Any]] = {"boot_s": 600.0}
    endpoint = ENDPOINT

    def __init__(self, folder: Path, given: str, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        super().__init__(folder, given, how)
        self.wire = transport_to(LaunchpadFace(self.sim, TOKEN, **switches), self.clock)

    def client(self, connection: Connection) -> LaunchpadClient:
        return LaunchpadClient(connection)

    def written(self, number: int = 0) -> Any:
        """Give the tags of a machine as they stand at the cloud."""
        return tags_of(self.machines()[number])

    def let_in(self) -> list[str]:
        (machine,) = self.machines()
        return list(json.loads(machine.body.options["ip_allowlist"]))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LaunchLab]:
    made = LaunchLab(tmp_path, text(2))
    yield made
    assert made.wire.violations == []


def mistakes(lab: LaunchLab) -> str:
    with pytest.raises(DiagnosticsError) as caught:
        lab.plan()
    return str(caught.value.diagnostics)


def test_apply_and_then_there_is_nothing_to_do(lab: LaunchLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }')
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
    applied(lab)
    assert lab.clock.elapsed >= 600
    assert lab.is_converged(2)
    tags = [lab.written(number) for number in (0, 1)]
    assert sorted(item["Name"] for item in tags) == ["m-0", "m-1"]
    assert {item["BrevplanAddress"] for item in tags} == {"instance.m[0]", "instance.m[1]"}
    assert {item["CloudCredRefID"] for item in tags} == {"bp-lab"}
    assert all(item["RefID"].startswith("bp-lab-") and item["team"] == "ml" for item in tags)


def test_the_bastions_address_and_port_are_those_of_the_machine(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(1, rest='output "port" {\n  value = instance.m[0].ssh_port\n}\n'))
    applied(lab)
    store = lab.state()
    try:
        (record,) = [found for found in store.records() if found.cloud_id]
    finally:
        store.close()
    assert record.attributes["ssh_port"] == 20001
    assert (record.attributes["ssh_user"], record.attributes["public_ip"]) == ("nvidia", "198.18.0.1")


def test_one_list_a_refresh_however_many_machines(lab: LaunchLab) -> None:
    lab.text = text(5)
    applied(lab)
    lab.wire.calls.clear()
    lab.plan()
    assert lab.wire.calls == ["GET /v1/catalog/deployments/"]


def test_pages_are_one_list(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(5), longest_page=2)
    applied(lab)
    assert lab.is_converged(5)
    assert lab.wire.violations == []


def test_a_page_that_fails_is_no_shorter_list(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(5), longest_page=2)
    applied(lab)
    seen = iter(range(10_000))
    broken = Fault(before=Trouble(Way.STATUS, 503))
    lab.faults.choose = lambda call: broken if call.operation == "list_instances" and next(seen) % 3 == 2 else NO_FAULT
    plan = lab.plan()
    assert not [address for address, action in actions(plan).items() if action != "no-op" and "create" in action]


def test_a_lost_state_is_adopted_whole(lab: LaunchLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }')
    assert is_adopted_whole(lab)
    assert lab.is_converged(2)


def test_tags_and_names_change_in_place_and_the_marks_stay(lab: LaunchLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    before, marks = lab.recorded(), lab.written()
    lab.text = text(1, body='tags = { team = "ops", more = "1" }\n  name = "renamed"')
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    applied(lab)
    assert lab.recorded() == before
    assert lab.written() == {**marks, "team": "ops", "more": "1", "Name": "renamed"}
    assert lab.is_converged(1)


def test_another_type_is_another_machine(lab: LaunchLab) -> None:
    lab.text = text(1)
    applied(lab)
    lab.text = lab.text.replace(A10, "oci.h100x1.sxm")
    applied(lab)
    assert [machine.body.instance_type for machine in lab.machines()] == ["gpu_1x_h100_sxm5"]
    assert lab.is_converged(1)


@BROKEN_LAUNCHES
def test_a_lost_answer_neither_loses_nor_doubles(lab: LaunchLab, fault: Fault) -> None:
    lab.faults.choose = on("create_instance", fault)
    applied(lab)
    assert lab.is_converged(2)


def test_an_answer_that_cannot_be_read_neither_loses_nor_doubles(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(1))
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.MALFORMED)))
    applied(lab)
    assert lab.is_converged(1)
    assert len(lab.wire.violations) == REQUESTS.exists(), "the answer that was broken on purpose, and no other"


def test_a_lost_answer_of_a_list_that_lags_is_one_machine(tmp_path: Path) -> None:
    """The second launch is refused, and the list does not show the first yet."""
    lab = LaunchLab(tmp_path, text(1), how={"boot_s": 30.0, "list_lag_s": 40.0})
    lab.faults.choose = on("create_instance", LOST)
    applied(lab)
    assert lab.is_converged(1)
    assert lab.wire.violations == []


def test_a_launch_that_lands_late_is_shown_and_ended(lab: LaunchLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=5000.0))
    applied(lab)
    assert len(lab.recorded()) == 1
    lab.clock.elapsed += 10_000
    (surplus,) = [address for address in actions(lab.plan()) if address.startswith("instance.m[0] bp-lab-")]
    assert actions(lab.plan())[surplus] == "delete"
    applied(lab)
    assert lab.is_converged(1)


def test_a_launch_called_off_by_the_cloud_never_lands(lab: LaunchLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=5000.0))
    applied(lab)
    (late,) = [machine for machine in lab.machines() if machine.born_at > lab.clock.now().timestamp()]
    lab.sim.call_off(late.ref_id)
    lab.clock.elapsed += 10_000
    assert lab.is_converged(1)


def test_no_stock_closes_the_attempt(lab: LaunchLab) -> None:
    lab.text = text(1).replace(A10, SOLD_OUT)
    done = lab.apply(Options(allow_no_stock=True))
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert lab.machines() == []
    store = lab.state()
    assert store.intents() == []
    store.close()


def test_the_limit_of_the_account_is_told(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(2), limit=1)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert len(lab.machines()) == 1


def test_an_error_of_the_platform_is_ended_and_told(lab: LaunchLab) -> None:
    lab.text = text(1)
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "does not recover" in str(done.result.failed) + " ".join(map(str, lab.events))
    assert lab.machines() == []
    applied(lab)
    assert lab.is_converged(1)


def test_destroy_leaves_no_machine(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, text(3), how={"boot_s": 10.0, "end_s": 120.0})
    applied(lab)
    applied(lab, options=Options(Mode.DESTROY))
    assert (lab.machines(), lab.recorded()) == ([], {})
    assert lab.clock.elapsed >= 130
    assert lab.wire.violations == []


def test_a_forgotten_machine_bears_no_mark(lab: LaunchLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    assert lab.written() == {"team": "ml", "Name": "m-0", "InstanceType": A10}
    assert (actions(lab.plan()), lab.plan().orphans) == ({}, [])


def test_a_renamed_address_is_written_beside_the_mark(lab: LaunchLab) -> None:
    lab.text = text(1)
    applied(lab)
    moved = "moved {\n  from = instance.m\n  to   = instance.n\n}\n"
    lab.text = text(1, rest=moved).replace('resource "instance" "m"', 'resource "instance" "n"')
    applied(lab)
    assert lab.written()["BrevplanAddress"] == "instance.n[0]"
    assert lab.is_converged(1)


# Who is let in


def test_without_a_firewall_only_the_addresses_of_the_block_are_let_in(lab: LaunchLab) -> None:
    lab.text = text(1)
    applied(lab)
    assert lab.let_in() == [HOME]


def test_a_rule_for_a_single_address_and_every_port_is_exact(lab: LaunchLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall("203.0.113.9/32"))
    applied(lab)
    assert lab.let_in() == [HOME, "203.0.113.9"]
    assert lab.is_converged(1)


@pytest.mark.parametrize(
    ("ranges", "ports", "reason"),
    [(("203.0.113.0/24",), "from_port = 1\n    to_port = 65535", "single addresses"),
     (("0.0.0.0/0",), "from_port = 1\n    to_port = 65535", "single addresses"),
     (("203.0.113.9/32",), "from_port = 443", "every port")],
)  # fmt: skip
def test_rec_a_rule_that_cannot_be_kept_is_an_error_of_the_plan(
    lab: LaunchLab, ranges: tuple[str, ...], ports: str, reason: str
) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall(*ranges, ports=ports))
    assert reason in mistakes(lab)
    lab.text = text(
        1, body="firewalls = [firewall.web]", rest=firewall(*ranges, ports=ports, more='on_inexact = "warn"')
    )
    applied(lab)
    assert lab.let_in() == ([HOME, "203.0.113.9"] if "/32" in ranges[0] else [HOME])


def test_a_machine_that_lets_nobody_in_is_an_error_of_the_plan(lab: LaunchLab) -> None:
    lab.text = text(1, home=None)
    assert "Nobody is let in" in mistakes(lab)
    assert lab.machines() == []
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall("203.0.113.9/32"), home=None)
    applied(lab)
    assert lab.let_in() == ["203.0.113.9"]


@pytest.mark.parametrize("ssh", ["", "ssh {}"], ids=["", "ssh"])
def test_a_changed_firewall_changes_the_list_of_the_machine_and_nothing_over_ssh(lab: LaunchLab, ssh: str) -> None:
    lab.text = text(1, body=f"firewalls = [firewall.web]\n{ssh}", rest=firewall("203.0.113.9/32"))
    applied(lab)
    before, marks = lab.recorded(), lab.written()
    lab.text = lab.text.replace("203.0.113.9/32", "203.0.113.10/32")
    assert actions(lab.plan()) == {"firewall.web": "update", "instance.m[0]": "update"}
    applied(lab)
    assert lab.let_in() == [HOME, "203.0.113.10"]
    assert "set_firewall" not in [what for what, _ in lab.hand.calls]
    assert (lab.recorded(), lab.written()) == (before, marks)
    assert lab.is_converged(1)


def test_a_list_that_somebody_else_has_changed_is_put_right(lab: LaunchLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall("203.0.113.9/32", "203.0.113.10/32"))
    applied(lab)
    (machine,) = lab.machines()
    for wrong in ([HOME, "203.0.113.9", "203.0.113.10", "192.0.2.66"], ["203.0.113.9", "203.0.113.10"], []):
        options = {**lab.machines()[0].body.options, "ip_allowlist": json.dumps(wrong)}
        lab.sim.set_options(machine.body.cloud_id, options)
        assert actions(lab.plan()) == {"instance.m[0]": "update"}
        applied(lab)
        assert lab.let_in() == [HOME, "203.0.113.10", "203.0.113.9"]


def test_an_address_of_the_block_that_a_rule_names_too_is_no_difference(lab: LaunchLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall(f"{HOME}/32", "203.0.113.9/32"))
    applied(lab)
    assert lab.let_in() == [HOME, "203.0.113.9"]
    assert lab.is_converged(1)


def test_another_address_of_the_block_reaches_machines_with_firewalls(lab: LaunchLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall("203.0.113.9/32"))
    applied(lab)
    lab.text = text(1, body="firewalls = [firewall.web]", rest=firewall("203.0.113.9/32"), home="198.51.100.8")
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    applied(lab)
    assert lab.let_in() == ["198.51.100.8", "203.0.113.9"]
    assert lab.is_converged(1)


def test_without_a_firewall_the_list_stays_as_it_is(lab: LaunchLab) -> None:
    lab.text = text(1)
    applied(lab)
    lab.text = text(1, home="198.51.100.8")
    assert actions(lab.plan()) == {}


@pytest.mark.parametrize("ssh", ["", "ssh {}"], ids=["", "ssh"])
def test_peers_let_each_other_in_as_they_come_and_go(tmp_path: Path, ssh: str) -> None:
    rest = 'resource "firewall" "web" {\n  ingress {\n    peers = true\n  }\n}\n'
    lab = LaunchLab(tmp_path, text(2, body=f"firewalls = [firewall.web]\n{ssh}", rest=rest))
    for count in (2, 3, 1):
        lab.text = text(count, body=f"firewalls = [firewall.web]\n{ssh}", rest=rest)
        applied(lab)
        every = {machine.body.public_ip for machine in lab.machines()}
        for machine in lab.machines():
            let_in = json.loads(machine.body.options["ip_allowlist"])
            assert set(let_in) == {HOME} | every - {machine.body.public_ip}
        assert lab.is_converged(count)
    assert "set_firewall" not in [what for what, _ in lab.hand.calls]
    assert lab.wire.violations == []


# What cannot be done, and what was not told


@pytest.mark.parametrize(
    ("more", "reason"),
    [('image_id = "ubuntu"', "asked for"), ('sub_location = "a"', "asked for"), ('filesystems = ["fs"]', "asked for"),
     ('options = { experience_id = "a", catalog_id = "b" }', "more than once"), ('tags = { RefID = "x" }', "RefID"),
     ('user_data = "#!/bin/sh"', "user data"), ('disk_size = "1400GB"', "asked for")],
)  # fmt: skip
def test_a_replacement_that_cannot_be_launched_is_an_error_of_the_plan_and_nothing_is_destroyed(
    lab: LaunchLab, more: str, reason: str
) -> None:
    lab.text = text(1)
    applied(lab)
    before = [machine.body.cloud_id for machine in lab.machines()]
    lab.text = text(1, body=more).replace(A10, "oci.h100x1.sxm")
    with pytest.raises(DiagnosticsError) as caught:
        lab.apply()
    first = caught.value.diagnostics[0]
    assert reason in first.detail
    assert first.span is not None
    assert lab.text[first.span.start : first.span.end] in more, "it shows where"
    assert [machine.body.cloud_id for machine in lab.machines()] == before
    assert lab.faults.count("terminate_instance") == 0


class _Forgetful(LaunchpadFace):
    """Leaves the tags out of answers: all of them, or those of the machines that are asked for alone."""

    is_alone = False

    def _row(self, instance: Instance, query: Mapping[str, str]) -> dict[str, Any]:
        shown = super()._row(instance, query)
        if not self.is_alone:
            del shown["tags"]
        return shown

    def get(self, request: Request) -> Reply:
        reply = super().get(request)
        assert isinstance(reply.body, dict)
        return Reply({name: value for name, value in reply.body.items() if name != "tags"})


def test_tags_that_an_answer_leaves_out_are_not_wiped_by_a_change(lab: LaunchLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    marks, honest = lab.written(), lab.wire
    face = _Forgetful(lab.sim, TOKEN)
    face.is_alone = True
    lab.wire = transport_to(face, lab.clock)
    lab.text = text(1, body='tags = { team = "ops" }')
    done = lab.apply()
    assert done.result is not None
    assert not done.result.complete
    assert lab.written() == marks
    lab.wire = honest
    applied(lab)
    assert lab.written() == {**marks, "team": "ops"}
    (lab.folder / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import"}


def test_a_list_without_tags_makes_no_second_machine_where_the_state_is_lost(lab: LaunchLab) -> None:
    lab.text = text(1)
    applied(lab)
    (lab.folder / "brevplan.db").unlink()
    honest, lab.wire = lab.wire, transport_to(_Forgetful(lab.sim, TOKEN), lab.clock)
    plan = lab.plan()
    machines = [change for change in plan.changes if str(change.address).startswith("instance")]
    assert [bool(change.blocked) for change in machines] == [True]
    lab.wire = honest
    assert actions(lab.plan()) == {"instance.m[0]": "import"}


class _Overtaxed(LaunchpadFace):
    """Makes the machine, and then answers as a server does that has failed, in the words of one that is sold out."""

    def create(self, request: Request) -> Reply:
        made = super().create(request)
        return made if self.cloud.present()[1:] else Reply(b"there is no available capacity", 503)


def test_a_server_that_fails_in_the_words_of_no_stock_may_have_made_a_machine(lab: LaunchLab) -> None:
    lab.text = text(1)
    honest, lab.wire = lab.wire, transport_to(_Overtaxed(lab.sim, TOKEN), lab.clock)
    applied(lab)
    assert len(lab.machines()) == 1
    lab.wire = honest
    assert lab.is_converged(1)


def test_trap_1_an_imported_machine_is_not_replaced_for_the_name_of_its_model(lab: LaunchLab) -> None:
    """It was deployed elsewhere, and bears no tag that could say its type."""
    body = {
        "request_id": "TRY-1", "org_name": "acme", "requester_email": "a@b.example", "requester_name": "a",
        "experience_id": "43123766-35ec-4eb4-a5ba-3f2945228445", "provider_name": "nebius", "gpu_model": "a100",
        "gpu_count": 8, "region": "us-west-1", "public_key": KEY, "ip_allowlist": [HOME], "tags": None,
    }  # fmt: skip

    async def deploy() -> str:
        headers = {"Authorization": f"Token {TOKEN}"}
        async with httpx.AsyncClient(transport=lab.wire, headers=headers) as client:
            return str((await client.post(f"{ENDPOINT}/v1/catalog/deployments/", json=body)).json()["id"])

    made = asyncio.run(deploy())
    lab.clock.elapsed += 700
    block = f'import {{\n  to = instance.m[0]\n  id = "{made}"\n}}\n'
    lab.text = text(1, rest=block).replace(A10, "nebius.a100x8.sxm")
    applied(lab)
    assert lab.faults.count("terminate_instance") == 0
    assert list(lab.recorded().values()) == [made]
    assert lab.is_converged(1)


def test_a_type_that_no_answer_tells_is_no_reason_for_a_replacement(tmp_path: Path) -> None:
    """Without its cluster, and with its tags deleted, nothing says what it is."""
    lab = LaunchLab(tmp_path, text(1))
    applied(lab)
    lab.wire = transport_to(LaunchpadFace(lab.sim, TOKEN, is_bare=True), lab.clock)
    lab.sim.set_tags(lab.machines()[0].body.cloud_id, {"tags": "{}"})
    plan = lab.plan()
    assert actions(plan) == {}
    assert [change.blocked for change in plan.changes if change.blocked] == []


def test_offers_of_another_delivery_are_not_those_of_a_moment_ago(tmp_path: Path) -> None:
    lab = LaunchLab(tmp_path, "")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def shown(delivery: str) -> int:
        block = text(1).replace('org_name        = "acme"', f'org_name = "acme"\n  delivery = "{delivery}"')
        (tmp_path / "main.hcl").write_text(block)
        lab.wire.calls.clear()
        return len(asyncio.run(offers(tmp_path, environment, lab.outside)).items)

    found = shown("fast")
    assert found > 0
    assert shown("slow") == 0, "nothing of the simulated cloud is slow"
    assert shown("fast") == found
    assert lab.wire.calls == [], "what was read a moment ago is still of use"


def test_a_wrong_token_blocks_instead_of_buying_again(lab: LaunchLab) -> None:
    applied(lab)
    lab.text = text(2, token="another-token")
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert lab.faults.count("create_instance") == 2


def test_an_error_shows_its_reason_and_no_token(lab: LaunchLab) -> None:
    broken = Fault(before=Rejected(f"your token {TOKEN} is odd", http_status=400))
    lab.faults.choose = on("create_instance", broken, broken)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 2
    shown = str(done.result.failed) + " ".join(map(str, lab.events)) + " ".join(lab.said)
    assert "your token (secret) is odd" in shown
    assert TOKEN not in shown
