"""The items of the catalogue: locations, instance types and their ids. Reads only; no machine is made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from brevplan.contract.conformance.item import Item, NotApplicable, Skipped, expect, few
from brevplan.contract.conformance.scene import Scene
from brevplan.contract.errors import CloudError
from brevplan.contract.model import InstanceType, InstanceTypeFilter

ARCHITECTURES: Final = frozenset({"x86_64", "arm64"})
MANUFACTURERS: Final = frozenset({"NVIDIA", "Intel", "unknown"})
X86: Final = InstanceTypeFilter(architectures=("x86_64",))
NOWHERE: Final = "no-such-location-0"

_VENDOR_OR_MEMORY = re.compile(r"\b(nvidia|amd|intel|tesla)\b|\d\s?gi?b\b", re.IGNORECASE)
_COUNTRY = re.compile(r"[A-Z]{3}\Z")


# Locations


async def _c1(scene: Scene) -> None:
    scene.catalogue.locations = await scene.call(scene.client.get_locations)


async def _c2(scene: Scene) -> None:
    expect(scene.known(scene.catalogue.locations, "C-1"), "no location is given")


async def _c3(scene: Scene) -> None:
    expect(any(place.available for place in scene.known(scene.catalogue.locations, "C-1")), "no location is available")


async def _x1(scene: Scene) -> None:
    places = scene.known(scene.catalogue.locations, "C-1")
    expect(all(place.name for place in places), "a location has no name")
    twice = [name for name, number in Counter(place.name for place in places).items() if number > 1]
    expect(not twice, f"given more than once: {few(twice)}")
    wrong = [
        f"{place.name}: {place.country}" for place in places if place.country and not _COUNTRY.match(place.country)
    ]
    expect(not wrong, f"a country is not three upper-case letters: {few(wrong)}")


# Types


async def _c4(scene: Scene) -> str:
    scene.catalogue.first = await _types(scene)
    expect(scene.catalogue.first, "no instance type is given")
    return f"{len(scene.catalogue.first)} types"


async def _c5(scene: Scene) -> None:
    scene.catalogue.second = await _types(scene)


def _both(scene: Scene) -> tuple[dict[str, InstanceType], dict[str, InstanceType]]:
    first, second = scene.known(scene.catalogue.first, "C-4"), scene.known(scene.catalogue.second, "C-5")
    return {item.id: item for item in first}, {item.id: item for item in second}


async def _c6(scene: Scene) -> None:
    first, second = _both(scene)
    expect(len(first) == len(second), f"{len(first)} ids at the first call, {len(second)} at the second")


async def _c7(scene: Scene) -> None:
    first, second = _both(scene)
    missing = first.keys() - second.keys()
    expect(not missing, f"not there at the second call: {few(sorted(missing))}")


async def _c8(scene: Scene) -> str | None:
    first, second = _both(scene)
    changed = _changed(first, second, _lasting)
    if changed and not _changed(first, second, _without_stock):
        # the stock has moved between the calls: that is life, unless it moves every time
        scene.catalogue.first = scene.known(scene.catalogue.second, "C-5")
        scene.catalogue.second = await _types(scene)
        changed = _changed(*_both(scene), _lasting)
        if not changed:
            return "at the second try: the stock had moved"
    expect(not changed, f"differ from call to call: {few(changed)}")
    return None


def _changed(
    first: dict[str, InstanceType], second: dict[str, InstanceType], seen: Callable[[InstanceType], object]
) -> list[str]:
    return sorted(key for key in first.keys() & second.keys() if seen(first[key]) != seen(second[key]))


def _lasting(item: InstanceType) -> bytes:
    """Give what of a type may not change within a moment, units of sizes included."""
    return msgspec.json.encode(replace(item, base_price=None, stock=None, deploy_time_s=None))


def _without_stock(item: InstanceType) -> bytes:
    return _lasting(replace(item, is_available=False, available_azs=()))


async def _c9(scene: Scene) -> None:
    _expect_unique(scene.known(scene.catalogue.first, "C-4"))


def _expect_unique(types: list[InstanceType]) -> None:
    twice = [key for key, number in Counter(item.id for item in types).items() if number > 1]
    expect(not twice, f"given more than once: {few(twice)}")


def _first_type(scene: Scene) -> InstanceType:
    types = scene.known(scene.catalogue.first, "C-4")
    if not types:
        raise Skipped("there is no instance type")
    return types[0]


async def _c10(scene: Scene) -> None:
    name = _first_type(scene).type
    scene.catalogue.by_name = await _types(scene, InstanceTypeFilter(instance_types=(name,)))
    expect(scene.catalogue.by_name, f'nothing is given for the type "{name}"')


async def _c11(scene: Scene) -> None:
    wanted = _first_type(scene)
    found = scene.known(scene.catalogue.by_name, "C-10")
    same_place = [item for item in found if item.location == wanted.location]
    is_there = any(_nameless(item) == _nameless(wanted) for item in found)
    if not is_there and any(_without_stock(item) == _without_stock(wanted) for item in same_place):
        wanted = next((item for item in await _types(scene) if item.id == wanted.id), wanted)
        found = await _types(scene, InstanceTypeFilter(instance_types=(wanted.type,)))
        is_there = any(_nameless(item) == _nameless(wanted) for item in found)
    expect(is_there, f"{wanted.id} looks otherwise when it is asked for by its type")


def _nameless(item: InstanceType) -> tuple[bytes, object]:
    # the price apart and by value: 1.5 and 1.50 are the same money
    return _lasting(replace(item, id="", sub_location="", available_azs=())), item.base_price


async def _x2(scene: Scene) -> None:
    name = _first_type(scene).type
    others = {item.type for item in scene.known(scene.catalogue.by_name, "C-10")} - {name}
    expect(not others, f'asked for "{name}", and given also {few(sorted(others))}')


async def _x3(scene: Scene) -> None:
    _expect_none_wrong(scene, _what_lacks)


def _expect_none_wrong(scene: Scene, judge: Callable[[InstanceType], str]) -> None:
    judged = [(item, judge(item)) for item in scene.known(scene.catalogue.first, "C-4")]
    wrong = [f"{item.id or item.type}: {reason}" for item, reason in judged if reason]
    expect(not wrong, few(wrong))


def _what_lacks(item: InstanceType) -> str:
    fields = {"id": item.id, "type": item.type, "location": item.location, "provider": item.provider,
              "cloud": item.cloud, "vcpu": item.vcpu > 0, "memory": item.memory.total}  # fmt: skip
    lacking = [name for name, value in fields.items() if not value]
    if lacking:
        return f"no {', '.join(lacking)}"
    price = item.base_price
    if price is not None and (not price.currency or not price.amount.is_finite() or price.amount < 0):
        return f'a price of {price.amount} in "{price.currency}"'
    return ""


async def _x4(scene: Scene) -> None:
    _expect_none_wrong(scene, _what_is_wrong_with_gpus)


def _what_is_wrong_with_gpus(item: InstanceType) -> str:
    for gpu in item.gpus:
        if gpu.count < 1 or not gpu.name or not gpu.memory:
            return f'a GPU "{gpu.name}" with count {gpu.count} and memory {gpu.memory}'
        if _VENDOR_OR_MEMORY.search(gpu.name):
            return f'the GPU name "{gpu.name}" is not the bare model'
        if gpu.memory.unit != "GB":
            return f"the GPU memory {gpu.memory} is not in nominal GB"
        if gpu.manufacturer not in MANUFACTURERS:
            return f'the manufacturer "{gpu.manufacturer}" is none of {", ".join(sorted(MANUFACTURERS))}'
    if item.is_available and item.gpus and not ARCHITECTURES & set(item.architectures):
        return "available, and of no known architecture"
    return ""


async def _x5(scene: Scene) -> None:
    found = await _types(scene, X86)
    others = [item.id for item in found if "x86_64" not in item.architectures]
    expect(not others, f"asked for x86_64, and given also {few(others)}")


async def _x6(scene: Scene) -> None:
    _expect_none_wrong(scene, _which_zone_differs)


def _which_zone_differs(item: InstanceType) -> str:
    if item.sub_location and item.available_azs and item.sub_location != item.available_azs[0]:
        return f"its zone is {item.sub_location}, its first zone {item.available_azs[0]}"
    return ""


# By location


async def _c12(scene: Scene) -> None:
    scene.catalogue.everywhere = await _types(scene, InstanceTypeFilter(locations=("all",)))
    expect(scene.catalogue.everywhere, "nothing is given for all locations")


def _somewhere(scene: Scene) -> str:
    types = scene.known(scene.catalogue.everywhere, "C-12")
    if not types:
        raise Skipped("there is no instance type")
    return types[0].location


async def _c13(scene: Scene) -> None:
    place = _somewhere(scene)
    scene.catalogue.located = await _types(scene, InstanceTypeFilter(locations=(place,)))
    expect(scene.catalogue.located, f'nothing is given for the location "{place}"')


async def _c14(scene: Scene) -> None:
    here, all_of_them = _located(scene)
    expect(len(here) <= len(all_of_them), f"{len(here)} in one location, {len(all_of_them)} in all")


def _located(scene: Scene) -> tuple[list[InstanceType], list[InstanceType]]:
    here = scene.known(scene.catalogue.located, "C-13")
    return here, scene.known(scene.catalogue.everywhere, "C-12")


async def _c15(scene: Scene) -> None:
    here, all_of_them = _located(scene)
    missing = {item.id for item in here} - {item.id for item in all_of_them}
    expect(not missing, f"not among those of all locations: {few(sorted(missing))}")


async def _c16(scene: Scene) -> None:
    nowhere = [item.id for item in _located(scene)[0] if not item.location]
    expect(not nowhere, f"without a location: {few(nowhere)}")


async def _x7(scene: Scene) -> None:
    place = _somewhere(scene)
    elsewhere = {item.location for item in _located(scene)[0]} - {place}
    expect(not elsewhere, f'asked for "{place}", and given also {few(sorted(elsewhere))}')
    try:
        found = await _types(scene, InstanceTypeFilter(locations=(NOWHERE,)))
    except CloudError as problem:
        expect(not problem.retryable, f"a location that does not exist gives an error that asks for a retry: {problem}")
    else:
        expect(not found, f"a location that does not exist gives {len(found)} types")


# Stable ids and prices


async def _c17(scene: Scene) -> None:
    scene.catalogue.again = await _types(scene)
    expect(scene.catalogue.again, "no instance type is given")


async def _c18(scene: Scene) -> None:
    _expect_unique(scene.known(scene.catalogue.again, "C-17"))


async def _c19(scene: Scene) -> str:
    if scene.setup.stable_ids is None:
        raise NotApplicable("no ids were handed in that should be there on every day")
    expect(scene.setup.stable_ids, "the list of ids that should be there on every day is empty")
    return f"{len(scene.setup.stable_ids)} ids"


async def _c20(scene: Scene) -> None:
    if scene.setup.stable_ids is None:
        raise NotApplicable("no ids were handed in that should be there on every day")
    there = {item.id for item in scene.known(scene.catalogue.again, "C-17")}
    missing = [key for key in scene.setup.stable_ids if key not in there]
    expect(not missing, f"not there: {few(missing, len(missing))}")


async def _c21(scene: Scene) -> None:
    without = [item.id for item in scene.known(scene.catalogue.again, "C-17") if item.base_price is None]
    expect(not without, f"without a price: {few(without)}")


async def _c22(scene: Scene) -> None:
    without = [
        item.id
        for item in scene.known(scene.catalogue.again, "C-17")
        for disk in item.storage
        if disk.min_size is not None and disk.price_per_gb_hour is None
    ]
    expect(not without, f"a disk of a size to choose, and no price for it: {few(without)}")


async def _x30(scene: Scene) -> None:
    _expect_none_wrong(scene, lambda item: "" if (item.deploy_time_s or 0) >= 0 else "it is there before it is made")


async def _types(scene: Scene, wanted: InstanceTypeFilter | None = None) -> list[InstanceType]:
    filtered = wanted or InstanceTypeFilter()
    return await scene.call(lambda: scene.client.get_instance_types(filtered))


ITEMS: Final = (
    Item("C-1", "locations can be read", _c1),
    Item("C-2", "there is a location", _c2),
    Item("C-3", "a location is available", _c3),
    Item("X-1", "locations have names of their own and countries of three letters", _x1),
    Item("C-4", "instance types can be read", _c4),
    Item("C-5", "instance types can be read again", _c5),
    Item("C-6", "two calls give as many ids", _c6),
    Item("C-7", "two calls give the same ids", _c7),
    Item("C-8", "two calls give the same types", _c8),
    Item("C-9", "no id is given twice", _c9),
    Item("C-10", "types can be asked for by name", _c10),
    Item("C-11", "a type asked for by name is the same", _c11),
    Item("X-2", "a type asked for by name comes alone", _x2),
    Item("X-3", "types are complete", _x3),
    Item("X-4", "GPUs are complete, by their bare names", _x4),
    Item("X-5", "types can be asked for by architecture", _x5),
    Item("X-6", "the zone of a type is its first zone", _x6),
    Item("X-30", "the time to deploy is none, zero or more", _x30),
    Item("C-12", "types can be asked for in all locations", _c12),
    Item("C-13", "types can be asked for in one location", _c13),
    Item("C-14", "one location has no more types than all", _c14),
    Item("C-15", "the types of one location are among those of all", _c15),
    Item("C-16", "the types of one location name it", _c16),
    Item("X-7", "the filter by location lets nothing else through", _x7),
    Item("C-17", "instance types can be read once more", _c17),
    Item("C-18", "each id is there exactly once", _c18),
    Item("C-19", "ids are known that should be there on every day", _c19),
    Item("C-20", "they are there", _c20),
    Item("C-21", "every type has a price", _c21),
    Item("C-22", "a disk of a size to choose has a price", _c22),
)
