"""The Shadeform client, every method, in front of its face; and the traps of the API, each under its name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import CAPABILITY_PROTOCOLS, Capability, CloudClient, Connection, Rename, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
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
    PortMapping,
    RefId,
    instance_type_id,
)
from brevplan.contract.ufw import start_script
from brevplan.operations.world import SystemClock
from brevplan.providers import registry, shadeform
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import cloud_id_behind
from brevplan.simcloud.faces.server import Server
from brevplan.simcloud.faces.shadeform import face
from brevplan.simcloud.faults import Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.providers.shadeform_bench import KEY, SPEC_FILE, Bench, Canned, Recorded
from tests.simcloud.build import attrs
from tests.world import ChosenFaults

REF = RefId("bp-test-aaaaaaaaaaaa-000001")
NOBODY = CloudId("00000000-0000-4000-8000-000000009999")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    assert made.wire.violations == []


# The account


def test_the_registry_has_it_with_its_credential() -> None:
    spec = registry.spec("shadeform")
    key = spec.all_arguments()["api_key"]
    assert (key.sensitive, key.required, key.environment) == (True, True, "SHADEFORM_API_KEY")
    assert spec.traits.option_names == set(spec.options)


def test_what_is_declared_is_there_and_nothing_else(bench: Bench) -> None:
    client = shadeform.connect(bench.connection())
    assert isinstance(client, CloudClient)
    assert isinstance(client, Rename)
    for capability, protocol in CAPABILITY_PROTOCOLS.items():
        assert isinstance(client, protocol) == (capability in client.traits.capabilities), capability
    assert client.traits.firewall_pattern is FirewallPattern.USER_DATA
    assert Capability.CREATE_IDEMPOTENT not in client.traits.capabilities


def test_the_block_changes_the_rates(bench: Bench) -> None:
    client = shadeform.connect(bench.connection(requests_per_minute=30, creates_per_minute=2, grace_window=5.0))
    assert client.traits.requests_per_minute == 30
    assert client.traits.creates_per_minute == 2
    assert client.traits.grace_window_s == 5.0


def test_the_tenant_follows_from_the_key_without_a_request(bench: Bench) -> None:
    tenant = bench.run(lambda client: client.tenant_id())
    assert tenant == f"shadeform-{hashlib.sha256(KEY.encode()).hexdigest()}"
    assert bench.wire.calls == []


def test_a_wrong_key_is_noticed_by_the_first_list(bench: Bench) -> None:
    with pytest.raises(AuthFailed) as caught:
        bench.run(lambda client: client.list_instances(), key="wrong-key-99")
    assert "Invalid API key" in str(caught.value)
    assert "SHADEFORM_API_KEY" in str(caught.value)
    assert "wrong-key-99" not in str(caught.value)
    assert caught.value.http_status == 401


@pytest.mark.parametrize("key", ["", "  ", "schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_hold(bench: Bench, key: str) -> None:
    with pytest.raises(AuthFailed) as caught:
        shadeform.connect(bench.connection(key))
    assert caught.value.sent is Sent.NO
    assert not key.strip() or key not in str(caught.value)


def test_the_key_goes_into_its_header_without_a_prefix() -> None:
    api = Canned(body={"instances": []})
    api.run(lambda client: client.list_instances())
    assert api.asked[0].headers["X-API-KEY"] == KEY


# Types


def types(bench: Bench, **wanted: Any) -> list[InstanceType]:
    return bench.run(lambda client: client.get_instance_types(InstanceTypeFilter(**wanted)))


def entry(**fields: Any) -> dict[str, Any]:
    hardware = {
        "memory_in_gb": 120, "storage_in_gb": 100, "vcpus": 28, "num_gpus": 1, "gpu_type": "A100_80G",
        "interconnect": "pcie", "nvlink": False, "vram_per_gpu_in_gb": 80, "gpu_manufacturer": "nvidia",
        "os_options": ["ubuntu22.04_cuda12.2_shade_os"], **fields.pop("configuration", {}),
    }  # fmt: skip
    return {
        "cloud": "hyperstack", "shade_instance_type": "A100_80G", "cloud_instance_type": "n3-A100x1",
        "configuration": hardware, "hourly_price": 135, "deployment_type": "vm",
        "availability": [{"region": "canada-1", "available": True, "display_name": "Canada"}],
        "boot_time": {"min_boot_in_sec": 180, "max_boot_in_sec": 300}, **fields,
    }  # fmt: skip


def read(*entries: dict[str, Any], **wanted: Any) -> list[InstanceType]:
    api = Canned(body={"instance_types": list(entries)})
    return api.run(lambda client: client.get_instance_types(InstanceTypeFilter(**wanted)))


def test_a_type_is_read_whole() -> None:
    (found,) = read(entry())
    assert found.id == "hyperstack_A100_80G_canada-1"
    assert (found.type, found.location) == ("hyperstack_A100_80G", "canada-1")
    assert (found.provider, found.cloud) == ("shadeform", "hyperstack")
    assert (found.vcpu, found.memory) == (28, Bytes(120, "GB"))
    (gpu,) = found.gpus
    assert (gpu.name, gpu.type, gpu.count, gpu.memory) == ("A100", "A100_80G", 1, Bytes(80, "GB"))
    assert (gpu.interconnect, gpu.manufacturer) == ("PCIe", "NVIDIA")
    assert (found.storage[0].type, found.storage[0].size) == ("ssd", Bytes(100, "GB"))
    assert found.architectures == ("x86_64",)
    assert found.is_available
    assert not found.stoppable
    assert found.rebootable


def test_prices_are_whole_cents_and_never_floats() -> None:
    for cents, dollars in ((135, "1.35"), (100, "1.00"), (7, "0.07"), (3110, "31.10"), (29, "0.29")):
        (found,) = read(entry(hourly_price=cents))
        assert found.base_price is not None
        assert found.base_price.amount == Decimal(dollars)
        assert found.base_price.currency == "USD"


def test_every_type_of_the_simulated_catalogue_comes_through(bench: Bench) -> None:
    found = {(item.type, item.location): item for item in types(bench)}
    offers = catalogue.offers()
    assert set(found) == {(offer.type, offer.location) for offer in offers}
    for offer in offers:
        item = found[offer.type, offer.location]
        assert item.base_price == offer.base_price
        assert [gpu.name for gpu in item.gpus] == [gpu.name for gpu in offer.gpus]
        assert [gpu.memory for gpu in item.gpus] == [gpu.memory for gpu in offer.gpus]
        assert item.architectures == offer.architectures
        assert item.is_available == (offer.stock != 0)


def test_types_are_in_order_and_the_same_twice(bench: Bench) -> None:
    first, second = types(bench), types(bench)
    assert first == second
    assert [(item.type, item.location) for item in first] == sorted((item.type, item.location) for item in first)
    assert len({item.id for item in first}) == len(first)


def test_the_order_of_the_answer_carries_no_meaning() -> None:
    one, other = entry(), entry(cloud="aws", shade_instance_type="H100")
    assert read(one, other) == read(other, one)


def test_trap_unavailable_regions_keep_their_ids() -> None:
    places = [{"region": name, "available": False, "display_name": name} for name in ("b", "a")]
    found = read(entry(availability=places))
    assert [item.id for item in found] == ["hyperstack_A100_80G_a", "hyperstack_A100_80G_b"]
    assert not any(item.is_available for item in found)


def test_trap_one_region_may_stand_under_several_clouds() -> None:
    found = read(entry(), entry(cloud="aws"))
    assert [(item.type, item.location) for item in found] == [
        ("aws_A100_80G", "canada-1"), ("hyperstack_A100_80G", "canada-1"),
    ]  # fmt: skip


def test_trap_ids_do_not_depend_on_price_or_gpu_data() -> None:
    (before,) = read(entry())
    (after,) = read(entry(hourly_price=999, configuration={"gpu_type": "A100X", "vram_per_gpu_in_gb": 81}))
    assert before.id == after.id


def test_an_entry_that_comes_twice_gives_one_type() -> None:
    sold_out = entry(availability=[{"region": "canada-1", "available": False, "display_name": "Canada"}])
    for order in ((sold_out, entry()), (entry(), sold_out)):
        (found,) = read(*order)
        assert found.is_available


def test_trap_excesssupply_is_shadeforms_own_cloud() -> None:
    (found,) = read(entry(cloud="excesssupply"))
    assert found.cloud == "shadeform"
    assert found.type == "excesssupply_A100_80G"
    assert found.id == "excesssupply_A100_80G_canada-1"


def test_a_cloud_that_could_not_be_split_off_again_is_left_out() -> None:
    assert read(entry(cloud="my_cloud")) == []


@pytest.mark.parametrize(
    ("given", "shown"), [("pcie", "PCIe"), ("sxm4", "SXM4"), ("SXM5", "SXM5"), ("", ""), ("fabric", "fabric")]
)
def test_rec_interconnects_are_written_as_everywhere(given: str, shown: str) -> None:
    (found,) = read(entry(configuration={"interconnect": given}))
    assert found.gpus[0].interconnect == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [("nvidia", "NVIDIA"), ("NVIDIA", "NVIDIA"), ("Intel", "Intel"), ("amd", "unknown"), ("", "unknown")],
)
def test_manufacturers(given: str, shown: str) -> None:
    (found,) = read(entry(configuration={"gpu_manufacturer": given}))
    assert found.gpus[0].manufacturer == shown


@pytest.mark.parametrize(
    ("gpu", "name", "architecture"),
    [("A100_80G", "A100", "x86_64"), ("H100", "H100", "x86_64"), ("GH200", "GH200", "arm64"),
     ("GB200_192G", "GB200", "arm64"), ("l40s", "L40S", "x86_64")],
)  # fmt: skip
def test_gpu_names_are_cut_and_architectures_follow(gpu: str, name: str, architecture: str) -> None:
    (found,) = read(entry(configuration={"gpu_type": gpu}))
    assert found.gpus[0].name == name
    assert found.gpus[0].type == gpu
    assert found.architectures == (architecture,)


def test_rec_no_gpu_is_no_entry_of_count_zero() -> None:
    (found,) = read(entry(configuration={"num_gpus": 0, "gpu_type": ""}))
    assert found.gpus == ()
    assert found.architectures == ("x86_64",)


@pytest.mark.parametrize(("kind", "is_container"), [("vm", False), ("container", True), ("baremetal", False)])
def test_rec_containers_are_told(kind: str, is_container: bool) -> None:
    (found,) = read(entry(deployment_type=kind))
    assert found.is_container is is_container


@pytest.mark.parametrize(
    ("boot", "seconds"),
    [({"min_boot_in_sec": 180, "max_boot_in_sec": 301}, 240), ({"min_boot_in_sec": 180}, 180),
     ({"max_boot_in_sec": 90}, 90), ({"min_boot_in_sec": 0, "max_boot_in_sec": 0}, 0), ({"min_boot_in_sec": 0}, 0),
     ({}, None), (None, None)],
)  # fmt: skip
def test_deploy_times(boot: object, seconds: float | None) -> None:
    (found,) = read(entry(boot_time=boot))
    assert found.deploy_time_s == seconds


def test_filters_of_types(bench: Bench) -> None:
    assert {item.location for item in types(bench, locations=("us-west-1",))} == {"us-west-1"}
    assert {item.location for item in types(bench, locations=("us-west-1", "us-east-1"))} == {"us-west-1", "us-east-1"}
    assert {item.type for item in types(bench, instance_types=("gpu_1x_a10",))} == {"gpu_1x_a10"}
    assert {item.type for item in types(bench, architectures=("arm64",))} == {"gpu_1x_gh200"}
    assert types(bench, locations=("nowhere",)) == []
    assert types(bench, locations=("all",)) == types(bench) == types(bench, locations=("*",))


def test_one_region_is_asked_for_and_several_are_not() -> None:
    api = Canned(body={"instance_types": []})
    for locations in (("a",), ("a", "b"), ("all",), ("*",), ()):
        api.run(lambda client, names=locations: client.get_instance_types(InstanceTypeFilter(locations=names)))  # type: ignore[misc]  # a default that binds now
    assert [request.url.params.get("region") for request in api.asked] == ["a", None, None, None, None]


def test_unknown_and_missing_fields_of_a_type_do_no_harm() -> None:
    bare = {"cloud": "a", "shade_instance_type": "b", "configuration": {"new": 1, "gpu_type": None}, "hourly_price": 5,
            "availability": [{"region": "r", "available": None, "more": [1]}], "brand_new": {"x": 1}}  # fmt: skip
    (found,) = read(bare)
    assert (found.id, found.is_available, found.gpus) == ("a_b_r", False, ())


def test_no_types_are_no_error() -> None:
    assert read() == []


# Locations and images


def test_rec_a_location_is_open_when_any_type_is() -> None:
    shut = {"region": "one", "available": False, "display_name": "One"}
    opened = {"region": "one", "available": True, "display_name": "One"}
    other = {"region": "another", "available": False, "display_name": "Other"}
    for order in ([shut, opened], [opened, shut]):
        api = Canned(body={"instance_types": [entry(availability=[place, other]) for place in order]})
        every = api.run(lambda client: client.get_locations(include_unavailable=True))
        assert [(place.name, place.available) for place in every] == [("another", False), ("one", True)]
        some = api.run(lambda client: client.get_locations())
        assert [place.name for place in some] == ["one"]
        assert some[0].description == "One"


def test_locations_of_the_face(bench: Bench) -> None:
    found = bench.run(lambda client: client.get_locations())
    assert [(place.name, place.description) for place in found] == [
        (place.name, place.description) for place in catalogue.LOCATIONS
    ]


def test_images_are_the_systems_that_types_start_with(bench: Bench) -> None:
    found = bench.run(lambda client: client.get_images())
    assert [(image.id, image.architecture) for image in found] == [
        (image.id, image.architecture) for image in catalogue.IMAGES
    ]
    arm = bench.run(lambda client: client.get_images(architectures=("arm64",)))
    assert {image.architecture for image in arm} == {"arm64"}
    named = bench.run(lambda client: client.get_images(names=("ubuntu-24*",)))
    assert [image.id for image in named] == ["ubuntu-24.04-cuda-x86-64", "ubuntu-24.04-x86-64"]


def test_an_image_of_both_architectures_is_of_neither() -> None:
    api = Canned(body={"instance_types": [entry(), entry(configuration={"gpu_type": "GH200"})]})
    (image,) = api.run(lambda client: client.get_images())
    assert image.architecture == ""
    assert api.run(lambda client: client.get_images(architectures=("arm64",))) == [image]


# Launching


RULES = FirewallRules(ingress=(FirewallRule(from_port=443, to_port=443),))


def sent_body(bench_: Canned) -> dict[str, Any]:
    body = json.loads(bench_.asked[-1].content)
    assert isinstance(body, dict)
    return body


def api_that_launches() -> Canned:
    return Canned(add=(200, {"id": "key-1", "workspace_id": "new"}), create=(200, {"id": "machine-1", "status": "x"}))


def test_a_launch_asks_for_everything() -> None:
    api = api_that_launches()
    wanted = attrs(
        name="web", address='instance.web["a=b"]', instance_type="hyperstack_A100_sxm4x8", location="canada-1",
        image_id="ubuntu22", tags={"team": "x=y"}, filesystems=("vol-1",), options={"template_id": "tpl"},
        firewall_rules=RULES, user_data="#!/bin/sh\necho hello\n",
    )  # fmt: skip
    made = api.run(lambda client: client.create_instance(wanted))
    script = start_script(RULES, ssh_ports=(22, 2222), user_data="#!/bin/sh\necho hello\n")
    body = sent_body(api)
    assert b64decode(body["launch_configuration"]["script_configuration"].pop("base64_script")).decode() == script
    assert body == {
        "cloud": "hyperstack", "shade_instance_type": "A100_sxm4x8", "region": "canada-1", "shade_cloud": True,
        "name": f"{REF}_web", "ssh_key_id": "key-1", "os": "ubuntu22", "template_id": "tpl", "volume_ids": ["vol-1"],
        "tags": [f"refID={REF}", "cloudCredRefID=bp-test", 'brevplanAddress=instance.web["a=b"]', "team=x=y"],
        "launch_configuration": {"type": "script", "script_configuration": {}},
    }  # fmt: skip
    assert [request.url.path.rsplit("/", 1)[1] for request in api.asked] == ["add", "create"], "nothing is read back"
    assert made.cloud_id == "machine-1"
    assert (made.ref_id, made.cloud_cred_ref_id, made.address) == (REF, "bp-test", 'instance.web["a=b"]')
    assert made.status is LifecycleStatus.PENDING
    assert made.instance_type_id == "hyperstack_A100_sxm4x8_canada-1"


def test_what_is_not_asked_for_is_left_out() -> None:
    api = api_that_launches()
    api.run(lambda client: client.create_instance(attrs(name="web")))
    assert not {"os", "template_id", "volume_ids"} & set(sent_body(api))


def test_trap_the_native_type_is_cut_at_the_first_underscore() -> None:
    api = api_that_launches()
    api.run(lambda client: client.create_instance(attrs(instance_type="hyperstack_A100_80G")))
    assert (sent_body(api)["cloud"], sent_body(api)["shade_instance_type"]) == ("hyperstack", "A100_80G")


@pytest.mark.parametrize(
    "fields",
    [{"instance_type": "A100"}, {"instance_type": "_A100"}, {"instance_type": "aws_"}, {"spot": True},
     {"sub_location": "a"}, {"filesystems": ("one", "two")}, {"tags": {"a=b": "c"}}, {"tags": {"": "c"}},
     {"tags": {"refID": "c"}}, {"tags": {"cloudCredRefID": "c"}}, {"tags": {"brevplanAddress": "c"}},
     {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=9, to_port=1),))}],
    ids=lambda fields: "-".join(fields) + re.sub(r"\W+", "-", str(next(iter(fields.values()))))[:20],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_never_sent(fields: dict[str, Any]) -> None:
    api = api_that_launches()
    with pytest.raises(Rejected) as caught:
        api.run(lambda client: client.create_instance(attrs(**fields)))
    assert caught.value.sent is Sent.NO
    assert api.asked == []


def test_a_machine_of_the_face_bears_its_marks_and_its_key(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    (row,) = bench.rows()
    assert row["id"] == made.cloud_id
    assert row["name"] == f"{REF}_web"
    assert set(row["tags"]) == {f"refID={REF}", "cloudCredRefID=bp-test", "brevplanAddress=instance.web", "team=x"}
    assert bench.keys()[1:] == [REF]
    (machine,) = bench.cloud.store.machines()
    assert machine.body.public_key == "ssh-ed25519 AAAA test"
    assert machine.ref_id == f"{REF}_web"


def test_trap_the_bare_shade_type_is_not_enough(bench: Bench) -> None:
    with pytest.raises(Rejected):
        bench.make(instance_type="A100")
    assert bench.rows() == []


def test_rec_the_script_has_an_interpreter_line() -> None:
    api = api_that_launches()
    api.run(lambda client: client.create_instance(attrs()))
    script = b64decode(sent_body(api)["launch_configuration"]["script_configuration"]["base64_script"])
    assert script.startswith(b"#!")
    assert script.endswith(b"\n")


def test_rec_both_usual_ssh_ports_are_open_before_the_machine_has_its_place() -> None:
    api = api_that_launches()
    api.run(lambda client: client.create_instance(attrs()))
    script = b64decode(sent_body(api)["launch_configuration"]["script_configuration"]["base64_script"]).decode()
    assert script == start_script(FirewallRules(), ssh_ports=(22, 2222))


def test_no_key_to_register_leaves_the_default_key() -> None:
    api = api_that_launches()
    api.run(lambda client: client.create_instance(attrs(public_key="")))
    assert "ssh_key_id" not in sent_body(api)
    assert len(api.asked) == 1


def test_trap_a_key_that_is_there_already_is_found_by_its_name(bench: Bench) -> None:
    bench.ask("POST", "/sshkeys/add", {"name": "another", "public_key": "ssh-ed25519 AAAA other comment"})
    bench.ask("POST", "/sshkeys/add", {"name": REF, "public_key": "ssh-ed25519 AAAA test"})
    bench.make()
    (machine,) = bench.cloud.store.machines()
    assert machine.body.options["ssh_key_id"].endswith("000002"), "the one of this name, not only of this text"
    assert bench.keys().count(REF) == 1


def test_trap_a_duplicate_key_never_sends_an_empty_id() -> None:
    api = Canned(
        add=(409, {"error_code": "X", "error": "name must be unique"}),
        sshkeys=(200, {"ssh_keys": [{"id": "far", "name": "other", "public_key": "ssh-ed25519 AAAA"}]}),
        create=(200, {"id": "machine-1"}),
    )  # fmt: skip
    api.run(lambda client: client.create_instance(attrs()))
    assert sent_body(api)["ssh_key_id"] == "far", "the same key text under another name"


def test_a_name_taken_by_another_key_launches_nothing(bench: Bench) -> None:
    bench.ask("POST", "/sshkeys/add", {"name": REF, "public_key": "ssh-ed25519 BBBB somebody"})
    with pytest.raises(Rejected) as caught:
        bench.make()
    assert caught.value.sent is Sent.NO
    assert bench.rows() == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [(500, "oops", Unavailable, True), (401, {"message": "Invalid API key"}, AuthFailed, False),
     (429, {"message": "slow down"}, RateLimited, True), (400, {"message": "bad key"}, Rejected, False),
     (200, "{", Unavailable, True), (200, {"id": ""}, Unavailable, True)],
    ids=["500", "401", "429", "400", "malformed", "no id"],
)  # fmt: skip
def test_a_key_that_cannot_be_registered_means_that_nothing_was_launched(
    status: int, body: object, kind: type[CloudError], retryable: bool
) -> None:
    api = Canned(add=(status, body))
    with pytest.raises(kind) as caught:
        api.run(lambda client: client.create_instance(attrs()))
    assert caught.value.sent is Sent.NO
    assert caught.value.retryable is retryable
    assert len(api.asked) == 1


# What comes of a launch: errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "sent", "text"),
    [
        (409, {"error_code": "OUT_OF_STOCK", "error": "none left"}, OutOfStock, Sent.REFUSED, "none left"),
        (409, {"error_code": "INTERNAL_SERVER_ERROR", "error": "it broke"}, Unavailable, Sent.MAYBE, "INTERNAL_SERVER"),
        (409, {"error_code": "SOMETHING", "error": "who knows"}, Rejected, Sent.MAYBE, "SOMETHING"),
        (409, {"error_code": "X", "error": "instance limit reached"}, OutOfQuota, Sent.REFUSED, "limit reached"),
        (400, {"message": "Quota exceeded"}, OutOfQuota, Sent.REFUSED, "Quota exceeded"),
        (409, "plain text", Rejected, Sent.MAYBE, "plain text"),
        (409, {"error": {"nested": 1}}, Rejected, Sent.MAYBE, "nested"),
        (409, [1, 2], Rejected, Sent.MAYBE, "[1, 2]"),
        (409, "", Rejected, Sent.MAYBE, "no reason given"),
        (409, b"\xff\xfe", Rejected, Sent.MAYBE, "HTTP 409"),
        (401, {"message": "Invalid API key"}, AuthFailed, Sent.REFUSED, "Invalid API key"),
        (403, {"message": "account mismatch"}, AuthFailed, Sent.REFUSED, "mismatch"),
        (400, {"message": "bad name"}, Rejected, Sent.REFUSED, "bad name"),
        (422, {"message": "bad name"}, Rejected, Sent.REFUSED, "bad name"),
        (429, {"message": "rate limit exceeded"}, RateLimited, Sent.MAYBE, "rate limit"),
        (500, "<html>oops</html>", Unavailable, Sent.MAYBE, "oops"),
        (503, {"message": "limit of the upstream"}, Unavailable, Sent.MAYBE, "HTTP 503"),
        (408, "", Unavailable, Sent.MAYBE, "HTTP 408"),
        (302, "", Unavailable, Sent.MAYBE, "HTTP 302"),
        (418, {"message": "teapot"}, Rejected, Sent.REFUSED, "teapot"),
        (200, "", Unavailable, Sent.MAYBE, "not what the API describes"),
        (200, {"name": "no id"}, Unavailable, Sent.MAYBE, "not what the API describes"),
        (200, {"id": ""}, Unavailable, Sent.MAYBE, "not what the API describes"),
    ],
)
def test_errors_of_a_launch(status: int, body: object, kind: type[CloudError], sent: Sent, text: str) -> None:
    api = Canned(add=(200, {"id": "key-1"}), create=(status, body))
    with pytest.raises(kind) as caught:
        api.run(lambda client: client.create_instance(attrs()))
    error = caught.value
    assert type(error) is kind
    assert (error.sent, error.http_status, error.provider) == (sent, status, "shadeform")
    assert error.operation == "create_instance"
    assert text in str(error)


def test_the_words_of_a_rate_limit_are_no_quota() -> None:
    api = Canned(429, {"message": "limit"})
    with pytest.raises(RateLimited):
        api.run(lambda client: client.list_instances())


def test_stock_and_quota_are_told_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=1)
    with pytest.raises(OutOfStock) as caught:
        bench.make(instance_type="gpu_8x_b200_sxm6")
    assert caught.value.code == "OUT_OF_STOCK"
    bench.make()
    with pytest.raises(OutOfQuota) as over:
        bench.make("bp-test-aaaaaaaaaaaa-000002")
    assert over.value.sent is Sent.REFUSED
    assert len(bench.rows()) == 1
    assert bench.wire.violations == []


def test_trap_an_invalid_region_looks_like_no_stock(bench: Bench) -> None:
    with pytest.raises(OutOfStock):
        bench.make(location="abc123")
    assert [item for item in types(bench) if item.location == "abc123"] == [], "what the plan looks it up in"


@pytest.mark.parametrize(
    ("fault", "kind", "made"),
    [(Fault(before=Trouble(Way.DROPPED)), Unavailable, 0), (Fault(after=Trouble(Way.DROPPED)), Unavailable, 1),
     (Fault(after=Trouble(Way.TRUNCATED)), Unavailable, 1), (Fault(after=Trouble(Way.MALFORMED)), Unavailable, 1),
     (Fault(after=Trouble(Way.STATUS, 502)), Unavailable, 1),
     (Fault(before=Trouble(Way.STATUS, 429, 3.0)), RateLimited, 0)],
    ids=["dropped before", "dropped after", "truncated", "malformed", "502 after", "429"],
)  # fmt: skip
def test_a_launch_without_an_answer_may_have_made_a_machine(
    tmp_path: Path, fault: Fault, kind: type[CloudError], made: int
) -> None:
    bench = Bench(tmp_path)
    bench.faults.choose = lambda call: fault if call.operation == "create_instance" else Fault()
    with pytest.raises(kind) as caught:
        bench.make()
    assert caught.value.sent is Sent.MAYBE
    assert caught.value.retryable
    assert len(bench.cloud.store.machines()) == made
    if kind is RateLimited:
        assert caught.value.retry_after == 3.0


def test_a_launch_is_never_made_twice_by_the_client(bench: Bench) -> None:
    bench.faults.choose = lambda call: Fault(after=Trouble(Way.STATUS, 503))
    with pytest.raises(Unavailable):
        bench.make()
    assert bench.faults.count("create_instance") + bench.faults.count("add_ssh_key") == 1


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
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.run(lambda client: client.release(REF))
    settle, create = Urgency.SETTLE, Urgency.CREATE
    assert bench.pacer.admitted == [settle, create, settle, settle, settle, settle], "one launch is counted once"


# Reading machines


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": "d290f1ee-6c54-4b01-90e6-d701748f0851", "cloud": "hyperstack", "region": "canada-1",
        "shade_instance_type": "A100_80G", "cloud_instance_type": "n3-A100x1", "cloud_assigned_id": "x",
        "shade_cloud": True, "name": f"{REF}_web", "ip": "1.2.3.4", "ssh_user": "shadeform", "ssh_port": 22,
        "configuration": {"os": "ubuntu22", "storage_in_gb": 100, "memory_in_gb": 1, "vcpus": 1, "num_gpus": 1,
                          "gpu_type": "A100_80G", "interconnect": "pcie", "vram_per_gpu_in_gb": 80,
                          "gpu_manufacturer": "nvidia"},
        "status": "active", "cost_estimate": "103.4", "hourly_price": 210,
        "tags": [f"refID={REF}", "cloudCredRefID=bp-test", "team=x"],
        "created_at": "2026-01-02T03:04:05.001Z", "deleted_at": "0001-01-01T00:00:00Z", **fields,
    }  # fmt: skip


def read_row(**fields: Any) -> Instance:
    """Read a machine in a list and alone: both must give the same."""
    given = row(**fields)
    (listed,) = Canned(body={"instances": [given]}).run(lambda client: client.list_instances())
    got = Canned(body=given).run(lambda client: client.get_instance(CloudId(given["id"])))
    assert listed == got
    return listed


def test_a_machine_is_read_whole() -> None:
    found = read_row()
    assert found.cloud_id == "d290f1ee-6c54-4b01-90e6-d701748f0851"
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == (REF, "bp-test", "")
    assert found.name == "web"
    assert found.status is LifecycleStatus.RUNNING
    assert found.instance_type == "hyperstack_A100_80G"
    assert found.instance_type_id == "hyperstack_A100_80G_canada-1" == instance_type_id(found)
    assert (found.location, found.public_ip, found.hostname) == ("canada-1", "1.2.3.4", "shadecloud")
    assert (found.ssh_user, found.ssh_port) == ("shadeform", 22)
    assert (found.image_id, found.disk_size) == ("ubuntu22", Bytes(100, "GB"))
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, 1000, tzinfo=UTC)
    assert found.tags == {"team": "x"}
    assert (found.stoppable, found.rebootable, found.spot) == (False, True, False)


def test_trap_list_and_get_are_read_alike(bench: Bench) -> None:
    made = bench.make(tags={"team": "x"}, address="instance.web")
    (listed,) = bench.listed()
    got = bench.got(made.cloud_id)
    assert listed == got
    assert (listed.name, listed.tags, listed.address) == ("web", {"team": "x"}, "instance.web")
    (offer,) = [item for item in types(bench) if (item.type, item.location) == ("gpu_1x_a10", "us-west-1")]
    assert listed.instance_type_id == offer.id == made.instance_type_id


def test_trap_the_price_of_a_machine_is_in_cents_too() -> None:
    assert read_row(hourly_price=210, cost_estimate="999.9").hourly_price == Decimal("2.10")
    assert read_row(hourly_price=None).hourly_price is None


@pytest.mark.parametrize(
    ("given", "status"),
    [("creating", "pending"), ("pending_provider", "pending"), ("pending", "pending"), ("active", "running"),
     ("error", "failed"), ("deleting", "terminating"), ("deleted", "terminated")],
)  # fmt: skip
def test_statuses(given: str, status: str) -> None:
    found = read_row(status=given)
    assert found.status.value == status
    assert found.messages == ()


@pytest.mark.parametrize("given", ["hibernating", "", None])
def test_trap_an_unknown_status_is_never_pending(given: str | None) -> None:
    found = read_row(status=given)
    assert found.status is LifecycleStatus.RUNNING
    assert "not known" in found.messages[0]


def test_rec_an_error_tells_its_details() -> None:
    found = read_row(status="error", status_details="no capacity at the cloud")
    assert found.status is LifecycleStatus.FAILED
    assert found.messages == ("no capacity at the cloud",)


def test_trap_a_machine_accepted_and_then_without_capacity_turns_to_error(bench: Bench) -> None:
    bench.faults.choose = lambda call: Fault(fails_after_s=5.0)
    made = bench.make()
    assert bench.got(made.cloud_id).status is LifecycleStatus.PENDING
    bench.clock.passed += 6
    failed = bench.got(made.cloud_id)
    assert failed.status is LifecycleStatus.FAILED
    assert "no capacity" in failed.messages[0]


def test_there_is_no_address_until_the_machine_has_its_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 30.0})
    made = bench.make()
    assert (bench.got(made.cloud_id).status, bench.got(made.cloud_id).public_ip) == (LifecycleStatus.PENDING, "")
    bench.clock.passed += 31
    found = bench.got(made.cloud_id)
    assert found.status is LifecycleStatus.RUNNING
    assert found.public_ip
    assert bench.wire.violations == []


def test_ssh_may_be_at_another_port_and_behind_a_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path, address_of=lambda cloud_id: ("gpu-1.cloud.example", 40022))
    (found,) = [bench.got(bench.make().cloud_id)]
    assert (found.public_ip, found.ssh_port) == ("gpu-1.cloud.example", 40022)
    assert bench.wire.violations == []


@pytest.mark.parametrize("port", [0, None])
def test_a_port_that_is_not_known_yet_is_the_usual_one(port: int | None) -> None:
    assert read_row(ssh_port=port, ssh_user=None, ip=None).ssh_port == 22


def test_rec_port_mappings_are_kept() -> None:
    found = read_row(port_mappings=[{"internal_port": 22, "external_port": 40022}, {"internal_port": 80}])
    assert found.port_mappings == (PortMapping(40022, 22),)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2016-08-29T09:12:33.001000+00:00", datetime(2016, 8, 29, 9, 12, 33, 1000, tzinfo=UTC)),
     ("2016-08-29 09:12:33", datetime(2016, 8, 29, 9, 12, 33, tzinfo=UTC)), ("", None), (None, None), ("soon", None)],
)  # fmt: skip
def test_times(text: str | None, moment: datetime | None) -> None:
    assert read_row(created_at=text).created_at == moment


def test_trap_a_tag_made_by_hand_hides_no_machine() -> None:
    found = read_row(tags=["gpu", f"refID={REF}", "=odd", "cloudCredRefID=bp-test", "a=b=c"])
    assert (found.ref_id, found.cloud_cred_ref_id) == (REF, "bp-test")
    assert found.tags == {"a": "b=c"}


def test_trap_of_tags_with_one_key_the_last_counts() -> None:
    assert read_row(tags=["team=x", "team=y", f"refID={REF}"]).tags == {"team": "y"}


@pytest.mark.parametrize("tags", [None, [], ["refid=x", "REFID=y"], ["refID"], ["cloudCredRefID="]])
def test_a_foreign_machine_has_no_marks(tags: list[str] | None) -> None:
    found = read_row(tags=tags, name="mine_too")
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == ("", "", "")
    assert found.name == "mine_too"


def test_the_least_that_a_machine_can_be() -> None:
    (found,) = Canned(body={"instances": [{"id": "x"}]}).run(lambda client: client.list_instances())
    assert found.cloud_id == "x"
    nulls = {name: None for name in row() if name != "id"}
    (same,) = Canned(body={"instances": [{"id": "x", **nulls}]}).run(lambda client: client.list_instances())
    assert same == found


def test_fields_nobody_knows_are_ignored() -> None:
    assert read_row(workspace_id="w", labels={"a": [1]}) == read_row()


@pytest.mark.parametrize(
    "body", ["", "{", [], {}, {"instances": None}, {"instances": [{}]}, {"instances": [{"id": ""}]}]
)
def test_a_list_that_cannot_be_read_is_no_empty_list(body: object) -> None:
    with pytest.raises(Unavailable) as caught:
        Canned(body=body).run(lambda client: client.list_instances())
    assert "not what the API describes" in str(caught.value)


def test_rec_filters_are_applied_here(bench: Bench) -> None:
    one = bench.make(tags={"team": "x"})
    two = bench.make("bp-test-aaaaaaaaaaaa-000002", location="us-east-1", tags={"team": "y"})

    def found(**wanted: Any) -> list[str]:
        listed = bench.run(lambda client: client.list_instances(InstanceFilter(**wanted)))
        return [machine.cloud_id for machine in listed]

    assert found() == [one.cloud_id, two.cloud_id]
    assert found(cloud_ids=(two.cloud_id,)) == [two.cloud_id]
    assert found(locations=("us-west-1",)) == [one.cloud_id]
    assert found(tags={"team": ("y",)}) == [two.cloud_id]
    assert found(tags={"team": ("z",)}) == []


@pytest.mark.parametrize("status", [404, 400, 409])
def test_rec_an_unknown_id_is_not_found_whatever_the_status(tmp_path: Path, status: int) -> None:
    bench = Bench(tmp_path, status_of_unknown=status)
    with pytest.raises(InstanceNotFound):
        bench.got(NOBODY)
    with pytest.raises(InstanceNotFound):
        bench.got("not-an-id")
    assert bench.wire.violations == []


def test_an_id_cannot_lead_to_another_call() -> None:
    api = Canned(404, {"message": "instance not found"})
    with pytest.raises(InstanceNotFound):
        api.run(lambda client: client.get_instance(CloudId("../sshkeys/x")))
    assert api.asked[0].url.raw_path == b"/shadeform/v1/instances/..%2Fsshkeys%2Fx/info"


def test_what_strangers_write_meets_no_pattern() -> None:
    assert not [name for name, value in vars(shadeform).items() if value is re or isinstance(value, re.Pattern)]
    long = "a" * 100_000
    found = read_row(tags=["=" * 100_000, f"{long}={long}", f"refID={REF}"], name=long, status_details=long)
    assert found.tags == {long: long}
    (item,) = read(entry(shade_instance_type=long, configuration={"gpu_type": "_" * 100_000}))
    assert item.gpus == ()


# Ending, and what stands beside


def test_terminate_starts_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"end_s": 20.0})
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATING
    assert bench.listed()[0].status is LifecycleStatus.TERMINATING, "a list shows those on their way out"
    bench.clock.passed += 21
    assert bench.listed() == []
    with pytest.raises(InstanceNotFound):
        bench.got(made.cloud_id)
    assert bench.wire.violations == []


@pytest.mark.parametrize("status", [404, 400, 409])
def test_rec_terminating_what_is_gone_is_a_success(tmp_path: Path, status: int) -> None:
    bench = Bench(tmp_path, status_of_unknown=status)
    made = bench.make()
    for _ in range(2):
        bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.run(lambda client: client.terminate_instance(NOBODY))
    assert bench.rows() == []


def test_a_refused_end_is_no_success() -> None:
    for status, body in ((409, {"error_code": "BUSY", "error": "try later"}), (500, ""), (401, "")):
        with pytest.raises(CloudError):
            Canned(status, body).run(lambda client: client.terminate_instance(NOBODY))


def test_rec_the_key_goes_once_its_machine_is_gone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"end_s": 20.0})
    made = bench.make()
    bench.make("bp-test-aaaaaaaaaaaa-000002")
    with pytest.raises(NotReady) as caught:
        bench.run(lambda client: client.release(REF))
    assert caught.value.retryable
    assert "in use" in str(caught.value)
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    with pytest.raises(NotReady):
        bench.run(lambda client: client.release(REF))
    bench.clock.passed += 21
    for _ in range(2):
        bench.run(lambda client: client.release(REF))
    assert bench.keys() == ["Shadeform Managed Key", "bp-test-aaaaaaaaaaaa-000002"]
    assert bench.wire.violations == []


def test_release_of_what_never_was(bench: Bench) -> None:
    bench.run(lambda client: client.release(RefId("bp-test-zzzzzzzzzzzz-000009")))
    assert bench.keys() == ["Shadeform Managed Key"]


def test_a_key_that_goes_meanwhile_is_released() -> None:
    api = Canned(
        sshkeys=(200, {"ssh_keys": [{"id": "k", "name": REF, "public_key": "x", "is_default": False}]}),
        delete=(409, {"error_code": "X", "error": "ssh key not found"}),
    )
    api.run(lambda client: client.release(REF))
    assert len(api.asked) == 2


def test_trap_the_default_key_is_kept(bench: Bench) -> None:
    bench.ask("POST", "/sshkeys/add", {"name": REF, "public_key": "ssh-ed25519 AAAA test"})
    bench.ask("POST", "/sshkeys/00000000-0000-4000-a000-000000000001/setdefault")
    with pytest.raises(Rejected) as caught:
        bench.run(lambda client: client.release(REF))
    assert "make another one the default" in str(caught.value)


def test_side_objects_are_our_keys(bench: Bench) -> None:
    bench.ask("POST", "/sshkeys/add", {"name": "laptop", "public_key": "ssh-ed25519 CCCC laptop"})
    bench.make()
    (found,) = bench.run(lambda client: client.side_objects())
    assert (found.kind, found.ref_id) == ("ssh key", REF)
    assert found.id.endswith("000002")


def test_there_is_no_fence_but_an_attempt_given_up_leaves_no_key(bench: Bench) -> None:
    bench.ask("POST", "/sshkeys/add", {"name": REF, "public_key": "ssh-ed25519 AAAA test"})
    for _ in range(2):
        assert bench.run(lambda client: client.fence(REF)) is False
    assert bench.keys() == ["Shadeform Managed Key"]


def test_an_attempt_whose_key_is_in_use_is_not_given_up(bench: Bench) -> None:
    bench.make()
    with pytest.raises(NotReady) as caught:
        bench.run(lambda client: client.fence(REF))
    assert caught.value.operation == "fence"
    assert len(bench.rows()) == 1


# Changing


def test_trap_an_update_replaces_all_tags_and_sends_the_marks_again(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"old": "1"})
    bench.run(lambda client: client.update_tags(made.cloud_id, {"new": "2"}))
    found = bench.got(made.cloud_id)
    assert found.tags == {"new": "2"}
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == (REF, "bp-test", "instance.web")
    bench.run(lambda client: client.update_tags(made.cloud_id, {}))
    assert bench.got(made.cloud_id).ref_id == REF
    assert bench.got(made.cloud_id).tags == {}
    assert bench.got(made.cloud_id).name == "web"


@pytest.mark.parametrize("tags", [{"refID": "x"}, {"a=b": "c"}, {"brevplanAddress": "x"}, {"": "x"}])
def test_tags_that_could_not_be_read_back_change_nothing(bench: Bench, tags: dict[str, str]) -> None:
    made = bench.make(tags={"old": "1"})
    with pytest.raises(Rejected):
        bench.run(lambda client: client.update_tags(made.cloud_id, tags))
    assert bench.got(made.cloud_id).tags == {"old": "1"}


def test_a_rename_keeps_marks_and_tags(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    before = bench.got(made.cloud_id)
    bench.run(lambda client: client.rename_instance(made.cloud_id, "db"))
    after = bench.got(made.cloud_id)
    assert after.name == "db"
    assert bench.rows()[0]["name"] == f"{REF}_db"
    assert (after.tags, after.ref_id, after.address) == (before.tags, before.ref_id, before.address)


def test_a_rename_of_a_foreign_machine_adds_no_mark(bench: Bench) -> None:
    made = bench.make()
    bench.cloud.set_tags(cloud_id_behind(made.cloud_id), {"0": "gpu"})
    bench.run(lambda client: client.rename_instance(made.cloud_id, "db"))
    assert (bench.rows()[0]["name"], bench.rows()[0]["tags"]) == ("db", ["gpu"])


def test_the_address_beside_the_mark_is_rewritten(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    bench.run(lambda client: client.update_mark(made.cloud_id, address="prod/instance.db"))
    found = bench.got(made.cloud_id)
    assert (found.address, found.ref_id, found.tags, found.name) == ("prod/instance.db", REF, {"team": "x"}, "web")
    assert sum(tag.startswith("brevplanAddress=") for tag in bench.rows()[0]["tags"]) == 1


def test_taking_the_mark_off_leaves_a_foreign_machine(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    bench.cloud.set_tags(cloud_id_behind(made.cloud_id), {**bench.cloud.store.machines()[0].body.tags, "9": "by hand"})
    for _ in range(2):
        bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    found = bench.got(made.cloud_id)
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == ("", "", "")
    assert found.tags == {"team": "x"}
    assert (bench.rows()[0]["name"], bench.rows()[0]["tags"]) == ("web", ["team=x", "by hand"])


def test_changing_what_is_gone(bench: Bench) -> None:
    for change in (
        lambda client: client.update_tags(NOBODY, {}),
        lambda client: client.update_mark(NOBODY, address=None),
        lambda client: client.rename_instance(NOBODY, "x"),
        lambda client: client.reboot_instance(NOBODY),
    ):
        with pytest.raises(InstanceNotFound):
            bench.run(change)


def test_trap_a_reboot_shows_no_change_of_status(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.reboot_instance(made.cloud_id))
    assert bench.got(made.cloud_id).status is LifecycleStatus.RUNNING
    assert bench.cloud.store.machines()[0].reboots == 1


# The face itself


def test_what_passes_is_held_against_the_description_of_the_api(bench: Bench) -> None:
    if not SPEC_FILE.exists():
        pytest.skip(f"{SPEC_FILE.name} is not here: nothing is checked against it")
    assert bench.ask("POST", "/instances/create", {"name": 5}) == 400
    assert bench.ask("POST", "/sshkeys/add", {"name": "x"}) == 400
    assert len(bench.wire.violations) == 2
    bench.wire.violations.clear()


@pytest.mark.parametrize("fault", [Fault(), Fault(after=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.TRUNCATED))])
def test_a_machine_comes_and_goes_over_a_real_socket(tmp_path: Path, fault: Fault) -> None:
    clock, faults = SystemClock(), ChosenFaults()
    cloud = SimCloud(tmp_path / "cloud.db", clock, Behaviour(idempotent=False, fences=False))
    cloud.faults = faults
    faults.choose = lambda call: fault if call.operation == "create_instance" else Fault()

    async def whole() -> None:
        server = Server([face(cloud, KEY)], clock)
        port = await server.start()
        settings = {"api_key": KEY, "endpoint": f"http://127.0.0.1:{port}/shadeform/v1", "request_timeout": 5.0}
        client = shadeform.connect(Connection(settings, {}, ".", Recorded(), clock))
        try:
            if fault.after is None:
                await client.create_instance(attrs(name="web"))
            else:
                with pytest.raises(Unavailable) as caught:
                    await client.create_instance(attrs(name="web"))
                assert caught.value.sent is Sent.MAYBE
            (made,) = await client.list_instances()
            assert (made.ref_id, made.name) == (REF, "web")
            await client.terminate_instance(made.cloud_id)
            await client.release(REF)
            assert await client.list_instances() == []
            assert await client.side_objects() == []
        finally:
            await client.aclose()
            await server.stop()
            cloud.close()

    asyncio.run(asyncio.wait_for(whole(), 30))


def test_the_face_refuses_what_the_api_refuses(bench: Bench) -> None:
    good = {"cloud": "gpu", "shade_instance_type": "1x_a10", "region": "us-west-1", "shade_cloud": True, "name": "x"}
    assert bench.ask("POST", "/instances/create", good) == 200
    script = {"type": "script", "script_configuration": {"base64_script": "%"}}
    for wrong in ({"volume_ids": ["a", "b"]}, {"ssh_key_id": "nothing"}, {"shade_instance_type": "9x"}, {"os": "dos"},
                  {"launch_configuration": script}):  # fmt: skip
        assert bench.ask("POST", "/instances/create", {**good, **wrong}) in (400, 404), wrong
    assert bench.ask("GET", "/nothing") == 404
    assert len(bench.rows()) == 1
    bench.wire.violations = [line for line in bench.wire.violations if "/nothing" not in line]


def test_the_face_shows_in_a_single_answer_what_a_list_lacks(bench: Bench) -> None:
    made = bench.make(filesystems=("vol-1",))
    assert bench.got(made.cloud_id).filesystems == ("vol-1",)
    assert bench.listed()[0].filesystems == ()
    assert "filesystems" not in shadeform.TRAITS.reports


@pytest.mark.parametrize(
    ("query", "count"),
    [({"cloud": "cpu"}, 1), ({"shade_instance_type": "1x_a10"}, 1), ({"num_gpus": "4"}, 1),
     ({"gpu_type": "GH200_96G"}, 1), ({"region": "nowhere"}, 0), ({"sort": "price"}, 16), ({"available": "true"}, 15)],
)  # fmt: skip
def test_the_face_filters_types(bench: Bench, query: dict[str, str], count: int) -> None:
    found = bench.asked("/instances/types", query)["instance_types"]
    assert len(found) == count
    if "sort" in query:
        prices = [item["hourly_price"] for item in found]
        assert prices == sorted(prices)
