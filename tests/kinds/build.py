"""Builders for the tests of kinds: what is declared, what is there, and what the provider can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from brevplan.contract.client import Capability
from brevplan.contract.model import InstanceType
from brevplan.engine.address import Address
from brevplan.engine.kind import Ability
from brevplan.kinds.instance_schema import SCHEMA
from brevplan.kinds.rules import effective
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Map, Object, Tuple, Value
from brevplan.providers.local import SPEC, TRAITS
from brevplan.simcloud import catalogue
from tests.world import KEY

HOME = Address("instance", "web", 0)
SALT = "salt"


def ability(
    *, without: Iterable[Capability] = (), in_place: frozenset[str] = TRAITS.in_place, types: Any = "all"
) -> Ability:
    """Give what the embedded cloud can do, less some capabilities."""
    traits = replace(TRAITS, capabilities=TRAITS.capabilities - set(without), in_place=in_place)
    offered = {(item.type, item.location): item for item in catalogue.offers()} if types == "all" else types
    return Ability("local", SPEC, traits, offered, {image.id: image for image in catalogue.IMAGES}, SALT)


def offer(**fields: Any) -> dict[tuple[str, str], InstanceType]:
    from msgspec.structs import replace as with_fields

    item = with_fields(catalogue.find_offer("gpu_1x_a10", "us-west-1"), **fields)
    return {(item.type, item.location): item}


def desired(**fields: Value) -> dict[str, Value]:
    """Give the arguments of an `instance` block; what is not given is left out."""
    arguments: dict[str, Value] = {name: None for name in SCHEMA.argument_names()}
    arguments |= {"on_change": None, "instance_type": "gpu_1x_a10", "location": "us-west-1", "public_key": KEY}
    return arguments | fields


def current(**fields: Value) -> dict[str, Value]:
    """Give the attributes of a settled machine that was made from `desired()`."""
    attributes: dict[str, Value] = {name: None for name in SCHEMA.attributes}
    attributes |= {
        "instance_type": "gpu_1x_a10", "location": "us-west-1", "sub_location": "", "public_key": KEY, "name": "web-0",
        "image_id": "ubuntu-22.04-cuda-x86-64", "disk_size": "1400GB", "power_state": "running", "spot": False,
        "tags": Map({}, STRING), "filesystems": List((), STRING), "options": Object({}), "firewalls": List((), STRING),
        "authorized_keys": List((), STRING), "firewall_rules": effective(()), "id": "i-00000001", "status": "running",
        "hourly_price": 1, "public_ip": "198.18.0.1", "private_ip": "10.0.0.1", "hostname": "h",
    }  # fmt: skip
    return attributes | fields


def tags(**pairs: str) -> Map:
    return Map(pairs, STRING)


def rule(**fields: Value) -> Object:
    names = ("from_port", "to_port", "ip_ranges", "peers", "protocol", "description")
    return Object({name: fields.get(name) for name in names})


def firewall(*ingress: Object, egress: Iterable[Object] = (), name: str = "w") -> Object:
    return Object({"id": f"firewall.{name}", "ingress": Tuple(ingress), "egress": Tuple(egress), "on_inexact": None})
