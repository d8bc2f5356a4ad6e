"""The Nebius client, every method, in front of a real gRPC server; and the traps of the API, each under its name."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from grpc import StatusCode
from nebius.aio.service_error import RequestStatusExtended
from nebius.api.nebius.capacity import v1 as capacity
from nebius.api.nebius.common import v1 as common
from nebius.api.nebius.compute import v1 as compute
from nebius.api.nebius.quotas import v1 as quotas

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import CAPABILITY_PROTOCOLS, Capability, CloudClient, Rename, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
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
from brevplan.providers import nebius, nebius_api, nebius_launch, nebius_wire, registry
from brevplan.providers.nebius_client import NebiusClient
from brevplan.simcloud import catalogue
from brevplan.simcloud.faces.nebius import TENANT, project_id
from brevplan.simcloud.faults import Fault, Trouble, Way
from brevplan.version import VERSION
from tests.protocol.test_create import on
from tests.providers.nebius_bench import A10, Bench, credentials, native, pem, wanted

REF = RefId("bp-test-aaaaaaaaaaaa-000001")
NOBODY = CloudId("computeinstance-e00000000")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Give a tenant that tests only read."""
    made = Bench(tmp_path_factory.mktemp("nebius"))
    yield made
    made.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stop()


def failed(bench: Bench, call: Any, **settings: object) -> CloudError:
    with pytest.raises(CloudError) as caught:
        bench.run(call, **settings)
    return caught.value


# The account


def test_the_registry_has_it_with_its_credential() -> None:
    spec = registry.spec("nebius")
    found = spec.all_arguments()
    assert (found["service_account_key"].sensitive, found["service_account_key"].required) == (True, True)
    assert found["service_account_key"].environment == "NEBIUS_SERVICE_ACCOUNT_KEY"
    assert (found["tenant_id"].required, found["tenant_id"].environment) == (True, "NEBIUS_TENANT_ID")
    assert spec.traits.option_names == set(spec.options)


def test_the_vendors_library_is_loaded_with_the_first_client_only() -> None:
    code = (
        "import sys; from brevplan.providers import registry; from brevplan.cli import main\n"
        "from brevplan.contract.model import CreateInstanceAttrs\n"
        "registry.spec('nebius').check_launch(CreateInstanceAttrs(ref_id='r', cloud_cred_ref_id='c', public_key='k',"
        "instance_type='a.b', location='l', user_data='#!/bin/sh'))\n"
        "assert not {'grpc', 'nebius', 'google.protobuf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['nebius'] = None\n"
        "from brevplan.providers import registry\n"
        "try: registry.spec('nebius').connect(None)\n"
        "except Exception as problem: print(type(problem).__name__, problem)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.startswith("Rejected")
    assert "pip install 'brevplan[nebius]'" in done.stdout


def test_what_is_declared_is_there_and_nothing_else(quiet: Bench) -> None:
    client = nebius.connect(quiet.connection())
    assert isinstance(client, CloudClient)
    assert isinstance(client, Rename)
    for capability, protocol in CAPABILITY_PROTOCOLS.items():
        assert isinstance(client, protocol) == (capability in client.traits.capabilities), capability
    assert Capability.REBOOT not in client.traits.capabilities, "the API has no such call"
    client._api.sdk.sync_close()


def test_the_tenant_is_the_credentials_and_no_request_is_made(bench: Bench) -> None:
    assert bench.run(lambda client: client.tenant_id()) == TENANT
    assert bench.served.calls == []


def test_a_wrong_key_is_noticed_by_the_first_list_and_never_shown(quiet: Bench) -> None:
    error = failed(quiet, lambda client: client.list_instances(), key=credentials("other"))
    assert isinstance(error, AuthFailed)
    assert "service_account_key" in str(error)
    assert "PRIVATE KEY" not in str(error)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "it is empty"),
        ("no-such-file.json", "No such file"),
        ("{", "it is not JSON"),
        ("{}", "'subject-credentials' is missing"),
        (credentials(alg="HS256"), "RS256"),
        (credentials(sub="another"), "iss and sub"),
        (credentials(**{"private-key": "-----BEGIN PRIVATE KEY-----\nsecret\n"}), "RSA key"),
    ],
)
def test_a_key_that_cannot_be_used(quiet: Bench, key: str, reason: str) -> None:
    connection = quiet.connection()
    connection = replace(connection, settings={**connection.settings, "service_account_key": key})
    with pytest.raises(AuthFailed) as caught:
        nebius.connect(connection)
    assert reason in str(caught.value)
    assert caught.value.sent is Sent.NO
    assert "secret\n" not in str(caught.value)


def test_the_key_may_be_a_file_beside_the_configuration(quiet: Bench, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(credentials())
    connection = quiet.connection("key.json")
    with pytest.raises(AuthFailed):
        nebius.connect(connection)
    made = nebius.connect(replace(connection, directory=str(tmp_path)))
    made._api.sdk.sync_close()


@pytest.mark.parametrize(
    "endpoint", ["nonsense", "ftp://host", "http://user:pass@host", "http://host/path", "http://h:x"]
)
def test_an_endpoint_that_is_none(quiet: Bench, endpoint: str) -> None:
    connection = quiet.connection()
    with pytest.raises(Rejected, match="is not a URL"):
        nebius.connect(replace(connection, settings={**connection.settings, "endpoint": endpoint}))


def test_an_unknown_tenant_is_an_error_and_not_an_empty_list(quiet: Bench) -> None:
    assert isinstance(failed(quiet, lambda client: client.list_instances(), tenant_id="tenant-x"), NotFound)


def test_a_key_in_the_home_folder_is_found_from_any_directory(
    quiet: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.json").write_text(credentials())
    monkeypatch.setenv("HOME", str(tmp_path))
    made = nebius.connect(replace(quiet.connection("~/key.json"), directory="/somewhere/else"))
    made._api.sdk.sync_close()
    with pytest.raises(AuthFailed, match="its ~ leads nowhere"):
        nebius.connect(quiet.connection("~no-such-user-here/key.json"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("NEBIUS_GRPC_KEEPALIVE_TIME", "20"), ("NEBIUS_GRPC_KEEPALIVE_TIMEOUT", "-"),
     ("NEBIUS_GRPC_KEEPALIVE_PERMIT_WITHOUT_STREAM", "maybe"), ("NEBIUS_PROFILE", "none"), ("NEBIUS_ENDPOINT", "x")],
)  # fmt: skip
def test_the_librarys_own_environment_variables_change_nothing(
    quiet: Bench, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert quiet.run(lambda client: client.list_instances()) == []


def test_trap_a_token_in_the_environment_is_not_taken_in_place_of_the_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEBIUS_IAM_TOKEN", "somebody-elses")
    bench.listed()
    (headers,) = bench.headers("list_projects")
    assert headers["authorization"] == f"Bearer {bench.served.face.token}"


def test_trap_every_request_says_whose_it_is(bench: Bench, recwarn: pytest.WarningsRecorder) -> None:
    bench.listed()
    asked = [headers["user-agent"] for _, headers, _ in bench.served.asked]
    assert len(asked) > 2
    assert all(text.startswith(f"brevplan/{VERSION} ") for text in asked)
    assert [str(one.message) for one in recwarn if "user_agent_prefix" in str(one.message)] == []


class Heard(logging.Handler):
    """A handler that keeps what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_trap_the_librarys_log_of_failures_with_tracebacks_reaches_nobody(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    inner, outer = Heard(), Heard()
    for name, heard in (("nebius", inner), ("", outer)):
        logging.getLogger(name).addHandler(heard)
    try:
        error = failed(bench, lambda client: client.list_instances(), key=credentials("other"))
    finally:
        for name, heard in (("nebius", inner), ("", outer)):
            logging.getLogger(name).removeHandler(heard)
    assert isinstance(error, AuthFailed)
    assert any(record.exc_info for record in inner.records), "the library has told of the failure"
    assert [record for record in outer.records if record.name.startswith("nebius")] == []
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_endpoint_where_nobody_listens_is_unavailable(quiet: Bench) -> None:
    connection = quiet.connection(endpoint="http://127.0.0.1:1", request_timeout=3.0)

    async def whole() -> None:
        client = NebiusClient(connection)
        try:
            await client.list_instances()
        finally:
            await client.aclose()

    with pytest.raises(Unavailable):
        asyncio.run(whole())


def test_the_pacer_is_asked_before_each_request(bench: Bench) -> None:
    bench.make()
    requests = [call for call in bench.served.calls if call != "exchange_token"]
    assert len(bench.pacer.admitted) == len(requests)
    assert bench.pacer.admitted.count(Urgency.CREATE) == bench.served.calls.count("create_instance") == 1


@pytest.mark.parametrize("way", [Way.DROPPED, Way.STATUS])
def test_the_librarys_own_retries_are_off(bench: Bench, way: Way) -> None:
    bench.faults.choose = lambda call: Fault(before=Trouble(way, 503)) if call.operation == "list_projects" else Fault()
    assert isinstance(failed(bench, lambda client: client.list_instances()), Unavailable)
    assert bench.served.calls.count("list_projects") == 1


# Types


def types(bench: Bench, **given: Any) -> list[Any]:
    return bench.run(lambda client: client.get_instance_types(InstanceTypeFilter(**given)))


def test_every_type_of_the_simulated_catalogue_comes_through(quiet: Bench) -> None:
    found = {(item.type, item.location): item for item in types(quiet)}
    offers = catalogue.offers()
    assert set(found) == {(native(offer.type, offer.location), offer.location) for offer in offers}
    for offer in offers:
        item = found[native(offer.type, offer.location), offer.location]
        assert item.base_price == offer.base_price
        assert [(gpu.name, gpu.count, gpu.memory) for gpu in item.gpus] == [
            (gpu.name, gpu.count, gpu.memory) for gpu in offer.gpus
        ]
        assert item.architectures == offer.architectures
        assert (item.is_available, item.stock) == (offer.stock != 0, offer.stock)
        assert (item.vcpu, item.memory, item.spot) == (offer.vcpu, offer.memory, offer.spot)
        assert item.id == f"{item.location}-noSub-{item.type}"


def test_types_are_in_order_and_the_same_twice(quiet: Bench) -> None:
    first, second = types(quiet, locations=("us-west-1",)), types(quiet, locations=("us-west-1",))
    assert first == second
    assert [item.type for item in first] == sorted(item.type for item in first)


def test_only_what_is_wanted_is_priced(bench: Bench) -> None:
    (found,) = types(bench, locations=("us-west-1",), instance_types=(A10,))
    assert found.type == A10
    assert bench.served.calls.count("estimate") == 1


def test_rec_quotas_that_may_not_be_seen_leave_it_to_the_capacity(bench: Bench) -> None:
    bench.faults.choose = on("list_quotas", Fault(before=AuthFailed("permission denied", http_status=403)))
    assert types(bench, locations=("us-west-1",), instance_types=(A10,))[0].is_available
    # that the key is wrong is another thing
    bench.faults.choose = on("list_quotas", Fault(before=AuthFailed("no such key")))
    assert isinstance(failed(bench, lambda client: client.get_instance_types()), AuthFailed)


@pytest.mark.parametrize("operation", ["estimate", "list_advice"])
def test_no_price_and_no_advice_are_no_error(bench: Bench, operation: str) -> None:
    bench.faults.choose = on(operation, Fault(before=Trouble(Way.STATUS, 500)))
    (found,) = types(bench, locations=("us-west-1",), instance_types=(A10,))
    assert found.is_available
    assert (found.base_price is None) == (operation == "estimate")


def platform(name: str, gpus: int = 1, **spec: Any) -> tuple[compute.Platform, compute.Preset]:
    preset = compute.Preset(
        name=f"{gpus}gpu", resources=compute.PresetResources(vcpu_count=16, memory_gibibytes=200, gpu_count=gpus)
    )
    made = compute.Platform(
        metadata=common.ResourceMetadata(name=name), spec=compute.PlatformSpec(presets=[preset], **spec)
    )
    return made, preset


@pytest.mark.parametrize(
    ("name", "model", "vram", "interconnect", "architecture"),
    [
        ("gpu-h100-sxm", "H100", 80, "SXM5", "x86_64"),
        ("gpu-h200-sxm", "H200", 141, "SXM5", "x86_64"),
        ("gpu-l40s-a", "L40S", 48, "", "x86_64"),
        ("gpu-gb300", "GB300", 270, "", "arm64"),
        ("gpu-b300-sxm", "B300", 288, "SXM6", "x86_64"),
        ("gpu-rtx6000", "RTX PRO 6000", 96, "", "x86_64"),
        ("gpu-h100-pcie", "H100", 80, "PCIe", "x86_64"),
    ],
)
def test_platforms_name_their_gpus(name: str, model: str, vram: int, interconnect: str, architecture: str) -> None:
    found = nebius_wire.read_type(*platform(name), "eu-north1")
    (gpu,) = found.gpus
    assert (gpu.name, gpu.memory, gpu.interconnect) == (model, Bytes(vram, "GB"), interconnect)
    assert found.architectures == (architecture,)


def test_rec_the_memory_that_the_platform_says_counts() -> None:
    found = nebius_wire.read_type(*platform("gpu-a100-sxm4", gpu_memory_gigabytes=40), "eu-north1")
    assert (found.gpus[0].memory, found.gpus[0].interconnect) == (Bytes(40, "GB"), "SXM4")


def quota(name: str, limit: int | None, usage: int = 0, **status: Any) -> quotas.QuotaAllowance:
    state = status.get("state", quotas.QuotaAllowanceStatus__State.STATE_ACTIVE)
    return quotas.QuotaAllowance(
        metadata=common.ResourceMetadata(name=name),
        spec=quotas.QuotaAllowanceSpec(limit=limit, region="eu-north1"),
        status=quotas.QuotaAllowanceStatus(state=state, usage=usage),
    )


H100 = "compute.instance.gpu.h100"
FROZEN = quotas.QuotaAllowanceStatus__State.STATE_FROZEN


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ([quota(H100, 16, 8)], 1),
        ([quota(H100, 15, 8)], 0),
        ([quota(H100, 8, 16)], 0),
        ([quota(H100, None)], 0),
        ([quota(H100, 64, state=FROZEN)], 0),
        ([quota("compute.instance.gpu.h200", 64)], 0),
        ([], 0),
        (None, None),
    ],
)
def test_a_gpu_needs_an_active_quota_that_holds_it(given: Any, left: int | None) -> None:
    assert nebius_wire.Stock(given, []).left(*platform("gpu-h100-sxm", 8), "eu-north1") == left


def test_rec_a_platform_may_name_its_quota() -> None:
    made = platform("gpu-h100-sxm", 8, gpu_count_quota_type="special")
    assert nebius_wire.Stock([quota("special", 16)], []).left(*made, "eu-north1") == 2


def test_cpus_without_a_quota_can_be_had() -> None:
    assert nebius_wire.Stock([], []).left(*platform("cpu-e2", 0), "eu-north1") is None
    vcpu = quota("compute.instance.non-gpu.vcpu", 33)
    assert nebius_wire.Stock([vcpu], []).left(*platform("cpu-e2", 0), "eu-north1") == 2
    memory = quota("compute.instance.non-gpu.memory", 100 * 2**30)
    assert nebius_wire.Stock([vcpu, memory], []).left(*platform("cpu-e2", 0), "eu-north1") == 0


def advice(available: int, **how: Any) -> capacity.ResourceAdvice:
    details = capacity.ComputeInstanceDetails(
        platform="gpu-h100-sxm", preset=capacity.ComputeInstanceDetails__Preset(name="8gpu")
    )
    return capacity.ResourceAdvice(
        spec=capacity.ResourceAdviceSpec(region="eu-north1", compute_instance=details),
        status=capacity.ResourceAdviceStatus(
            on_demand=capacity.ResourceAdviceStatus__Availability(available=available, **how)
        ),
    )


def test_of_several_fabrics_the_largest_counts_and_the_unknown_is_none() -> None:
    unknown = capacity.ResourceAdviceStatus__Availability__DataState.DATA_STATE_UNKNOWN
    reached = capacity.ResourceAdviceStatus__Availability__AvailabilityLevel.AVAILABILITY_LEVEL_LIMIT_REACHED
    made = platform("gpu-h100-sxm", 8)
    have = [quota(H100, 80)]
    assert nebius_wire.Stock(have, [advice(2), advice(5), advice(3)]).left(*made, "eu-north1") == 5
    assert nebius_wire.Stock(have, [advice(5, data_state=unknown)]).left(*made, "eu-north1") == 0
    assert nebius_wire.Stock(have, [advice(5, availability_level=reached)]).left(*made, "eu-north1") == 0
    assert nebius_wire.Stock(have, [advice(20)]).left(*made, "eu-north1") == 10
    assert nebius_wire.Stock(have, [advice(5)]).left(*made, "eu-west1") == 0


@pytest.mark.parametrize(
    ("text", "amount"), [("2.95", Decimal("2.95")), ("0.10", Decimal("0.10")), ("", None), ("NaN", None), ("x", None)]
)
def test_prices_are_decimal_texts_and_never_floats(text: str, amount: Decimal | None) -> None:
    found = nebius_wire.read_price(text)
    assert (found.amount if found else None) == amount


# Locations and images


def test_locations_are_regions_with_a_project(quiet: Bench) -> None:
    found = quiet.run(lambda client: client.get_locations(include_unavailable=True))
    assert [place.name for place in found] == [place.name for place in catalogue.LOCATIONS]
    assert all(place.available for place in found)
    one = quiet.run(lambda client: client.get_locations(), project_id=project_id("us-west-1"))
    assert [place.name for place in one] == ["us-west-1"]
    every = quiet.run(lambda client: client.get_locations(include_unavailable=True), project_id=project_id("us-west-1"))
    assert [place.name for place in every if not place.available] == ["asia-south1", "europe-west4", "us-east-1"]


@pytest.mark.parametrize(("region", "country"), [("eu-north1", "FIN"), ("us-central1", "USA"), ("moon", "")])
def test_countries(region: str, country: str) -> None:
    assert nebius_wire.country_of(region) == country


def test_images_and_their_families(quiet: Bench) -> None:
    found = {image.id: image for image in quiet.run(lambda client: client.get_images())}
    assert found["ubuntu24.04-cuda13.0"].architecture == "x86_64"
    assert found["ubuntu-22.04-arm64"].architecture == "arm64"
    assert "computeimage-e00ubuntu24.04-cuda13.0" in found
    arm = quiet.run(lambda client: client.get_images(architectures=("arm64",)))
    assert {image.architecture for image in arm} == {"arm64"}
    named = quiet.run(lambda client: client.get_images(names=("ubuntu24.04-cuda*",)))
    assert {image.name for image in named} == {"ubuntu24.04-cuda13.0"}


# Launching


def launched(bench: Bench, **fields: Any) -> Any:
    bench.make(**fields)
    return bench.messages("create_instance")[-1]


def test_a_launch_asks_for_everything(bench: Bench) -> None:
    made = bench.make(
        address='module.a["x"].instance.web[0]', tags={"team": "x=y"}, disk_size=Bytes(100, "GiB"),
        image_id="ubuntu-22.04-x86-64", filesystems=("computefilesystem-1",), options={"hostname": "head"},
    )  # fmt: skip
    request = bench.messages("create_instance")[0]
    assert (request.metadata.name, request.metadata.parent_id) == (REF, project_id("us-west-1"))
    labels = dict(request.metadata.labels)
    assert labels == {
        "team": "x=y", "created-by": "brevplan", "environment-id": REF, "brev-user": REF,
        "cloud-cred-ref-id": "bp-test", "instance-type-id": A10, "brevplan-name": "web",
        "brevplan-address": "module.a_5b_22x_22_5d.instance.web_5b0_5d",
    }  # fmt: skip
    assert f"{request.spec.resources.platform}.{request.spec.resources.preset}" == A10
    disk = request.spec.boot_disk.managed_disk
    assert (disk.name, disk.spec.size_gibibytes) == (f"{REF}-boot-disk", 100)
    assert disk.spec.source_image_family.image_family == "ubuntu-22.04-x86-64"
    assert disk.spec.source_image_family.parent_id == "project-e00public-images"
    assert [one.existing_filesystem.id for one in request.spec.filesystems] == ["computefilesystem-1"]
    assert request.spec.hostname == "head"
    assert (made.ref_id, made.status) == (REF, LifecycleStatus.PENDING)
    assert "get_instance" not in bench.served.calls, "nothing is read back"
    (shown,) = bench.listed()
    assert (shown.cloud_id, shown.ref_id, shown.cloud_cred_ref_id) == (made.cloud_id, REF, "bp-test")
    assert (shown.address, shown.name, shown.tags) == ('module.a["x"].instance.web[0]', "web", {"team": "x=y"})
    assert (shown.disk_size, shown.image_id) == (Bytes(100, "GiB"), "ubuntu-22.04-x86-64")
    assert shown.filesystems == ("computefilesystem-1",)
    assert instance_type_id(shown) == f"us-west-1-noSub-{A10}"


def test_trap_addresses_come_as_networks_of_one(bench: Bench) -> None:
    made = bench.make()
    machine = bench.got(made.cloud_id)
    assert (machine.public_ip, machine.private_ip) == ("198.18.0.1", "10.0.0.1")


@pytest.mark.parametrize("address", ["instance.m", 'instance.ä["ü_é"]', "module.x." * 40 + "instance.y[0]", ""])
def test_addresses_of_any_length_survive_in_labels(address: str) -> None:
    labels = nebius_launch.address_labels(address)
    assert nebius_launch.read_address(labels) == address
    for label, value in labels.items():
        assert len(label) <= 63
        assert len(value) <= 63
        assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in value)


def test_a_size_that_is_not_whole_gib_comes_back_as_it_was_asked_for(bench: Bench) -> None:
    bench.make(disk_size=Bytes(500, "GB"))
    assert bench.messages("create_instance")[0].spec.boot_disk.managed_disk.spec.size_gibibytes == 466
    (machine,) = bench.listed()
    assert machine.disk_size == Bytes(500, "GB")


def test_a_default_disk_and_image(bench: Bench) -> None:
    disk = launched(bench).spec.boot_disk.managed_disk.spec
    assert (disk.size_gibibytes, disk.source_image_family.image_family) == (1280, "ubuntu24.04-cuda13.0")
    assert nebius_launch.default_family("cpu-e2.4vcpu-16gb") == "ubuntu24.04-driverless"


@pytest.mark.parametrize(
    ("project", "images"),
    [("project-e00abc", "project-e00public-images"), ("project-u01x", "project-u01public-images"),
     ("odd", "project-e00public-images")],
)  # fmt: skip
def test_public_images_stand_in_the_project_of_their_routing_code(project: str, images: str) -> None:
    assert nebius_wire.public_images(project) == images


def test_rec_an_image_id_is_not_ignored(bench: Bench) -> None:
    disk = launched(bench, image_id="computeimage-e00ubuntu-24.04-x86-64").spec.boot_disk.managed_disk.spec
    assert disk.source_image_id == "computeimage-e00ubuntu-24.04-x86-64"
    assert bench.listed()[0].image_id == "computeimage-e00ubuntu-24.04-x86-64"


def test_an_image_that_is_not_there(bench: Bench) -> None:
    error = failed(bench, lambda client: client.create_instance(wanted(image_id="ubuntu20")))
    assert isinstance(error, ImageNotFound)
    assert error.sent is Sent.REFUSED


def test_rec_spot_machines_stop_for_good_when_they_are_preempted(bench: Bench) -> None:
    spec = launched(bench, spot=True).spec
    assert spec.preemptible.on_preemption == compute.PreemptibleSpec__PreemptionPolicy.STOP
    assert spec.recovery_policy == compute.InstanceRecoveryPolicy.FAIL
    assert bench.listed()[0].spot


def test_user_data_is_plain_text_and_a_script_runs_behind_the_key(bench: Bench) -> None:
    text = launched(bench, user_data="#!/bin/sh\necho 'hi' \"there\"\n").spec.cloud_init_user_data
    head, body = text.split("\n", 1)
    config = json.loads(body)
    assert head == "#cloud-config"
    assert config["ssh_authorized_keys"] == ["ssh-ed25519 AAAA test"]
    assert b64decode(config["write_files"][0]["content"]).decode() == "#!/bin/sh\necho 'hi' \"there\"\n"
    assert config["runcmd"] == [[config["write_files"][0]["path"]]]


def test_trap_a_cloud_config_of_ones_own_keeps_its_write_files() -> None:
    own = "#cloud-config\nwrite_files:\n  - path: /a\nssh_authorized_keys: [mine]\n"
    config = json.loads(nebius_launch.start_data("ours", own).split("\n", 1)[1])
    assert config == {"write_files": [{"path": "/a"}], "ssh_authorized_keys": ["ours", "mine"]}


def test_a_date_in_a_cloud_config_is_written_as_text() -> None:
    own = "#cloud-config\nexpires: 2020-01-01\nat: 2020-01-01T10:00:00Z\n"
    config = json.loads(nebius_launch.start_data("ours", own).split("\n", 1)[1])
    assert (config["expires"], config["at"]) == ("2020-01-01", "2020-01-01T10:00:00+00:00")


@pytest.mark.parametrize(
    "text", ["a: .inf", "a: !!binary c2VjcmV0", "a: !!set {secret}", "2020-01-01: secret", "a: &a [*a]"]
)
def test_what_json_has_no_form_for_is_said_to_be_that_and_never_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="no form in JSON") as caught:
        nebius_launch.start_data("ours", f"#cloud-config\n{text}\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["echo", "#cloud-config\n- a", "#cloud-config\na: [", "#cloud-config\na: .inf"])
def test_user_data_that_cannot_be_carried_is_refused_before_anything_is_made(bench: Bench, text: str) -> None:
    error = failed(bench, lambda client: client.create_instance(wanted(user_data=text)))
    assert isinstance(error, Rejected)
    assert (error.sent, "user_data" in str(error)) == (Sent.NO, True)
    assert "add_security_group" not in bench.served.calls


@pytest.mark.parametrize(
    "fields",
    [{"instance_type": "nodot"}, {"sub_location": "a"}, {"disk_size": Bytes(10, "GiB")}, {"tags": {"created-by": "me"}},
     {"tags": {"brevplan-address-7": "me"}}, {"location": "mars"},
     {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=1000, to_port=2000),))},
     {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=80, to_port=80, ip_ranges=("::/0",)),))}],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_never_sent(bench: Bench, fields: dict[str, Any]) -> None:
    error = failed(bench, lambda client: client.create_instance(wanted(**fields)))
    assert isinstance(error, Rejected)
    assert error.sent is Sent.NO
    assert not {"add_security_group", "create_instance"} & set(bench.served.calls)


REFUSED_LAUNCHES: list[tuple[str, dict[str, Any]]] = [
    ("instance_type", {"instance_type": "nodot"}),
    ("instance_type", {"instance_type": ".1gpu"}),
    ("sub_location", {"sub_location": "a"}),
    ("disk_size", {"disk_size": Bytes(49, "GiB")}),
    ("disk_size", {"disk_size": Bytes(3, "TB")}),
    ("tags", {"tags": {"environment-id": "mine"}}),
    ("tags", {"tags": {"brevplan-address-mine": "x"}}),
    ("tags", {"tags": {"": "x"}}),
    ("user_data", {"user_data": "echo s3cret"}),
    ("user_data", {"user_data": "#cloud-config\n- s3cret"}),
    ("user_data", {"user_data": "#cloud-config\ns3cret: ["}),
    ("user_data", {"user_data": "#cloud-config\nssh_authorized_keys: s3cret"}),
    ("options", {"options": {"hostname": "a b"}}),
    ("options", {"options": {"zone": "a"}}),
    ("firewalls", {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=1000, to_port=2000),))}),
    ("firewalls", {"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=9, to_port=8),))}),
    ("firewalls", {"firewall_rules": FirewallRules(
        egress=(FirewallRule(from_port=80, to_port=80, ip_ranges=("::/0",)),))}),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "fields"), REFUSED_LAUNCHES)
def test_what_nobody_can_carry_out_is_refused_by_its_argument_without_a_call(
    argument: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(Rejected) as caught:
        nebius.SPEC.check_launch(wanted(**fields))
    assert caught.value.message.startswith(f"{argument}: ")
    assert caught.value.sent is Sent.NO
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{}, {"disk_size": Bytes(50, "GiB")}, {"disk_size": Bytes(2560, "GiB")}, {"user_data": " \n"}, {"spot": True},
     {"options": {"hostname": "node-1.lab", "subnet_id": "vpcsubnet-1"}}, {"tags": {"é ✓": "日本"}}],
)  # fmt: skip
def test_what_can_be_asked_for_passes_the_same_check(fields: dict[str, Any]) -> None:
    assert nebius.SPEC.check_launch(wanted(**fields)) is not None


def test_trap_an_unknown_preset_is_an_error_and_never_another_machine(bench: Bench) -> None:
    error = failed(bench, lambda client: client.create_instance(wanted(instance_type="gpu-a10.99gpu")))
    assert isinstance(error, Rejected)
    assert error.sent is Sent.REFUSED
    assert bench.listed() == []


def test_the_same_launch_again_is_the_same_machine_under_the_same_key(bench: Bench) -> None:
    first, second = bench.make(), bench.make()
    assert first.cloud_id == second.cloud_id
    keys = [headers["x-idempotency-key"] for headers in bench.headers("create_instance")]
    assert keys[0] == keys[1]
    assert len(bench.listed()) == 1
    bench.make("bp-test-aaaaaaaaaaaa-000002")
    assert bench.headers("create_instance")[-1]["x-idempotency-key"] != keys[0]


def test_already_exists_finds_the_machine_by_its_name(bench: Bench) -> None:
    first = bench.make()
    bench.forget_keys()
    again = bench.make()
    assert again.cloud_id == first.cloud_id
    assert bench.served.calls.count("get_instance_by_name") == 1


@pytest.mark.parametrize("operation", ["list_projects", "list_subnets", "add_security_group", "add_security_rule"])
def test_what_fails_before_the_launch_was_never_sent(bench: Bench, operation: str) -> None:
    bench.faults.choose = on(operation, Fault(after=Trouble(Way.DROPPED)))
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert (error.sent, error.retryable) == (Sent.NO, True)
    assert "create_instance" not in bench.served.calls


@pytest.mark.parametrize("operation", ["list_projects", "list_subnets", "add_security_group"])
def test_not_ready_before_the_launch_was_never_sent_either(bench: Bench, operation: str) -> None:
    bench.faults.choose = on(operation, Fault(before=NotReady("the network is being deleted")))
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert isinstance(error, NotReady)
    assert error.sent is Sent.NO


@pytest.mark.parametrize("problem", [NotFound("the group is not found"), NotReady("the group is not ready")])
def test_only_a_new_group_that_takes_no_rules_yet_makes_a_launch_uncertain(bench: Bench, problem: CloudError) -> None:
    bench.faults.choose = on("add_security_rule", Fault(before=problem))
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert isinstance(error, NotReady)
    assert error.sent is Sent.MAYBE, "the same call goes on from there"


def test_a_launch_that_is_not_ready_was_refused(bench: Bench) -> None:
    bench.faults.choose = on("create_instance", Fault(before=NotReady("the subnet is being made")))
    assert failed(bench, lambda client: client.create_instance(wanted())).sent is Sent.REFUSED


@pytest.mark.parametrize(
    "fault",
    [Fault(before=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.STATUS, 500)),
     Fault(after=Trouble(Way.STATUS, 504)), Fault(after=Trouble(Way.MALFORMED)), Fault(after=Trouble(Way.TRUNCATED))],
    ids=["before", "after", "500", "504", "malformed", "truncated"],
)  # fmt: skip
def test_a_launch_without_a_readable_answer_may_have_been_sent(bench: Bench, fault: Fault) -> None:
    bench.faults.choose = on("create_instance", fault)
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert isinstance(error, Unavailable)
    assert error.sent is Sent.MAYBE


def test_trap_no_capacity_is_sent_once_and_told_from_quota(bench: Bench) -> None:
    sold_out = native("gpu_8x_b200_sxm6")
    error = failed(bench, lambda client: client.create_instance(wanted(instance_type=sold_out)))
    assert isinstance(error, OutOfStock)
    assert (error.sent, error.code) == (Sent.REFUSED, "RESOURCE_EXHAUSTED")
    assert bench.served.calls.count("create_instance") == 1


def test_quota_is_told_from_stock(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=0)
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert isinstance(error, OutOfQuota)
    assert error.sent is Sent.REFUSED
    bench.stop()


def test_too_many_requests_are_told_from_quota(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"requests_per_minute": 1})
    error = failed(bench, lambda client: client.list_instances())
    assert isinstance(error, RateLimited)
    assert error.retryable
    bench.stop()


# Machines


def test_an_unknown_machine_is_not_found_and_its_end_a_success(quiet: Bench) -> None:
    assert isinstance(failed(quiet, lambda client: client.get_instance(NOBODY)), InstanceNotFound)
    quiet.run(lambda client: client.terminate_instance(NOBODY))


@pytest.mark.parametrize(
    ("state", "stopped", "status"),
    [("UNSPECIFIED", False, "pending"), ("CREATING", False, "pending"), ("STARTING", False, "pending"),
     ("RUNNING", False, "running"), ("UPDATING", False, "running"), ("UPDATING", True, "stopped"),
     ("STOPPING", True, "stopping"), ("STOPPED", True, "stopped"), ("DELETING", False, "terminating"),
     ("ERROR", False, "failed")],
)  # fmt: skip
def test_states(state: str, stopped: bool, status: str) -> None:
    message = compute.Instance(
        spec=compute.InstanceSpec(stopped=stopped),
        status=compute.InstanceStatus(state=compute.InstanceStatus__InstanceState[state]),
    )
    found = nebius_wire.read_machine(message, "eu-north1", {})
    assert (found.status.value, found.messages) == (status, ())


def test_trap_a_state_of_tomorrow_is_not_pending() -> None:
    message = compute.Instance(status=compute.InstanceStatus.FromString(b"\x08\x63"))
    found = nebius_wire.read_machine(message, "eu-north1", {})
    assert found.status is LifecycleStatus.RUNNING
    assert "99" in found.messages[0]


def test_foreign_machines_have_empty_marks() -> None:
    message = compute.Instance(metadata=common.ResourceMetadata(id="x", name="theirs", labels={"team": "a"}))
    found = nebius_wire.read_machine(message, "eu-north1", {})
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == ("", "", "")
    assert (found.name, found.tags) == ("theirs", {"team": "a"})


def test_a_list_is_read_page_by_page(tmp_path: Path) -> None:
    bench = Bench(tmp_path, page=2)
    for number in range(5):
        bench.make(f"bp-test-aaaaaaaaaaaa-00000{number}")
    bench.served.calls.clear()
    assert len(bench.listed()) == 5
    assert bench.served.calls.count("list_instances") == 3 + 3
    bench.stop()


def test_a_list_is_whole_or_an_error(bench: Bench) -> None:
    bench.make()
    bench.faults.choose = on("list_instances", Fault(), Fault(before=Trouble(Way.DROPPED)))
    assert isinstance(failed(bench, lambda client: client.list_instances()), Unavailable)


def test_lists_by_location_ask_only_there(bench: Bench) -> None:
    bench.make()
    bench.served.calls.clear()
    assert bench.run(lambda client: client.list_instances(InstanceFilter(locations=("us-east-1",)))) == []
    assert bench.served.calls.count("list_instances") == 1


def test_stop_and_start_and_what_is_done_already(bench: Bench) -> None:
    made = bench.make()
    for _ in range(2):
        bench.run(lambda client: client.stop_instance(made.cloud_id))
        assert bench.got(made.cloud_id).status is LifecycleStatus.STOPPED
    for _ in range(2):
        bench.run(lambda client: client.start_instance(made.cloud_id))
        assert bench.got(made.cloud_id).status is LifecycleStatus.RUNNING


def test_a_booting_machine_cannot_be_stopped_yet(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 60.0})
    made = bench.make()
    error = failed(bench, lambda client: client.stop_instance(made.cloud_id))
    assert isinstance(error, NotReady)
    assert error.retryable
    bench.stop()


def test_terminate_twice_while_it_is_ending(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"end_s": 60.0})
    made = bench.make()
    for _ in range(2):
        bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATING
    bench.stop()


# Changing


def test_trap_an_update_resets_what_it_does_not_name(bench: Bench) -> None:
    made = bench.make(tags={"a": "1", "b": "2"}, user_data="#!/bin/sh\n", options={"hostname": "head"})
    bench.run(lambda client: client.update_tags(made.cloud_id, {"b": "3"}))
    sent, created = bench.messages("update_instance")[0], bench.messages("create_instance")[0]
    assert sent.spec.cloud_init_user_data == created.spec.cloud_init_user_data
    assert sent.spec.boot_disk.to_json() == created.spec.boot_disk.to_json()
    assert (sent.spec.hostname, sent.metadata.name) == ("head", REF)
    assert "x-resetmask" in bench.headers("update_instance")[0]
    machine = bench.got(made.cloud_id)
    assert (machine.tags, machine.ref_id, machine.name) == ({"b": "3"}, REF, "web")


def test_marks_can_be_rewritten_and_taken_off(bench: Bench) -> None:
    made = bench.make(address="module.x." * 20 + "instance.y", tags={"a": "1"})
    bench.run(lambda client: client.update_mark(made.cloud_id, address="instance.z"))
    assert bench.got(made.cloud_id).address == "instance.z"
    bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    machine = bench.got(made.cloud_id)
    assert (machine.ref_id, machine.cloud_cred_ref_id, machine.address) == ("", "", "")
    assert (machine.tags, machine.name) == ({"a": "1"}, "web")


def test_a_disk_grows_with_its_machine_and_does_not_shrink(bench: Bench) -> None:
    made = bench.make(disk_size=Bytes(100, "GiB"))
    bench.run(lambda client: client.resize_volume(made.cloud_id, Bytes(200, "GB")))
    assert bench.got(made.cloud_id).disk_size == Bytes(200, "GB")
    error = failed(bench, lambda client: client.resize_volume(made.cloud_id, Bytes(100, "GiB")))
    assert isinstance(error, Rejected)
    assert "only grow" in str(error)


def test_a_machine_of_somebody_else_shows_the_disk_that_it_was_given(bench: Bench) -> None:
    bench.make()
    bench.adopt("theirs")
    (theirs,) = [machine for machine in bench.listed() if machine.name == "theirs"]
    assert (theirs.ref_id, theirs.disk_size) == ("", Bytes(50, "GiB"))
    assert theirs.image_id == "computeimage-e00ubuntu24.04-cuda13.0"
    assert bench.got(theirs.cloud_id).disk_size == Bytes(50, "GiB")
    bench.run(lambda client: client.resize_volume(theirs.cloud_id, Bytes(60, "GiB")))
    assert bench.got(theirs.cloud_id).disk_size == Bytes(60, "GiB")
    error = failed(bench, lambda client: client.replace_firewall_rules(theirs.cloud_id, rules()))
    assert "the default one of its network" in str(error)


def test_a_disk_that_is_gone_leaves_a_machine_with_a_disk_of_unknown_size(bench: Bench) -> None:
    bench.make()
    bench.adopt("theirs")
    (theirs,) = [machine for machine in bench.listed() if machine.name == "theirs"]
    gone = Fault(before=NotFound("the disk is not found"))
    bench.faults.choose = on("get_disk", gone, gone)
    assert bench.got(theirs.cloud_id).disk_size == Bytes()
    error = failed(bench, lambda client: client.resize_volume(theirs.cloud_id, Bytes(60, "GiB")))
    assert (type(error), error.operation) == (NotFound, "get_disk")


def test_a_project_that_is_not_found_is_no_missing_machine(bench: Bench) -> None:
    made = bench.make()
    bench.faults.choose = on("get_project", Fault(before=NotFound("the project is not found")))
    error = failed(bench, lambda client: client.get_instance(made.cloud_id))
    assert isinstance(error, Unavailable)
    assert "project" in str(error)


@pytest.mark.parametrize("operation", ["get_security_group", "list_security_rules"])
def test_a_group_that_is_gone_is_no_missing_machine(bench: Bench, operation: str) -> None:
    made = bench.make()
    bench.faults.choose = on(operation, Fault(before=NotFound("the group is not found")))
    error = failed(bench, lambda client: client.replace_firewall_rules(made.cloud_id, rules()))
    assert (type(error), error.operation) == (NotFound, operation)


# Large messages


def test_machines_with_much_user_data_are_listed_over_the_limit_of_4_mib(bench: Bench) -> None:
    script = "#!/bin/sh\n" + "# padding\n" * 45_000

    async def many(client: NebiusClient) -> int:
        for number in range(10):
            await client.create_instance(wanted(f"bp-test-aaaaaaaaaaaa-{number:06d}", user_data=script))
        return len(await client.list_instances())

    assert bench.run(many) == 10
    size = sum(len(message.spec.SerializeToString()) for message in bench.messages("create_instance"))
    assert size > 4 * 2**20


def test_a_launch_that_is_too_large_to_send_is_rejected_and_no_quota(bench: Bench) -> None:
    script = "#!/bin/sh\n" + "# padding\n" * 500_000
    error = failed(bench, lambda client: client.create_instance(wanted(user_data=script)))
    assert type(error) is Rejected
    assert error.sent is Sent.REFUSED
    assert "user_data" in str(error)
    assert "# padding" not in str(error)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CLIENT: Received message larger than max (5 vs. 4)", Unavailable),
        ("SERVER: Received message larger than max (5 vs. 4)", Rejected),
        ("CLIENT: Sent message larger than max (5 vs. 4)", Rejected),
        ("SERVER: Sent message larger than max (5 vs. 4)", Unavailable),
        ("grpc: received message larger than max (5 vs. 4)", Rejected),
        ("trying to send message larger than max (5 vs. 4)", Unavailable),
        ("gRPC message exceeds maximum size 4: 5", Rejected),
        ("compute.disk.size is exceeded", OutOfQuota),
    ],
)
def test_the_size_of_a_message_is_no_quota(message: str, kind: type) -> None:
    status = RequestStatusExtended(
        code=StatusCode.RESOURCE_EXHAUSTED, message=message, details=[], service_errors=[], request_id="", trace_id=""
    )
    assert type(nebius_api.explain(status, "list_instances")) is kind


def test_a_list_of_ever_new_pages_ends_with_an_error(quiet: Bench) -> None:
    asked = 0

    async def endless(request: Any, **how: Any) -> Any:
        nonlocal asked
        asked += 1
        return SimpleNamespace(items=[], next_page_token=f"page-{asked}")

    error = failed(quiet, lambda client: client._pages(endless, SimpleNamespace, "", "list_instances"))
    assert isinstance(error, Unavailable)
    assert "more than 10000 pages" in str(error)
    assert asked == 10_000


# Operations


def test_why_a_launch_failed_after_it_was_accepted_stands_in_the_machine(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 60.0})
    bench.faults.choose = on("create_instance", Fault(fails_after_s=10.0))

    async def whole(client: NebiusClient) -> None:
        made = await client.create_instance(wanted())
        (pending,) = await client.list_instances()
        assert (pending.status, pending.messages) == (LifecycleStatus.PENDING, ())
        assert "get_operation" not in bench.served.calls, "nothing is wrong yet"
        bench.clock.passed += 20.0
        (listed,) = await client.list_instances()
        got = await client.get_instance(made.cloud_id)
        assert listed.status is got.status is LifecycleStatus.FAILED
        assert listed.messages == got.messages
        assert listed.messages[0].startswith("create_instance failed at Nebius: no room was found")
        assert bench.served.calls.count("get_operation") == 1, "it is read once"

    bench.run(whole)
    (unknown,) = bench.listed()
    assert unknown.messages == (), "another client knows of no operation"
    bench.stop()


def test_operation_error_of_a_launch_whose_machine_never_came_is_told_until_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails_later=True)

    async def whole(client: NebiusClient) -> None:
        made = await client.create_instance(wanted(instance_type=native("gpu_8x_b200_sxm6")))
        assert made.status is LifecycleStatus.PENDING
        assert await client.list_instances() == []
        for _ in range(2):
            found = await client.get_instance(made.cloud_id)
            assert (found.status, found.ref_id) == (LifecycleStatus.FAILED, REF)
            assert "no gpu_8x_b200_sxm6 is left" in found.messages[0]
        assert bench.served.calls.count("get_operation") == 1
        await client.terminate_instance(made.cloud_id)
        with pytest.raises(InstanceNotFound):
            await client.get_instance(made.cloud_id)

    bench.run(whole)
    bench.stop()


def test_a_machine_that_vanished_after_its_launch_went_well_is_not_found(bench: Bench) -> None:
    async def whole(client: NebiusClient) -> None:
        made = await client.create_instance(wanted())
        bench.run_beside(lambda other: other.terminate_instance(made.cloud_id))
        with pytest.raises(InstanceNotFound):
            await client.get_instance(made.cloud_id)

    bench.run(whole)


def test_why_a_start_came_to_nothing_stands_in_the_machine_and_a_repeated_start_raises_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails_later=True)
    rare = min((offer for offer in catalogue.offers() if offer.stock), key=lambda offer: offer.stock or 0)
    fields = {"instance_type": native(rare.type, rare.location), "location": rare.location}

    async def whole(client: NebiusClient) -> None:
        made = await client.create_instance(wanted(**fields))
        await client.stop_instance(made.cloud_id)
        others = [
            await client.create_instance(wanted(f"bp-test-aaaaaaaaaaaa-10000{number}", **fields))
            for number in range(rare.stock or 0)
        ]
        await client.start_instance(made.cloud_id)
        (listed,) = await client.list_instances(InstanceFilter(cloud_ids=(made.cloud_id,)))
        for found in (listed, await client.get_instance(made.cloud_id)):
            assert found.status is LifecycleStatus.STOPPED
            assert found.messages[0].startswith(f"start_instance failed at Nebius: no {rare.type} is left")
        with pytest.raises(OutOfStock) as caught:
            await client.start_instance(made.cloud_id)
        assert (caught.value.operation, caught.value.code) == ("start_instance", "RESOURCE_EXHAUSTED")
        assert bench.served.calls.count("get_operation") == bench.served.calls.count("start_instance") == 1
        await client.terminate_instance(others[0].cloud_id)
        await client.start_instance(made.cloud_id)
        found = await client.get_instance(made.cloud_id)
        assert (found.status, found.messages) == (LifecycleStatus.RUNNING, ())

    bench.run(whole)
    bench.stop()


def test_resource_exhausted_of_an_operation_is_quota_as_it_is_of_a_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails_later=True, limit=0)

    async def whole(client: NebiusClient) -> None:
        made = await client.create_instance(wanted())
        found = await client.get_instance(made.cloud_id)
        assert "quota of 0 instances is exceeded" in found.messages[0]
        failure = client._begun[made.cloud_id].failure
        assert isinstance(failure, OutOfQuota)

    bench.run(whole)
    bench.stop()


def test_an_operation_that_cannot_be_read_leaves_the_list_whole_and_is_asked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 60.0})

    async def whole(client: NebiusClient) -> None:
        bench.faults.choose = on("create_instance", Fault(fails_after_s=10.0))
        await client.create_instance(wanted())
        bench.clock.passed += 20.0
        bench.faults.choose = on("get_operation", Fault(before=Trouble(Way.DROPPED)))
        (first,) = await client.list_instances()
        (second,) = await client.list_instances()
        assert (first.status, first.messages) == (LifecycleStatus.FAILED, ())
        assert "no room was found" in second.messages[0]

    bench.run(whole)
    bench.stop()


@pytest.mark.parametrize(("limit", "kind"), [(None, OutOfStock), (0, OutOfQuota)])
def test_an_operation_that_has_failed_tells_stock_from_quota(tmp_path: Path, limit: int | None, kind: type) -> None:
    bench = Bench(tmp_path, fails_in_operations=True, limit=limit)
    sold_out = native("gpu_8x_b200_sxm6")
    error = failed(bench, lambda client: client.create_instance(wanted(instance_type=sold_out)))
    assert type(error) is kind
    assert error.sent is Sent.REFUSED
    bench.stop()


def test_an_operation_that_has_failed_is_no_end_of_a_machine(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails_in_operations=True)
    made = bench.make()
    assert isinstance(failed(bench, lambda client: client.release(REF)), NotReady)
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.stop()


def test_what_is_only_being_deleted_is_asked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slow_groups=1)
    with pytest.raises(NotReady) as caught:
        bench.make()
    assert caught.value.sent is Sent.MAYBE, "the same call goes on from there"
    error = failed(bench, lambda client: client.release(REF))
    assert isinstance(error, NotReady)
    assert "being deleted" in str(error)
    bench.run(lambda client: client.release(REF))
    bench.stop()


# Firewalls


def rules(*ingress: FirewallRule, egress: tuple[FirewallRule, ...] | None = None) -> FirewallRules:
    return FirewallRules(ingress=ingress, egress=egress)


def rule(low: int, high: int = 0, *ranges: str, protocol: str = "") -> FirewallRule:
    return FirewallRule(from_port=low, to_port=high or low, ip_ranges=ranges, protocol=protocol)


def meaning(found: FirewallRules | None) -> set[tuple[int, int, tuple[str, ...], str]]:
    assert found is not None
    return {(one.from_port, one.to_port, one.ip_ranges, one.protocol) for one in found.ingress}


@pytest.mark.parametrize(
    "given",
    [
        rules(),
        rules(rule(443)),
        rules(rule(8000, 8063, protocol="tcp"), rule(53, 53, "10.0.0.0/8", protocol="udp")),
        rules(rule(1, 65535, "10.0.0.0/8", "192.0.2.0/24")),
        rules(rule(80), egress=(rule(443, 443, protocol="tcp"),)),
    ],
)
def test_rules_are_read_as_they_were_written(bench: Bench, given: FirewallRules) -> None:
    made = bench.make(firewall_rules=given)
    found = bench.got(made.cloud_id).firewall_rules
    assert meaning(found) == meaning(given)
    assert found is not None
    assert (found.egress is None) == (given.egress is None)
    for message in bench.messages("add_security_rule"):
        match = message.spec.ingress or message.spec.egress
        assert len(match.destination_ports) <= 8


def test_ssh_is_let_in_and_everything_out(bench: Bench) -> None:
    bench.make()
    inward, outward = bench.messages("add_security_rule")
    assert list(inward.spec.ingress.destination_ports) == [22]
    assert list(inward.spec.ingress.source_cidrs) == []
    assert list(outward.spec.egress.destination_ports) == []


def test_rules_are_added_before_any_is_taken_away(bench: Bench) -> None:
    made = bench.make(firewall_rules=rules(rule(80)))
    bench.served.calls.clear()
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, rules(rule(81))))
    changes = [call for call in bench.served.calls if call.endswith("security_rule")]
    assert changes == ["add_security_rule"] * 2 + ["delete_security_rule"] * 2
    bench.served.calls.clear()
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, rules(rule(81))))
    assert not [call for call in bench.served.calls if call.endswith("security_rule")]


def test_trap_a_rule_that_comes_back_is_made_again_and_not_answered_from_memory(bench: Bench) -> None:
    made = bench.make(firewall_rules=rules(rule(80)))
    for port in (81, 80):
        bench.run(lambda client, port=port: client.replace_firewall_rules(made.cloud_id, rules(rule(port))))  # type: ignore[misc]  # a default that binds now
    assert meaning(bench.got(made.cloud_id).firewall_rules) == meaning(rules(rule(80)))
    keys = [headers["x-idempotency-key"] for headers in bench.headers("add_security_rule")]
    assert len(set(keys)) == len(keys), "a key that was used is answered with what was made then"


def test_a_forgotten_machine_keeps_the_group_that_bears_its_name(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, rules(rule(80))))
    assert meaning(bench.got(made.cloud_id).firewall_rules) == meaning(rules(rule(80)))


def test_a_group_of_another_machine_is_left_alone(bench: Bench) -> None:
    bench.make()
    bench.adopt("bp-test-aaaaaaaaaaaa-000002", shares_group=True)
    (theirs,) = [machine for machine in bench.listed() if machine.name != "web"]
    error = failed(bench, lambda client: client.replace_firewall_rules(theirs.cloud_id, rules()))
    assert isinstance(error, Rejected)
    assert "no security group of its own" in str(error)


# What stands beside machines


def test_release_takes_group_and_left_disk_and_is_repeated_until_they_are_gone(bench: Bench) -> None:
    made = bench.make()
    assert [one.kind for one in bench.run(lambda client: client.side_objects())] == ["disk", "security group"]
    assert isinstance(failed(bench, lambda client: client.release(REF)), NotReady), "in use"
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.leave_disk(f"{REF}-boot-disk")
    bench.leave_disk("theirs")
    found = bench.run(lambda client: client.side_objects())
    assert [(one.kind, one.ref_id) for one in found] == [("disk", REF), ("security group", REF)]
    for _ in range(2):
        bench.run(lambda client: client.release(REF))
    assert bench.run(lambda client: client.side_objects()) == []


def test_release_looks_only_where_the_attempt_was_made(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))

    async def known(client: NebiusClient) -> None:
        with pytest.raises(Rejected):
            await client.create_instance(wanted(instance_type="gpu-a10.99gpu"))
        bench.served.calls.clear()
        await client.release(REF)

    bench.run(known)
    assert bench.served.calls.count("get_security_group") == 1


def test_release_of_what_is_not_ours_touches_nothing(bench: Bench) -> None:
    bench.run(lambda client: client.release(RefId("somebody")))
    assert bench.served.calls == []


def test_a_fence_takes_the_group_and_promises_nothing(bench: Bench) -> None:
    with pytest.raises(OutOfStock):
        bench.make(instance_type=native("gpu_8x_b200_sxm6"))
    for _ in range(2):
        assert bench.run(lambda client: client.fence(REF)) is False
    assert bench.run(lambda client: client.side_objects()) == []


def test_no_secret_stands_in_an_error(bench: Bench) -> None:
    broken = Rejected(f"your key {pem('ours')[0]} is odd")
    bench.faults.choose = on("create_instance", Fault(before=broken))
    error = failed(bench, lambda client: client.create_instance(wanted()))
    assert "PRIVATE KEY" not in str(error)
    assert "(secret)" in str(error)
