"""Data sources: what they filter by, how they order, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from brevplan.contract.model import CloudId, Image, Instance, InstanceType, LifecycleStatus, Location, Money
from brevplan.engine.kind import DataKind, NeedsCatalogue
from brevplan.kinds.catalogue import ImagesData, InstanceData, InstanceTypesData, LocationsData
from brevplan.lang.types import ListType, ObjectType
from brevplan.lang.values import List, Object, Secret, Unknown, Value, type_of


@dataclass
class Shelf:
    """A catalogue as it was read, with one machine."""

    types: Mapping[str, Mapping[tuple[str, str], InstanceType]] = field(default_factory=dict)
    locations: Mapping[str, tuple[Location, ...]] = field(default_factory=dict)
    images: Mapping[str, tuple[Image, ...]] = field(default_factory=dict)
    living: Instance | None = None

    def machine(self, alias: str, cloud_id: str, ref_id: str) -> Instance | None:
        found = self.living
        return found if found is not None and (found.cloud_id == cloud_id or found.ref_id == ref_id) else None


def a_type(name: str, location: str, price: str | None, *, available: bool = True) -> InstanceType:
    return InstanceType(
        type=name, location=location, provider="local", base_price=Money(price) if price else None,
        is_available=available,
    )  # fmt: skip


def read(kind: DataKind, shelf: Shelf, **arguments: Value) -> dict[str, Value]:
    known = {name: arguments.get(name) for name in kind.schema.argument_names()}
    return kind.read(known, "local", shelf)


TYPES = {
    (item.type, item.location): item
    for item in (
        a_type("free", "b", None),
        a_type("dear", "a", "9"),
        a_type("cheap", "b", "1"),
        a_type("cheap", "a", "1", available=False),
    )
}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["cheap a", "cheap b", "dear a", "free b"]),
        ({"max_price": 1}, ["cheap a", "cheap b"]),
        ({"location": "b"}, ["cheap b", "free b"]),
        ({"available": False}, ["cheap a"]),
        ({"available": Secret(True), "location": Secret("b")}, ["cheap b", "free b"]),
        ({"gpu": "H100"}, []),
    ],
)
def test_types_come_cheapest_first_and_those_without_a_price_last(
    arguments: dict[str, Value], names: list[str]
) -> None:
    items = read(InstanceTypesData(), Shelf({"local": TYPES}), **arguments)["items"]
    assert isinstance(items, List)
    found = [item for item in items if isinstance(item, Object)]
    assert [f"{item['instance_type']} {item['location']}" for item in found] == names


@pytest.mark.parametrize("kind", [InstanceTypesData(), LocationsData(), ImagesData()])
def test_items_have_the_type_that_the_schema_promises(kind: DataKind) -> None:
    shelf = Shelf({"local": TYPES}, {"local": (Location(name="a"),)}, {"local": (Image(id="i", name="n"),)})
    promised = kind.schema.attributes["items"].type
    items = read(kind, shelf)["items"]
    assert isinstance(items, List)
    assert type_of(items) == promised
    assert isinstance(promised, ListType)
    assert isinstance(promised.element, ObjectType)
    for item in items:
        assert isinstance(item, Object)
        assert item.items.keys() == promised.element.attributes.keys()


@pytest.mark.parametrize("kind", [InstanceTypesData(), LocationsData(), ImagesData()])
def test_an_unread_catalogue_is_asked_for(kind: DataKind) -> None:
    with pytest.raises(NeedsCatalogue):
        read(kind, Shelf())


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        (
            InstanceTypesData(),
            {"location": Unknown(because="instance.web.id")},
            '"location" is known only after',
        ),
        (InstanceTypesData(), {"gpu": Secret(Unknown())}, 'argument "gpu" is known only after'),
        (ImagesData(), {"architecture": Unknown()}, 'argument "architecture" is known only after'),
        (InstanceData(), {"id": Unknown(because="instance.web.id")}, "it depends on instance.web.id"),
        (InstanceData(), {}, "an id or a ref_id"),
        (InstanceData(), {"id": "i-2"}, "no machine i-2"),
        (InstanceData(), {"id": "i-1", "ref_id": "other"}, "no machine i-1"),
    ],
)
def test_what_cannot_be_read_says_why(kind: DataKind, arguments: dict[str, Value], reason: str) -> None:
    machine = Instance(cloud_id=CloudId("i-1"), ref_id="r-1", status=LifecycleStatus.RUNNING)
    with pytest.raises(ValueError, match=re.escape(reason)):
        read(kind, Shelf({"local": TYPES}, images={"local": ()}, living=machine), **arguments)


@pytest.mark.parametrize("arguments", [{"id": "i-1"}, {"ref_id": "r-1"}, {"id": "i-1", "ref_id": "r-1"}])
def test_a_machine_is_found_by_either_name(arguments: dict[str, Value]) -> None:
    machine = Instance(cloud_id=CloudId("i-1"), ref_id="r-1", status=LifecycleStatus.RUNNING, tags={"a": "b"})
    found = read(InstanceData(), Shelf(living=machine), **arguments)
    assert (found["id"], found["ref_id"], found["status"]) == ("i-1", "r-1", "running")
    assert found.keys() == InstanceData().schema.attributes.keys()
