"""The embedded cloud through the contract: settings become traits and behaviour, calls become the model's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import (
    CAPABILITY_PROTOCOLS,
    Capability,
    CloudClient,
    Connection,
    Rename,
    Urgency,
)
from brevplan.contract.errors import CloudError, InstanceNotFound, RateLimited, Rejected, Sent, Unavailable
from brevplan.contract.model import (
    CloudId,
    CreateInstanceAttrs,
    FirewallRule,
    FirewallRules,
    InstanceFilter,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.providers import registry
from brevplan.providers.local import LocalClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault

T = TypeVar("T")


class HandClock:
    """Time that passes only when it is told to; a sleep takes no real time."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class CountingPacer:
    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


class ChosenFaults:
    """The fault of each operation, chosen by the test."""

    def __init__(self, **chosen: Fault) -> None:
        self.chosen = chosen

    def draw(self, call: Call) -> Fault:
        return self.chosen.get(call.operation, NO_FAULT)


def connection(folder: Path, **given: Any) -> Connection:
    return Connection(
        settings=given,
        environment={},
        directory=str(folder),
        pacer=CountingPacer(),
        clock=HandClock(),
    )


def client(folder: Path, **given: Any) -> LocalClient:
    return LocalClient(connection(folder, **given))


def attrs(ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> CreateInstanceAttrs:
    given = {
        "cloud_cred_ref_id": "bp-test",
        "instance_type": "gpu_1x_a10",
        "location": "us-west-1",
        "public_key": "ssh-ed25519 AAAA test",
        **fields,
    }
    return CreateInstanceAttrs(ref_id=RefId(ref_id), **given)


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


def wait(one: LocalClient, seconds: float) -> None:
    assert isinstance(one._clock, HandClock)
    one._clock.passed += seconds


def test_the_registry_leads_here(tmp_path: Path) -> None:
    spec = registry.spec("local")
    made = spec.connect(connection(tmp_path))
    assert isinstance(made, LocalClient)
    assert spec.account_free
    assert set(spec.all_arguments()) >= {"path", "seed", "grace_window", "requests_per_minute", "max_retries"}


def test_every_declared_capability_has_its_methods(tmp_path: Path) -> None:
    one = client(tmp_path)
    assert isinstance(one, CloudClient)
    assert isinstance(one, Rename)
    for capability in one.traits.capabilities:
        assert isinstance(one, CAPABILITY_PROTOCOLS.get(capability, CloudClient))
    assert Capability.VPC not in one.traits.capabilities
    assert Capability.CREATE_IDEMPOTENT in one.traits.capabilities


def test_what_is_reported_is_the_truth(tmp_path: Path) -> None:
    one = client(tmp_path)
    asked = attrs(
        name="n",
        sub_location="us-west-1a",
        image_id="ubuntu-24.04-x86-64",
        disk_size=Bytes(2, "TB"),
        filesystems=("f",),
        tags={"a": "b"},
        spot=True,
        options={"subnet_id": "s"},
        firewall_rules=FirewallRules(ingress=(FirewallRule(from_port=22, to_port=22),)),
    )
    made = run(one.create_instance(asked))
    for name in one.traits.reports - {"power_state", "firewall_rules"}:
        assert getattr(made, name) == getattr(asked, name), name
    assert made.status == LifecycleStatus.RUNNING
    assert made.firewall_rules is not None
    assert made.firewall_rules.ingress[0].from_port == 22
    assert run(one.get_instance(made.cloud_id)) == made
    assert run(one.list_instances()) == [made]


def test_the_whole_life_of_a_machine(tmp_path: Path) -> None:
    one = client(tmp_path, boot_time="10s")
    made = run(one.create_instance(attrs()))
    machine = made.cloud_id
    wait(one, 10)
    rules = FirewallRules(ingress=(FirewallRule(from_port=80, to_port=80),))
    for step in (
        one.reboot_instance(machine),
        one.resize_volume(machine, Bytes(2, "TB")),
        one.update_tags(machine, {"a": "b"}),
        one.update_mark(machine, address="instance.x"),
        one.rename_instance(machine, "other"),
        one.replace_firewall_rules(machine, rules),
        one.stop_instance(machine),
    ):
        run(step)
    now = run(one.get_instance(machine))
    assert (now.status, now.name, now.tags, now.address) == ("stopped", "other", {"a": "b"}, "instance.x")
    assert now.disk_size == Bytes(2, "TB")
    run(one.start_instance(machine))
    assert run(one.get_instance(machine)).status == LifecycleStatus.PENDING
    run(one.terminate_instance(machine))
    run(one.terminate_instance(machine))
    with pytest.raises(InstanceNotFound):
        run(one.get_instance(machine))
    never = RefId("bp-test-never")
    assert run(one.fence(never)) is True
    assert run(one.fence(never)) is True
    run(one.release(never))
    assert run(one.side_objects()) == []
    run(one.aclose())


def test_machines_outlive_the_client(tmp_path: Path) -> None:
    first, second = client(tmp_path), client(tmp_path)
    made = run(first.create_instance(attrs()))
    assert run(second.list_instances()) == [made]
    run(first.aclose())
    run(second.aclose())
    assert [path.name for path in tmp_path.iterdir()] == ["local-cloud.db"]


def test_the_account_is_the_path(tmp_path: Path) -> None:
    here, same = run(client(tmp_path).tenant_id()), run(client(tmp_path / "x", path="../local-cloud.db").tenant_id())
    assert here == same
    assert here.startswith("local-")
    assert run(client(tmp_path, path="other.db").tenant_id()) != here
    assert list(tmp_path.iterdir()) == []


def test_the_catalogue_can_be_read_without_a_file(tmp_path: Path) -> None:
    one = client(tmp_path)
    types = run(one.get_instance_types())
    assert types == run(one.get_instance_types())
    assert [(item.type, item.location) for item in types] == sorted((item.type, item.location) for item in types)
    assert {item.type for item in run(one.get_instance_types(InstanceTypeFilter(instance_types=("gpu_1x_a10",))))} == {
        "gpu_1x_a10"
    }
    assert len(run(one.get_locations())) == 4
    assert list(tmp_path.iterdir()) == []


def test_images_are_found_by_architecture_and_pattern(tmp_path: Path) -> None:
    one = client(tmp_path)
    assert {image.architecture for image in run(one.get_images(architectures=["arm64"]))} == {"arm64"}
    assert [image.id for image in run(one.get_images(names=["ubuntu-24.04-*"]))] == [
        "ubuntu-24.04-cuda-x86-64",
        "ubuntu-24.04-x86-64",
    ]
    assert len(run(one.get_images(names=["*CUDA*"]))) == 3
    assert run(one.get_images(names=["windows*"])) == []


@pytest.mark.parametrize(
    ("given", "poll", "grace"),
    [
        ({}, 0.05, 0.0),
        ({"boot_time": "8s", "list_lag": "3s"}, 2.0, 3.0),
        ({"boot_time": 600.0, "list_lag": 3, "grace_window": "1m"}, 5.0, 60.0),
    ],
)
def test_settings_show_in_the_traits(tmp_path: Path, given: dict[str, Any], poll: float, grace: float) -> None:
    traits = client(tmp_path, **given).traits
    assert (traits.instance_poll_s, traits.grace_window_s) == (poll, grace)


def test_rates_show_in_the_traits(tmp_path: Path) -> None:
    traits = client(tmp_path, requests_per_minute=Fraction(90), creates_per_minute=10).traits
    assert (traits.requests_per_minute, traits.creates_per_minute) == (90, 10)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"boot_time": "soon"}, "boot_time: .*not a duration"),
        ({"fail_rate": 1.5}, "fail_rate: 1.5 is not from 0 to 1"),
        ({"seed": "x"}, "seed: 'x' is not a number"),
        ({"out_of_stock": ["gpu_1x_a11"]}, "out_of_stock: .*did you mean gpu_1x_a10"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(Rejected, match=says):
        client(tmp_path, **given)


def test_a_type_can_be_sold_out(tmp_path: Path) -> None:
    one = client(tmp_path, out_of_stock=["gpu_1x_a10"])
    found = run(one.get_instance_types(InstanceTypeFilter(instance_types=("gpu_1x_a10",))))
    assert [item.is_available for item in found] == [False] * 4


def test_a_lagging_list(tmp_path: Path) -> None:
    one = client(tmp_path, list_lag="5s")
    made = run(one.create_instance(attrs()))
    assert run(one.list_instances()) == []
    assert run(one.get_instance(made.cloud_id)) == made
    wait(one, 5)
    assert run(one.list_instances(InstanceFilter(cloud_ids=(made.cloud_id,)))) == [made]


def test_every_call_asks_the_pacer_first(tmp_path: Path) -> None:
    one = client(tmp_path)
    pacer = one._pacer
    assert isinstance(pacer, CountingPacer)
    machine, ref = CloudId("i-1"), RefId("r")
    calls: list[Callable[[], Awaitable[object]]] = [
        one.tenant_id,
        one.list_instances,
        lambda: one.get_instance(machine),
        lambda: one.create_instance(attrs()),
        lambda: one.terminate_instance(machine),
        one.get_instance_types,
        one.get_locations,
        one.get_images,
        lambda: one.fence(ref),
        lambda: one.release(ref),
        one.side_objects,
        lambda: one.stop_instance(machine),
        lambda: one.start_instance(machine),
        lambda: one.reboot_instance(machine),
        lambda: one.resize_volume(machine, Bytes(1, "TB")),
        lambda: one.update_tags(machine, {}),
        lambda: one.update_mark(machine, address=None),
        lambda: one.rename_instance(machine, "n"),
        lambda: one.replace_firewall_rules(machine, FirewallRules()),
    ]
    for number, call in enumerate(calls, start=1):
        with suppress(InstanceNotFound):
            run(call())
        assert len(pacer.admitted) == number
    run(one.list_instances(urgency=Urgency.SETTLE))
    assert pacer.admitted[-1] is Urgency.SETTLE


def outcome(one: LocalClient, number: int) -> str:
    try:
        run(one.create_instance(attrs(f"r{number}")))
    except Unavailable as error:
        return error.message
    return "made"


def test_faults_by_chance_are_the_same_again(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        one = client(tmp_path, path=f"{name}.db", fail_rate=0.2, lost_response_rate=0.2, seed=3)
        runs.append([outcome(one, number) for number in range(60)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_a_lost_answer_may_or_may_not_leave_a_machine(tmp_path: Path) -> None:
    one = client(tmp_path, lost_response_rate=1)
    for number in range(40):
        with pytest.raises(Unavailable) as caught:
            run(one.create_instance(attrs(f"r{number}")))
        assert caught.value.sent is Sent.MAYBE
        assert caught.value.retryable
    assert 5 < len(one.cloud.store.machines()) < 35


def test_a_failed_call_has_no_effect(tmp_path: Path) -> None:
    one = client(tmp_path, fail_rate=1)
    with pytest.raises(Unavailable):
        run(one.create_instance(attrs()))
    with pytest.raises(Unavailable):
        run(one.list_instances())
    assert one.cloud.store.machines() == []


def test_too_many_requests_are_refused_with_a_time_to_wait(tmp_path: Path) -> None:
    one, other = client(tmp_path, requests_per_minute=2), client(tmp_path, requests_per_minute=2)
    run(one.list_instances())
    run(other.list_instances())
    with pytest.raises(RateLimited) as caught:
        run(one.list_instances())
    assert caught.value.retry_after == pytest.approx(30)
    assert caught.value.sent is Sent.REFUSED


def test_faults_can_be_chosen_call_by_call(tmp_path: Path) -> None:
    lost = Fault(delay_s=7, after=Unavailable("lost", sent=Sent.MAYBE))
    one = LocalClient(connection(tmp_path), ChosenFaults(create_instance=lost))
    with pytest.raises(Unavailable) as caught:
        run(one.create_instance(attrs()))
    assert (caught.value.provider, caught.value.operation) == ("local", "create_instance")
    assert one._clock.monotonic() == 7
    assert len(run(one.list_instances())) == 1


def test_a_damaged_file_is_an_error_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "local-cloud.db").write_bytes(b"\x00garbage" * 999)
    with pytest.raises(CloudError, match=r"^local list_instances: .*damaged"):
        run(client(tmp_path).list_instances())
