"""The whole engine through Nebius' gRPC services: real requests on a real port, under the virtual clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.client import Connection, Pacer, Urgency
from brevplan.contract.errors import NotReady
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.providers import registry
from brevplan.providers.nebius_client import NebiusClient
from brevplan.simcloud.faces.nebius import DISKS, GROUPS, TENANT, project_id
from brevplan.simcloud.faults import NO_FAULT, Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.protocol.test_create import on
from tests.providers.face_lab import applied, is_adopted_whole
from tests.providers.nebius_bench import A10, Served, credentials, native
from tests.world import Lab, VirtualClock, actions, configuration

LOST = Fault(after=Trouble(Way.DROPPED))
FIREWALL = 'resource "firewall" "web" {\n  ingress {\n    from_port = PORT\n    protocol = "tcp"\n  }\n}\n'


REPLACED = 'on_change {\n    user_data = "replace"\n  }'


def text(count: int = 1, body: str = "", rest: str = "") -> str:
    local = configuration(count, body=body, rest=rest).replace("gpu_1x_a10", A10)
    project = project_id("us-west-1")
    return local.replace(
        'provider "local" {', f'provider "nebius" {{\n  tenant_id = "{TENANT}"\n  project_id = "{project}"'
    )


class Held:
    """The engine's pacer: who waits for it is not away."""

    def __init__(self, clock: VirtualClock, inner: Pacer) -> None:
        self._clock, self._inner = clock, inner

    async def admit(self, urgency: Urgency) -> None:
        self._clock.away -= 1
        try:
            await self._inner.admit(urgency)
        finally:
            self._clock.away += 1


CALLS = (
    "list_instances", "get_instance", "get_instance_types", "get_locations", "get_images", "create_instance",
    "terminate_instance", "stop_instance", "start_instance", "fence", "release", "side_objects", "update_tags",
    "update_mark", "rename_instance", "resize_volume", "replace_firewall_rules",
)  # fmt: skip


class CountedClient(NebiusClient):
    """A client whose calls the virtual clock waits for."""

    def __init__(self, connection: Connection, clock: VirtualClock) -> None:
        super().__init__(replace(connection, pacer=Held(clock, connection.pacer)))
        for name in CALLS:
            setattr(self, name, self._counted(getattr(self, name), clock))

    def _counted(self, method: Callable[..., Awaitable[Any]], clock: VirtualClock) -> Callable[..., Awaitable[Any]]:
        @wraps(method)
        async def counted(*given: Any, **named: Any) -> Any:
            clock.away += 1
            try:
                return await method(*given, **named)
            finally:
                clock.away -= 1

        return counted


class NebiusLab(Lab):
    """A lab whose cloud is reached over the API of Nebius."""

    def __init__(self, folder: Path, given: str, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        super().__init__(folder, given)
        behaviour = Behaviour(fences=False, **(how or {"boot_s": 12.0, "stop_s": 6.0, "end_s": 12.0}))
        self.served = Served(folder / "local-cloud.db", self.clock, self.faults, behaviour, **switches)
        self.served.start()

    def _spec(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._reach)

    def _reach(self, connection: Connection) -> CountedClient:
        own = {"endpoint": f"http://127.0.0.1:{self.served.port}", "service_account_key": credentials()}
        return CountedClient(replace(connection, settings={**connection.settings, **own}), self.clock)

    def request(self, options: Any = Options(), **fields: Any) -> Any:  # noqa: B008  # frozen
        found = super().request(options, **fields)
        return replace(found, environment={"NEBIUS_SERVICE_ACCOUNT_KEY": credentials()})

    def beside(self, kind: str) -> int:
        store = self.cloud()
        try:
            if not store.exists():
                return 0
            with store.read():
                return len(store.objects(kind))
        finally:
            store.close()

    def labels(self, number: int = 0) -> dict[str, str]:
        return self.machines()[number].body.tags

    def is_converged(self, machines: int) -> bool:
        """Check that cloud, state and configuration agree, and that a plan says so."""
        self.faults.choose = lambda call: NO_FAULT
        assert len(self.machines()) == machines
        assert len(self.recorded()) == machines
        assert self.beside(GROUPS) == machines
        plan = self.plan()
        assert actions(plan) == {}
        assert plan.orphans == []
        return True


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NebiusLab]:
    made = NebiusLab(tmp_path, text(1))
    yield made
    made.served.stop()


def test_apply_and_then_there_is_nothing_to_do(lab: NebiusLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }')
    assert actions(lab.plan()) == {"instance.m[0]": "create", "instance.m[1]": "create"}
    applied(lab)
    assert lab.clock.elapsed >= 12
    assert lab.is_converged(2)
    assert {"team": "ml", "cloud-cred-ref-id": "bp-lab", "created-by": "brevplan"}.items() <= lab.labels().items()
    assert lab.labels()["brevplan-address"] in ("instance.m_5b0_5d", "instance.m_5b1_5d")


def test_a_machine_is_found_in_whichever_project(lab: NebiusLab) -> None:
    lab.text = text(1).replace("project_id", "# project_id")
    applied(lab)
    assert lab.is_converged(1)
    lab.served.calls.clear()
    lab.plan()
    assert [lab.served.calls.count(call) for call in ("list_projects", "list_instances")] == [1, 1], "where it is known"
    (lab.folder / "brevplan.db").unlink()
    lab.served.calls.clear()
    assert actions(lab.plan()) == {"instance.m[0]": "import"}
    assert lab.served.calls.count("list_instances") >= 4, "with the state lost it may be anywhere"


def test_a_lost_state_is_adopted_whole(lab: NebiusLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  disk_size = "500GB"')
    assert is_adopted_whole(lab)
    assert lab.is_converged(2)


def test_tags_names_and_disks_change_in_place(lab: NebiusLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }\n  disk_size = "100GiB"')
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body='tags = { team = "ops" }\n  name = "renamed"\n  disk_size = "200GB"')
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    applied(lab)
    assert lab.recorded() == before
    assert (lab.labels()["team"], lab.labels()["brevplan-name"]) == ("ops", "renamed")
    assert lab.is_converged(1)


def test_rules_change_in_place(lab: NebiusLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=FIREWALL.replace("PORT", "80"))
    applied(lab)
    before = lab.recorded()
    lab.text = lab.text.replace("from_port = 80", "from_port = 81")
    applied(lab)
    assert lab.recorded() == before
    assert "add_security_rule" in lab.served.calls
    assert lab.is_converged(1)


def test_stopped_and_started(lab: NebiusLab) -> None:
    applied(lab)
    for state in ("stopped", "running"):
        lab.text = text(1, body=f'power_state = "{state}"')
        applied(lab)
        assert lab.machines()[0].body.status.value == state
        assert lab.is_converged(1)


@pytest.mark.parametrize(
    "fault",
    [LOST, Fault(after=Trouble(Way.TRUNCATED)), Fault(after=Trouble(Way.MALFORMED)),
     Fault(after=Trouble(Way.STATUS, 500)), Fault(before=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.STATUS, 504))],
    ids=["dropped", "truncated", "malformed", "500", "dropped before", "504"],
)  # fmt: skip
def test_a_lost_answer_neither_loses_nor_doubles(lab: NebiusLab, fault: Fault) -> None:
    lab.faults.choose = on("create_instance", fault)
    applied(lab)
    assert lab.faults.count("create_instance") == 2, "the same call again, under the same name"
    assert lab.is_converged(1)


def test_a_lost_answer_of_a_launch_that_lands_late_is_one_machine(lab: NebiusLab) -> None:
    lab.faults.choose = on("create_instance", Fault(after=Trouble(Way.DROPPED), late_s=500.0))
    applied(lab)
    lab.clock.elapsed += 1000
    assert lab.is_converged(1)


def test_a_security_group_that_is_slow_is_gone_on_with(tmp_path: Path) -> None:
    lab = NebiusLab(tmp_path, text(1), slow_groups=2)
    applied(lab)
    assert lab.faults.count("create_instance") == 1
    assert lab.is_converged(1)
    lab.served.stop()


def test_no_stock_closes_the_attempt_and_leaves_nothing(lab: NebiusLab) -> None:
    lab.text = text(1).replace(A10, native("gpu_8x_b200_sxm6"))
    done = lab.apply(Options(allow_no_stock=True))
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert (lab.machines(), lab.beside(GROUPS), lab.beside(DISKS)) == ([], 0, 0)
    store = lab.state()
    assert store.intents() == []
    store.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [(f'user_data = "echo s3cret"\n  {REPLACED}', "begins with #!"),
     (f'user_data = "#cloud-config\\n- s3cret"\n  {REPLACED}', "no mapping of names to values"),
     ('sub_location = "a"', "there are no zones here"), ('options = { hostname = "a b" }', "is not a host name"),
     ('spot = true\n  tags = { created-by = "me" }', "brevplan marks machines with")],
)  # fmt: skip
def test_a_replacement_that_cannot_be_launched_is_an_error_of_the_plan_and_destroys_nothing(
    lab: NebiusLab, body: str, reason: str
) -> None:
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body=body)
    lab.served.calls.clear()
    for attempt in (lab.plan, lab.apply):
        with pytest.raises(DiagnosticsError) as caught:
            attempt()
        said = " ".join(f"{item.summary} {item.detail}" for item in caught.value.diagnostics)
        assert reason in said
        assert "s3cret" not in said
    assert not {"terminate_instance", "create_instance", "add_security_group"} & set(lab.served.calls)
    assert lab.recorded() == before
    lab.text = text(1)
    assert lab.is_converged(1)


def failures(lab: NebiusLab) -> str:
    return " ".join(str(event) for event in lab.events if "Failed" in type(event).__name__)


@pytest.mark.parametrize("operation", ["list_subnets", "add_security_group", "create_instance"])
def test_what_is_never_ready_is_told_and_leaves_no_attempt_behind(lab: NebiusLab, operation: str) -> None:
    lab.faults.choose = on(operation, *[Fault(before=NotReady("the network is being deleted"))] * 100)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "the network is being deleted" in failures(lab)
    assert "not answered" not in failures(lab)
    assert (lab.machines(), lab.beside(GROUPS)) == ([], 0)
    store = lab.state()
    assert store.intents() == []
    store.close()


def test_why_an_accepted_launch_failed_is_told(lab: NebiusLab) -> None:
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
    lab.apply()
    assert "no room was found for" in failures(lab)


def test_an_accepted_launch_that_never_comes_is_told_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    lab = NebiusLab(tmp_path, text(1).replace(A10, native("gpu_8x_b200_sxm6")), fails_later=True)
    done = lab.apply(Options(allow_no_stock=True))
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "no gpu_8x_b200_sxm6 is left" in failures(lab)
    assert lab.clock.elapsed < 60, "nobody waits for a machine that will not come"
    assert (lab.machines(), lab.beside(GROUPS), lab.recorded()) == ([], 0, {})
    lab.served.stop()


def test_the_quota_of_the_tenant_is_told(tmp_path: Path) -> None:
    lab = NebiusLab(tmp_path, text(2), limit=1)
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert "quota" in str(done.result.failed) + " ".join(map(str, lab.events))
    assert len(lab.machines()) == lab.beside(GROUPS) == 1
    lab.served.stop()


def test_accepted_and_then_failed_is_ended_and_told(lab: NebiusLab) -> None:
    lab.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert (lab.machines(), lab.beside(GROUPS)) == ([], 0)
    applied(lab)
    assert lab.is_converged(1)


def test_destroy_leaves_no_machine_disk_or_group(lab: NebiusLab) -> None:
    lab.text = text(2)
    applied(lab)
    applied(lab, options=Options(Mode.DESTROY))
    assert (lab.machines(), lab.beside(GROUPS), lab.beside(DISKS), lab.recorded()) == ([], 0, 0, {})


def test_a_forgotten_machine_bears_no_mark(lab: NebiusLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    assert not {"environment-id", "cloud-cred-ref-id", "brevplan-address", "created-by"} & lab.labels().keys()
    assert lab.labels()["team"] == "ml"
    assert (actions(lab.plan()), lab.plan().orphans) == ({}, [])


def test_forgotten_and_imported_again_a_machine_has_its_rules_changed_in_its_own_group(lab: NebiusLab) -> None:
    applied(lab)
    (cloud_id,) = lab.recorded().values()
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    brought = f'import {{\n  to = instance.m[0]\n  id = "{cloud_id}"\n}}\n'
    lab.text = text(1, rest=brought)
    applied(lab)
    lab.text = text(1, body="firewalls = [firewall.web]", rest=FIREWALL.replace("PORT", "443") + brought)
    lab.served.calls.clear()
    applied(lab)
    assert "add_security_rule" in lab.served.calls
    assert lab.is_converged(1)
    applied(lab, options=Options(Mode.DESTROY))
    assert lab.machines() == []
    assert lab.beside(GROUPS) == 1, "the mark that says whose it was is gone: see docs/providers/nebius.md"


def test_a_wrong_key_blocks_instead_of_buying_again(lab: NebiusLab) -> None:
    applied(lab)
    lab.text = text(2)
    lab._reach = lambda connection: CountedClient(  # type: ignore[method-assign]  # another key of the same account
        replace(connection, settings={**connection.settings, "endpoint": f"http://127.0.0.1:{lab.served.port}",
                                      "service_account_key": credentials("other")}), lab.clock)  # fmt: skip
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert lab.faults.count("create_instance") == 1
