"""The LaunchPad client, every method, in front of its face; and the traps of the API, each under its name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator
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
    Money,
    PortMapping,
    RefId,
    instance_type_id,
)
from brevplan.operations.world import SystemClock
from brevplan.providers import launchpad, launchpad_wire, registry
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Reply, Request
from brevplan.simcloud.faces.launchpad import LaunchpadFace, face, native_type
from brevplan.simcloud.faces.server import Server
from brevplan.simcloud.faults import Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.providers.launchpad_bench import (
    A10,
    ANSWERS,
    HOME,
    MADE,
    REF,
    REQUESTS,
    SETTINGS,
    SOLD_OUT,
    TOKEN,
    Bench,
    Canned,
    Recorded,
    page,
    row,
    tags_of,
    transport_to,
    wanted,
)
from tests.world import ChosenFaults

SECOND = RefId("bp-test-aaaaaaaaaaaa-000002")
NOBODY = CloudId("00000000-0000-4000-8000-000000009999")
NOT_FOUND = (404, {"detail": "No Deployment matches the given query."})
TAKEN = (400, {"request_id": ["deployment with this request_id already exists."]})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    assert made.wire.violations == []


# The account


def test_the_registry_has_it_with_its_credential() -> None:
    spec = registry.spec("launchpad")
    token = spec.all_arguments()["api_token"]
    assert (token.sensitive, token.required, token.environment) == (True, True, "LAUNCHPAD_API_TOKEN")
    assert spec.traits.option_names == set(spec.options)


def test_what_is_declared_is_there_and_nothing_else(bench: Bench) -> None:
    client = launchpad.connect(bench.connection())
    assert isinstance(client, CloudClient)
    assert isinstance(client, Rename)
    for capability, protocol in CAPABILITY_PROTOCOLS.items():
        assert isinstance(client, protocol) == (capability in client.traits.capabilities), capability
    assert Capability.CREATE_IDEMPOTENT in client.traits.capabilities
    assert client.traits.firewall_pattern is FirewallPattern.ALLOWLIST
    reach = client.traits.firewall
    assert (reach.ports, reach.egress, reach.networks, reach.ipv6) == (False, False, False, True)


def test_the_block_changes_the_rates(bench: Bench) -> None:
    client = launchpad.connect(bench.connection(requests_per_minute=10, creates_per_minute=2, grace_window=5.0))
    traits = client.traits
    assert (traits.requests_per_minute, traits.creates_per_minute, traits.grace_window_s) == (10, 2, 5.0)


def test_the_tenant_follows_from_the_token_without_a_request(bench: Bench) -> None:
    tenant = bench.run(lambda client: client.tenant_id())
    assert tenant == f"launchpad-{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    assert bench.wire.calls == []


def test_another_server_is_another_account(bench: Bench) -> None:
    tenants = {
        bench.run(lambda client: client.tenant_id(), api_url=url)
        for url in ("", "https://launchpad.api.nvidia.com/", "https://stage.launchpad.api.nvidia.com")
    }
    assert len(tenants) == 2


def test_api_url_is_where_requests_go() -> None:
    api = Canned(page())
    api.run(lambda client: client.list_instances(), endpoint="", api_url="https://stage.launchpad.api.nvidia.com")
    assert api.asked[0].url.host == "stage.launchpad.api.nvidia.com"
    api.run(lambda client: client.list_instances(), endpoint="")
    assert api.asked[1].url.host == "launchpad.api.nvidia.com"


def test_a_wrong_token_is_noticed_by_the_first_list(bench: Bench) -> None:
    with pytest.raises(AuthFailed) as caught:
        bench.run(lambda client: client.list_instances(), api_token="wrong-token-99")
    assert "Invalid token" in str(caught.value)
    assert "LAUNCHPAD_API_TOKEN" in str(caught.value)
    assert "wrong-token-99" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "  ", "schlüssel", "two\nlines", "Token abc"])
def test_a_token_that_no_header_can_hold(bench: Bench, token: str) -> None:
    with pytest.raises(AuthFailed) as caught:
        launchpad.connect(bench.connection(api_token=token))
    assert caught.value.sent is Sent.NO


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [("delivery", "soon", "fast nor slow"), ("requester_email", "nobody", "e-mail"), ("org_name", "", "org_name"),
     ("ip_allowlist", ["10.0.0.0/8"], "single addresses"), ("ip_allowlist", ["me"], "not an address"),
     ("ip_allowlist", ["0.0.0.0/0"], "single addresses")],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant(bench: Bench, setting: str, value: object, word: str) -> None:
    with pytest.raises(Rejected) as caught:
        launchpad.connect(bench.connection(**{setting: value}))
    assert word in str(caught.value)
    assert caught.value.sent is Sent.NO


def test_the_word_before_the_token_is_token() -> None:
    api = Canned(page())
    api.run(lambda client: client.list_instances())
    assert api.asked[0].headers["Authorization"] == f"Token {TOKEN}"


# Paths and pages


def every_call() -> list[Callable[[Any], Any]]:
    some = CloudId(MADE)
    return [
        lambda client: client.list_instances(), lambda client: client.get_instance(some),
        lambda client: client.create_instance(wanted()), lambda client: client.terminate_instance(some),
        lambda client: client.get_instance_types(), lambda client: client.get_locations(),
        lambda client: client.update_tags(some, {}), lambda client: client.update_mark(some, address="x"),
        lambda client: client.rename_instance(some, "x"), lambda client: client.replace_firewall_rules(some, rules()),
    ]  # fmt: skip


def test_trap_7_every_path_ends_in_a_slash() -> None:
    for call in every_call():
        api = Canned((200, {"id": MADE, "tags": None, "count": 0, "results": []}))
        api.run(call)
        assert api.asked
        for request in api.asked:
            assert request.url.path.endswith("/"), request.url


def test_trap_7_a_redirect_is_no_answer() -> None:
    api = Canned((301, ""))
    for call in every_call():
        with pytest.raises(Unavailable):
            api.run(call)


def test_pages_are_read_to_the_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path, longest_page=2)
    for number in range(5):
        bench.make(f"bp-test-aaaaaaaaaaaa-00000{number}")
    bench.wire.calls.clear()
    assert [machine.ref_id for machine in bench.listed()] == [f"bp-test-aaaaaaaaaaaa-00000{n}" for n in range(5)]
    assert len(bench.wire.calls) == 3
    assert len(bench.run(lambda client: client.get_instance_types())) == sum(bool(o.gpus) for o in catalogue.offers())
    assert bench.wire.violations == []


def test_a_page_that_is_shorter_than_asked_for_is_not_the_last() -> None:
    api = Canned(page(row(), count=2, following="http://x/?page=2"), page(row(id=str(NOBODY)), count=2))
    assert len(api.run(lambda client: client.list_instances())) == 2
    assert [request.url.params["page"] for request in api.asked] == ["1", "2"]


def test_the_url_of_the_next_page_is_not_followed() -> None:
    api = Canned(page(row(), count=2, following="http://evil.example/"), page(row(id=str(NOBODY)), count=2))
    api.run(lambda client: client.list_instances())
    assert {request.url.host for request in api.asked} == {"cloud.test"}


@pytest.mark.parametrize(
    "answers",
    [
        [page({"id": "a"}, count=2)],
        [page({"id": "a"}, count=0)],
        [page({"id": "a"}, count=2, following="x"), page({"id": "a"}, count=2)],
        [page({"id": "a"}, count=2, following="x"), page({"id": "b"}, count=3)],
        [page({"id": "a"}, count=2, following="x"), page(count=2, following="x")],
        [page({"id": "a"}, count=2, following="x"), (404, {"detail": "Invalid page."})],
        [page({"id": "a"}, count=2, following="x"), (500, "")],
        [page({"id": "a"}, count=2, following="x"), (200, '{"count": 2, "resu')],
    ],
    ids=["short", "more than counted", "twice", "another count", "empty", "no page", "500", "cut"],
)
def test_a_list_is_whole_or_an_error(answers: list[tuple[int, object]]) -> None:
    with pytest.raises(Unavailable) as caught:
        Canned(*answers).run(lambda client: client.list_instances())
    assert caught.value.retryable
    assert caught.value.operation == "list_instances"


@pytest.mark.parametrize(
    "body", ["", "{", [], {}, {"count": 0}, {"count": 1, "results": None}, {"count": 1, "results": [{}]},
             {"count": 1, "results": [{"id": ""}]}, {"count": 1, "results": [{"id": "x", "ssh_port": "a"}]}]
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_no_empty_list(body: object) -> None:
    with pytest.raises(Unavailable) as caught:
        Canned((200, body)).run(lambda client: client.list_instances())
    assert "not what the API describes" in str(caught.value)


# Types


def types(bench: Bench, **how: Any) -> list[InstanceType]:
    return bench.run(lambda client: client.get_instance_types(InstanceTypeFilter(**how)))


def entry(**fields: Any) -> dict[str, Any]:
    gpu = {
        "count": 1, "family": "A100", "model": "A100-80GB", "manufacturer": "NVIDIA", "memory_gb": 80,
        "interconnection_type": "sxm", **fields.pop("gpu", {}),
    }  # fmt: skip
    return {
        "cloud": "oci", "cpu": 16, "memory_gb": 120, "system_arch": "amd64", "workshop_id": "", "gpu": gpu,
        "storage": [{"size_gb": 1024, "type": "ssd"}, {"size_gb": 2048, "type": "nvme"}], "regions": ["us-tx-1"],
        "capacity": {"us-tx-1": 10}, "price": {"currency": "USD", "on_demand_per_hour": 2.5}, **fields,
    }  # fmt: skip


def read(*entries: dict[str, Any]) -> list[InstanceType]:
    return Canned(page(*entries)).run(lambda client: client.get_instance_types())


def test_a_type_is_read_whole() -> None:
    (found,) = read(entry())
    assert (found.type, found.location, found.id) == ("oci.a100x1.sxm", "us-tx-1", "us-tx-1-noSub-oci.a100x1.sxm")
    assert (found.provider, found.cloud) == ("launchpad", "oci")
    assert (found.vcpu, found.memory, found.architectures) == (16, Bytes(120, "GB"), ("x86_64",))
    (gpu,) = found.gpus
    assert (gpu.name, gpu.type, gpu.count, gpu.memory) == ("A100", "A100-80GB", 1, Bytes(80, "GB"))
    assert (gpu.interconnect, gpu.manufacturer) == ("SXM4", "NVIDIA")
    assert [(disk.type, disk.size) for disk in found.storage] == [
        ("ssd", Bytes(1024, "GB")),
        ("nvme", Bytes(2048, "GB")),
    ]
    assert (found.is_available, found.stock) == (True, 10)
    assert not found.stoppable
    assert not found.rebootable
    assert found.can_modify_firewall
    assert found.deploy_time_s == 900


@pytest.mark.parametrize(
    ("name", "parts"),
    [("nebius.l4x1.pcie.public", ("nebius", "l4", 1, "pcie", "public")),
     ("oci.b200x8.sxm6.dgxc", ("oci", "b200", 8, "sxm6", "dgxc")),
     ("oci.rtx-pro-6000x2.pcie", ("oci", "rtx-pro-6000", 2, "pcie", "")),
     ("oci.mx100x16.sxm", ("oci", "mx100", 16, "sxm", "")),
     ("oci.a.b", None), ("oci.h100x.sxm", None), ("oci.x8.sxm", None), ("oci.h100x8", None), ("", None),
     (".h100x8.sxm", None), ("oci.h100x8.", None), ("oci.h100x٣.sxm", None), ("oci.h100x8000.sxm", None)],
)  # fmt: skip
def test_names_of_types_are_taken_apart(name: str, parts: tuple[Any, ...] | None) -> None:
    found = launchpad_wire.TypeName.parse(name)
    assert (
        None if found is None else (found.cloud, found.gpu, found.count, found.interconnect, found.workshop)
    ) == parts
    assert found is None or str(found) == name


def test_a_type_that_could_not_be_taken_apart_again_is_left_out() -> None:
    assert read(entry(cloud="a.b"), entry(gpu={"count": 0}), entry(gpu={"family": "", "model": ""})) == []


def test_a_workshop_is_part_of_the_name() -> None:
    (found,) = read(entry(workshop_id="January training", cloud="nebius"))
    assert found.type == "nebius.a100x1.sxm.January training"


def test_every_type_of_the_simulated_catalogue_comes_through(bench: Bench) -> None:
    found = {(item.type, item.location): item for item in types(bench)}
    offers = [offer for offer in catalogue.offers() if offer.gpus]
    assert set(found) == {(native_type(offer.type), offer.location) for offer in offers}
    for offer in offers:
        item = found[native_type(offer.type), offer.location]
        assert item.base_price == offer.base_price
        assert [gpu.name for gpu in item.gpus] == [gpu.name for gpu in offer.gpus]
        assert [gpu.memory for gpu in item.gpus] == [gpu.memory for gpu in offer.gpus]
        assert item.architectures == offer.architectures
        assert item.is_available == (offer.stock != 0)


def test_types_are_in_order_and_the_same_whatever_the_order_of_the_answer() -> None:
    one, other = entry(capacity={"b": 1, "a": 0}), entry(cloud="nebius")
    assert read(one, other) == read(other, one)
    assert [(item.type, item.location) for item in read(other, one)] == [
        ("nebius.a100x1.sxm", "us-tx-1"),
        ("oci.a100x1.sxm", "a"), ("oci.a100x1.sxm", "b"), ("oci.a100x1.sxm", "us-tx-1"),
    ]  # fmt: skip


def test_ids_outlive_a_shortage() -> None:
    (before,), (after,) = read(entry()), read(entry(capacity={"us-tx-1": 0}, regions=[]))
    assert before.id == after.id
    assert (after.is_available, after.stock) == (False, 0)


def test_two_entries_of_one_name_are_one_type_and_no_better_than_the_worse() -> None:
    small = entry(gpu={"model": "A100-40GB", "memory_gb": 40}, price={"currency": "USD", "on_demand_per_hour": 2.5})
    dear = entry(price={"currency": "USD", "on_demand_per_hour": 3})
    for order in ((small, dear), (dear, small)):
        (found,) = read(*order)
        assert found.base_price is not None
        assert found.base_price.amount == 3
    for order in ((small, entry()), (entry(), small)):
        assert read(*order)[0].gpus[0].memory == Bytes(40, "GB")
    sold_out = entry(capacity={"us-tx-1": 0}, price={"currency": "USD", "on_demand_per_hour": 9})
    for order in ((small, sold_out), (sold_out, small)):
        assert read(*order)[0].is_available


@pytest.mark.parametrize("given", ["sxm", "SXM", "Sxm"])
def test_trap_2_the_case_of_the_interconnect_is_of_no_matter(given: str) -> None:
    (found,) = read(entry(gpu={"interconnection_type": given}, price=None))
    assert found.type == "oci.a100x1.sxm"
    assert found.gpus[0].interconnect == "SXM4"
    assert found.base_price is not None
    assert found.base_price.amount == Decimal("2.51"), "2.01 and a quarter, whatever the case"
    made = machine_of({}, node={"gpu": {"model": "A100", "form_factor": given}})
    assert made.instance_type == "oci.a100x8.sxm"


@pytest.mark.parametrize(
    ("family", "given", "count", "each"),
    [("H100", 80, 8, 80), ("H100", 640, 8, 80), ("L4", 24, 8, 24), ("L4", 192, 8, 24), ("A100", 80, 2, 80),
     ("A100", 320, 8, 40), ("B200", 192, 1, 180), ("A6000", 192, 4, 48), ("A6000", 48, 4, 48), ("X9", 192, 4, 48),
     ("RTX-A6000", 192, 4, 48), ("RTX_PRO_6000", 96, 8, 96), ("rtx pro 6000", 768, 8, 96),
     ("X9", 800, 8, 100), ("X9", 801, 8, 801), ("H100", 81, 3, 80)],
)  # fmt: skip
def test_trap_4_the_memory_of_one_gpu_is_told_from_the_total(family: str, given: int, count: int, each: int) -> None:
    (found,) = read(entry(gpu={"family": family, "model": family, "memory_gb": given, "count": count}))
    assert found.gpus[0].memory == Bytes(each, "GB")


@pytest.mark.parametrize("given", [96, 192])
def test_trap_4_a_model_that_says_its_memory_is_believed(given: int) -> None:
    (found,) = read(entry(gpu={"family": "X9", "model": "X9-96GB", "memory_gb": given, "count": 2}))
    assert found.gpus[0].memory == Bytes(96, "GB")


@pytest.mark.parametrize(
    ("family", "given", "shown"),
    [("H100", "sxm", "SXM5"), ("A100", "SXM", "SXM4"), ("B200", "sxm6", "SXM6"), ("X9", "sxm", "SXM"),
     ("H100", "pcie", "PCIe")],
)  # fmt: skip
def test_a_card_has_the_interconnect_that_it_has_elsewhere(family: str, given: str, shown: str) -> None:
    (found,) = read(entry(gpu={"family": family, "interconnection_type": given}))
    assert found.gpus[0].interconnect == shown
    assert found.type.endswith(f".{given.lower()}"), "the name of the type stays as it is asked for"


def test_prices_are_exact_and_of_the_whole_type() -> None:
    for text in ("2.5", "31.10", "0.1", "0.29"):
        body = json.dumps(entry(gpu={"count": 8})).replace("2.5", text)
        (found,) = Canned((200, f'{{"count": 1, "results": [{body}]}}')).run(lambda client: client.get_instance_types())
        assert found.base_price is not None
        assert found.base_price.amount == Decimal(text)


@pytest.mark.parametrize(
    ("family", "interconnect", "count", "dollars"),
    [("H100", "sxm", 8, "23.70"), ("H100", "pcie", 8, "18.96"), ("L40S", "pcie", 1, "1.58"), ("A30", "pcie", 1, "0.12"),
     ("B200", "sxm", 8, "25.00"), ("A100", "sxm", 1, "2.51"), ("GGL40S", "pcie", 2, "3.96")],
)  # fmt: skip
@pytest.mark.parametrize("price", [None, {"currency": "USD", "on_demand_per_hour": None}, {"on_demand_per_hour": 0}])
def test_rec_without_a_price_there_is_an_estimate(
    family: str, interconnect: str, count: int, dollars: str, price: object
) -> None:
    gpu = {"family": family, "interconnection_type": interconnect, "count": count}
    (found,) = read(entry(gpu=gpu, price=price))
    assert found.base_price is not None
    assert (str(found.base_price.amount), found.base_price.currency) == (dollars, "USD")


@pytest.mark.parametrize("given", ["EUR", "eur", "CAD"])
def test_a_price_in_another_currency_is_not_known(given: str) -> None:
    (found,) = read(entry(price={"currency": given, "on_demand_per_hour": 2.5}))
    assert found.base_price is None


@pytest.mark.parametrize("given", ["usd", " USD ", "", None])
def test_a_price_in_dollars_however_they_are_written(given: str | None) -> None:
    (found,) = read(entry(price={"currency": given, "on_demand_per_hour": 2.5}))
    assert found.base_price == Money(Decimal("2.5"))


@pytest.mark.parametrize(
    "price",
    ["free", 5, [], {"on_demand_per_hour": "NaN"}, {"on_demand_per_hour": "sNaN"}, {"on_demand_per_hour": "Infinity"},
     {"on_demand_per_hour": "-Infinity"}, {"on_demand_per_hour": -1}, {"on_demand_per_hour": "1e999999"},
     {"on_demand_per_hour": "1e-999999"}, {"on_demand_per_hour": "much"}, {"on_demand_per_hour": True},
     {"on_demand_per_hour": 1, "currency": 5}],
)  # fmt: skip
def test_a_price_that_is_none_is_not_known_and_hides_no_type(price: object) -> None:
    (odd, other) = read(entry(price=price), entry(cloud="z"))
    assert odd.base_price is None
    assert other.base_price == Money(Decimal("2.5"))


@pytest.mark.parametrize(
    "fields",
    [{"memory_gb": -1}, {"cpu": -1}, {"storage": [{"size_gb": -1}]}, {"gpu": {"memory_gb": -80}},
     {"gpu": {"count": -1}}, {"memory_gb": "many"}],
)  # fmt: skip
def test_a_catalogue_with_what_cannot_be_is_an_error_and_no_shorter_one(fields: dict[str, Any]) -> None:
    with pytest.raises(Unavailable) as caught:
        read(entry(cloud="z"), entry(**fields))
    assert "not what the API describes" in str(caught.value)


def test_only_what_can_be_delivered_soon_is_asked_for_unless_told_otherwise() -> None:
    api = Canned(page())
    api.run(lambda client: client.get_instance_types())
    api.run(lambda client: client.get_locations(), delivery="slow")
    assert [request.url.params["delivery"] for request in api.asked] == ["fast", "slow"]


def test_blocks_of_another_delivery_keep_other_catalogues(bench: Bench) -> None:
    fast, slow = (launchpad.connect(bench.connection(delivery=given)).traits for given in ("fast", "slow"))
    assert fast.catalogue != slow.catalogue
    assert fast.catalogue == launchpad.connect(bench.connection()).traits.catalogue


def test_dmz_is_there_soon() -> None:
    assert read(entry(cloud="dmz"))[0].deploy_time_s == 60


def test_unknown_and_missing_fields_of_a_type_do_no_harm() -> None:
    (found,) = read({"cloud": "a", "gpu": {"family": "L4", "count": 1, "interconnection_type": "pcie"},
                     "capacity": {"r": None}, "brand_new": {"x": 1}})  # fmt: skip
    assert (found.id, found.is_available, found.architectures) == ("r-noSub-a.l4x1.pcie", False, ("unknown",))


def test_filters_of_types(bench: Bench) -> None:
    assert {item.location for item in types(bench, locations=("us-west-1",))} == {"us-west-1"}
    assert {item.type for item in types(bench, instance_types=(A10,))} == {A10}
    assert {item.type for item in types(bench, architectures=("arm64",))} == {"dmz.gh200x1.sxm"}
    assert types(bench, locations=("nowhere",)) == []


def test_locations_are_those_of_all_types_and_open_where_one_is_left() -> None:
    entries = [entry(capacity={"b": 0, "a": 0}, regions=[]), entry(cloud="x", capacity={"b": 3}, regions=["c"])]
    every = Canned(page(*entries)).run(lambda client: client.get_locations(include_unavailable=True))
    assert [(place.name, place.available) for place in every] == [("a", False), ("b", True), ("c", False)]
    assert [place.name for place in Canned(page(*entries)).run(lambda client: client.get_locations())] == ["b"]


# Launching


def rule(*ranges: str, low: int = 1, high: int = 65535) -> FirewallRule:
    return FirewallRule(from_port=low, to_port=high, ip_ranges=ranges)


def rules(*members: FirewallRule) -> FirewallRules:
    return FirewallRules(ingress=members)


SSH = FirewallRule(from_port=22, to_port=22, protocol="tcp")


def sent(api: Canned, place: int = -1) -> dict[str, Any]:
    body = json.loads(api.asked[place].content)
    assert isinstance(body, dict)
    return body


def launched(**fields: Any) -> dict[str, Any]:
    settings = fields.pop("settings", {})
    api = Canned((201, {"id": MADE}))
    api.run(lambda client: client.create_instance(wanted(**fields)), **settings)
    assert len(api.asked) == 1, "nothing is read back"
    return sent(api)


def test_a_launch_asks_for_everything() -> None:
    api = Canned((201, {"id": MADE, "state": "waiting"}))
    request = wanted(
        name="web", address='instance.web["a=b"]', instance_type="oci.h100x8.sxm", location="us-tx-1",
        tags={"team": "x"}, firewall_rules=rules(rule("203.0.113.9/32"), SSH), public_key=" ssh-ed25519 AAAA t\n",
    )  # fmt: skip
    made = api.run(lambda client: client.create_instance(request))
    assert sent(api) == {
        "experience_id": "43123766-35ec-4eb4-a5ba-3f2945228445", "request_id": REF, "org_name": "acme",
        "requester_email": "ops@example.com", "requester_name": "ops@example.com", "provider_name": "oci",
        "gpu_model": "h100", "gpu_count": 8, "region": "us-tx-1", "public_key": "ssh-ed25519 AAAA t",
        "ip_allowlist": [HOME, "203.0.113.9"], "expires_at": None, "workshop": None, "workshop_id": None,
        "tags": {"RefID": REF, "CloudCredRefID": "bp-test", "Name": "web", "InstanceType": "oci.h100x8.sxm",
                 "BrevplanAddress": 'instance.web["a=b"]', "team": "x"},
    }  # fmt: skip
    assert (made.cloud_id, made.status) == (MADE, LifecycleStatus.PENDING)
    assert (made.ref_id, made.cloud_cred_ref_id, made.address) == (REF, "bp-test", 'instance.web["a=b"]')
    assert made.instance_type_id == "us-tx-1-noSub-oci.h100x8.sxm"


def test_a_workshop_is_asked_for_by_its_id() -> None:
    body = launched(instance_type="nebius.l4x1.pcie.public")
    assert (body["workshop"], body["workshop_id"]) == (True, "public")


@pytest.mark.parametrize(
    ("instance_type", "experience"),
    [("nebius.l4x1.pcie", "a5d93f56-bbdb-44db-a1ae-6b1ad7d3c6df"),
     ("dmz.gh200x1.sxm", "d12c37eb-270a-4471-be45-48e4d1fdb764"),
     ("dmz.gh200x1.pcie", "43123766-35ec-4eb4-a5ba-3f2945228445"),
     ("dmz.h100x1.sxm", "43123766-35ec-4eb4-a5ba-3f2945228445")],
)  # fmt: skip
def test_a_minimal_system_is_deployed_where_nothing_else_is_named(instance_type: str, experience: str) -> None:
    assert launched(instance_type=instance_type)["experience_id"] == experience


def test_rec_experience_and_requester_are_of_the_provider_block() -> None:
    body = launched(settings={"experience_id": "mine", "requester_name": "Ops"})
    assert (body["experience_id"], body["requester_name"]) == ("mine", "Ops")


@pytest.mark.parametrize("option", ["experience_id", "catalog_id", "catalog_id_alias"])
def test_the_options_of_a_machine_win(option: str) -> None:
    body = launched(options={option: "LP-15"}, settings={"experience_id": "mine"})
    named = {name: body[name] for name in ("experience_id", "catalog_id", "catalog_id_alias") if name in body}
    assert named == {option: "LP-15"}


@pytest.mark.parametrize(
    "fields",
    [{"instance_type": "h100"}, {"instance_type": f"oci.{'h' * 33}x1.sxm"}, {"spot": True}, {"sub_location": "a"},
     {"filesystems": ("one",)}, {"image_id": "x"}, {"user_data": "#!/bin/sh"}, {"disk_size": Bytes(1, "TB")},
     {"instance_type": "oci.h100x513.sxm"}, {"tags": {"RefID": "c"}},
     {"tags": {"CloudCredRefID": "c"}}, {"tags": {"Name": "c"}}, {"tags": {"InstanceType": "c"}},
     {"tags": {"BrevplanAddress": "c"}}, {"options": {"catalog_id": "a", "experience_id": "b"}},
     {"firewall_rules": rules(rule("10.0.0.0/8"))}, {"firewall_rules": rules(rule("0.0.0.0/0"))},
     {"firewall_rules": FirewallRules(egress=())}],
    ids=lambda fields: "-".join(fields) + re.sub(r"\W+", "-", str(next(iter(fields.values()))))[:20],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_never_sent(fields: dict[str, Any]) -> None:
    api = Canned((201, {"id": MADE}))
    with pytest.raises(Rejected) as caught:
        api.run(lambda client: client.create_instance(wanted(**fields)))
    assert caught.value.sent is Sent.NO
    assert api.asked == []
    (argument,) = (name if name != "firewall_rules" else "firewalls" for name in fields)
    with pytest.raises(Rejected) as planned:
        launchpad.SPEC.check_launch(wanted(**fields))
    assert planned.value.message == caught.value.message
    assert planned.value.message.startswith(f"{argument}: ")


@pytest.mark.parametrize(
    "fields",
    [{}, {"options": {"catalog_id": "LP-15"}}, {"tags": {"team": "x"}}, {"firewall_rules": rules(SSH)},
     {"firewall_rules": rules(rule("203.0.113.9/32"))}, {"location": ""}],
)  # fmt: skip
def test_what_may_be_asked_for_is_left_to_the_cloud(fields: dict[str, Any]) -> None:
    launchpad.SPEC.check_launch(wanted(**fields))


# The addresses that are let in


@pytest.mark.parametrize(
    ("members", "addresses"),
    [((), [HOME]), ((SSH,), [HOME]), ((rule("203.0.113.9/32", low=443, high=443), SSH), [HOME, "203.0.113.9"]),
     ((rule("2001:db8::7/128"),), [HOME, "2001:db8::7"]),
     ((rule(f"{HOME}/32", "203.0.113.9/32"),), [HOME, "203.0.113.9"]),
     ((rule(low=443, high=443),), [HOME])],
)  # fmt: skip
def test_single_addresses_lose_their_mask_and_nobody_is_let_in_unnamed(
    members: tuple[FirewallRule, ...], addresses: list[str]
) -> None:
    assert launched(firewall_rules=rules(*members))["ip_allowlist"] == addresses


def test_an_address_of_the_block_may_have_a_mask() -> None:
    assert launched(settings={"ip_allowlist": ["203.0.113.9/32"]})["ip_allowlist"] == ["203.0.113.9"]


@pytest.mark.parametrize("given", [None, []])
def test_an_empty_list_that_might_let_everybody_in_is_never_sent(given: object) -> None:
    with pytest.raises(Rejected) as caught:
        launched(firewall_rules=rules(SSH), settings={"ip_allowlist": given})
    assert caught.value.sent is Sent.NO
    assert "ip_allowlist" in str(caught.value)
    named = launched(firewall_rules=rules(rule("203.0.113.9/32"), SSH), settings={"ip_allowlist": given})
    assert named["ip_allowlist"] == ["203.0.113.9"]


@pytest.mark.parametrize(("given", "by_itself"), [(None, False), ([], False), ([HOME], True)])
def test_whether_somebody_is_let_in_by_itself_is_told_to_the_plan(bench: Bench, given: object, by_itself: bool) -> None:
    traits = launchpad.connect(bench.connection(ip_allowlist=given)).traits
    assert traits.firewall.ssh_from_anywhere is by_itself


# The same launch again


def test_the_same_launch_again_gives_the_same_machine(bench: Bench) -> None:
    first = bench.make(address="instance.web")
    again = bench.make(address="instance.web")
    assert again.cloud_id == first.cloud_id
    assert (again.ref_id, again.name) == (REF, "web")
    assert len(bench.listed()) == 1


def test_a_name_that_is_taken_is_looked_up_by_its_request_id() -> None:
    api = Canned(TAKEN, page(row()))
    found = api.run(lambda client: client.create_instance(wanted()))
    assert found.cloud_id == MADE
    assert api.asked[1].url.params["request_id"] == REF
    assert "state_not" not in api.asked[1].url.params, "one that is gone has its name for ever"


def test_a_name_of_a_machine_that_is_gone_is_told_by_its_state(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    again = bench.make()
    assert (again.cloud_id, again.status) == (made.cloud_id, LifecycleStatus.TERMINATED)


def test_of_several_with_one_name_the_living_one_is_given() -> None:
    dead, other = row(state="destroyed"), row(id=str(NOBODY), tags={"RefID": "another"})
    living = row(id="00000000-0000-4000-8000-000000000002")
    found = Canned(TAKEN, page(dead, other, living)).run(lambda client: client.create_instance(wanted()))
    assert found.cloud_id == living["id"]


@pytest.mark.parametrize(
    "answer", [page(), page(row(tags=None)), (500, ""), (401, {"detail": "x"}), (429, ""), (200, "{")],
    ids=["none", "without the mark", "500", "401", "429", "cut"],
)  # fmt: skip
def test_a_name_that_is_taken_and_not_found_may_have_made_a_machine(answer: tuple[int, object]) -> None:
    with pytest.raises(CloudError) as caught:
        Canned(TAKEN, answer).run(lambda client: client.create_instance(wanted()))
    assert caught.value.sent is Sent.MAYBE
    assert caught.value.operation == "create_instance"


# Errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "outcome", "text"),
    [
        (400, {"non_field_errors": ["There is no available capacity for h100."]}, OutOfStock, Sent.REFUSED, "for h100"),
        (503, "no available capacity", Unavailable, Sent.MAYBE, "capacity"),
        (500, {"detail": "no available capacity"}, Unavailable, Sent.MAYBE, "capacity"),
        (409, "no available capacity", OutOfStock, Sent.REFUSED, "capacity"),
        (400, {"detail": "experience quota-lab is unknown"}, Rejected, Sent.REFUSED, "quota-lab"),
        (400, {"detail": "experience quota-lab exceeded its age"}, Rejected, Sent.REFUSED, "quota-lab"),
        (403, {"detail": "the quota service does not know you"}, AuthFailed, Sent.REFUSED, "quota service"),
        (400, {"detail": "Limit exceeded."}, OutOfQuota, Sent.REFUSED, "Limit"),
        (400, {"detail": "Quota of the organisation exceeded"}, OutOfQuota, Sent.REFUSED, "Quota"),
        (403, {"detail": "quota exceeded"}, OutOfQuota, Sent.REFUSED, "quota"),
        (401, {"detail": "Invalid token."}, AuthFailed, Sent.REFUSED, "Invalid token"),
        (403, {"detail": "You do not have permission."}, AuthFailed, Sent.REFUSED, "permission"),
        (400, {"gpu_count": ["A valid integer is required."]}, Rejected, Sent.REFUSED, "gpu_count: A valid integer"),
        (400, {"a": ["x", "y"], "b": ["z"]}, Rejected, Sent.REFUSED, "a: x; y, b: z"),
        (400, {"a": {"b": ["deep"]}}, Rejected, Sent.REFUSED, "deep"),
        (400, [1, 2], Rejected, Sent.REFUSED, "[1, 2]"),
        (400, "", Rejected, Sent.REFUSED, "no reason given"),
        (404, {"detail": "No Experience matches the given query."}, Rejected, Sent.REFUSED, "No Experience"),
        (404, "<html>nginx</html>", Unavailable, Sent.MAYBE, "api_url"),
        (404, {"detail": "No Deployment matches the given query."}, Rejected, Sent.REFUSED, "No Deployment"),
        (409, {"detail": "conflict"}, Rejected, Sent.MAYBE, "conflict"),
        (409, b"\xff\xfe", Rejected, Sent.MAYBE, "HTTP 409"),
        (429, {"detail": "Request was throttled."}, RateLimited, Sent.MAYBE, "throttled"),
        (500, "<h1>Server Error (500)</h1>", Unavailable, Sent.MAYBE, "Server Error"),
        (502, "quota", Unavailable, Sent.MAYBE, "HTTP 502"),
        (301, "", Unavailable, Sent.MAYBE, "HTTP 301"),
        (201, "", Unavailable, Sent.MAYBE, "not what the API describes"),
        (201, {"state": "waiting"}, Unavailable, Sent.MAYBE, "not what the API describes"),
        (201, {"id": ""}, Unavailable, Sent.MAYBE, "not what the API describes"),
    ],
)
def test_errors_of_a_launch(status: int, body: object, kind: type[CloudError], outcome: Sent, text: str) -> None:
    with pytest.raises(kind) as caught:
        Canned((status, body)).run(lambda client: client.create_instance(wanted()))
    error = caught.value
    assert type(error) is kind
    assert (error.sent, error.http_status, error.provider) == (outcome, status, "launchpad")
    assert error.operation == "create_instance"
    assert text in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "<html>nginx</html>"), (404, {"detail": "Not found."}), (404, ""), (404, {"detail": "Invalid page."})],
)
def test_only_the_apis_own_words_say_that_a_machine_is_gone(status: int, body: object) -> None:
    api = Canned((status, body))
    for call in every_call():
        with pytest.raises(Unavailable):
            api.run(call)


def test_an_error_shows_no_secret_and_not_everything() -> None:
    with pytest.raises(Rejected) as caught:
        Canned((400, {"detail": f"{TOKEN} " + "x" * 5000})).run(lambda client: client.list_instances())
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_stock_and_quota_are_told_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=1)
    with pytest.raises(OutOfStock):
        bench.make(instance_type=SOLD_OUT)
    bench.make()
    with pytest.raises(OutOfQuota) as over:
        bench.make(SECOND)
    assert over.value.sent is Sent.REFUSED
    assert len(bench.listed()) == 1
    assert bench.wire.violations == []


@pytest.mark.parametrize(
    ("fault", "kind", "made"),
    [(Fault(before=Trouble(Way.DROPPED)), Unavailable, 0), (Fault(after=Trouble(Way.DROPPED)), Unavailable, 1),
     (Fault(after=Trouble(Way.TRUNCATED)), Unavailable, 1), (Fault(after=Trouble(Way.MALFORMED)), Unavailable, 1),
     (Fault(after=Trouble(Way.STATUS, 502)), Unavailable, 1),
     (Fault(before=Trouble(Way.STATUS, 429, 3.0)), RateLimited, 0)],
    ids=["dropped before", "dropped after", "truncated", "malformed", "502 after", "429"],
)  # fmt: skip
def test_a_launch_without_an_answer_may_have_made_a_machine_and_is_made_once(
    tmp_path: Path, fault: Fault, kind: type[CloudError], made: int
) -> None:
    bench = Bench(tmp_path)
    bench.faults.choose = lambda call: fault if call.operation == "create_instance" else Fault()
    with pytest.raises(kind) as caught:
        bench.make()
    assert caught.value.sent is Sent.MAYBE
    assert caught.value.retryable
    assert bench.faults.count("create_instance") == 1
    assert len(bench.cloud.store.machines()) == made
    if kind is RateLimited:
        assert caught.value.retry_after == 3.0


def test_too_many_requests(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"requests_per_minute": 1})
    assert bench.listed() == []
    with pytest.raises(RateLimited) as caught:
        bench.listed()
    assert caught.value.retry_after is not None


def test_what_a_request_is_for_is_told_to_the_pacer(bench: Bench) -> None:
    made = bench.make()
    bench.make()
    bench.run(lambda client: client.list_instances(urgency=Urgency.SETTLE))
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    settle, create = Urgency.SETTLE, Urgency.CREATE
    assert bench.pacer.admitted == [create, create, settle, settle, settle]


# Reading machines


def read_row(**fields: Any) -> Instance:
    """Read a machine in a list and alone: both must give the same."""
    given = row(**fields)
    (listed,) = Canned(page(given)).run(lambda client: client.list_instances())
    got = Canned((200, given)).run(lambda client: client.get_instance(CloudId(MADE)))
    assert listed == got
    return listed


def machine_of(tags: object, **fields: Any) -> Instance:
    return read_row(tags=tags, **fields)


def test_a_machine_is_read_whole() -> None:
    found = read_row()
    assert found.cloud_id == MADE
    assert (found.ref_id, found.cloud_cred_ref_id, found.address, found.name) == (REF, "bp-test", "", "web")
    assert found.status is LifecycleStatus.RUNNING
    assert (found.instance_type, found.location) == ("oci.h100x8.sxm", "us-tx-1")
    assert found.instance_type_id == "us-tx-1-noSub-oci.h100x8.sxm" == instance_type_id(found)
    assert (found.public_ip, found.hostname) == ("lab.example.net", "lab.example.net")
    assert (found.ssh_user, found.ssh_port) == ("nvidia", 2222)
    assert found.port_mappings == (PortMapping(2222, 2022),), "what the bastion forwards"
    assert found.disk_size == Bytes(2049, "GB"), "of the first node"
    assert found.created_at == datetime(2026, 4, 1, 6, 14, 32, 602000, tzinfo=UTC)
    assert found.tags == {"team": "x"}
    assert (found.stoppable, found.rebootable, found.spot) == (False, False, False)


def test_expansion_is_asked_for_wherever_a_machine_is_read() -> None:
    api = Canned(page(row()), (200, row()))
    api.run(lambda client: client.list_instances())
    api.run(lambda client: client.get_instance(CloudId(MADE)))
    assert {request.url.params["expand"] for request in api.asked} == {
        "cluster.nodes.location.provider,cluster.nodes.gpu"
    }


@pytest.mark.parametrize(
    "cluster",
    ["089324a5-708c-4386-9fdc-92dd9aa63d2b", None, {}, {"nodes": None}, {"nodes": ["an-id"]},
     {"nodes": [{"gpu": "id", "location": "id"}]}, {"nodes": [{"location": {"provider": "id"}}]}],
)  # fmt: skip
def test_trap_a_cluster_that_is_not_expanded_is_read_too(cluster: object) -> None:
    found = read_row(cluster=cluster)
    assert (found.ref_id, found.instance_type, found.location) == (REF, "oci.h100x8.sxm", "us-tx-1")
    assert machine_of({}, cluster=cluster).instance_type == ""


def test_bare_clusters_of_the_face(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_bare=True)
    made = bench.make()
    (listed,) = bench.listed()
    assert listed == bench.got(made.cloud_id)
    assert (listed.instance_type, listed.public_ip) == (A10, "")
    assert bench.wire.violations == []


def test_trap_1_the_type_of_a_machine_is_the_one_it_was_asked_for_by(bench: Bench) -> None:
    """The node names a model, the catalogue a family: `a100-40gb` and `a100`."""
    made = bench.make(instance_type=native_type("gpu_1x_a100_40gb_sxm4"))
    (offer,) = types(bench, instance_types=(made.instance_type,), locations=("us-west-1",))
    (listed,) = bench.listed()
    assert offer.type == "oci.a100x1.sxm" == listed.instance_type
    assert listed.instance_type_id == offer.id == made.instance_type_id
    node = bench.ask("GET", f"/v1/catalog/deployments/{made.cloud_id}/", expand="cluster.nodes.gpu").json()
    assert node["cluster"]["nodes"][0]["gpu"]["model"] == "a100-40gb"


def test_trap_1_a_machine_of_somebody_else_has_the_type_of_the_catalogue_too(bench: Bench) -> None:
    """The node says `a100-80gb`, and the catalogue sells an `a100`."""
    made = bench.make(instance_type="nebius.a100x8.sxm", location="us-west-1")
    path = f"/v1/catalog/deployments/{made.cloud_id}/"
    assert bench.ask("PATCH", path, {"tags": None}).status_code == 200
    (listed,) = bench.listed()
    (offer,) = types(bench, instance_types=("nebius.a100x8.sxm",), locations=("us-west-1",))
    assert (listed.ref_id, listed.instance_type, listed.instance_type_id) == ("", offer.type, offer.id)


@pytest.mark.parametrize(
    ("model", "name"),
    [("A100-80GB", "a100"), ("h100", "h100"), ("rtx-pro-6000", "rtx-pro-6000"), ("l40s-48gb", "l40s"),
     ("-80gb", "-80gb"), ("x-gb", "x-gb"), ("a100-1g", "a100-1g")],
)  # fmt: skip
def test_the_model_of_a_node_is_named_without_its_memory(model: str, name: str) -> None:
    assert machine_of(None, node={"gpu": {"model": model, "form_factor": "sxm"}}).instance_type == f"oci.{name}x8.sxm"


def test_a_machine_of_somebody_else_has_the_type_that_its_node_tells() -> None:
    assert machine_of(None).instance_type == "oci.h100x8.sxm"
    workshop = machine_of(None, cluster_fields={"workshop_id": "public"})
    assert workshop.instance_type == "oci.h100x8.sxm.public"


def test_trap_3_the_location_is_the_region_everywhere(bench: Bench) -> None:
    bench.make()
    (listed,) = bench.listed()
    assert listed.location == "us-west-1"
    assert listed.instance_type_id.startswith("us-west-1-noSub-")
    assert read_row(region=None).location == "us-tx-1-dc2", "where no region is given, the place of the node"
    inner = {"location": {"name": "dc2", "region": "us-tx-9", "provider": {"name": "oci"}}}
    assert read_row(region=None, node=inner).location == "us-tx-9"


@pytest.mark.parametrize(
    ("given", "status"),
    [("waiting", "pending"), ("starting", "pending"), ("retrying", "pending"), ("paused", "pending"),
     ("failed", "pending"), ("ready", "running"), ("stopping", "stopping"), ("stopped", "stopped"),
     ("destroying", "terminating"), ("destroyed", "terminated"), ("error", "failed")],
)  # fmt: skip
def test_states(given: str, status: str) -> None:
    assert read_row(state=given).status.value == status


def test_trap_6_failed_is_not_final_and_error_is() -> None:
    failed, error = read_row(state="failed"), read_row(state="error")
    assert (failed.status, error.status) == (LifecycleStatus.PENDING, LifecycleStatus.FAILED)
    assert "try again" in failed.messages[0]
    assert error.messages


@pytest.mark.parametrize("given", ["hibernating", "", None])
def test_an_unknown_state_is_never_pending(given: str | None) -> None:
    found = read_row(state=given)
    assert found.status is LifecycleStatus.RUNNING
    assert "not known" in found.messages[0]


def test_trap_5_there_is_no_address_until_the_machine_is_ready(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"boot_s": 900.0})
    made = bench.make()
    before = bench.got(made.cloud_id)
    assert (before.status, before.public_ip, before.port_mappings) == (LifecycleStatus.PENDING, "", ())
    assert before.ssh_port == 22, "a port that is not known yet is the usual one"
    bench.clock.passed += 901
    after = bench.got(made.cloud_id)
    assert after.status is LifecycleStatus.RUNNING
    assert after.public_ip
    assert after.ssh_port not in (0, 22)
    assert after.port_mappings == (PortMapping(after.ssh_port, 2022),)
    assert bench.wire.violations == []


def test_ssh_is_where_the_bastion_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, address_of=lambda cloud_id: ("lab.example.net", 40022))
    found = bench.got(bench.make().cloud_id)
    assert (found.public_ip, found.ssh_port) == ("lab.example.net", 40022)
    assert bench.wire.violations == []


@pytest.mark.parametrize(
    ("tags", "shown"),
    [(None, {}), ([], {}), ("text", {}), (5, {}), ({}, {}), ({"a": 1, "b": True, "c": None, "d": {"e": [1]}},
     {"a": "1", "b": "true", "c": "", "d": '{"e":[1]}'}), ({"a": "x"}, {"a": "x"})],
)  # fmt: skip
def test_trap_tags_of_any_kind_hide_no_machine(tags: object, shown: dict[str, str]) -> None:
    found = machine_of(tags)
    assert found.tags == shown
    assert (found.ref_id, found.cloud_cred_ref_id, found.address, found.name) == ("", "", "", "")


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-04-01T06:14:32.602Z", datetime(2026, 4, 1, 6, 14, 32, 602000, tzinfo=UTC)),
     ("2026-04-01T06:14:32", datetime(2026, 4, 1, 6, 14, 32, tzinfo=UTC)), ("", None), (None, None), ("soon", None)],
)  # fmt: skip
def test_times(text: str | None, moment: datetime | None) -> None:
    assert read_row(created=text).created_at == moment


def test_the_least_that_a_machine_can_be() -> None:
    (found,) = Canned(page({"id": "x"})).run(lambda client: client.list_instances())
    assert found.cloud_id == "x"
    nulls = {name: None for name in row() if name != "id"}
    (same,) = Canned(page({"id": "x", **nulls})).run(lambda client: client.list_instances())
    assert same == found


@pytest.mark.parametrize(
    "fields",
    [{"node": {"storage": [{"size": -1}]}}, {"ssh_port": -1}, {"ssh_port": 70000}, {"node": {"gpu_count": -8}}],
    ids=["disk", "port", "port too high", "GPUs"],
)  # fmt: skip
def test_a_machine_with_what_cannot_be_makes_no_list_and_no_shorter_one(fields: dict[str, Any]) -> None:
    for api, call in (
        (Canned(page(row(id=str(NOBODY)), row(**fields))), lambda client: client.list_instances()),
        (Canned((200, row(**fields))), lambda client: client.get_instance(CloudId(MADE))),
    ):
        with pytest.raises(Unavailable) as caught:
            api.run(call)
        assert "not what the API describes" in str(caught.value)


def test_one_of_ours_whose_tags_are_not_told_is_no_strangers_machine() -> None:
    """It would be bought a second time where the state is lost."""
    told = row()
    del told["tags"]
    with pytest.raises(Unavailable) as caught:
        Canned(page(told)).run(lambda client: client.list_instances())
    assert MADE in str(caught.value)
    stranger = {**told, "request_id": "TRY-1234"}
    (found,) = Canned(page(stranger)).run(lambda client: client.list_instances())
    assert (found.ref_id, found.tags) == ("", {})


@pytest.mark.parametrize(
    ("given", "ranges"),
    [(["192.0.2.1"], ("192.0.2.1/32",)), ([], ()),
     (["2001:db8::7", "192.0.2.0/24"], ("192.0.2.0/24", "2001:db8::7/128"))],
)  # fmt: skip
def test_who_is_let_in_is_read_as_one_rule_for_every_port(given: list[str], ranges: tuple[str, ...]) -> None:
    found = read_row(ip_allowlist=given).firewall_rules
    assert found is not None
    assert [(one.from_port, one.to_port, one.protocol, one.ip_ranges) for one in found.ingress] == (
        [(1, 65535, "", ranges)] if ranges else []
    )
    assert found.egress is None


@pytest.mark.parametrize("given", [None, "192.0.2.1", ["me"], [5.5], {}])
def test_who_is_let_in_is_not_known_where_it_cannot_be_read(given: object) -> None:
    assert read_row(ip_allowlist=given).firewall_rules is None
    assert read_row().firewall_rules is None, "where it is left out"


def test_fields_nobody_knows_are_ignored() -> None:
    assert read_row(labels={"a": [1]}) == read_row()


def test_rec_what_is_destroyed_is_not_listed_and_can_be_read(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.listed() == []
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATED
    every = bench.ask("GET", "/v1/catalog/deployments/").json()
    assert [item["state"] for item in every["results"]] == ["destroyed"]


def test_filters_are_applied_here(bench: Bench) -> None:
    one = bench.make(tags={"team": "x"})
    two = bench.make(SECOND, location="us-east-1", tags={"team": "y"})

    def found(**how: Any) -> list[str]:
        listed = bench.run(lambda client: client.list_instances(InstanceFilter(**how)))
        return [machine.cloud_id for machine in listed]

    assert found() == [one.cloud_id, two.cloud_id]
    assert found(cloud_ids=(two.cloud_id,)) == [two.cloud_id]
    assert found(locations=("us-west-1",)) == [one.cloud_id]
    assert found(tags={"team": ("y",)}) == [two.cloud_id]


def test_an_unknown_machine_is_not_found(bench: Bench) -> None:
    with pytest.raises(InstanceNotFound) as caught:
        bench.got(NOBODY)
    assert (caught.value.http_status, caught.value.retryable) == (404, False)


@pytest.mark.parametrize("name", ["not-an-id", "../tasks", "", f"{{{MADE}}}", MADE.replace("-", ""), f"{MADE}/tasks"])
def test_an_id_that_is_none_leads_nowhere(name: str) -> None:
    api = Canned((200, row()))
    with pytest.raises(InstanceNotFound):
        api.run(lambda client: client.get_instance(CloudId(name)))
    api.run(lambda client: client.terminate_instance(CloudId(name)))
    assert api.asked == []


def test_what_strangers_write_meets_no_pattern() -> None:
    for module in (launchpad, launchpad_wire):
        assert not [name for name, value in vars(module).items() if value is re or isinstance(value, re.Pattern)]
    long = "x" * 100_000
    assert machine_of({long: long}, state=long).tags == {long: long}
    (found,) = read(entry(gpu={"family": long, "model": long}, workshop_id="." * 100_000))
    assert found.gpus[0].name == long.upper()
    with pytest.raises(Rejected) as caught:
        Canned((400, {long: [long]})).run(lambda client: client.list_instances())
    assert len(str(caught.value)) < 500


# Ending, and what stands beside


def test_terminate_starts_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, how={"end_s": 20.0})
    made = bench.make()
    for _ in range(2):
        bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATING
    assert bench.listed()[0].status is LifecycleStatus.TERMINATING
    bench.clock.passed += 21
    assert bench.listed() == []
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    assert bench.wire.violations == []


@pytest.mark.parametrize(
    "answer",
    [(204, ""), (200, {"state": "destroying"}), NOT_FOUND, (400, ["Deployment is already being destroyed"]),
     (400, {"detail": "Deployment is already being destroyed."})],
)  # fmt: skip
def test_rec_terminating_what_is_going_or_gone_is_a_success(answer: tuple[int, object]) -> None:
    api = Canned(answer)
    api.run(lambda client: client.terminate_instance(NOBODY))
    assert [(request.method, request.url.path) for request in api.asked] == [
        ("DELETE", f"/launchpad/v1/catalog/deployments/{NOBODY}/")
    ]


@pytest.mark.parametrize("answer", [(400, {"detail": "no"}), (500, ""), (401, ""), (404, "<html>"), (409, "")])
def test_a_refused_end_is_no_success(answer: tuple[int, object]) -> None:
    with pytest.raises(CloudError):
        Canned(answer).run(lambda client: client.terminate_instance(NOBODY))


def test_nothing_stands_beside_a_machine_and_nothing_is_fenced(bench: Bench) -> None:
    bench.make()
    bench.wire.calls.clear()
    for _ in range(2):
        assert bench.run(lambda client: client.fence(REF)) is False
        bench.run(lambda client: client.release(REF))
    assert bench.run(lambda client: client.side_objects()) == []
    assert bench.wire.calls == []
    assert len(bench.listed()) == 1


# Changing


def test_an_update_replaces_all_tags_and_sends_the_marks_again(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"old": "1"})
    bench.run(lambda client: client.update_tags(made.cloud_id, {"new": "2"}))
    found = bench.got(made.cloud_id)
    assert found.tags == {"new": "2"}
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == (REF, "bp-test", "instance.web")
    assert (found.name, found.instance_type) == ("web", A10)
    bench.run(lambda client: client.update_tags(made.cloud_id, {}))
    assert (bench.got(made.cloud_id).tags, bench.got(made.cloud_id).ref_id) == ({}, REF)


@pytest.mark.parametrize("name", ["RefID", "CloudCredRefID", "BrevplanAddress", "Name", "InstanceType"])
def test_tags_that_are_ours_change_nothing(bench: Bench, name: str) -> None:
    made = bench.make(tags={"old": "1"})
    with pytest.raises(Rejected):
        bench.run(lambda client: client.update_tags(made.cloud_id, {name: "x"}))
    assert bench.got(made.cloud_id).tags == {"old": "1"}


def test_a_rename_keeps_marks_and_tags_and_what_others_have_written(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    path = f"/v1/catalog/deployments/{made.cloud_id}/"
    present = tags_of(bench.cloud.store.machines()[0])
    assert bench.ask("PATCH", path, {"tags": {**present, "odd": {"deep": [1, None]}}}).status_code == 200
    bench.run(lambda client: client.rename_instance(made.cloud_id, "db"))
    assert bench.got(made.cloud_id).name == "db"
    assert tags_of(bench.cloud.store.machines()[0]) == {**present, "Name": "db", "odd": {"deep": [1, None]}}


def test_the_address_beside_the_mark_is_rewritten(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    bench.run(lambda client: client.update_mark(made.cloud_id, address="prod/instance.db"))
    found = bench.got(made.cloud_id)
    assert (found.address, found.ref_id, found.tags, found.name) == ("prod/instance.db", REF, {"team": "x"}, "web")


def test_taking_the_mark_off_leaves_a_foreign_machine(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "x"})
    for _ in range(2):
        bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    found = bench.got(made.cloud_id)
    assert (found.ref_id, found.cloud_cred_ref_id, found.address) == ("", "", "")
    assert (found.tags, found.name, found.instance_type) == ({"team": "x"}, "web", A10)


TAG_CHANGES: list[Callable[[Any], Any]] = [
    lambda client: client.update_tags(CloudId(MADE), {"new": "2"}),
    lambda client: client.update_mark(CloudId(MADE), address="instance.db"),
    lambda client: client.update_mark(CloudId(MADE), address=None),
    lambda client: client.rename_instance(CloudId(MADE), "db"),
]
MISSING = object()


@pytest.mark.parametrize("change", TAG_CHANGES, ids=["tags", "address", "forget", "name"])
@pytest.mark.parametrize(
    ("tags", "request_id"),
    [(MISSING, REF), (MISSING, "TRY-1234"), (None, REF), ({}, REF), ({"team": "x"}, REF), (["x"], REF), ("text", REF),
     (["x"], "TRY-1234"), (5, None)],
    ids=["none told", "none told of a stranger", "null", "empty", "without ours", "list", "text", "list of a stranger",
         "number"],
)  # fmt: skip
def test_tags_that_were_not_read_are_not_written_over(
    change: Callable[[Any], Any], tags: object, request_id: str | None
) -> None:
    told = row(tags=tags, request_id=request_id)
    if tags is MISSING:
        del told["tags"]
    api = Canned((200, told))
    with pytest.raises(Unavailable) as caught:
        api.run(change)
    assert "nothing is written over them" in str(caught.value)
    assert [request.method for request in api.asked] == ["GET"]


@pytest.mark.parametrize("request_id", ["TRY-1234", "", None])
def test_a_machine_that_is_not_ours_may_have_no_tags(request_id: str | None) -> None:
    api = Canned((200, row(tags=None, request_id=request_id)))
    api.run(lambda client: client.update_tags(CloudId(MADE), {"team": "x"}))
    assert sent(api) == {"tags": {"team": "x"}}


def test_a_forgotten_machine_can_be_tagged_again(bench: Bench) -> None:
    made = bench.make(tags={"team": "x"})
    bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    bench.run(lambda client: client.update_tags(made.cloud_id, {"team": "y"}))
    assert bench.got(made.cloud_id).tags == {"team": "y"}


# Who is let in, later


def test_new_rules_replace_the_list_and_the_blocks_own_addresses_stay(bench: Bench) -> None:
    made = bench.make(firewall_rules=rules(rule("203.0.113.9/32")), tags={"team": "x"})
    for members in ((rule("203.0.113.10/32"), SSH), (rule("203.0.113.10/32"),), (), (rule(f"{HOME}/32"),)):
        bench.run(lambda client, members=members: client.replace_firewall_rules(made.cloud_id, rules(*members)))
        found = bench.got(made.cloud_id)
        ranges = {f"{HOME}/32", *(text for member in members for text in member.ip_ranges)}
        assert found.firewall_rules is not None
        assert [set(one.ip_ranges) for one in found.firewall_rules.ingress] == [ranges]
        assert (found.tags, found.ref_id) == ({"team": "x"}, REF)
        assert bench.listed()[0].firewall_rules == found.firewall_rules


@pytest.mark.parametrize(
    "wrong", [rules(rule("10.0.0.0/8")), rules(rule("0.0.0.0/0")), FirewallRules(egress=())], ids=["net", "all", "out"]
)
def test_new_rules_that_cannot_be_kept_are_never_sent(wrong: FirewallRules) -> None:
    api = Canned((200, row()))
    with pytest.raises(Rejected) as caught:
        api.run(lambda client: client.replace_firewall_rules(CloudId(MADE), wrong))
    assert (caught.value.sent, api.asked) == (Sent.NO, [])


def test_an_empty_list_is_never_sent_later_either() -> None:
    api = Canned((200, row()))
    with pytest.raises(Rejected):
        api.run(lambda client: client.replace_firewall_rules(CloudId(MADE), rules(SSH)), ip_allowlist=None)
    assert api.asked == []


def test_the_blocks_addresses_are_told_to_the_plan(bench: Bench) -> None:
    given = ["203.0.113.9/32", "198.51.100.7", "2001:db8::7", "198.51.100.7/32"]
    reach = launchpad.connect(bench.connection(ip_allowlist=given)).traits.firewall
    assert reach.always == ("198.51.100.7/32", "2001:db8::7/128", "203.0.113.9/32")


def test_changing_what_is_gone(bench: Bench) -> None:
    for change in (
        lambda client: client.update_tags(NOBODY, {}),
        lambda client: client.update_mark(NOBODY, address=None),
        lambda client: client.rename_instance(NOBODY, "x"),
        lambda client: client.replace_firewall_rules(NOBODY, rules()),
    ):
        with pytest.raises(InstanceNotFound):
            bench.run(change)


# The face itself


def test_trap_8_what_passes_is_held_against_the_descriptions_of_the_api(bench: Bench) -> None:
    """Requests have a file of their own: the API's own demands read-only fields of them."""
    if not (REQUESTS.exists() and ANSWERS.exists()):
        pytest.skip(f"{REQUESTS.name} and {ANSWERS.name} are not here: nothing is checked against them")
    made = bench.make()
    assert bench.wire.violations == []
    assert bench.ask("POST", "/v1/catalog/deployments/", {"gpu_count": "many"}).status_code == 400
    assert len(bench.wire.violations) == 1
    bench.wire.violations.clear()
    bench.wire = transport_to(_OddFace(bench.cloud, TOKEN), bench.clock)
    assert bench.got(made.cloud_id).cloud_id == "odd"
    assert len(bench.wire.violations) == 1
    bench.wire.violations.clear()


class _OddFace(LaunchpadFace):
    """Answers with something that is no deployment."""

    def get(self, request: Request) -> Reply:
        return Reply({"id": "odd"})


def test_the_face_refuses_what_the_api_refuses(bench: Bench) -> None:
    good = {
        "request_id": "r", "org_name": "a", "requester_email": "a@b.example", "requester_name": "a",
        "experience_id": "43123766-35ec-4eb4-a5ba-3f2945228445", "provider_name": "oci", "gpu_model": "a10",
        "gpu_count": 1, "region": "us-west-1", "public_key": "ssh-ed25519 AAAA", "ip_allowlist": ["192.0.2.1"],
    }  # fmt: skip
    deployments = "/v1/catalog/deployments/"
    made = bench.ask("POST", deployments, good)
    assert made.status_code == 201
    for wrong in ({}, {"request_id": "s", "ip_allowlist": ["192.0.2.0/24"]}, {"request_id": "s", "gpu_model": "z"},
                  {"request_id": "s", "catalog_id": "x"}, {"request_id": "s", "public_key": ""}):  # fmt: skip
        assert bench.ask("POST", deployments, {**good, **wrong}).status_code == 400, wrong
    path = f"{deployments}{made.json()['id']}/"
    assert bench.ask("PATCH", path, {"region": "us-east-1"}).status_code == 400
    assert bench.ask("GET", path).json()["cluster"].startswith("0000"), "an id, where nothing is to be expanded"
    assert bench.ask("GET", deployments, page="9").status_code == 404
    assert bench.ask("GET", deployments, state="destroyed").json()["count"] == 0
    assert bench.ask("GET", deployments, request_id="r", ordering="-created").json()["count"] == 1
    assert bench.ask("GET", "/v1/catalog/instance-types/", delivery="slow").json()["count"] == 0
    assert bench.ask("GET", deployments.rstrip("/")).status_code == 404
    bench.wire.violations = [line for line in bench.wire.violations if "PathNotFound" not in line]


@pytest.mark.parametrize("fault", [Fault(), Fault(after=Trouble(Way.DROPPED)), Fault(after=Trouble(Way.TRUNCATED))])
def test_a_machine_comes_and_goes_over_a_real_socket(tmp_path: Path, fault: Fault) -> None:
    clock, faults = SystemClock(), ChosenFaults()
    cloud = SimCloud(tmp_path / "cloud.db", clock, Behaviour(idempotent=False, fences=False))
    cloud.faults = faults
    broken = iter([fault])
    faults.choose = lambda call: next(broken, Fault()) if call.operation == "create_instance" else Fault()

    async def whole() -> None:
        server = Server([face(cloud, TOKEN)], clock)
        port = await server.start()
        settings = {**SETTINGS, "endpoint": f"http://127.0.0.1:{port}/launchpad", "request_timeout": 5.0}
        client = launchpad.connect(Connection(settings, {}, ".", Recorded(), clock))
        try:
            if fault.after is not None:
                with pytest.raises(Unavailable) as caught:
                    await client.create_instance(wanted())
                assert caught.value.sent is Sent.MAYBE
            made = await client.create_instance(wanted())
            (listed,) = await client.list_instances()
            assert (listed.cloud_id, listed.ref_id, listed.name) == (made.cloud_id, REF, "web")
            await client.update_tags(made.cloud_id, {"team": "x"})
            assert (await client.get_instance(made.cloud_id)).tags == {"team": "x"}
            await client.terminate_instance(made.cloud_id)
            assert await client.list_instances() == []
        finally:
            await client.aclose()
            await server.stop()
            cloud.close()

    asyncio.run(asyncio.wait_for(whole(), 30))
