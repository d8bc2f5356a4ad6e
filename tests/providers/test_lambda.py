"""Lambda Cloud's client: every call over the face, held against the API's description, and every trap of that API."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import CAPABILITY_PROTOCOLS, Capability, CloudClient, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    DuplicateFirewallRule,
    ImageNotFound,
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
    FirewallRule,
    FirewallRules,
    InstanceFilter,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
    instance_type_id,
)
from brevplan.kinds.rules import PRIVATE, from_contract
from brevplan.providers import registry
from brevplan.providers.lambda_wire import REGIONS, parse_gpu
from brevplan.simcloud.faces.lambda_cloud import REGIONS as SERVED
from brevplan.simcloud.faces.lambda_cloud import Quirks
from brevplan.simcloud.faults import Fault, Trouble, Way
from tests.providers.lambda_bench import (
    API_KEY,
    LAMBDA,
    REF,
    Canned,
    LambdaBench,
    attrs,
    failure,
    run,
    violations,
)
from tests.providers.spec import SpecTransport, spec_file
from tests.world import KEY

LAUNCH = "POST /instance-operations/launch"
OTHER = "bp-test-bbbbbbbbbbbb-000002"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LambdaBench]:
    yield from _checked(LambdaBench(tmp_path))


@pytest.fixture
def booting(tmp_path: Path) -> Iterator[LambdaBench]:
    """Machines that take a minute to boot."""
    yield from _checked(LambdaBench(tmp_path, replace(LAMBDA, boot_s=60.0)))


def _checked(found: LambdaBench) -> Iterator[LambdaBench]:
    yield found
    found.cloud.close()
    assert violations(found.transport.inner) == []


def launched(bench: LambdaBench) -> dict[str, Any]:
    body = bench.transport.body(LAUNCH)
    assert isinstance(body, dict)
    return body


def expect(kind: type[CloudError], call: Any) -> CloudError:
    with pytest.raises(kind) as caught:
        run(call)
    assert type(caught.value) is kind
    assert caught.value.provider == "lambda"
    assert caught.value.operation
    assert API_KEY not in str(caught.value)
    return caught.value


def test_the_description_of_the_api_is_what_everything_here_is_held_against(bench: LambdaBench) -> None:
    spec_file("lambda.openapi.json")
    run(bench.client.list_instances())
    assert isinstance(bench.transport.inner, SpecTransport)
    assert bench.transport.inner.calls == ["GET /api/v1/instances"]


# Introduction


def test_the_registry_knows_it_and_its_capabilities_are_there(bench: LambdaBench) -> None:
    spec = registry.spec("lambda")
    assert isinstance(bench.client, CloudClient)
    for capability, protocol in CAPABILITY_PROTOCOLS.items():
        assert isinstance(bench.client, protocol) == (capability in spec.traits.capabilities), capability
    assert not {Capability.TAGS, Capability.STOP_START, Capability.CREATE_IDEMPOTENT} & spec.traits.capabilities
    assert (spec.traits.requests_per_minute, spec.traits.creates_per_minute) == (60, 5)
    assert spec.traits.catalogue_poll_s == 300.0
    (key,) = spec.arguments
    assert (key.name, key.environment, key.sensitive, key.required) == ("api_key", "LAMBDA_API_KEY", True, True)


def test_the_account_is_named_without_a_request(bench: LambdaBench) -> None:
    assert run(bench.client.tenant_id()) == f"lambdalabs-{sha256(API_KEY.encode()).hexdigest()}"
    assert bench.transport.calls == []


@pytest.mark.parametrize("key", ["", "two words", "s\u00e9cret", "a\nb"])
def test_a_key_that_can_be_none_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(AuthFailed) as caught:
        LambdaBench(tmp_path, key=key)
    assert not key or key not in str(caught.value)


def test_a_key_out_of_a_file_may_end_in_a_line_feed(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path, key=f"{API_KEY}\n")
    assert run(bench.client.list_instances()) == []


def test_a_wrong_key_is_noticed_by_the_first_list(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path, key="secret_lambda_wrong")
    error = expect(AuthFailed, bench.client.list_instances())
    assert (error.http_status, error.code) == (401, "global/invalid-api-key")
    assert "wrong" not in str(error)
    assert violations(bench.transport.inner) == []


# Types, locations, images


def test_every_type_is_given_in_every_region(bench: LambdaBench) -> None:
    types = run(bench.client.get_instance_types())
    names = {item.type for item in types}
    assert len(types) == len(names) * len(REGIONS), "so that ids stay when a region is out of stock"
    assert len({item.id for item in types}) == len(types)
    assert types == sorted(types, key=lambda item: (item.type, item.location))
    assert types == run(bench.client.get_instance_types())
    (one,) = [item for item in types if item.id == "us-west-1-noSub-gpu_8x_a100_80gb_sxm4"]
    assert one.is_available
    assert (one.gpus[0].name, one.gpus[0].count, one.gpus[0].memory) == ("A100", 8, Bytes(80, "GB"))
    assert (one.vcpu, one.memory, one.stoppable, one.rebootable) == (240, Bytes(1800, "GiB"), False, True)
    assert [(s.type, s.count, s.size, s.price_per_gb_hour) for s in one.storage] == [
        ("ssd", 1, Bytes(20000, "GiB"), None)
    ]


def test_a_type_out_of_stock_keeps_its_ids(bench: LambdaBench) -> None:
    before = {item.id for item in run(bench.client.get_instance_types())}
    bench.behave(out_of_stock=frozenset({"gpu_1x_a10"}))
    after = run(bench.client.get_instance_types())
    assert {item.id for item in after} == before
    assert not any(item.is_available for item in after if item.type == "gpu_1x_a10")


def test_types_are_filtered(bench: LambdaBench) -> None:
    def only(**wanted: tuple[str, ...]) -> set[tuple[str, str]]:
        found = run(bench.client.get_instance_types(InstanceTypeFilter(**wanted)))
        return {(item.type, item.location) for item in found}

    west = only(locations=("us-west-1",))
    assert {place for _, place in west} == {"us-west-1"}
    assert len(west) == len({name for name, _ in only()})
    assert only(locations=("abc123",)) == set()
    assert {name for name, _ in only(instance_types=("gpu_1x_a10",))} == {"gpu_1x_a10"}
    assert only(architectures=("arm64",)) == {("gpu_1x_gh200", region) for region in REGIONS}


def test_prices_are_exact_also_as_text(tmp_path: Path) -> None:
    for quirks in (Quirks(), Quirks(prices_as_text=True)):
        client = LambdaBench(tmp_path, quirks=quirks).client
        types = run(client.get_instance_types(InstanceTypeFilter(instance_types=("gpu_8x_h100_sxm5",))))
        assert {item.base_price.amount for item in types if item.base_price} == {Decimal("23.92")}


def catalogue(**fields: object) -> dict[str, object]:
    facts = {
        "name": "gpu_1x_h100_pcie",
        "description": "1x H100 (80 GB PCIe)",
        "gpu_description": "H100 (80 GB PCIe)",
        "price_cents_per_hour": 249,
        "specs": {"vcpus": 26, "memory_gib": 200, "storage_gib": 1024, "gpus": 1},
        **fields,
    }
    entry = {"instance_type": facts, "regions_with_capacity_available": [{"name": "us-west-3", "description": "Utah"}]}
    return {"data": {str(facts["name"]): entry}}


def types_of(body: object) -> list[Any]:
    return run(Canned({"GET /instance-types": (200, body)}).client.get_instance_types())


@pytest.mark.parametrize(
    ("price", "amount"),
    [(249, "2.49"), ("249", "2.49"), (1, "0.01"), ("249.5", "2.495"), (None, None), (-1, None), ("NaN", None)],
)
def test_a_price_of_whole_cents_is_never_a_float(price: object, amount: str | None) -> None:
    item = types_of(catalogue(price_cents_per_hour=price))[0]
    assert (item.base_price.amount if item.base_price else None) == (Decimal(amount) if amount else None)


def test_an_empty_catalogue_is_no_error_and_a_failing_one_is() -> None:
    assert types_of({"data": {}}) == []
    client = Canned({"GET /instance-types": (500, failure("global/internal-error"))}).client
    expect(Unavailable, client.get_instance_types())


def test_a_region_that_nobody_knew_is_taken_from_the_answer() -> None:
    body: Any = catalogue()
    body["data"]["gpu_1x_h100_pcie"]["regions_with_capacity_available"] = [{"name": "mars-1", "description": "Mars"}]
    assert [item.location for item in types_of(body) if item.is_available] == ["mars-1"]
    places = run(Canned({"GET /instance-types": (200, body)}).client.get_locations())
    assert {place.name: place.description for place in places}["mars-1"] == "Mars"
    assert len(places) == len(REGIONS) + 1


def test_regions_are_the_known_and_the_described(bench: LambdaBench) -> None:
    places = run(bench.client.get_locations())
    assert [place.name for place in places] == sorted(place.name for place in places)
    assert {place.name for place in places} == REGIONS.keys() >= SERVED.keys()
    assert {"us-midwest-2", "australia-southeast-1", "europe-south-1"} <= REGIONS.keys()
    assert all(place.available and len(place.country) == 3 and place.country.isupper() for place in places)


@pytest.mark.parametrize(
    ("text", "count", "name", "gigabytes", "interconnect", "type_"),
    [
        ("1x H100 (80 GB SXM5)", 1, "H100", 80, "SXM5", "H100.SXM5"),
        ("1x A10 (24 GB PCIe)", 1, "A10", 24, "PCIe", "A10.PCIe"),
        ("8x Tesla V100 (16 GB)", 8, "V100", 16, "", "V100"),
        ("8x TESLA V100 (16 GB)", 8, "V100", 16, "", "V100"),
        ("1x RTX 6000 (24 GB)", 1, "RTX 6000", 24, "", "RTX 6000"),
        ("1x GH200 (96 GB)", 1, "GH200", 96, "", "GH200"),
        ("8x B200 (180 GB SXM6)", 8, "B200", 180, "SXM6", "B200.SXM6"),
        ("2x NVIDIA A100 (40 GB)", 2, "A100", 40, "", "A100"),
    ],
)
def test_gpu_descriptions(text: str, count: int, name: str, gigabytes: int, interconnect: str, type_: str) -> None:
    gpu = parse_gpu(text)
    assert gpu is not None
    assert (gpu.count, gpu.name, gpu.memory, gpu.interconnect, gpu.type, gpu.manufacturer) == (
        count, name, Bytes(gigabytes, "GB"), interconnect, type_, "NVIDIA",
    )  # fmt: skip
    assert gpu.memory.unit == "GB"


@pytest.mark.parametrize(
    "text",
    ["", "4x CPU General (16 GiB)", "H100 (80 GB)", "0x H100 (80 GB)", "1x H100 (80 GB", "1x H100 80 GB)", "1x (80 GB)",
     "1x H100 (GB)", "-1x H100 (80 GB)", "\u0661x H100 (80 GB)", f"{'9' * 5000}x H100 (80 GB)", "1x H100 (8(0 GB)"],
)  # fmt: skip
def test_what_is_no_gpu_description(text: str) -> None:
    assert parse_gpu(text) is None


def _calls_of(text: str) -> int:
    """Count the calls that reading a description takes."""
    seen = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        assert parse_gpu(text) is None
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("unit", ["a ", "a", " ", "(", "1x ", "9", " (", " GB"])
def test_performance_trap_a_hostile_description_takes_no_more_steps_than_a_short_one(unit: str) -> None:
    # each step is one search through the text: no step is repeated for the length of what is searched
    short, long = (_calls_of("1x H100 (80 GB " + unit * times) for times in (10, 100_000 // len(unit)))
    assert short == long < 40


def test_a_description_that_does_not_parse_does_not_hide_the_other_types(caplog: pytest.LogCaptureFixture) -> None:
    body: Any = catalogue()
    odd: Any = catalogue(name="gpu_odd", description="eight of the best", gpu_description="?")
    body["data"] |= odd["data"] | {"gpu_broken": {"instance_type": None}}
    with caplog.at_level(logging.WARNING):
        assert {item.type for item in types_of(body)} == {"gpu_1x_h100_pcie"}
    assert [name for name in ("gpu_odd", "gpu_broken") if name not in caplog.text] == []


def test_a_description_that_does_not_parse_falls_back_on_the_specs() -> None:
    assert types_of(catalogue(description="?"))[0].gpus[0].name == "H100"


def test_a_cpu_type_has_no_gpus(bench: LambdaBench) -> None:
    types = run(bench.client.get_instance_types(InstanceTypeFilter(instance_types=("cpu_4x_general",))))
    assert types
    assert all(item.gpus == () for item in types)
    # an older form says nothing of GPUs in its specs
    specs = {"vcpus": 4, "memory_gib": 16, "storage_gib": 100}
    assert types_of(catalogue(description="4x CPU General (16 GiB)", specs=specs))[0].gpus == ()


def test_images_belong_to_a_region_and_an_architecture(bench: LambdaBench) -> None:
    images = run(bench.client.get_images())
    assert len({image.id for image in images}) == len(images) == 12
    assert {image.architecture for image in run(bench.client.get_images(architectures=("arm64",)))} == {"arm64"}
    assert {image.name for image in run(bench.client.get_images(names=("Ubuntu 24*",)))} == {
        "Ubuntu 24.04 LTS", "Ubuntu 24.04 LTS with CUDA 12",
    }  # fmt: skip
    assert all(image.created_at is not None and "in us-" in image.description for image in images)


# Creating


def test_a_create_registers_a_key_makes_a_ruleset_launches_and_reads_nothing_back(bench: LambdaBench) -> None:
    made = bench.create(tags={"team": "ml"}, options={"hostname": "node-1"}, user_data="#cloud-config\n")
    assert bench.transport.calls == ["GET /ssh-keys", "POST /ssh-keys", "POST /firewall-rulesets", LAUNCH]
    assert (made.ref_id, made.cloud_cred_ref_id, made.status) == (REF, "bp-test", LifecycleStatus.PENDING)
    body = launched(bench)
    ruleset = body.pop("firewall_rulesets")
    assert [set(one) for one in ruleset] == [{"id"}]
    assert body == {
        "region_name": "us-west-1",
        "instance_type_name": "gpu_1x_a10",
        "ssh_key_names": [REF],
        "name": "bp-test--2026-01-01-00-00-00Z-00",
        "hostname": "node-1",
        "user_data": "#cloud-config\n",
        "tags": [
            {"key": "brev:cred-ref-id", "value": "bp-test"},
            {"key": "brev:name", "value": "web-0"},
            {"key": "brev:ref-id", "value": REF},
            {"key": "team", "value": "ml"},
        ],
    }
    assert bench.transport.body("POST /ssh-keys") == {"name": REF, "public_key": KEY}
    assert bench.pacer.admitted == [Urgency.SETTLE, Urgency.SETTLE, Urgency.SETTLE, Urgency.CREATE], (
        "the token of a launch is taken by the launch alone"
    )


def test_a_machine_is_listed_and_got_as_it_was_asked_for(bench: LambdaBench) -> None:
    bench.create(tags={"team": "ml"})
    found = bench.only()
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == (REF, "bp-test", "")
    assert (found.name, found.tags) == ("web-0", {"team": "ml"})
    assert (found.status, found.messages) == (LifecycleStatus.RUNNING, ())
    assert (found.instance_type, found.location) == ("gpu_1x_a10", "us-west-1")
    assert found.instance_type_id == "us-west-1-noSub-gpu_1x_a10" == instance_type_id(found)
    assert found.public_ip
    assert found.private_ip
    assert (found.ssh_user, found.ssh_port) == ("ubuntu", 22)
    assert found.disk_size == Bytes(1400, "GiB")
    assert found.hourly_price == Decimal("0.75")
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (found.stoppable, found.rebootable) == (False, True)
    ids = {item.id for item in run(bench.client.get_instance_types())}
    assert found.instance_type_id in ids


def test_an_address_is_absent_until_the_machine_has_booted(booting: LambdaBench) -> None:
    made = booting.create()
    found = booting.only()
    assert (found.cloud_id, found.status, found.public_ip) == (made.cloud_id, LifecycleStatus.PENDING, "")
    booting.clock.passed += 61
    assert booting.only().public_ip


def test_a_list_is_filtered_here_for_the_api_does_not(bench: LambdaBench) -> None:
    first, second = bench.create(tags={"team": "ml"}), bench.create(OTHER, location="us-east-1")

    def ids(**wanted: Any) -> list[str]:
        return [one.cloud_id for one in run(bench.client.list_instances(InstanceFilter(**wanted)))]

    assert ids() == [first.cloud_id, second.cloud_id]
    assert ids(cloud_ids=(second.cloud_id,)) == [second.cloud_id]
    assert ids(locations=("us-west-1",)) == [first.cloud_id]
    assert ids(tags={"team": ("ml",)}) == [first.cloud_id]


def test_trap_a_list_of_many_machines_is_two_requests(bench: LambdaBench) -> None:
    for number in range(5):
        bench.create(f"bp-test-aaaaaaaaaaaa-00000{number}")
    bench.transport.requests.clear()
    assert len(run(bench.client.list_instances(urgency=Urgency.SETTLE))) == 5
    assert bench.transport.calls == ["GET /instances", "GET /firewall-rulesets"]
    assert bench.pacer.admitted[-2:] == [Urgency.SETTLE, Urgency.SETTLE]


def test_trap_fields_that_nobody_knows_are_ignored(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path, quirks=Quirks(extra_fields=True))
    bench.create()
    assert bench.only().ref_id == REF
    assert {one.ref_id for one in run(bench.client.side_objects())} == {REF}


def test_the_tokens_of_the_notebook_server_are_kept_out(bench: LambdaBench) -> None:
    made = bench.create()
    raw = bench.ask("GET", f"instances/{made.cloud_id}")["data"]
    assert raw["jupyter_token"]
    assert raw["jupyter_token"] not in repr(bench.only())


def test_an_image_by_id_and_by_family(bench: LambdaBench) -> None:
    image = next(
        one for one in run(bench.client.get_images(names=("Ubuntu 24.04 LTS",))) if "us-west-1" in one.description
    )
    bench.create(image_id=image.id)
    assert launched(bench)["image"] == {"id": image.id}
    bench.create(OTHER, options={"image_family": "ubuntu-24.04"})
    assert launched(bench)["image"] == {"family": "ubuntu-24.04"}
    assert [one.body.image_id for one in bench.cloud.store.machines()] == ["ubuntu-24.04-x86-64"] * 2


def test_an_image_that_is_not_there_is_told_from_other_things(bench: LambdaBench) -> None:
    error = expect(ImageNotFound, bench.client.create_instance(attrs(image_id="nope")))
    assert (error.sent, error.http_status) == (Sent.REFUSED, 404)


def test_trap_user_data_is_plain_text_and_not_base64(bench: LambdaBench) -> None:
    bench.create(user_data="#!/bin/sh\necho \u00fc\n")
    assert launched(bench)["user_data"] == "#!/bin/sh\necho \u00fc\n"


def test_trap_without_a_public_key_the_api_makes_a_pair_of_its_own(bench: LambdaBench) -> None:
    answer = bench.ask("POST", "ssh-keys", {"name": "mine"})["data"]
    assert "PRIVATE KEY" in answer["private_key"], "what is sent must therefore always hold one"
    with pytest.raises(Rejected):
        bench.create(public_key="  ")
    assert LAUNCH not in bench.transport.calls
    bench.create()
    assert bench.transport.body("POST /ssh-keys")["public_key"] == KEY


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tags": {"Team": "x"}}, 'tags: "Team" cannot be written at Lambda: a key has 2 to 55 characters'),
        ({"tags": {"t": "x"}}, "2 to 55"),
        ({"tags": {"t" * 56: "x"}}, "2 to 55"),
        ({"tags": {"te_am": "x"}}, "lower-case"),
        ({"tags": {"team\n": "x"}}, "lower-case"),
        ({"tags": {"team": "x" * 129}}, "129 characters"),
        ({"tags": {"brev:ref-id": "x"}}, "brevplan's own"),
        ({"name": "n" * 129}, "129 characters"),
        ({"ref_id": "r" * 65}, "1 to 64"),
        ({"ref_id": ""}, "1 to 64"),
        ({"cloud_cred_ref_id": "c" * 40}, "39"),
        ({"cloud_cred_ref_id": ""}, "39"),
        ({"cloud_cred_ref_id": "a--b"}, "--"),
        ({"cloud_cred_ref_id": "a-"}, "no dash"),
        ({"public_key": ""}, "public key"),
        ({"public_key": "k" * 4097}, "4096"),
        ({"spot": True}, "spot"),
        ({"sub_location": "us-west-1a"}, "zones"),
        ({"options": {"subnet_id": "x"}}, "hostname, image_family"),
        ({"options": {"hostname": "Node"}}, "hostname"),
        ({"options": {"hostname": "-node"}}, "hostname"),
        ({"image_id": "x", "options": {"image_family": "y"}}, "leave one out"),
        ({"user_data": "x" * 1_000_001}, "1,000,000"),
        ({"firewall_rules": FirewallRules(egress=())}, "comes in only"),
    ],
)
def test_what_lambda_cannot_do_is_refused_before_any_request(
    bench: LambdaBench, fields: dict[str, Any], says: str
) -> None:
    error = expect(Rejected, bench.client.create_instance(attrs(**fields)))
    assert says in error.message
    assert error.sent is Sent.NO
    assert bench.transport.calls == []


def test_the_longest_names_fit(bench: LambdaBench) -> None:
    bench.create(
        "bp-" + "r" * 45, cloud_cred_ref_id="c" * 39, name="n" * 128, tags={"t" * 55: "v" * 128},
        options={"hostname": "h" * 63},
    )  # fmt: skip
    assert len(launched(bench)["name"]) == 64
    found = bench.only()
    assert (found.cloud_cred_ref_id, found.name, found.hostname) == ("c" * 39, "n" * 128, "h" * 63)


# Marks


def machine(**fields: object) -> dict[str, object]:
    return {"id": "i1", "status": "active", "ssh_key_names": ["3f0c"], "file_system_names": [], **fields}


def read(**fields: object) -> Any:
    (found,) = run(Canned({"GET /instances": (200, {"data": [machine(**fields)]})}).client.list_instances())
    return found


SDK_NAME = "cred-1--2026-01-31-10-20-30Z-00"


def test_a_mark_is_read_from_a_name_where_there_are_no_tags() -> None:
    found = read(name=SDK_NAME)
    assert (found.ref_id, found.cloud_cred_ref_id) == ("3f0c", "cred-1")
    assert found.created_at == datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)


def test_trap_1_tags_are_preferred_for_a_key_of_another_name_hides_the_ref_id() -> None:
    tags = [{"key": "brev:ref-id", "value": REF}, {"key": "brev:cred-ref-id", "value": "bp-test"}]
    found = read(name=SDK_NAME, ssh_key_names=["the laptop"], tags=tags)
    assert (found.ref_id, found.cloud_cred_ref_id, found.tags) == (REF, "bp-test", {})


def test_trap_2_a_credential_id_with_two_dashes_would_be_cut_short(bench: LambdaBench) -> None:
    with pytest.raises(Rejected):
        bench.create(cloud_cred_ref_id="a--b")
    assert read(name="a--b--2026-01-31-10-20-30Z-00").cloud_cred_ref_id == ""


def test_trap_3_a_renamed_machine_keeps_its_mark_in_its_tags(bench: LambdaBench) -> None:
    made = bench.create()
    bench.ask("POST", f"instances/{made.cloud_id}", {"name": "my favourite"})
    found = bench.only()
    assert (found.ref_id, found.cloud_cred_ref_id, found.name) == (REF, "bp-test", "web-0")
    assert found.created_at is None


@pytest.mark.parametrize("keys", [[], None])
def test_trap_4_a_machine_without_keys_bears_no_mark(keys: object) -> None:
    found = read(name=SDK_NAME, ssh_key_names=keys)
    assert (found.ref_id, found.cloud_cred_ref_id) == ("", "")


@pytest.mark.parametrize(
    "name", ["my box", "", None, "a--b", "--2026-01-31-10-20-30Z-00", "x--2026-13-31-10-20-30Z-00", "x--2026-1-31"]
)
def test_trap_5_a_machine_of_others_bears_no_mark(name: str | None) -> None:
    found = read(name=name)
    assert (found.ref_id, found.cloud_cred_ref_id, found.created_at) == ("", "", None)
    assert found.name == (name or "")


def test_trap_6_the_display_name_is_in_a_tag(bench: LambdaBench) -> None:
    bench.create(name="Ann's box")
    assert bench.only().name == "Ann's box"


def test_an_account_without_tags_says_so(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path, replace(LAMBDA, tags=False))
    error = expect(Rejected, bench.client.create_instance(attrs()))
    assert "an account that has none cannot be used with it" in error.message
    assert error.sent is Sent.REFUSED
    assert bench.transport.calls.count(LAUNCH) == 1
    assert violations(bench.transport.inner) == []


def test_the_smallest_machine_that_an_answer_may_hold() -> None:
    client = Canned({"GET /instances": (200, {"data": [{"id": "i1", "status": "active", "ip": None, "tags": None}]})})
    (found,) = run(client.client.list_instances())
    assert (found.cloud_id, found.instance_type, found.location, found.firewall_rules) == ("i1", "", "", None)
    assert client.calls == ["GET /instances"]


@pytest.mark.parametrize(
    ("word", "status", "says"),
    [
        ("booting", LifecycleStatus.PENDING, ""),
        ("active", LifecycleStatus.RUNNING, ""),
        ("unhealthy", LifecycleStatus.RUNNING, "unhealthy"),
        ("terminating", LifecycleStatus.TERMINATING, ""),
        ("terminated", LifecycleStatus.TERMINATED, ""),
        ("preempted", LifecycleStatus.TERMINATED, "preempted"),
        ("error", LifecycleStatus.FAILED, "error"),
        ("meditating", LifecycleStatus.RUNNING, "meditating"),
    ],
)
def test_statuses(word: str, status: LifecycleStatus, says: str) -> None:
    found = read(status=word)
    assert found.status is status
    assert bool(found.messages) is bool(says)
    assert says in " ".join(found.messages)


# Keys


def test_a_key_that_is_there_already_is_used_again_whatever_its_comment(bench: LambdaBench) -> None:
    bench.ask("POST", "ssh-keys", {"name": REF, "public_key": f"{' '.join(KEY.split()[:2])} another@comment"})
    bench.create()
    assert "POST /ssh-keys" not in bench.transport.calls
    assert bench.only().ref_id == REF


def test_another_key_of_the_same_name_is_refused(bench: LambdaBench) -> None:
    bench.ask("POST", "ssh-keys", {"name": REF, "public_key": "ssh-ed25519 AAAAother"})
    error = expect(Rejected, bench.client.create_instance(attrs()))
    assert (error.sent, LAUNCH in bench.transport.calls) == (Sent.NO, False)


def test_a_name_that_was_taken_meanwhile_is_an_error_and_not_a_crash() -> None:
    canned = Canned({"POST /ssh-keys": (400, failure("global/invalid-parameters", "SSH key name must be unique."))})
    error = expect(Rejected, canned.client.create_instance(attrs()))
    assert "must be unique" in error.message
    assert (error.sent, LAUNCH in canned.calls) == (Sent.NO, False)


@pytest.mark.parametrize("operation", ["list_ssh_keys", "add_ssh_key", "add_ruleset"])
@pytest.mark.parametrize(
    "fault",
    [Fault(before=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.TRUNCATED)),
     Fault(before=Trouble(Way.STATUS, 500)), Fault(before=Trouble(Way.STATUS, 429, 2.0))],
    ids=["dropped before", "dropped after", "truncated", "500", "429"],
)  # fmt: skip
def test_what_fails_before_the_launch_was_never_sent(bench: LambdaBench, operation: str, fault: Fault) -> None:
    bench.fail(operation, fault)
    with pytest.raises(CloudError) as caught:
        bench.create()
    assert caught.value.sent is Sent.NO
    assert caught.value.retryable
    assert LAUNCH not in bench.transport.calls
    bench.faults.choose = lambda call: Fault()
    run(bench.client.release(RefId(REF)))
    assert bench.objects() == []


# Errors of a launch


@pytest.mark.parametrize(
    ("status", "body", "kind", "sent"),
    [
        (401, failure("global/invalid-api-key"), AuthFailed, Sent.REFUSED),
        (401, "", AuthFailed, Sent.REFUSED),
        (403, failure("global/account-inactive"), AuthFailed, Sent.REFUSED),
        (403, failure("global/invalid-address"), AuthFailed, Sent.REFUSED),
        (400, failure("global/invalid-parameters"), Rejected, Sent.REFUSED),
        (400, failure("global/invalid-parameters", "Region abc-1 does not exist"), OutOfStock, Sent.REFUSED),
        (400, failure("global/quota-exceeded"), OutOfQuota, Sent.REFUSED),
        (400, failure("instance-operations/launch/insufficient-capacity"), OutOfStock, Sent.REFUSED),
        (400, failure("instance-operations/launch/file-system-in-wrong-region"), Rejected, Sent.REFUSED),
        (400, failure("global/object-does-not-exist", "The SSH key does not exist"), Rejected, Sent.REFUSED),
        (404, failure("global/object-does-not-exist", "The type does not exist"), Rejected, Sent.REFUSED),
        (404, failure("global/object-does-not-exist", "The image does not exist"), ImageNotFound, Sent.REFUSED),
        (429, failure("global/unknown"), RateLimited, Sent.REFUSED),
        (429, "<html>Error 1015: has banned you temporarily</html>", RateLimited, Sent.REFUSED),
        (403, "<html>Error 1015: has banned you temporarily</html>", Unavailable, Sent.MAYBE),
        (500, failure("global/internal-error"), Unavailable, Sent.MAYBE),
        (500, failure("global/invalid-parameters"), Unavailable, Sent.MAYBE),
        (502, "<html>Bad gateway</html>", Unavailable, Sent.MAYBE),
        (503, failure("provider/internal-unavailable"), Unavailable, Sent.MAYBE),
        (400, failure("provider/internal-unavailable"), Unavailable, Sent.MAYBE),
        (400, failure("provider/quota-exceeded"), OutOfQuota, Sent.MAYBE),
        (400, failure("global/unknown"), Rejected, Sent.MAYBE),
        (400, failure("instance-operations/launch/something-new"), Rejected, Sent.MAYBE),
        (400, "<html>Bad request</html>", Rejected, Sent.MAYBE),
        (302, "", Unavailable, Sent.MAYBE),
        (200, {"data": {"instance_ids": []}}, Unavailable, Sent.MAYBE),
        (200, {"data": {}}, Unavailable, Sent.MAYBE),
        (200, '{"data": {"instance_ids": ["i', Unavailable, Sent.MAYBE),
        (200, "<html>Welcome</html>", Unavailable, Sent.MAYBE),
    ],
)
def test_errors_of_a_launch(status: int, body: object, kind: type[CloudError], sent: Sent) -> None:
    canned = Canned({LAUNCH: (status, body)})
    error = expect(kind, canned.client.create_instance(attrs()))
    assert error.sent is sent
    assert error.http_status in (None, status)
    assert canned.calls.count(LAUNCH) == 1, "double-launch trap: it is sent once"
    assert canned.calls[-1] == LAUNCH, "nothing is read back, and nothing ended"


def test_double_launch_trap_a_lost_answer_leaves_one_machine_to_be_found(bench: LambdaBench) -> None:
    bench.fail("create_instance", Fault(after=Trouble(Way.DROPPED)))
    error = expect(Unavailable, bench.client.create_instance(attrs()))
    assert error.sent is Sent.MAYBE
    assert bench.only().ref_id == REF


def test_leak_trap_an_id_that_is_known_is_given_and_never_raised_over() -> None:
    canned = Canned({LAUNCH: (200, {"data": {"instance_ids": ["i1", "i2"]}})})
    assert run(canned.client.create_instance(attrs())).cloud_id == "i1"


def test_stock_and_quota_are_told_apart(bench: LambdaBench) -> None:
    sold_out = attrs(instance_type="gpu_8x_b200_sxm6")
    assert expect(OutOfStock, bench.client.create_instance(sold_out)).sent is Sent.REFUSED
    bench.fail("create_instance", Fault(before=OutOfQuota("no more")))
    assert expect(OutOfQuota, bench.client.create_instance(attrs(OTHER))).sent is Sent.REFUSED
    assert bench.cloud.store.machines() == []


@pytest.mark.parametrize("location", ["europe-central-1", "australia-southeast-1"])
def test_a_region_that_has_none_is_out_of_stock(tmp_path: Path, location: str) -> None:
    # the second is none of those that the description names, and the ruleset before the launch is refused there
    error = expect(OutOfStock, LambdaBench(tmp_path).client.create_instance(attrs(location=location)))
    assert error.sent in (Sent.NO, Sent.REFUSED)


def test_what_an_error_says(bench: LambdaBench) -> None:
    body = {"error": {"code": "global/invalid-parameters", "message": "Invalid request data.", "suggestion": "Look.",
                      "field_errors": {"name": {"code": "x", "message": "is too long"}}}}  # fmt: skip
    error = expect(Rejected, Canned({LAUNCH: (400, body)}).client.create_instance(attrs()))
    assert str(error) == (
        "lambda create_instance: Invalid request data. name: is too long. Look (HTTP 400, global/invalid-parameters)"
    )


def test_an_error_never_shows_the_key() -> None:
    body = failure("global/invalid-parameters", f"what is {API_KEY}?")
    error = expect(Rejected, Canned({LAUNCH: (400, body)}).client.create_instance(attrs()))
    assert "what is (secret)?" in error.message


def test_too_many_requests_say_when_to_come_back(bench: LambdaBench) -> None:
    bench.behave(requests_per_minute=1)
    run(bench.client.list_instances())
    error = expect(RateLimited, bench.client.list_instances())
    assert error.retryable
    assert error.retry_after is not None
    assert 50 < error.retry_after <= 60


# Lists that cannot be believed


@pytest.mark.parametrize(
    "body",
    ['{"data": [{"id": ', "[]", "{}", {"data": None}, {"data": [{"id": "i1"}]}, {"data": [{"status": "active"}]},
     {"data": [machine(), 7]}, {"data": [machine(tags="x")]}, b"\xff\xfe", ""],
)  # fmt: skip
def test_a_malformed_list_is_no_list(body: object) -> None:
    expect(Unavailable, Canned({"GET /instances": (200, body)}).client.list_instances())


@pytest.mark.parametrize("way", [Way.DROPPED, Way.TRUNCATED, Way.MALFORMED])
@pytest.mark.parametrize("operation", ["list_instances", "list_rulesets"])
def test_a_list_that_breaks_off_is_no_list(bench: LambdaBench, way: Way, operation: str) -> None:
    bench.create()
    bench.fail(operation, Fault(before=Trouble(way)) if way is Way.MALFORMED else Fault(after=Trouble(way)))
    expect(Unavailable, bench.client.list_instances())


# Ending and rebooting


def test_terminating_and_what_is_gone(bench: LambdaBench) -> None:
    made = bench.create()
    run(bench.client.terminate_instance(made.cloud_id))
    assert run(bench.client.list_instances()) == []
    error = expect(InstanceNotFound, bench.client.get_instance(made.cloud_id))
    assert not error.retryable


def test_a_machine_on_its_way_down_is_shown_as_such(bench: LambdaBench) -> None:
    bench.behave(end_s=30.0)
    made = bench.create()
    run(bench.client.terminate_instance(made.cloud_id))
    assert bench.only().status is LifecycleStatus.TERMINATING
    bench.clock.passed += 31
    assert run(bench.client.list_instances()) == []


def test_trap_terminating_what_does_not_exist_is_a_success(bench: LambdaBench) -> None:
    run(bench.client.terminate_instance(CloudId("i-00000099")))
    made = bench.create()
    for _ in range(2):
        run(bench.client.terminate_instance(made.cloud_id))
    assert bench.transport.calls.count("POST /instance-operations/terminate") == 3


def test_trap_an_answer_that_leaves_a_machine_out_has_not_ended_it(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path, replace(LAMBDA, boot_s=60.0), Quirks(silent_while_booting=True))
    made = bench.create()
    error = expect(NotReady, bench.client.terminate_instance(made.cloud_id))
    assert error.retryable
    bench.clock.passed += 61
    run(bench.client.terminate_instance(made.cloud_id))
    assert run(bench.client.list_instances()) == []
    assert violations(bench.transport.inner) == []


TERMINATE = "POST /instance-operations/terminate"


@pytest.mark.parametrize("status", [400, 409])
def test_a_booting_machine_that_cannot_be_ended_yet_is_not_ready(status: int) -> None:
    canned = Canned({TERMINATE: (status, failure("global/invalid-parameters", "vm-has-not-launched"))})
    error = expect(NotReady, canned.client.terminate_instance(CloudId("i1")))
    assert error.retryable
    assert "vm-has-not-launched" in error.message


def test_a_machine_that_is_terminating_already_is_a_success() -> None:
    canned = Canned({TERMINATE: (400, failure("global/invalid-parameters", "vm-is-terminating"))})
    run(canned.client.terminate_instance(CloudId("i1")))
    assert canned.calls == [TERMINATE]


def test_a_terminate_that_fails_is_no_success() -> None:
    for status, kind in ((401, AuthFailed), (503, Unavailable)):
        canned = Canned({TERMINATE: (status, failure("global/internal-error" if status == 503 else "x"))})
        expect(kind, canned.client.terminate_instance(CloudId("i1")))


def test_a_404_that_is_not_the_apis_says_of_nothing_that_it_is_gone() -> None:
    nowhere = (404, "<html>Not found</html>")
    keys = {"data": [{"id": "k1", "name": REF, "public_key": KEY}]}
    client = Canned(
        {"GET /instances/i1": nowhere, TERMINATE: nowhere, "GET /ssh-keys": (200, keys), "DELETE /ssh-keys/k1": nowhere}
    ).client
    one = CloudId("i1")
    for call in (client.get_instance(one), client.terminate_instance(one), client.fence(RefId(REF))):
        assert "check endpoint" in expect(Unavailable, call).message


@pytest.mark.parametrize("code", ["global/object-does-not-exist", "global/unknown"])
def test_rules_that_cannot_be_read_do_not_make_a_machine_gone(code: str) -> None:
    with_rules = {"data": machine(firewall_rulesets=[{"id": "r1"}])}
    missing = {"GET /instances/i1": (200, with_rules), "GET /firewall-rulesets": (404, failure(code))}
    expect(Unavailable, Canned(missing).client.get_instance(CloudId("i1")))


def test_rebooting(booting: LambdaBench) -> None:
    made = booting.create()
    expect(NotReady, booting.client.reboot_instance(made.cloud_id))
    booting.clock.passed += 61
    run(booting.client.reboot_instance(made.cloud_id))
    assert [one.reboots for one in booting.cloud.store.machines()] == [1]
    expect(InstanceNotFound, booting.client.reboot_instance(CloudId("i-00000099")))


@pytest.mark.parametrize(("cloud_id", "path"), [("../ssh-keys", "..%2Fssh-keys"), ("a/b?c", "a%2Fb%3Fc")])
def test_an_id_leads_nowhere_else(cloud_id: str, path: str) -> None:
    canned = Canned({f"GET /instances/{path}": (404, failure("global/object-does-not-exist"))})
    expect(InstanceNotFound, canned.client.get_instance(CloudId(cloud_id)))


# What stands beside machines


def test_a_fence_makes_a_late_launch_fail(bench: LambdaBench) -> None:
    bench.fail("create_instance", Fault(late_s=30.0, after=Trouble(Way.DROPPED)))
    with pytest.raises(Unavailable):
        bench.create()
    assert run(bench.client.list_instances()) == []
    assert run(bench.client.fence(RefId(REF))) is True
    bench.clock.passed += 60
    assert run(bench.client.list_instances()) == []
    assert run(bench.client.fence(RefId(REF))) is True, "again"


def test_a_launch_that_comes_after_its_fence_is_refused(bench: LambdaBench) -> None:
    bench.create()
    body = launched(bench)
    run(bench.client.terminate_instance(bench.only().cloud_id))
    run(bench.client.fence(RefId(REF)))
    assert bench.ask("POST", "instance-operations/launch", body)["error"]["code"] == "global/object-does-not-exist"
    assert run(bench.client.list_instances()) == []


@pytest.mark.parametrize("old_codes", [False, True])
def test_a_fence_of_what_has_its_machine_is_not_ready(tmp_path: Path, old_codes: bool) -> None:
    bench = LambdaBench(tmp_path, quirks=Quirks(old_codes=old_codes))
    bench.create()
    assert expect(NotReady, bench.client.fence(RefId(REF))).retryable
    assert bench.only().ref_id == REF


def test_a_release_removes_key_and_ruleset_and_nothing_of_others(bench: LambdaBench) -> None:
    made = bench.create()
    bench.create(OTHER)
    bench.ask("POST", "ssh-keys", {"name": "ann", "public_key": KEY})
    run(bench.client.terminate_instance(made.cloud_id))
    for _ in range(2):
        run(bench.client.release(RefId(REF)))
    assert sorted(bench.objects()) == [("key", "ann"), ("key", OTHER), ("ruleset", OTHER)]


def test_a_release_while_the_machine_is_there_is_not_ready(bench: LambdaBench) -> None:
    bench.create()
    error = expect(NotReady, bench.client.release(RefId(REF)))
    assert (error.retryable, error.code) == (True, "firewall-rulesets/firewall-ruleset-in-use")
    assert sorted(bench.objects()) == [("key", REF), ("ruleset", REF)]


def test_a_release_under_the_name_of_somebody_elses_key_touches_nothing(bench: LambdaBench) -> None:
    bench.ask("POST", "ssh-keys", {"name": "ann", "public_key": KEY})
    bench.transport.requests.clear()
    run(bench.client.release(RefId("ann")))
    run(bench.client.release(RefId("")))
    assert bench.transport.calls == []
    assert bench.objects() == [("key", "ann")]


@pytest.mark.parametrize(
    "answer",
    [(404, failure("global/object-does-not-exist")), (400, failure("global/invalid-parameters", "SSH key not found"))],
)
def test_a_key_that_somebody_else_deleted_first_is_a_success(answer: tuple[int, object]) -> None:
    keys = {"data": [{"id": "k1", "name": REF, "public_key": KEY}]}
    canned = Canned({"GET /ssh-keys": (200, keys), "DELETE /ssh-keys/k1": answer})
    assert run(canned.client.fence(RefId(REF))) is True
    assert canned.calls[-1] == "DELETE /ssh-keys/k1"


def test_side_objects_are_ours_alone(bench: LambdaBench) -> None:
    bench.create()
    bench.ask("POST", "ssh-keys", {"name": "ann", "public_key": KEY})
    found = run(bench.client.side_objects())
    assert [(one.kind, one.ref_id) for one in found] == [("firewall-ruleset", REF), ("ssh-key", REF)]
    assert all(one.id for one in found)


# File systems


def test_file_systems_are_given_by_id_and_asked_for_by_name(bench: LambdaBench) -> None:
    made = bench.ask("POST", "filesystems", {"name": "data", "region": "us-west-1"})["data"]
    bench.create(filesystems=(made["id"],))
    assert launched(bench)["file_system_names"] == ["data"]
    assert bench.only().filesystems == (made["id"],)


def test_trap_a_file_system_of_another_region_is_refused_before_the_launch(bench: LambdaBench) -> None:
    made = bench.ask("POST", "filesystems", {"name": "data", "region": "us-east-1"})["data"]
    error = expect(Rejected, bench.client.create_instance(attrs(filesystems=(made["id"],))))
    assert "us-east-1" in error.message
    unknown = expect(Rejected, bench.client.create_instance(attrs(filesystems=("data",))))
    assert f"{made['id']} (data)" in unknown.message, "a name is no id, and the id is told"
    assert (error.sent, unknown.sent, bench.objects()) == (Sent.NO, Sent.NO, [])


# Firewall rules


def rule(low: int, high: int = 0, protocol: str = "", *ranges: str) -> FirewallRule:
    return FirewallRule(from_port=low, to_port=high or low, protocol=protocol, ip_ranges=ranges)


RULES = [
    (rule(22, 22, "tcp"),),
    (),
    (rule(443), rule(22, 22, "tcp")),
    (rule(8000, 9000, "udp", "192.0.2.0/24", "198.51.100.7/32"),),
    (rule(443, 443, "tcp", "10.0.0.0/8"), rule(443, 443, "tcp", "192.0.2.0/24")),
    (rule(53, 53, "tcp"), rule(53, 53, "udp")),
    (rule(53, 53, "tcp", "10.0.0.0/8"), rule(53, 53, "", "192.0.2.0/24")),
    (rule(80, 80, "tcp", "0.0.0.0/0"), rule(81, 81, "tcp")),
    (rule(5432, 5432, "tcp", *PRIVATE), rule(22, 22, "tcp", *PRIVATE, "192.0.2.0/24")),
    (rule(1, 65535),),
]


@pytest.mark.parametrize("ingress", RULES, ids=range(len(RULES)))
def test_the_rules_that_are_read_back_are_those_that_were_asked_for(
    bench: LambdaBench, ingress: tuple[FirewallRule, ...]
) -> None:
    asked = FirewallRules(ingress=ingress)
    made = bench.create(firewall_rules=asked)
    found = bench.only().firewall_rules
    assert found is not None
    assert from_contract(found) == from_contract(asked)
    assert len(found.ingress) == len(ingress)
    assert all(one.id for one in found.ingress)
    # and changed to these they are the same
    run(bench.client.replace_firewall_rules(made.cloud_id, FirewallRules(ingress=(rule(9),))))
    run(bench.client.replace_firewall_rules(made.cloud_id, asked))
    assert bench.only().firewall_rules == found


def test_a_rule_on_the_wire(bench: LambdaBench) -> None:
    named = FirewallRule(from_port=443, to_port=443, ip_ranges=("192.0.2.7",), description="d" * 200)
    bench.create(firewall_rules=FirewallRules(ingress=(named,)))
    body = bench.transport.body("POST /firewall-rulesets")
    assert (body["name"], body["region"]) == (REF, "us-west-1")
    assert [(one["protocol"], one["port_range"], one["source_network"]) for one in body["rules"]] == [
        ("tcp", [443, 443], "192.0.2.7/32"), ("udp", [443, 443], "192.0.2.7/32"),
    ]  # fmt: skip
    assert {len(one["description"]) for one in body["rules"]} == {128}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (FirewallRules(egress=(rule(443),)), "comes in only"),
        (FirewallRules(ingress=(rule(443, 443, "", "2001:db8::/32"),)), "2001:db8::/32 is IPv6"),
        (FirewallRules(ingress=(rule(443, 443, "", "fc00::/7"),)), "IPv6"),
        (FirewallRules(ingress=(rule(443, 443, "", "nonsense"),)), "range of addresses"),
        (FirewallRules(ingress=(rule(443, 442),)), "range of ports"),
        (FirewallRules(ingress=(rule(1, 65536),)), "range of ports"),
        (FirewallRules(ingress=(rule(1, 1, "icmp"),)), "protocol"),
    ],
)
def test_rules_that_cannot_be_expressed_are_refused_before_any_request(
    bench: LambdaBench, rules: FirewallRules, says: str
) -> None:
    for call in (bench.client.create_instance(attrs(firewall_rules=rules)),
                 bench.client.replace_firewall_rules(CloudId("i-00000001"), rules)):  # fmt: skip
        error = expect(Rejected, call)
        assert says in error.message
        assert error.sent is Sent.NO
    assert bench.transport.calls == []


def test_the_same_rule_twice_is_refused(bench: LambdaBench) -> None:
    with pytest.raises(DuplicateFirewallRule) as caught:
        bench.create(firewall_rules=FirewallRules(ingress=(rule(80), rule(80))))
    assert (caught.value.sent, bench.transport.calls) == (Sent.NO, [])


def test_changing_rules_sends_what_changes_and_only_that(bench: LambdaBench) -> None:
    made = bench.create()
    wanted = FirewallRules(ingress=(rule(443),))
    for _ in range(2):
        run(bench.client.replace_firewall_rules(made.cloud_id, wanted))
    assert sum(call.startswith("PATCH") for call in bench.transport.calls) == 1
    expect(InstanceNotFound, bench.client.replace_firewall_rules(CloudId("i-00000099"), wanted))


def test_trap_the_rules_of_the_account_are_never_touched(bench: LambdaBench) -> None:
    before = bench.ask("GET", "firewall-rules")
    made = bench.create(firewall_rules=FirewallRules(ingress=(rule(443),)))
    run(bench.client.replace_firewall_rules(made.cloud_id, FirewallRules()))
    run(bench.client.terminate_instance(made.cloud_id))
    run(bench.client.release(RefId(REF)))
    assert not [call for call in bench.transport.calls if "global" in call or call.endswith("/firewall-rules")]
    assert bench.ask("GET", "firewall-rules") == before


def test_a_machine_without_a_ruleset_of_its_own_keeps_the_rules_it_has(bench: LambdaBench) -> None:
    bench.create()
    body = launched(bench)
    shared = bench.ask("POST", "firewall-rulesets", {"name": "shared", "region": "us-west-1", "rules": []})["data"][
        "id"
    ]

    def launch(rulesets: list[str]) -> CloudId:
        given = {**body, "firewall_rulesets": [{"id": id_} for id_ in rulesets]}
        return CloudId(bench.ask("POST", "instance-operations/launch", given)["data"]["instance_ids"][0])

    without, one, _ = launch([]), launch([shared]), launch([shared])
    wanted = FirewallRules(ingress=(rule(443),))
    assert run(bench.client.get_instance(without)).firewall_rules is None
    assert "at launch only" in expect(Rejected, bench.client.replace_firewall_rules(without, wanted)).message
    assert "shared" in expect(Rejected, bench.client.replace_firewall_rules(one, wanted)).message
    assert not [call for call in bench.transport.calls if call.startswith("PATCH")]


def test_rules_of_others_are_read_as_far_as_they_can_be(bench: LambdaBench) -> None:
    def wire(protocol: str, ports: list[int] | None, source: str) -> dict[str, object]:
        found = {"protocol": protocol, "source_network": source, "description": "by hand"}
        return found if ports is None else {**found, "port_range": ports}

    made = bench.create()
    (ruleset,) = launched(bench)["firewall_rulesets"]
    by_hand = [
        wire("tcp", [80, 80], "0.0.0.0/0"), wire("udp", [80, 80], "0.0.0.0/0"), wire("icmp", None, "0.0.0.0/0"),
        wire("tcp", [90, 91], "192.0.2.0/24"), wire("tcp", [90, 91], "198.51.100.1"), wire("all", [7, 7], "10.0.0.0/8"),
    ]  # fmt: skip
    bench.ask("PATCH", f"firewall-rulesets/{ruleset['id']}", {"rules": by_hand})
    found = bench.only().firewall_rules
    assert found is not None
    assert [(one.from_port, one.to_port, one.protocol, one.ip_ranges) for one in found.ingress] == [
        (7, 7, "", ("10.0.0.0/8",)),
        (80, 80, "", ()),
        (90, 91, "tcp", ("192.0.2.0/24", "198.51.100.1/32")),
    ]
    run(bench.client.replace_firewall_rules(made.cloud_id, FirewallRules()))
    assert bench.only().firewall_rules == FirewallRules()


def test_a_rule_of_ours_that_somebody_changed_shows(bench: LambdaBench) -> None:
    asked = FirewallRules(ingress=(rule(443, 443, "", "192.0.2.0/24"),))
    bench.create(firewall_rules=asked)
    (ruleset,) = launched(bench)["firewall_rulesets"]
    rules = bench.transport.body("POST /firewall-rulesets")["rules"]
    bench.ask("PATCH", f"firewall-rulesets/{ruleset['id']}", {"rules": json.loads(json.dumps(rules))[:1]})
    found = bench.only().firewall_rules
    assert found is not None
    assert [(one.protocol, one.ip_ranges) for one in found.ingress] == [("tcp", ("192.0.2.0/24",))]
