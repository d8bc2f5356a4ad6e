"""The `instance` kind: what a changed attribute leads to, at a cloud that can do a thing and at one that cannot."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, FirewallReach
from brevplan.contract.model import CloudId, FirewallPattern, FirewallRule, Instance, LifecycleStatus
from brevplan.engine.address import Address
from brevplan.engine.identity import cred_ref_id, make_ref_id
from brevplan.engine.kind import Effect, Mark, NeedsCatalogue, Outcome
from brevplan.engine.secrets import seal, unseal
from brevplan.kinds.instance import InstanceKind, _same_size, default_name
from brevplan.kinds.rules import effective
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Object, Secret, Tuple, Unknown, Value, has_unknown
from tests.kinds.build import HOME, SALT, ability, current, desired, firewall, offer, rule, tags
from tests.world import KEY

KIND = InstanceKind()
OTHER_KEY = KEY.replace("IIuY6PuX", "IAAAAAAA")
SEALED = unseal(seal(Secret("#!/bin/sh"), SALT), STRING)
RESIZE, TAGS, FIREWALL = Capability.RESIZE_VOLUME, Capability.TAGS, Capability.MODIFY_FIREWALL
UPDATE, REPLACE, POWER, NOTHING, ERROR = Effect.UPDATE, Effect.REPLACE, Effect.POWER, Effect.NOTHING, Effect.ERROR


def update(wanted: dict[str, Value], there: dict[str, Value] | None = None, **can: Any) -> Outcome:
    return KIND.plan_update(desired(**wanted), current(**(there or {})), HOME, ability(**can))


def effects(outcome: Outcome) -> dict[str, Effect]:
    return {change.name: change.effect for change in outcome.changes}


def policy(**words: str) -> Object:
    return Object({name: words.get(name) for name in ("user_data", "tags", "public_key", "firewalls")})


def test_what_is_declared_and_there_changes_nothing() -> None:
    outcome = update({})
    assert effects(outcome) == {}
    assert outcome.after == current()
    assert (outcome.notes, outcome.blocked) == ([], "")


@pytest.mark.parametrize(
    ("name", "declared", "there", "without", "effect"),
    [
        # what makes a new machine
        ("instance_type", "gpu_1x_h100_pcie", "gpu_1x_a10", (), REPLACE),
        ("location", "us-east-1", "us-west-1", (), REPLACE),
        ("sub_location", "b", "a", (), REPLACE),
        ("sub_location", None, "a", (), REPLACE),
        ("image_id", "ubuntu-24.04-x86-64", "ubuntu-22.04-x86-64", (), REPLACE),
        ("image_id", None, "ubuntu-22.04-x86-64", (), None),  # the provider's default, kept
        ("filesystems", List(["fs-1"]), List((), STRING), (), REPLACE),
        ("filesystems", None, List(["fs-1"]), (), REPLACE),
        ("spot", True, False, (), REPLACE),
        ("spot", None, False, (), None),
        ("spot", False, None, (), None),
        ("options", Object({"subnet_id": "s"}), Object({}), (), REPLACE),
        ("options", Object({"subnet_id": "s"}), Object({"subnet_id": "s"}), (), None),
        # disks: in the unit they were given in, compared by bytes
        ("disk_size", "1400 GB", "1400GB", (), None),
        ("disk_size", "1400000MB", "1400GB", (), None),
        ("disk_size", None, "1400GB", (), None),
        ("disk_size", "2TB", "1400GB", (), UPDATE),
        ("disk_size", "1400GiB", "1400GB", (), UPDATE),
        ("disk_size", "2TB", "1400GB", (RESIZE,), REPLACE),
        ("disk_size", "1TB", "1400GB", (), REPLACE),
        ("disk_size", "1300GiB", "1400GB", (), REPLACE),
        # tags and name: in place where the provider can
        ("tags", tags(a="b"), tags(), (), UPDATE),
        ("tags", tags(a="b"), tags(a="b"), (), None),
        ("tags", None, tags(a="b"), (), UPDATE),
        ("tags", None, None, (), None),
        ("tags", tags(a="b"), tags(), (TAGS,), NOTHING),
        ("name", "front", "web-0", (), UPDATE),
        ("name", None, "anything", (), None),  # computed once and kept
        # keys and scripts: ignored unless said otherwise
        ("public_key", OTHER_KEY, KEY, (), NOTHING),
        ("public_key", f"{KEY}\n", KEY, (), None),
        ("user_data", Secret("#!/bin/sh"), SEALED, (), None),
        ("user_data", Secret("#!/bin/bash"), SEALED, (), NOTHING),
        ("user_data", Secret("#!/bin/sh"), None, (), NOTHING),
        # firewalls
        ("firewalls", None, List(["firewall.w"]), (), None),  # not managed
        ("firewalls", Tuple(()), List((), STRING), (), None),
    ],
)
def test_effect(
    name: str, declared: Value, there: Value, without: tuple[Capability, ...], effect: Effect | None
) -> None:
    outcome = update({name: declared}, {name: there}, without=without)
    assert effects(outcome) == ({name: effect} if effect is not None else {})


@pytest.mark.parametrize("name", ["disk_size", "tags", "name", "power_state"])
def test_what_changes_in_place_is_planned_as_declared(name: str) -> None:
    declared: dict[str, Value] = {"disk_size": "2TB", "tags": tags(a="b"), "name": "front", "power_state": "stopped"}
    assert update({name: declared[name]}).after[name] == declared[name]


@pytest.mark.parametrize("name", ["instance_type", "public_key", "user_data"])
def test_what_does_not_change_in_place_stays_planned_as_it_is(name: str) -> None:
    declared: dict[str, Value] = {"instance_type": "x", "public_key": OTHER_KEY, "user_data": Secret("x")}
    assert update({name: declared[name]}).after[name] == current()[name]


@pytest.mark.parametrize(
    ("name", "declared", "without"),
    [
        ("tags", tags(a="b"), (TAGS,)),
        ("public_key", OTHER_KEY, ()),
        ("user_data", Secret("other"), ()),
        ("firewalls", Tuple([firewall(rule(from_port=443))]), (FIREWALL,)),
    ],
)
@pytest.mark.parametrize(
    ("word", "effect"), [("ignore", NOTHING), ("replace", REPLACE), ("error", ERROR), (None, None)]
)
def test_policy(
    name: str, declared: Value, without: tuple[Capability, ...], word: str | None, effect: Effect | None
) -> None:
    block = policy(**{name: word}) if word else None
    outcome = update({name: declared, "on_change": block}, without=without)
    expected = effect or (ERROR if name == "firewalls" else NOTHING)
    assert set(effects(outcome).values()) == {expected}
    assert bool(outcome.notes) is (expected is NOTHING)
    assert all(bool(change.reason) is (expected is not NOTHING) for change in outcome.changes)


def test_a_policy_of_another_argument_says_nothing() -> None:
    outcome = update({"public_key": OTHER_KEY, "on_change": policy(tags="replace", user_data="error")})
    assert effects(outcome) == {"public_key": NOTHING}


def test_tags_in_place_ask_no_policy() -> None:
    assert effects(update({"tags": tags(a="b"), "on_change": policy(tags="error")})) == {"tags": UPDATE}


def test_firewalls_change_in_place_where_the_provider_can() -> None:
    outcome = update({"firewalls": Tuple([firewall(rule(from_port=443))])})
    assert effects(outcome) == {"firewalls": UPDATE, "firewall_rules": UPDATE}
    lines = outcome.after["firewall_rules"]
    assert lines == effective((firewall(rule(from_port=443)),))


def test_another_firewall_with_the_same_rules_changes_its_name_only() -> None:
    one, other = firewall(rule(from_port=443), name="a"), firewall(rule(from_port=443), name="b")
    there = {"firewalls": List(["firewall.a"]), "firewall_rules": effective((one,))}
    assert set(effects(update({"firewalls": Tuple([other])}, there))) == {"firewalls"}


def test_a_name_that_cannot_change_is_a_note() -> None:
    outcome = update({"name": "front"}, in_place=frozenset())
    assert effects(outcome) == {"name": NOTHING}
    assert "next replacement" in outcome.notes[0]
    assert outcome.after["name"] == "web-0"


def test_a_shrinking_disk_says_why_it_replaces() -> None:
    assert [change.reason for change in update({"disk_size": "1TB"}).changes] == ["a disk cannot shrink"]
    assert [change.reason for change in update({"disk_size": "2TB"}, without=(RESIZE,)).changes] == [""]


STOPPED = {"power_state": "stopped", "status": "stopped"}


@pytest.mark.parametrize(
    ("declared", "there", "effect"),
    [
        ("running", {}, None),
        ("stopped", {}, POWER),
        ("running", STOPPED, POWER),
        ("stopped", STOPPED, None),
        (None, STOPPED, None),
    ],
)
def test_power(declared: str | None, there: dict[str, Value], effect: Effect | None) -> None:
    outcome = update({"power_state": declared}, there)
    assert effects(outcome) == ({"power_state": effect} if effect else {})
    moved = effect is not None
    assert isinstance(outcome.after["public_ip"], Unknown) is moved
    assert outcome.after["status"] == (declared if moved else current(**there)["status"])


def test_a_stopped_machine_that_nobody_declares_is_a_note_with_its_price() -> None:
    outcome = update({}, STOPPED)
    assert len(outcome.notes) == 1
    assert "left as it is; $1.00/hr" in outcome.notes[0]


def test_a_failed_machine_is_a_note_with_the_way_out() -> None:
    outcome = update({}, {"status": "failed"})
    assert effects(outcome) == {}
    assert outcome.notes == [f"it has failed; -replace={HOME} makes a new one"]


@pytest.mark.parametrize(
    ("can", "blocked", "loses"),
    [
        ({}, "", False),
        ({"without": (Capability.STOP_START,)}, "local cannot stop and start machines", False),
        ({"types": offer(stoppable=False)}, "gpu_1x_a10 cannot be stopped and started", False),
        ({"types": offer(stop_loses_data=True)}, "", True),
    ],
)
def test_a_stop_needs_provider_and_type(can: dict[str, Any], blocked: str, loses: bool) -> None:
    outcome = update({"power_state": "stopped"}, **can)
    assert (outcome.blocked, outcome.stop_loses_data) == (blocked, loses)


def test_only_a_transition_asks_for_the_catalogue() -> None:
    update({"power_state": "running"}, types=None)
    with pytest.raises(NeedsCatalogue):
        update({"power_state": "stopped"}, types=None)


# create


def made(**wanted: Value) -> Outcome:
    return KIND.plan_create(desired(**wanted), HOME, ability())


def test_a_new_machine_knows_what_is_declared_and_what_the_catalogue_says() -> None:
    outcome = made()
    after = outcome.after
    assert (after["name"], after["power_state"], after["provider_name"]) == ("web-0", "running", "local")
    assert (after["instance_type_id"], str(after["hourly_price"])) == ("us-west-1-noSub-gpu_1x_a10", "3/4")
    assert {name for name, value in after.items() if has_unknown(value)} == {
        "id", "ref_id", "status", "public_ip", "private_ip", "hostname", "ssh_user", "ssh_port", "host_key",
        "created_at", "image_id", "disk_size",
    }  # fmt: skip
    assert outcome.launches == ("gpu_1x_a10", "us-west-1", 25_000)
    assert after["firewall_rules"] == effective(())


@pytest.mark.parametrize(
    ("wanted", "summary", "hint"),
    [
        ({"instance_type": "gpu_1x_a11"}, "Unknown instance type", '"gpu_1x_a10"'),
        ({"location": "us-west-2"}, "Unknown location", '"us-west-1"'),
        ({"instance_type": "gpu_8x_v100_sxm2"}, "Type not offered there", "us-east-1"),
        ({"image_id": "ubuntu-24.04-x86"}, "Unknown image", "ubuntu-24.04-x86-64"),
        ({"spot": True, "instance_type": "gpu_1x_h100_pcie"}, "No spot machines", ""),
        ({"power_state": "stopped", "instance_type": "gpu_1x_rtx_a6000"}, "Cannot be stopped", ""),
    ],
)
def test_what_the_catalogue_does_not_have_is_a_finding(wanted: dict[str, Value], summary: str, hint: str) -> None:
    findings = made(**wanted).findings
    assert [item.summary for item in findings] == [summary]
    assert hint in findings[0].hint


def test_a_sold_out_type_is_told() -> None:
    assert made(instance_type="gpu_8x_b200_sxm6").unstocked


def test_an_unknown_type_waits() -> None:
    after = made(instance_type=Unknown(STRING, "x")).after
    assert isinstance(after["hourly_price"], Unknown)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("instance.web", "web"),
        ("instance.web[0]", "web-0"),
        ('instance.web["alice"]', "web-alice"),
        ('instance.web["a b/c"]', "web-a-b-c"),
        ('instance.web["é"]', "web"),
        ("instance._x", "x"),
        ('instance.web["' + "k" * 80 + '"]', "web-" + "k" * 59),
        ("instance.é", "instance"),
    ],
)
def test_default_name_is_the_address_made_safe(address: str, name: str) -> None:
    assert default_name(Address.parse(address)) == name


@pytest.mark.parametrize(
    ("attributes", "price"),
    [({"hourly_price": 2}, 2), ({"hourly_price": 2, **STOPPED}, 0), ({"hourly_price": 2, "status": "suspended"}, 0),
     ({"hourly_price": None}, None), ({"hourly_price": 2, "status": "stopping"}, 2)],
)  # fmt: skip
def test_price_as_things_stand(attributes: dict[str, Value], price: Value) -> None:
    assert KIND.hourly_price(current(**attributes)) == price


def test_the_request_holds_what_was_planned_and_reveals_secrets() -> None:
    ref = make_ref_id("lab", "default", HOME, "aaaaaa")
    attributes = current(
        tags=tags(a="b"), user_data=Secret("#!/bin/sh"), options=Object({"subnet_id": 5}), sub_location="b",
        filesystems=List(["fs"]), firewall_rules=effective((firewall(rule(from_port=443)),)),
        public_key=f" {KEY}\n", image_id=Unknown(STRING), spot=True,
    )  # fmt: skip
    request = KIND.request(attributes, Mark(ref, cred_ref_id("lab"), str(HOME)))
    assert (request.ref_id, request.cloud_cred_ref_id, request.address) == (ref, "bp-lab", str(HOME))
    assert (request.user_data, request.tags, request.options) == ("#!/bin/sh", {"a": "b"}, {"subnet_id": "5"})
    assert (request.disk_size, request.image_id, request.public_key) == (Bytes(1400, "GB"), "", KEY)
    assert (request.sub_location, request.filesystems, request.spot) == ("b", ("fs",), True)
    assert request.firewall_rules.ingress == (
        FirewallRule(from_port=22, to_port=22, protocol="tcp"), FirewallRule(from_port=443, to_port=443),
    )  # fmt: skip
    assert request.firewall_rules.egress is None


# together


@pytest.mark.parametrize(
    ("wanted", "summary"),
    [
        ({"authorized_keys": List([KEY])}, "No way to the machine"),
        ({"firewalls": Tuple(["firewall.web"])}, "Unsuitable value"),
        ({"firewalls": Tuple([Object({"id": "x"})])}, "Unsuitable value"),
        ({"options": Object({"subnet": "x"})}, "Unknown option"),
    ],
)
def test_check(wanted: dict[str, Value], summary: str) -> None:
    assert [item.summary for item in KIND.check(desired(**wanted), HOME, ability())] == [summary]


@pytest.mark.parametrize(
    ("text", "takes", "is_refused"),
    [("#cloud-config\npackages: []", True, False), ("#cloud-config\npackages: []", False, True),
     ("#cloud-config-archive\n- a", True, True), ("#!/bin/sh", True, False), ("#!/bin/sh", False, False),
     ("echo hi", True, True)],
)  # fmt: skip
def test_configuration_goes_beside_a_firewall_in_the_user_data_only_where_the_provider_says_so(
    text: str, takes: bool, is_refused: bool
) -> None:
    here = ability()
    traits = replace(here.traits, firewall_pattern=FirewallPattern.USER_DATA, takes_cloud_config=takes)
    found = KIND.check(desired(user_data=Secret(text)), HOME, replace(here, traits=traits))
    assert [item.attribute for item in found] == ["user_data"] * is_refused
    assert all(text not in f"{item.detail} {item.hint}" for item in found)
    assert all(("#cloud-config" in item.hint) is takes for item in found)


def test_user_data_where_the_provider_takes_none() -> None:
    found = KIND.check(desired(user_data=Secret("x")), HOME, ability(without=(Capability.USER_DATA,)))
    assert [item.attribute for item in found] == ["user_data"]


@pytest.mark.parametrize(
    ("wanted", "good"),
    [({}, False), ({"firewalls": Tuple([])}, False), ({"firewalls": Tuple([firewall()])}, False),
     ({"firewalls": Tuple([firewall(rule(from_port=1, to_port=65535, ip_ranges=Tuple(["203.0.113.7/32"])))])}, True),
     ({"firewalls": Unknown(because="x")}, True), ({"firewalls": Tuple([Unknown(because="x")])}, True)],
    ids=["nothing", "no firewall", "an empty one", "an address", "unknown", "unknown firewall"],
)  # fmt: skip
def test_where_nothing_is_open_by_itself_somebody_has_to_be_named(wanted: dict[str, Value], good: bool) -> None:
    able = ability()
    reach = FirewallReach(ports=False, egress=False, networks=False, ssh_from_anywhere=False)
    closed = replace(able, traits=replace(able.traits, firewall=reach))
    found = KIND.check(desired(**wanted), HOME, closed)
    assert [item.summary for item in found] == ([] if good else ["Nobody is let in"])
    assert KIND.check(desired(**wanted), HOME, able) == []


def test_check_of_a_good_block_finds_nothing() -> None:
    wanted = desired(firewalls=Tuple([firewall(rule(from_port=1)), Unknown()]), options=Object({"subnet_id": "x"}))
    assert KIND.check(wanted, HOME, ability()) == []


def test_a_price_is_exact() -> None:
    assert KIND.plan_create(desired(), HOME, ability(types=offer(base_price=None))).after["hourly_price"] is None
    assert Decimal("0.75") == Decimal(3) / 4


@pytest.mark.parametrize(
    ("declared", "there", "same"),
    [("1TB", "932GiB", True), ("1TB", "931GiB", False), ("100GiB", "100GiB", True), ("100GB", "94GiB", True),
     ("500GiB", "1TB", False), ("1000GB", "1TB", True), ("many", "1TB", False)],
)  # fmt: skip
def test_disk_sizes_are_compared_in_the_units_of_what_is_there(declared: str, there: str, same: bool) -> None:
    assert _same_size(declared, there) is same


def test_what_a_cloud_does_not_tell_of_one_machine_is_no_drift() -> None:
    traits = replace(ability().traits, reports=frozenset({"instance_type", "location", "firewall_rules", "name"}))
    told = KIND.observe(Instance(cloud_id=CloudId("i"), status=LifecycleStatus.RUNNING), traits)
    assert not told.keys() & {"instance_type", "location"}
    assert told["name"] == "", "a machine may have no name"
    assert told["firewall_rules"] is None, "one without rules of ours is to get them"
    seen = Instance(cloud_id=CloudId("i"), status=LifecycleStatus.RUNNING, instance_type="t", location="l")
    found = KIND.observe(seen, traits)
    assert (found["instance_type"], found["location"]) == ("t", "l")
