"""The FluidStack client, every method, in front of its face; and the traps of the API, each under its name."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from base64 import b64decode
from collections.abc import Iterator
from decimal import Decimal
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import CAPABILITY_PROTOCOLS, Capability, CloudClient, Connection, UpdateTags, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
    NotImplemented_,
    NotReady,
    OutOfQuota,
    OutOfStock,
    RateLimited,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.model import (
    CloudId,
    FirewallPattern,
    FirewallRule,
    FirewallRules,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
    instance_type_id,
)
from brevplan.contract.ufw import start_script
from brevplan.operations.world import SystemClock
from brevplan.providers import fluidstack, fluidstack_errors, registry
from brevplan.providers.fluidstack import read_gpu, read_memory
from brevplan.simcloud import catalogue, practice
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import cloud_id_behind
from brevplan.simcloud.faces.fluidstack import NOBODY, PROJECT, REGION, Quirks, authorized_keys, face
from brevplan.simcloud.faces.server import Server
from brevplan.simcloud.faults import Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.providers.fluidstack_bench import KEY, OTHER_PROJECT, PRICES, SPEC_FILE, Bench, Canned, Recorded
from tests.simcloud.build import attrs
from tests.world import KEY as SSH_KEY
from tests.world import ChosenFaults

REF = RefId("bp-test-aaaaaaaaaaaa-000001")
NO_MACHINE = CloudId("00000000-0000-4000-8000-000000009999")
A_MACHINE = "0b0f6a1e-2c64-4f0a-9c1e-6a3f2d6f8a10"
DISK = "123e4567-e89b-12d3-a456-426614174000"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    assert made.wire.violations == []


# The account


def test_the_registry_has_it_with_its_credential() -> None:
    spec = registry.spec("fluidstack")
    arguments = spec.all_arguments()
    key = arguments["api_key"]
    assert (key.sensitive, key.required, key.environment) == (True, True, "FLUIDSTACK_API_KEY")
    assert (arguments["project"].required, arguments["region"].required) == (True, True)
    assert spec.traits.option_names == set(spec.options)


def test_what_is_declared_is_there_and_nothing_else(bench: Bench) -> None:
    client = fluidstack.connect(bench.connection())
    assert isinstance(client, CloudClient)
    for capability, protocol in CAPABILITY_PROTOCOLS.items():
        assert isinstance(client, protocol) == (capability in client.traits.capabilities), capability
    assert Capability.STOP_START in client.traits.capabilities
    assert Capability.CREATE_IDEMPOTENT not in client.traits.capabilities
    assert client.traits.firewall_pattern is FirewallPattern.USER_DATA


def test_tags_are_given_at_the_launch_and_never_changed(bench: Bench) -> None:
    client = fluidstack.connect(bench.connection())
    assert not isinstance(client, UpdateTags)
    assert not client.traits.mutable_tags
    assert "tags" in client.traits.reports


def test_the_block_changes_the_rates(bench: Bench) -> None:
    client = fluidstack.connect(bench.connection(requests_per_minute=30, creates_per_minute=2, grace_window=5.0))
    assert client.traits.requests_per_minute == 30
    assert client.traits.creates_per_minute == 2
    assert client.traits.grace_window_s == 5.0


def test_the_tenant_is_the_project_whichever_key_leads_to_it(bench: Bench) -> None:
    tenant = bench.run(lambda client: client.tenant_id())
    assert tenant == f"fluidstack-{REGION}-{PROJECT}"
    assert bench.run(lambda client: client.tenant_id(), api_key="another") == tenant
    assert bench.run(lambda client: client.tenant_id(), project=OTHER_PROJECT) != tenant
    assert bench.run(lambda client: client.tenant_id(), region="eu-west-9") != tenant
    assert bench.wire.calls == []


def test_a_wrong_key_is_noticed_by_the_first_list(bench: Bench) -> None:
    with pytest.raises(AuthFailed) as caught:
        bench.run(lambda client: client.list_instances(), api_key="wrong-key-99")
    assert "check api_key" in str(caught.value)
    assert "wrong-key-99" not in str(caught.value)
    assert caught.value.http_status == 403


@pytest.mark.parametrize("key", ["", "  ", "schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_hold(bench: Bench, key: str) -> None:
    with pytest.raises(AuthFailed) as caught:
        fluidstack.connect(bench.connection(api_key=key))
    assert caught.value.sent is Sent.NO
    assert not key.strip() or key not in str(caught.value)


def test_key_and_project_go_into_their_headers() -> None:
    api = Canned(body=[])
    api.run(lambda client: client.list_instances())
    assert api.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert api.asked[0].headers["X-PROJECT-ID"] == PROJECT


@pytest.mark.parametrize("project", ["default-project-id", "", "123", None, "123e4567-e89b-12d3-a456"])
def test_trap_1_a_project_that_is_no_uuid_is_never_sent(project: object) -> None:
    api = Canned(body=[])
    with pytest.raises(Rejected, match="UUID") as caught:
        api.run(lambda client: client.list_instances(), project=project)
    assert caught.value.sent is Sent.NO
    assert api.asked == []


def test_trap_2_the_capacity_is_asked_for_in_the_project() -> None:
    api = Canned(instance_types=(200, []), capacity=(200, []))
    api.run(lambda client: client.get_instance_types())
    (capacity,) = [request for request in api.asked if request.url.path.endswith("/capacity")]
    assert capacity.headers["X-PROJECT-ID"] == PROJECT


def test_a_project_in_capitals_is_the_same_account() -> None:
    lower = "abcdef00-0000-4000-b000-000000000001"
    names = {Canned().run(lambda client: client.tenant_id(), project=text) for text in (lower, lower.upper())}
    assert len(names) == 1


@pytest.mark.parametrize("region", ["", "US-1", "a.b", "x/../y", "-a", "a-", None, "a" * 64, "evil.example/"])
def test_a_region_is_one_part_of_a_host_name(region: object) -> None:
    with pytest.raises(Rejected, match="region") as caught:
        Canned().run(lambda client: client.tenant_id(), region=region)
    assert caught.value.sent is Sent.NO


def test_the_region_is_a_part_of_the_host(bench: Bench) -> None:
    api = Canned(body=[])
    api.run(lambda client: client.list_instances(), endpoint=None, region="eu-west-9")
    assert str(api.asked[0].url) == "https://eu-west-9.atlas.fluidstack.io/api/v1alpha1/instances"


def test_two_projects_see_their_own_machines_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, projects=(PROJECT, OTHER_PROJECT))
    made = bench.make()
    assert [one.cloud_id for one in bench.listed()] == [made.cloud_id]
    assert bench.run(lambda client: client.list_instances(), project=OTHER_PROJECT) == []
    with pytest.raises(InstanceNotFound):
        bench.run(lambda client: client.get_instance(made.cloud_id), project=OTHER_PROJECT)
    assert bench.wire.violations == []


def test_a_project_that_is_not_there_hides_no_machine(bench: Bench) -> None:
    """Its 404 is not that of a machine: what stands in the right project is not believed gone."""
    made = bench.make()
    for call in (
        lambda client: client.get_instance(made.cloud_id),
        lambda client: client.list_instances(),
        lambda client: client.terminate_instance(made.cloud_id),
    ):
        with pytest.raises(AuthFailed, match="project"):
            bench.run(call, project=OTHER_PROJECT)
    assert len(bench.listed()) == 1


# Types


def types(bench: Bench, **wanted: Any) -> list[InstanceType]:
    return bench.run(lambda client: client.get_instance_types(InstanceTypeFilter(**wanted)))


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "name": "h100-hgx-80gb.8x", "cpu": 96, "memory": "960Gi", "gpuCount": 8, "gpuModel": "GH100_H100_SXM5_80GB",
        **fields,
    }  # fmt: skip


def read(*entries: dict[str, Any], capacity: object = (), **settings: Any) -> list[InstanceType]:
    api = Canned(instance_types=(200, list(entries)), capacity=(200, list(capacity)))  # type: ignore[call-overload]  # what a test gives is a list
    return api.run(lambda client: client.get_instance_types(), **settings)


def test_a_type_is_read_whole() -> None:
    (found,) = read(entry(), capacity=[{"name": "h100-hgx-80gb.8x", "capacity": 3}])
    assert found.id == "us-east-1-noSub-h100-hgx-80gb.8x"
    assert (found.type, found.location) == ("h100-hgx-80gb.8x", "us-east-1")
    assert (found.provider, found.cloud) == ("fluidstack", "fluidstack")
    assert (found.vcpu, found.memory) == (96, Bytes(960, "GiB"))
    (gpu,) = found.gpus
    assert (gpu.name, gpu.count, gpu.memory) == ("H100", 8, Bytes(80, "GB"))
    assert (gpu.type, gpu.interconnect, gpu.manufacturer) == ("GH100_H100_SXM5_80GB", "SXM5", "NVIDIA")
    assert (found.is_available, found.stock) == (True, 3)
    assert found.stoppable
    assert found.architectures == ("x86_64",)


def test_every_type_of_the_simulated_catalogue_comes_through(bench: Bench) -> None:
    found = {item.type: item for item in types(bench)}
    offers = [offer for offer in catalogue.offers() if offer.location == REGION]
    assert set(found) == {offer.type for offer in offers}
    for offer in offers:
        item = found[offer.type]
        assert [(gpu.name, gpu.count, gpu.memory, gpu.interconnect) for gpu in item.gpus] == [
            (gpu.name, gpu.count, gpu.memory, gpu.interconnect) for gpu in offer.gpus
        ]
        assert item.memory == offer.memory
        assert item.architectures == offer.architectures
        assert item.is_available == (offer.stock != 0)
        assert item.id == offer.id


def test_types_are_in_order_and_the_same_twice(bench: Bench) -> None:
    first, second = types(bench), types(bench)
    assert first == second
    assert [item.type for item in first] == sorted(item.type for item in first)


@pytest.mark.parametrize(
    ("text", "size"),
    [("960Gi", Bytes(960, "GiB")), ("960GiB", Bytes(960, "GiB")), ("960G", Bytes(960, "GB")),
     ("960GB", Bytes(960, "GB")), ("960 GB", Bytes(960, "GB")), ("2Ti", Bytes(2, "TiB")), ("2T", Bytes(2, "TB")),
     ("524288Mi", Bytes(512, "GiB")), ("5M", Bytes(5, "MB")), ("7Ki", Bytes(7, "KiB")), ("7K", Bytes(7, "KB")),
     ("7k", Bytes(7, "KB")), ("1.5Ti", Bytes(1536, "GiB")), ("0.5G", Bytes(500, "MB")), ("1073741824", Bytes(1, "GiB")),
     ("", Bytes()), ("Gi", Bytes()), ("x", Bytes()), ("12Qi", Bytes()), ("-1Gi", Bytes()), ("1.2.3Gi", Bytes()),
     ("1.Gi", Bytes()), ("٣Gi", Bytes()), ("1GGi", Bytes()), ("1e3", Bytes()), ("i" * 100_000, Bytes())],
)  # fmt: skip
def test_rec_memory_is_a_quantity_with_its_unit(text: str, size: Bytes) -> None:
    assert read_memory(text) == size


def test_memory_keeps_the_unit_that_it_came_in() -> None:
    assert (read_memory("960Gi").value, read_memory("960Gi").unit) == (960, "GiB")


@pytest.mark.parametrize(
    ("model", "name", "gigabytes", "form", "architecture"),
    [
        ("GH100_H100_SXM5_80GB", "H100", 80, "SXM5", "x86_64"),
        ("GH100_H100_PCIE_80GB", "H100", 80, "PCIe", "x86_64"),
        ("GH100_H100_80GB", "H100", 80, "", "x86_64"),
        ("GH100_H200_SXM5_141GB", "H200", 141, "SXM5", "x86_64"),
        ("GH100_H100_NVL_94GB", "H100", 94, "NVL", "x86_64"),
        ("GH100_GH200_96GB", "GH200", 96, "", "arm64"),
        ("GH200_480GB", "GH200", 480, "", "arm64"),
        ("GB200_NVL72_192GB", "GB200", 192, "NVL72", "arm64"),
        ("GB100_B200_SXM6_180GB", "B200", 180, "SXM6", "x86_64"),
        ("H100_SXM5_80GB", "H100", 80, "SXM5", "x86_64"),
        ("L40S", "L40S", 48, "", "x86_64"),
        ("AD102_L40S_48GB", "L40S", 48, "", "x86_64"),
        ("GA102_RTX_A6000_48GB", "A6000", 48, "", "x86_64"),
        ("TU102_RTX_6000_24GB", "RTX 6000", 24, "", "x86_64"),
        ("nvidia_h100_sxm5_80gb", "H100", 80, "SXM5", "x86_64"),
    ],
)
def test_rec_a_gpu_model_is_cut_into_its_parts(
    model: str, name: str, gigabytes: int, form: str, architecture: str
) -> None:
    (found,) = read(entry(gpuModel=model))
    (gpu,) = found.gpus
    assert (gpu.name, gpu.memory.total, gpu.interconnect) == (name, gigabytes * 10**9, form)
    assert gpu.type == model
    assert found.architectures == (architecture,)


def test_trap_gpus_of_a_machine_are_one_entry_with_a_count() -> None:
    (found,) = read(entry(gpuCount=8))
    assert [gpu.count for gpu in found.gpus] == [8]


def test_a_type_without_gpus_lacks_both_fields() -> None:
    (found,) = read({"name": "cpu.4x", "cpu": 4, "memory": "16Gi"})
    assert found.gpus == ()
    assert read_gpu("", 8) is None
    assert read_gpu("H100", 0) is None
    assert read_gpu("80GB", 1) is None
    alone = read_gpu("H100_80GB", None)
    assert alone is not None
    assert alone.count == 1


def test_a_gpu_of_another_maker_is_not_called_nvidias() -> None:
    gpu = read_gpu("MI300X_OAM_192GB", 8)
    assert gpu is not None
    assert (gpu.name, gpu.manufacturer, gpu.interconnect) == ("MI300X", "unknown", "OAM")


def test_trap_capacities_are_named_by_type_and_are_no_locations() -> None:
    """`/capacity` looks like a list of regions, and is one of instance types."""
    api = Canned(instance_types=(200, [entry()]), capacity=(200, [{"name": "h100-hgx-80gb.8x", "capacity": 1}]))
    (place,) = api.run(lambda client: client.get_locations())
    assert place.name == "us-east-1"
    assert api.asked == []
    assert [item.is_available for item in api.run(lambda client: client.get_instance_types())] == [True]


@pytest.mark.parametrize(
    "capacity",
    [[], [{"name": "h100-hgx-80gb.8x", "capacity": 0}], [{"name": "h100-hgx-80gb.8x", "capacity": -1}],
     [{"name": "h100-hgx-80gb.8x", "capacity": None}], [{"name": "other", "capacity": 9}]],
)  # fmt: skip
def test_rec_a_type_without_capacity_is_there_and_cannot_be_had(capacity: list[dict[str, Any]]) -> None:
    (found,) = read(entry(), capacity=capacity)
    assert (found.is_available, found.stock) == (False, 0)


def test_a_launch_takes_from_the_stock(bench: Bench) -> None:
    before = {item.type: item.stock for item in types(bench)}
    bench.make()
    after = {item.type: item.stock for item in types(bench)}
    assert (before["gpu_1x_a10"] or 0) - (after["gpu_1x_a10"] or 0) == 1


@pytest.mark.parametrize("name", ["instance_types", "capacity"])
def test_half_a_catalogue_is_an_error(name: str) -> None:
    both: dict[str, tuple[int, object]] = {"instance_types": (200, [entry()]), "capacity": (200, [])}
    for broken in ((500, "oops"), (501, {"message": "not here"}), (200, "{"), (200, {"items": []})):
        with pytest.raises(CloudError):
            Canned(**{**both, name: broken}).run(lambda client: client.get_instance_types())


def test_rec_a_price_that_nobody_tells_is_unknown_and_not_zero() -> None:
    (found,) = read(entry())
    assert found.base_price is None


def test_prices_of_the_block_are_exact() -> None:
    (found,) = read(entry(), prices={"h100-hgx-80gb.8x": "23.60", "other": "1"})
    assert found.base_price is not None
    assert found.base_price.amount == Decimal("23.60")
    assert (str(found.base_price.amount), found.base_price.currency) == ("23.60", "USD")
    machine = read_row(settings={"prices": {"h100-hgx-80gb.8x": "23.60"}})
    assert machine.hourly_price == Decimal("23.60")
    assert read_row().hourly_price is None


def test_a_price_of_nothing_is_a_price() -> None:
    (found,) = read(entry(), prices={"h100-hgx-80gb.8x": "0"})
    assert found.base_price is not None
    assert found.base_price.amount == 0


@pytest.mark.parametrize(
    "price",
    ["", "free", "-1", "NaN", "inf", "1,5", "1e999999", "1e3", "1_0", "٣", "+1", " 1", "1\n", ".5", "1.", "9" * 10],
)
def test_a_price_that_is_none_is_told(price: str) -> None:
    with pytest.raises(Rejected, match=r"(?s)prices: .* for h100 is not a price") as caught:
        Canned().run(lambda client: client.tenant_id(), prices={"h100": price})
    assert caught.value.sent is Sent.NO


def test_a_price_of_null_is_told_as_null() -> None:
    with pytest.raises(Rejected, match="prices: h100 is null") as caught:
        Canned().run(lambda client: client.tenant_id(), prices={"h100": None})
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("price", ["0", "23.60", "007", "999999999", "0." + "3" * 154])
def test_a_price_is_a_plain_decimal_amount(price: str) -> None:
    assert read_row(settings={"prices": {"h100-hgx-80gb.8x": price}}).hourly_price == Decimal(price)


def test_a_catalogue_with_prices_of_the_block_is_not_kept(bench: Bench) -> None:
    """They may change between two runs, and what is kept would bear the old ones."""
    assert fluidstack.connect(bench.connection(prices=PRICES)).traits.catalogue_poll_s == 0
    assert fluidstack.connect(bench.connection()).traits.catalogue_poll_s == 300


def test_filters_of_types(bench: Bench) -> None:
    assert {item.type for item in types(bench, instance_types=("gpu_1x_a10",))} == {"gpu_1x_a10"}
    assert {item.type for item in types(bench, architectures=("arm64",))} == {"gpu_1x_gh200"}
    assert types(bench, locations=("nowhere",)) == []
    assert types(bench, locations=("all",)) == types(bench) == types(bench, locations=(REGION,))


def test_unknown_and_missing_fields_of_a_type_do_no_harm() -> None:
    (found,) = read({"name": "a", "cpu": None, "memory": None, "gpuModel": None, "new": {"x": 1}})
    assert (found.type, found.vcpu, found.memory, found.gpus) == ("a", 0, Bytes(), ())


def test_no_types_are_no_error() -> None:
    assert read() == []


def test_rec_there_is_one_location_the_one_of_the_block(bench: Bench) -> None:
    assert [place.name for place in bench.run(lambda client: client.get_locations())] == [REGION]
    assert bench.wire.calls == []


# Launching

RULES = FirewallRules(ingress=(FirewallRule(from_port=443, to_port=443),))


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": A_MACHINE, "name": "web", "type": "h100-hgx-80gb.8x", "image": "ubuntu22.04", "state": "running",
        "ip": "10.0.0.7", "preemptible": False, "ephemeral": False, "filesystems": [], "userData": None,
        "tags": {"brev-ref-id": str(REF), "brev-cloud-cred-ref-id": "bp-test", "team": "x"}, **fields,
    }  # fmt: skip


def launched(answer: tuple[int, object] = (201, row(state="creating", ip=None)), **fields: Any) -> Canned:
    """Launch at an API that answers so; give it, with what it was asked."""
    api = Canned(instances=answer)
    wanted = attrs(**{"location": REGION, "name": "web", **fields})
    api.run(lambda client: client.create_instance(wanted))
    return api


def sent_body(api: Canned) -> dict[str, Any]:
    body = json.loads(api.asked[-1].content)
    assert isinstance(body, dict)
    return body


def sent_parts(api: Canned) -> list[tuple[str, str]]:
    """Give kind and text of each part of the user data that were sent."""
    message = message_from_string(b64decode(sent_body(api)["userData"], validate=True).decode())
    return [(part.get_content_type(), part.get_payload(decode=True).decode()) for part in message.get_payload()]


def test_a_launch_asks_for_everything() -> None:
    api = launched(
        instance_type="h100-hgx-80gb.8x", image_id="ubuntu24.04", tags={"team": "x"}, filesystems=(DISK,),
        spot=True, options={"ephemeral": "true"}, firewall_rules=RULES,
    )  # fmt: skip
    body = sent_body(api)
    body.pop("userData")
    assert body == {
        "name": "web", "type": "h100-hgx-80gb.8x", "image": "image://ubuntu24.04", "filesystems": [DISK],
        "tags": {"brev-ref-id": REF, "brev-cloud-cred-ref-id": "bp-test", "team": "x"},
        "preemptible": True, "ephemeral": True,
    }  # fmt: skip
    assert len(api.asked) == 1, "nothing is asked before, and nothing is read back"


def test_what_is_not_asked_for_is_left_out() -> None:
    assert sent_body(launched()).keys() == {"name", "type", "tags", "userData"}
    assert "ephemeral" not in sent_body(launched(options={"ephemeral": "false"}))


def test_a_launch_gives_what_its_answer_says() -> None:
    made = Canned(instances=(201, row(state="creating", ip=None))).run(
        lambda client: client.create_instance(attrs(location=REGION, name="web", tags={"team": "x"}))
    )
    assert made.cloud_id == A_MACHINE
    assert (made.ref_id, made.cloud_cred_ref_id, made.address) == (REF, "bp-test", "")
    assert (made.status, made.name, made.tags) == (LifecycleStatus.PENDING, "web", {"team": "x"})
    assert (made.location, made.ssh_user, made.ssh_port) == (REGION, "ubuntu", 22)


def test_an_answer_with_an_id_alone_is_a_machine() -> None:
    made = Canned(instances=(201, {"id": A_MACHINE})).run(
        lambda client: client.create_instance(attrs(location=REGION, tags={"team": "x"}))
    )
    assert (made.cloud_id, made.ref_id, made.tags) == (A_MACHINE, REF, {"team": "x"})
    assert made.instance_type == "gpu_1x_a10"


def test_a_machine_without_a_name_is_called_by_its_mark() -> None:
    assert sent_body(launched(name=""))["name"] == REF


def test_trap_3_the_ssh_key_travels_in_the_user_data(bench: Bench) -> None:
    bench.make(public_key="ssh-ed25519 AAAA me@laptop\n")
    (machine,) = bench.cloud.store.machines()
    assert machine.body.public_key == "ssh-ed25519 AAAA me@laptop"
    (shown,) = bench.rows()
    user_data = b64decode(shown["userData"]).decode()
    assert list(authorized_keys(user_data)) == ["ssh-ed25519 AAAA me@laptop"]


@pytest.mark.parametrize("key", ["", "AAAA"])
def test_trap_3_a_machine_that_nobody_could_reach_is_not_launched(key: str) -> None:
    api = Canned(instances=(201, row()))
    with pytest.raises(Rejected, match="public_key") as caught:
        api.run(lambda client: client.create_instance(attrs(location=REGION, public_key=key)))
    assert caught.value.sent is Sent.NO
    assert api.asked == []


def test_rec_the_firewall_travels_in_the_user_data() -> None:
    config, script = sent_parts(launched(firewall_rules=RULES))
    assert config[0] == "text/cloud-config"
    assert script == ("text/x-shellscript", start_script(RULES))


def test_rec_a_script_of_the_users_own_runs_behind_the_firewall() -> None:
    own = "#!/bin/sh\necho hello\n"
    parts = sent_parts(launched(firewall_rules=RULES, user_data=own))
    assert parts[-1] == ("text/x-shellscript", start_script(RULES, user_data=own))
    assert len(parts) == 2


def test_rec_configuration_of_the_users_own_stands_beside_ours() -> None:
    own = "#cloud-config\npackages: [htop]\n"
    parts = sent_parts(launched(firewall_rules=RULES, user_data=own))
    assert parts[0] == ("text/cloud-config", own)
    assert "ssh_authorized_keys" in parts[1][1]
    assert parts[2] == ("text/x-shellscript", start_script(RULES))


def test_trap_4_an_image_is_written_with_a_scheme_and_read_without(bench: Bench) -> None:
    made = bench.make(image_id="ubuntu24.04")
    assert json.loads(json.dumps(bench.rows()[0]["image"])) == "ubuntu24.04"
    assert made.image_id == bench.got(made.cloud_id).image_id == "ubuntu24.04"
    assert sent_body(launched(image_id="ubuntu24.04"))["image"] == "image://ubuntu24.04"
    assert read_row(image="image://ubuntu22.04").image_id == "ubuntu22.04"


def test_trap_4_an_image_given_with_its_scheme_would_never_read_the_same() -> None:
    with pytest.raises(Rejected, match=r'without image://: "ubuntu22\.04"'):
        launched(image_id="image://ubuntu22.04")


@pytest.mark.parametrize(
    "fields",
    [{"location": "elsewhere"}, {"sub_location": "a"}, {"disk_size": Bytes(100, "GB")}, {"filesystems": ("fs-1",)},
     {"image_id": "image://x"}, {"options": {"ephemeral": "yes"}}, {"tags": {"brev-ref-id": "x"}},
     {"tags": {"brev-cloud-cred-ref-id": "x"}}, {"tags": {"": "x"}}, {"tags": {"-a": "x"}}, {"tags": {"a-": "x"}},
     {"tags": {"a b": "x"}}, {"tags": {"a" * 64: "x"}}, {"tags": {"ä": "x"}}, {"user_data": "echo hello"},
     {"user_data": "#include\nhttps://example.com/x"},
     {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=9, to_port=1),))}],
    ids=lambda fields: "-".join(fields) + re.sub(r"\W+", "-", str(next(iter(fields.values()))))[:20],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_never_sent(fields: dict[str, Any]) -> None:
    api = Canned(instances=(201, row()))
    with pytest.raises(Rejected) as caught:
        api.run(lambda client: client.create_instance(attrs(**{"location": REGION, **fields})))
    assert (caught.value.sent, caught.value.operation) == (Sent.NO, "create_instance")
    assert api.asked == []


@pytest.mark.parametrize(
    ("fields", "argument"),
    [({"sub_location": "a"}, "sub_location"), ({"disk_size": Bytes(100, "GB")}, "disk_size"),
     ({"image_id": "image://x"}, "image_id"), ({"options": {"ephemeral": "yes"}}, "options"),
     ({"filesystems": ("fs-1",)}, "filesystems"), ({"tags": {"brev-ref-id": "x"}}, "tags"),
     ({"tags": {"a b": "x"}}, "tags"), ({"public_key": "AAAA"}, "public_key"),
     ({"user_data": "echo canary-1"}, "user_data"), ({"user_data": "#cloud-config-archive\n- canary-1"}, "user_data"),
     ({"user_data": "#include\nhttps://canary-1.example"}, "user_data"),
     ({"user_data": "#!/bin/sh canary-1 \udc80"}, "user_data"),
     ({"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=9, to_port=1),))}, "firewalls")],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40],
)  # fmt: skip
def test_a_plan_knows_which_argument_of_a_launch_is_impossible_before_anything_is_done(
    fields: dict[str, Any], argument: str
) -> None:
    """Without a client: nothing is asked. What a user puts into the machine is not shown."""
    with pytest.raises(Rejected) as caught:
        registry.spec("fluidstack").check_launch(attrs(**fields))
    assert caught.value.message.startswith(f"{argument}: ")
    assert "canary" not in str(caught.value)
    assert (caught.value.sent, caught.value.operation) == (Sent.NO, "create_instance")
    with pytest.raises(Rejected) as tried:
        launched(**fields)
    assert tried.value.message == caught.value.message, "a launch is held against the same"


def test_a_plan_lets_a_launch_pass_that_can_be_carried_out() -> None:
    check = registry.spec("fluidstack").check_launch
    check(attrs())
    check(attrs(
        location="anywhere", user_data="#cloud-config\nruncmd: []", tags={"a": "b"}, filesystems=(DISK,), spot=True,
        options={"ephemeral": "true"}, image_id="ubuntu22.04",
    ))  # fmt: skip


@pytest.mark.parametrize("key", ["a", "7", "a.b-c_d", "a" * 63])
def test_tags_that_the_api_takes(bench: Bench, key: str) -> None:
    made = bench.make(tags={key: "väl=ue"})
    assert bench.got(made.cloud_id).tags == {key: "väl=ue"}


def test_rec_marks_are_tags_and_not_among_the_users(bench: Bench) -> None:
    made = bench.make(tags={"team": "x"}, address="instance.web")
    (shown,) = bench.rows()
    assert shown["tags"] == {"brev-ref-id": REF, "brev-cloud-cred-ref-id": "bp-test", "team": "x"}
    (listed,) = bench.listed()
    assert (listed.ref_id, listed.cloud_cred_ref_id, listed.tags) == (REF, "bp-test", {"team": "x"})
    assert listed.address == made.address == "", "it could not follow a change, so it is not written"


# What comes of a launch: errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "sent", "text"),
    [
        (400, {"message": "invalid name"}, Rejected, Sent.REFUSED, "invalid name"),
        (400, {"message": "no capacity left"}, OutOfStock, Sent.REFUSED, "no capacity"),
        (400, {"message": "Out of stock"}, OutOfStock, Sent.REFUSED, "Out of stock"),
        (409, {"message": "out of stock"}, OutOfStock, Sent.REFUSED, "out of stock"),
        (403, {"message": "GPU quota exceeded"}, OutOfQuota, Sent.REFUSED, "quota"),
        (400, {"message": "instance limit reached"}, OutOfQuota, Sent.REFUSED, "limit"),
        (401, {"message": "unauthorized"}, AuthFailed, Sent.REFUSED, "check api_key"),
        (403, {"message": "forbidden"}, AuthFailed, Sent.REFUSED, "forbidden"),
        (404, {"message": "project not found"}, AuthFailed, Sent.REFUSED, "check project"),
        (404, {"message": "image not found"}, ImageNotFound, Sent.REFUSED, "image"),
        (404, {"message": "not found"}, NotFound, Sent.REFUSED, "not found"),
        (404, "404 page not found", Unavailable, Sent.MAYBE, "does not lead to"),
        (404, {"message": "no Route matched"}, Unavailable, Sent.MAYBE, "does not lead to"),
        (409, {"message": "who knows"}, Rejected, Sent.MAYBE, "who knows"),
        (422, {"message": "bad body"}, Rejected, Sent.MAYBE, "bad body"),
        (429, {"message": "rate limit exceeded"}, RateLimited, Sent.MAYBE, "rate limit"),
        (408, "", Unavailable, Sent.MAYBE, "HTTP 408"),
        (302, "", Unavailable, Sent.MAYBE, "HTTP 302"),
        (500, "<html>oops</html>", Unavailable, Sent.MAYBE, "oops"),
        (502, b"\xff\xfe", Unavailable, Sent.MAYBE, "HTTP 502"),
        (503, {"message": "no capacity to answer"}, Unavailable, Sent.MAYBE, "HTTP 503"),
        (501, {"message": "not implemented"}, NotImplemented_, Sent.MAYBE, "does not offer this"),
        (400, {"message": {"nested": 1}}, Rejected, Sent.REFUSED, "nested"),
        (400, "", Rejected, Sent.REFUSED, "no reason given"),
        (201, "", Unavailable, Sent.MAYBE, "not what the API describes"),
        (201, {"name": "no id"}, Unavailable, Sent.MAYBE, "not what the API describes"),
        (201, {"id": ""}, Unavailable, Sent.MAYBE, "not what the API describes"),
    ],
)
def test_errors_of_a_launch(status: int, body: object, kind: type[CloudError], sent: Sent, text: str) -> None:
    with pytest.raises(kind) as caught:
        launched((status, body))
    error = caught.value
    assert type(error) is kind
    assert (error.sent, error.http_status, error.provider) == (sent, status, "fluidstack")
    assert error.operation == "create_instance"
    assert text in str(error)


@pytest.mark.parametrize(
    "text",
    ["out of stock", "out-of-stock", "OUT_OF_STOCK", "no capacity left for h100-hgx-80gb.8x", "insufficient capacity",
     "no available capacity", "Not enough GPU capacity", "we do not have sufficient p4d capacity", "sold out",
     "capacity is currently not available", "capacity exhausted", "there is no h100 stock in this region"],
)  # fmt: skip
def test_words_that_say_that_nothing_is_left(text: str) -> None:
    with pytest.raises(OutOfStock):
        launched((400, {"message": text}))


@pytest.mark.parametrize(
    "text",
    ["quota exceeded", "this would exceed your quota", "quotas: gpu 8 of 8", "instance limit reached",
     "limit of 5 instances reached", "Request exceeds the limit of 8 GPUs", "you are over your GPU limit",
     "the limit for project acme has been reached", "maximum number of instances"],
)  # fmt: skip
def test_words_that_say_that_the_project_may_not_have_more(text: str) -> None:
    with pytest.raises(OutOfQuota):
        launched((403, {"message": text}))


@pytest.mark.parametrize(
    "text",
    ["name exceeds the limit of 63 characters", "user data exceeds the limit of 16 KB", "tag limit exceeded",
     "instance type h100-limited is unknown", "preemptible capacity class is not valid", "livestock is not a type",
     "no such capacity class", "unlimited is not a number", "stocks-1 is no name", "capacity must be a number",
     "rate limit exceeded", "limit must be a number"],
)  # fmt: skip
def test_words_that_only_look_like_a_shortage_are_a_wrong_request(text: str) -> None:
    with pytest.raises(CloudError) as caught:
        launched((400, {"message": text}))
    assert type(caught.value) is Rejected


def test_a_type_whose_name_looks_like_a_limit_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        launched((404, {"message": "instance type h100-limited not found"}))
    assert type(caught.value) is NotFound


@pytest.mark.parametrize(
    "text",
    ["instance not found in project 123e4567-e89b-12d3-a456-426614174003", "instance not found: no such path",
     f'Instance "{A_MACHINE}" was not found', f"instance {A_MACHINE} in project 7 not found", "instance does not exist",
     "no such instance in this project", "could not find instance 7: see the page on errors", "not found",
     "instance routed-1 not found", "instance homepage-7 not found"],
)  # fmt: skip
def test_a_machine_that_the_api_says_is_not_there_is_gone(text: str) -> None:
    """A destroy comes to its end whatever else the text names."""
    api = Canned(404, {"message": text})
    with pytest.raises(InstanceNotFound):
        api.run(lambda client: client.get_instance(NO_MACHINE))
    api.run(lambda client: client.terminate_instance(NO_MACHINE))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("project not found", AuthFailed), ("project not found for instance 7", AuthFailed),
     ("instance 7: project not found", AuthFailed), ("the instance's project was not found", AuthFailed),
     ("project 7 of this instance does not exist", AuthFailed), ("no such project", AuthFailed),
     ("path /api/v1alpha1/instances/7 not found", Unavailable), ("page not found", Unavailable),
     ("no route for /instance/7", Unavailable), ("The requested URL was not found on this server", Unavailable),
     ("no such endpoint", Unavailable), ("filesystem of instance not found", Rejected),
     ("instance type not found", Rejected)],
)  # fmt: skip
def test_a_404_about_something_else_is_no_machine_gone(text: str, kind: type[CloudError]) -> None:
    api = Canned(404, {"message": text})
    for call in (
        lambda client: client.get_instance(NO_MACHINE),
        lambda client: client.terminate_instance(NO_MACHINE),
    ):
        with pytest.raises(kind) as caught:
            api.run(call)
        assert type(caught.value) is kind


def test_an_error_that_quotes_the_request_shows_no_user_data() -> None:
    """`userData` is base64 of a message, whose parts are base64 again."""
    quoted: list[str] = []

    def answer(text: str) -> str:
        with pytest.raises(Rejected) as caught:
            launched((400, {"message": text}), user_data="#!/bin/sh\nexport TOKEN=canary-31337\n" * 50)
        return str(caught.value)

    sent = sent_body(launched(user_data="#!/bin/sh\nexport TOKEN=canary-31337\n" * 50))["userData"]
    whole = b64decode(sent).decode()
    for piece in (sent, sent[:500], sent[1000:1100], whole, whole[-400:]):
        quoted.append(answer(f"userData {piece} is not valid"))
    assert all(text.count("(secret)") and len(text) < 400 for text in quoted), quoted
    assert all(sent[at : at + 16] not in text for text in quoted for at in range(len(sent) - 16))


def test_stock_and_quota_are_told_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, quirks=Quirks(limit=1))
    with pytest.raises(OutOfStock):
        bench.make(instance_type="gpu_8x_b200_sxm6")
    bench.make()
    with pytest.raises(OutOfQuota) as over:
        bench.make("bp-test-aaaaaaaaaaaa-000002")
    assert over.value.sent is Sent.REFUSED
    assert len(bench.rows()) == 1
    assert bench.wire.violations == []


def test_an_unknown_image_is_told(bench: Bench) -> None:
    with pytest.raises(ImageNotFound):
        bench.make(image_id="solaris")


def test_an_unknown_type_is_told(bench: Bench) -> None:
    with pytest.raises(NotFound, match="instance type") as caught:
        bench.make(instance_type="gpu_1x_h100_pcie")
    assert caught.value.sent is Sent.REFUSED


@pytest.mark.parametrize(
    ("fault", "kind", "made"),
    [(Fault(before=Trouble(Way.DROPPED)), Unavailable, 0), (Fault(after=Trouble(Way.DROPPED)), Unavailable, 1),
     (Fault(after=Trouble(Way.TRUNCATED)), Unavailable, 1), (Fault(after=Trouble(Way.STATUS, 502)), Unavailable, 1),
     (Fault(before=Trouble(Way.STATUS, 429, 3.0)), RateLimited, 0)],
    ids=["dropped before", "dropped after", "truncated", "502 after", "429"],
)  # fmt: skip
def test_a_launch_without_an_answer_may_have_made_a_machine(
    bench: Bench, fault: Fault, kind: type[CloudError], made: int
) -> None:
    bench.faults.choose = lambda call: fault if call.operation == "create_instance" else Fault()
    with pytest.raises(kind) as caught:
        bench.make()
    assert caught.value.sent is Sent.MAYBE
    assert caught.value.retryable
    assert len(bench.cloud.store.machines()) == made
    assert bench.faults.count("create_instance") == 1, "the client tries nothing again"
    assert bench.faults.calls[0].target == REF
    if kind is RateLimited:
        assert caught.value.retry_after == 3.0


def test_too_many_requests(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"requests_per_minute": 1})
    assert bench.listed() == []
    with pytest.raises(RateLimited) as caught:
        bench.listed()
    assert caught.value.retryable
    assert caught.value.retry_after is not None


def test_what_a_request_is_for_is_told_to_the_pacer(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.list_instances(urgency=Urgency.SETTLE))
    bench.run(lambda client: client.get_instance(made.cloud_id))
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.pacer.admitted == [Urgency.CREATE, Urgency.SETTLE, Urgency.POLL, Urgency.SETTLE]


def test_a_trace_shows_neither_key_nor_user_data(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, logger="brevplan.providers.http")
    bench.make(user_data="#!/bin/sh\nexport TOKEN=canary-31337\n")
    bench.listed()
    shown = " ".join(record.getMessage() for record in caplog.records if record.levelno <= logging.DEBUG)
    assert '"userData": "(secret)"' in shown
    (stored,) = bench.rows()
    assert stored["userData"] not in shown
    assert KEY not in shown


# Reading machines


def read_row(settings: dict[str, Any] | None = None, **fields: Any) -> Instance:
    """Read a machine in a list and alone: both must give the same."""
    given, settings = row(**fields), settings or {}
    (listed,) = Canned(body=[given]).run(lambda client: client.list_instances(), **settings)
    got = Canned(body=given).run(lambda client: client.get_instance(CloudId(given["id"])), **settings)
    assert listed == got
    return listed


def test_a_machine_is_read_whole() -> None:
    found = read_row(filesystems=[DISK], preemptible=True)
    assert found.cloud_id == A_MACHINE
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == (REF, "bp-test", "")
    assert (found.name, found.status) == ("web", LifecycleStatus.RUNNING)
    assert found.instance_type == "h100-hgx-80gb.8x"
    assert found.instance_type_id == "us-east-1-noSub-h100-hgx-80gb.8x" == instance_type_id(found)
    assert (found.location, found.private_ip) == ("us-east-1", "10.0.0.7")
    assert (found.ssh_user, found.ssh_port) == ("ubuntu", 22)
    assert (found.image_id, found.filesystems, found.spot) == ("ubuntu22.04", (DISK,), True)
    assert found.tags == {"team": "x"}
    assert (found.stoppable, found.rebootable) == (True, False)
    assert found.created_at is None


def test_rec_the_address_is_private_unless_the_block_says_that_it_is_reached() -> None:
    assert (read_row().public_ip, read_row().private_ip) == ("", "10.0.0.7")
    inside = read_row(settings={"private_access": True})
    assert (inside.public_ip, inside.private_ip) == ("10.0.0.7", "10.0.0.7")
    assert read_row(settings={"private_access": True}, ip=None).public_ip == ""


def test_what_is_promised_is_what_there_is(bench: Bench) -> None:
    assert fluidstack.connect(bench.connection()).traits.promises == {"private_ip"}
    assert fluidstack.connect(bench.connection(private_access=True)).traits.promises == {"private_ip", "public_ip"}


@pytest.mark.parametrize(
    ("given", "status"),
    [("creating", "pending"), ("starting", "pending"), ("running", "running"), ("stopping", "stopping"),
     ("stopped", "stopped"), ("deleting", "terminating")],
)  # fmt: skip
def test_states(given: str, status: str) -> None:
    found = read_row(state=given)
    assert found.status.value == status
    assert found.messages == ()


@pytest.mark.parametrize(("given", "message"), [("out-of-stock", "out of stock"), ("error", "error")])
def test_trap_5_a_machine_for_which_there_is_no_place_has_failed(given: str, message: str) -> None:
    """The state is written with hyphens; taken for an unknown one it would look like a machine on its way."""
    found = read_row(state=given)
    assert found.status is LifecycleStatus.FAILED
    assert message in found.messages[0]


@pytest.mark.parametrize("given", ["out_of_stock", "hibernating", "", None])
def test_an_unknown_state_is_never_pending(given: str | None) -> None:
    found = read_row(state=given)
    assert found.status is LifecycleStatus.RUNNING
    assert "not known" in found.messages[0]


def test_a_machine_accepted_and_then_without_a_place(bench: Bench) -> None:
    bench.faults.choose = lambda call: Fault(fails_after_s=5.0)
    made = bench.make()
    assert bench.got(made.cloud_id).status is LifecycleStatus.PENDING
    bench.clock.passed += 6
    assert bench.got(made.cloud_id).status is LifecycleStatus.FAILED
    assert bench.rows()[0]["state"] == "out-of-stock"


def test_an_answer_that_says_out_of_stock_has_an_id_and_is_no_error() -> None:
    made = Canned(instances=(201, row(state="out-of-stock", ip=None))).run(
        lambda client: client.create_instance(attrs(location=REGION))
    )
    assert (made.cloud_id, made.status) == (A_MACHINE, LifecycleStatus.FAILED)


def test_there_is_no_address_until_the_machine_has_its_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 30.0})
    made = bench.make()
    assert (bench.got(made.cloud_id).status, bench.got(made.cloud_id).private_ip) == (LifecycleStatus.PENDING, "")
    bench.clock.passed += 31
    found = bench.got(made.cloud_id)
    assert (found.status, found.private_ip) == (LifecycleStatus.RUNNING, "10.0.0.1")
    assert bench.wire.violations == []


def test_list_and_get_agree(bench: Bench) -> None:
    made = bench.make(tags={"team": "x"}, filesystems=(DISK,), spot=True, options={"ephemeral": "true"})
    assert bench.listed() == [bench.got(made.cloud_id)]
    assert bench.listed()[0].spot
    assert bench.rows()[0]["ephemeral"] is True


@pytest.mark.parametrize("tags", [None, {}, {"Brev-Ref-Id": "x"}, {"team": None}])
def test_a_foreign_machine_has_no_marks(tags: dict[str, str | None] | None) -> None:
    found = read_row(tags=tags, name="mine_too")
    assert (found.ref_id, found.cloud_cred_ref_id) == ("", "")
    assert found.name == "mine_too"


def test_the_least_that_a_machine_can_be() -> None:
    (found,) = Canned(body=[{"id": A_MACHINE}]).run(lambda client: client.list_instances())
    assert found.cloud_id == A_MACHINE
    nulls = {name: None for name in row() if name != "id"}
    (same,) = Canned(body=[{"id": A_MACHINE, **nulls}]).run(lambda client: client.list_instances())
    assert same == found


def test_fields_nobody_knows_are_ignored(tmp_path: Path) -> None:
    assert read_row(hostGroup="hg", labels={"a": [1]}) == read_row()
    bench = Bench(tmp_path, quirks=Quirks(extra_fields=True))
    made = bench.make()
    assert bench.listed() == [bench.got(made.cloud_id)]


@pytest.mark.parametrize("body", ["", "{", {}, {"instances": []}, None, [{}], [{"id": ""}], [None]])
def test_a_list_that_cannot_be_read_is_no_empty_list(body: object) -> None:
    with pytest.raises(Unavailable) as caught:
        Canned(body=body).run(lambda client: client.list_instances())
    assert "not what the API describes" in str(caught.value)


@pytest.mark.parametrize("body", [{"message": "not found"}, "404 page not found", {"detail": "Not Found"}, ""])
def test_a_list_that_is_not_found_says_nothing_about_machines(body: object) -> None:
    with pytest.raises(Unavailable):
        Canned(404, body).run(lambda client: client.list_instances())


def test_filters_are_applied_here(bench: Bench) -> None:
    one = bench.make(tags={"team": "x"})
    two = bench.make("bp-test-aaaaaaaaaaaa-000002", tags={"team": "y"})

    def found(**wanted: Any) -> list[str]:
        listed = bench.run(lambda client: client.list_instances(InstanceFilter(**wanted)))
        return [machine.cloud_id for machine in listed]

    assert found() == [one.cloud_id, two.cloud_id]
    assert found(cloud_ids=(two.cloud_id,)) == [two.cloud_id]
    assert found(locations=(REGION,)) == [one.cloud_id, two.cloud_id]
    assert found(locations=("us-west-1",)) == []
    assert found(tags={"team": ("y",)}) == [two.cloud_id]


def test_an_unknown_machine_is_not_found(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound) as caught:
        bench.got(NO_MACHINE)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "body", ["404 page not found", {"detail": "Not Found"}, {"message": "no route matched"}, "", {"message": 5}]
)
def test_a_404_that_is_not_the_apis_own_is_no_machine_gone(body: object) -> None:
    for call in (
        lambda client: client.get_instance(NO_MACHINE),
        lambda client: client.terminate_instance(NO_MACHINE),
        lambda client: client.stop_instance(NO_MACHINE),
    ):
        with pytest.raises(Unavailable, match="does not lead to"):
            Canned(404, body).run(call)


@pytest.mark.parametrize("wrong", ["not-an-id", "../capacity", "i-00000001", "", "0b0f6a1e2c644f0a9c1e6a3f2d6f8a10"])
def test_what_is_no_uuid_is_never_asked_for(wrong: str) -> None:
    api = Canned(200, row())
    with pytest.raises(InstanceNotFound):
        api.run(lambda client: client.get_instance(CloudId(wrong)))
    api.run(lambda client: client.terminate_instance(CloudId(wrong)))
    assert api.asked == []


def test_what_strangers_write_takes_no_time() -> None:
    """Patterns that may meet words of the API are bounded; all else that comes from it is cut, once through."""
    long = "a" * 100_000
    found = read_row(tags={long: long}, name=long, type="_" * 100_000, image="image://" * 10_000)
    assert found.tags == {long: long}
    (item,) = read(entry(gpuModel="_" * 100_000, memory="9" * 100_000))
    assert (item.gpus, item.memory) == ((), Bytes())
    patterns = {name: value.pattern for name, value in vars(fluidstack).items() if isinstance(value, re.Pattern)}
    assert set(patterns) == {"_REGION", "_TAG_KEY", "_PRICE"}
    words = {name: value.pattern for name, value in vars(fluidstack_errors).items() if isinstance(value, re.Pattern)}
    patterns |= words
    assert len(words) == 8
    assert all("*" not in pattern and "+" not in pattern for pattern in patterns.values()), "each is bounded"


@pytest.mark.parametrize(
    "text", ["no ", "limit ", "exceeds ", "not have ", "instance ", "a", "in the ", "file", "-", "not "]
)
def test_words_of_strangers_take_no_time(text: str) -> None:
    from time import process_time

    began = process_time()
    for status in (400, 404):
        with pytest.raises(CloudError):
            launched((status, {"message": text * (400_000 // len(text))}))
    assert process_time() - began < 5.0


# Ending


def test_terminate_starts_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"end_s": 20.0})
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATING
    bench.clock.passed += 21
    assert bench.listed() == []
    with pytest.raises(InstanceNotFound):
        bench.got(made.cloud_id)
    assert bench.wire.violations == []


def test_rec_terminating_what_is_gone_is_a_success(bench: Bench) -> None:
    made = bench.make()
    for _ in range(2):
        bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.run(lambda client: client.terminate_instance(NO_MACHINE))
    assert bench.rows() == []


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(409, NotReady, True), (500, Unavailable, True), (403, AuthFailed, False), (400, Rejected, False)],
)
def test_a_refused_end_is_no_success(status: int, kind: type[CloudError], retryable: bool) -> None:
    with pytest.raises(kind) as caught:
        Canned(status, {"message": "no"}).run(lambda client: client.terminate_instance(NO_MACHINE))
    assert caught.value.retryable is retryable


def test_nothing_stands_beside_a_machine_and_nothing_can_be_fenced(bench: Bench) -> None:
    bench.make()
    bench.wire.calls.clear()
    assert bench.run(lambda client: client.side_objects()) == []
    assert bench.run(lambda client: client.fence(REF)) is False
    bench.run(lambda client: client.release(REF))
    assert bench.wire.calls == []


# Stop and start


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, how={"boot_s": 30.0, "stop_s": 10.0})
    yield made
    assert made.wire.violations == []


def stop(bench: Bench, cloud_id: CloudId) -> None:
    bench.run(lambda client: client.stop_instance(cloud_id))


def start(bench: Bench, cloud_id: CloudId) -> None:
    bench.run(lambda client: client.start_instance(cloud_id))


def test_trap_the_calls_are_actions_and_answer_nothing(slow: Bench) -> None:
    made = slow.make()
    slow.clock.passed += 31
    slow.wire.calls.clear()
    stop(slow, made.cloud_id)
    assert slow.wire.calls == [f"POST /instances/{made.cloud_id}/actions/stop"]
    assert slow.got(made.cloud_id).status is LifecycleStatus.STOPPING
    slow.clock.passed += 11
    assert slow.got(made.cloud_id).status is LifecycleStatus.STOPPED
    slow.wire.calls.clear()
    start(slow, made.cloud_id)
    assert slow.wire.calls == [f"POST /instances/{made.cloud_id}/actions/start"]
    assert slow.got(made.cloud_id).status is LifecycleStatus.PENDING
    slow.clock.passed += 31
    found = slow.got(made.cloud_id)
    assert (found.status, found.ref_id, found.private_ip) == (LifecycleStatus.RUNNING, REF, "10.0.0.1")


def test_rec_a_conflict_with_nothing_to_do_is_a_success(slow: Bench) -> None:
    made = slow.make()
    start(slow, made.cloud_id)  # it boots
    slow.clock.passed += 31
    start(slow, made.cloud_id)
    assert slow.got(made.cloud_id).status is LifecycleStatus.RUNNING
    stop(slow, made.cloud_id)
    stop(slow, made.cloud_id)  # it is stopping
    slow.clock.passed += 11
    stop(slow, made.cloud_id)
    assert slow.got(made.cloud_id).status is LifecycleStatus.STOPPED


def test_a_conflict_that_passes_is_worth_another_try(slow: Bench) -> None:
    made = slow.make()
    with pytest.raises(NotReady) as booting:
        stop(slow, made.cloud_id)
    slow.clock.passed += 31
    stop(slow, made.cloud_id)
    with pytest.raises(NotReady) as stopping:
        start(slow, made.cloud_id)
    assert booting.value.retryable
    assert stopping.value.retryable
    assert (booting.value.operation, booting.value.http_status) == ("stop_instance", 409)


@pytest.mark.parametrize("state", ["error", "out-of-stock", "deleting"])
def test_a_conflict_that_never_passes_is_final(state: str) -> None:
    api = Canned(200, row(state=state), start=(409, {"message": "instance state conflict"}))
    with pytest.raises(Rejected, match="instance state conflict: the machine is") as caught:
        api.run(lambda client: client.start_instance(CloudId(A_MACHINE)))
    assert not caught.value.retryable


def test_a_start_that_finds_no_place_says_so() -> None:
    for status, message, kind in ((409, "no capacity", OutOfStock), (400, "quota exceeded", OutOfQuota)):
        api = Canned(200, row(state="stopped"), start=(status, {"message": message}))
        with pytest.raises(kind):
            api.run(lambda client, wanted=A_MACHINE: client.start_instance(CloudId(wanted)))  # type: ignore[misc]  # a default binds the id
        assert len(api.asked) == 1


def test_a_place_that_was_taken_meanwhile_is_out_of_stock(bench: Bench) -> None:
    made = bench.make(instance_type="gpu_8x_v100_sxm2")
    stop(bench, made.cloud_id)
    for number in range(24):
        bench.make(f"bp-test-bbbbbbbbbbbb-{number:06d}", instance_type="gpu_8x_v100_sxm2")
    with pytest.raises(OutOfStock):
        start(bench, made.cloud_id)


def test_power_of_what_is_gone(bench: Bench) -> None:
    for call in (stop, start):
        with pytest.raises(InstanceNotFound):
            call(bench, NO_MACHINE)


# The face itself


def test_trap_6_every_call_was_held_against_the_description_that_can_be_read(bench: Bench) -> None:
    """The published file holds binary examples that no checker can load; the normalised one is used instead."""
    if not SPEC_FILE.exists():
        pytest.skip(f"{SPEC_FILE.name} is not here: nothing is checked against it")
    assert bench.ask("POST", "/instances", {"name": 5}).status_code == 400
    assert bench.ask("GET", "/instances", project="default-project-id").status_code == 400
    assert len(bench.wire.violations) >= 2
    bench.wire.violations.clear()


def test_the_face_refuses_what_the_api_refuses(bench: Bench) -> None:
    good = {"name": "x", "type": "gpu_1x_a10"}
    assert bench.ask("POST", "/instances", good).status_code == 201
    for wrong in ({"image": "ubuntu22.04"}, {"tags": {"-": "x"}}, {"name": ""}, {"userData": "%"}, {"type": "9x"}):
        assert bench.ask("POST", "/instances", {**good, **wrong}).status_code in (400, 404), wrong
    assert bench.ask("GET", "/instances/not-a-uuid").status_code == 400
    bench.wire.violations.clear()
    assert bench.ask("GET", "/nothing").text == "404 page not found"
    bench.wire.violations.clear()
    assert len(bench.rows()) == 1


def test_the_face_lists_projects_and_what_may_be_done(bench: Bench) -> None:
    assert [one["id"] for one in bench.ask("GET", "/projects").json()] == [PROJECT]
    assert "instances:stop" in bench.ask("GET", "/capabilities").json()


def test_a_machine_without_user_data_lets_nobody_in(bench: Bench) -> None:
    bench.ask("POST", "/instances", {"name": "x", "type": "gpu_1x_a10"})
    assert bench.cloud.store.machines()[0].body.public_key == NOBODY
    assert bench.rows()[0]["userData"] is None
    (found,) = bench.listed()
    assert (found.ref_id, found.name) == ("", "x")


def test_the_face_reads_keys_as_cloud_init_does() -> None:
    block = "#cloud-config\nssh_authorized_keys:\n  - ssh-rsa AAAA one\n  - ecdsa-sha2-nistp256 BBBB two\n"
    assert list(authorized_keys(block)) == ["ssh-rsa AAAA one", "ecdsa-sha2-nistp256 BBBB two"]
    assert list(authorized_keys("#!/bin/sh\n- ssh-rsa AAAA one\n")) == []
    assert list(authorized_keys("#cloud-config\n[]\n")) == []


def test_ssh_may_really_be_elsewhere(tmp_path: Path) -> None:
    where: dict[str, tuple[str, int]] = {}
    bench = Bench(tmp_path, address_of=lambda cloud_id: where.get(cloud_id, ("", 22)))
    made = bench.make()
    assert bench.got(made.cloud_id).private_ip == ""
    where[cloud_id_behind(made.cloud_id)] = ("127.101.0.1", 22)
    assert bench.got(made.cloud_id).private_ip == "127.101.0.1"
    stop(bench, made.cloud_id)
    assert bench.got(made.cloud_id).private_ip == "", "it listens nowhere now"
    assert bench.wire.violations == []


def test_the_block_that_simulate_prints_is_that_of_the_face() -> None:
    written = practice.ARGUMENTS["fluidstack"]
    assert written == {"project": f'"{PROJECT}"', "region": f'"{REGION}"', "private_access": "true"}
    assert set(written) <= registry.spec("fluidstack").all_arguments().keys()


def test_machines_of_the_simulated_cloud_are_reached_at_their_private_address(tmp_path: Path) -> None:
    clock = SystemClock()
    written = {name: json.loads(text) for name, text in practice.ARGUMENTS["fluidstack"].items()}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def whole() -> None:
        served = practice.Practice(["fluidstack"], practice.Wishes(tmp_path, KEY, ssh_port=port), clock)
        endpoint = (await served.start())["fluidstack"]
        given = {"api_key": KEY, "endpoint": endpoint, "request_timeout": 5.0, **written}
        client = fluidstack.connect(Connection(given, {}, ".", Recorded(), clock))
        try:
            made = await client.create_instance(attrs(location=REGION, public_key=SSH_KEY))
            found = made
            while not found.public_ip:
                await asyncio.sleep(0.05)
                found = await client.get_instance(made.cloud_id)
            assert found.public_ip == found.private_ip
            assert found.private_ip.startswith("127.")
            reader, writer = await asyncio.open_connection(found.public_ip, port)
            assert (await reader.readline()).startswith(b"SSH-2.0-")
            writer.close()
            await client.terminate_instance(made.cloud_id)
            assert await client.list_instances() == []
        finally:
            await client.aclose()
            await served.stop()

    asyncio.run(asyncio.wait_for(whole(), 30))


@pytest.mark.parametrize("fault", [Fault(), Fault(after=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.TRUNCATED))])
def test_a_machine_comes_and_goes_over_a_real_socket(tmp_path: Path, fault: Fault) -> None:
    clock, faults = SystemClock(), ChosenFaults()
    cloud = SimCloud(tmp_path / "cloud.db", clock, Behaviour(idempotent=False, fences=False))
    cloud.faults = faults
    faults.choose = lambda call: fault if call.operation == "create_instance" else Fault()

    async def whole() -> None:
        server = Server([face(cloud, KEY)], clock)
        port = await server.start()
        settings = {
            "api_key": KEY, "project": PROJECT, "region": REGION, "request_timeout": 5.0,
            "endpoint": f"http://127.0.0.1:{port}/fluidstack/api/v1alpha1",
        }  # fmt: skip
        client = fluidstack.connect(Connection(settings, {}, ".", Recorded(), clock))
        wanted = attrs(name="web", location=REGION)
        try:
            if fault.after is None:
                await client.create_instance(wanted)
            else:
                with pytest.raises(Unavailable) as caught:
                    await client.create_instance(wanted)
                assert caught.value.sent is Sent.MAYBE
            (made,) = await client.list_instances()
            assert (made.ref_id, made.name) == (REF, "web")
            await client.stop_instance(made.cloud_id)
            assert (await client.get_instance(made.cloud_id)).status is LifecycleStatus.STOPPED
            await client.terminate_instance(made.cloud_id)
            assert await client.list_instances() == []
        finally:
            await client.aclose()
            await server.stop()
            cloud.close()

    asyncio.run(asyncio.wait_for(whole(), 30))
