"""Data sources over the catalogue: `instance_types`, `locations`, `images`, and one living `instance`."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

from brevplan.contract.gpu import GpuQuery
from brevplan.contract.model import Instance, InstanceType
from brevplan.engine.kind import Attributes, AttributeSpec, Catalogue, NeedsCatalogue, Schema
from brevplan.lang.types import BOOL, NUMBER, STRING, ListType, MapType, ObjectType
from brevplan.lang.values import List, Map, Object, Value, first_unknown, from_python, reveal

_TYPE: Final = ObjectType(
    {
        "provider": STRING, "instance_type": STRING, "instance_type_id": STRING, "location": STRING,
        "gpu": STRING, "gpu_count": NUMBER, "gpu_memory_bytes": NUMBER,
        "vcpu": NUMBER, "memory_bytes": NUMBER, "architectures": ListType(STRING),
        "hourly_price": NUMBER, "available": BOOL, "stoppable": BOOL, "spot": BOOL,
    }
)  # fmt: skip
"""An item of `instance_types`, by the names of `offers -json`. The count in stock is left out: every launch changes it,
and an output of an item would then differ in each plan after an apply."""

_LOCATION: Final = ObjectType({"name": STRING, "description": STRING, "country": STRING, "available": BOOL})
_IMAGE: Final = ObjectType({"id": STRING, "name": STRING, "architecture": STRING, "description": STRING})


def _items(of: ObjectType) -> AttributeSpec:
    return AttributeSpec("items", ListType(of), configurable=False, computed=True)


def _wrong_gpu(value: Value) -> str:
    try:
        GpuQuery.parse(str(value))
    except ValueError as problem:
        return f"{problem}."
    return ""


def _known(arguments: Attributes, names: tuple[str, ...]) -> dict[str, Value]:
    """Give arguments bare; a reading that hangs on what is known only after apply is refused, and says on what."""
    found: dict[str, Value] = {}
    for name in names:
        unknown = first_unknown((arguments.get(name),))
        if unknown is not None:
            cause = f": it depends on {unknown.because}" if unknown.because else ""
            raise ValueError(
                f'The argument "{name}" is known only after apply{cause}, and data is read while planning. '
                "Give it a value that is known before, or use the resource's own attributes instead of this data."
            )
        found[name] = reveal(arguments.get(name))
    return found


class InstanceTypesData:
    """Types that match every filter, cheapest first; a filter that is null is none."""

    name = "instance_types"
    schema = Schema(
        {
            "gpu": AttributeSpec("gpu", check=_wrong_gpu),
            "location": AttributeSpec("location"),
            "max_price": AttributeSpec("max_price", NUMBER),
            "available": AttributeSpec("available", BOOL),
            "items": _items(_TYPE),
        }
    )

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        filters = _known(arguments, ("gpu", "location", "max_price", "available"))
        types = catalogue.types.get(alias)
        if types is None:
            raise NeedsCatalogue(alias)
        found = sorted((item for item in types.values() if _wanted(item, filters)), key=_by_price)
        return {"items": List((_type_object(item, alias) for item in found), _TYPE)}


def _wanted(item: InstanceType, filters: dict[str, Value]) -> bool:
    gpu, location, limit, available = filters["gpu"], filters["location"], filters["max_price"], filters["available"]
    if isinstance(location, str) and item.location != location:
        return False
    if isinstance(gpu, str) and not GpuQuery.parse(gpu).matches(item):
        return False
    if isinstance(limit, (int, Fraction)) and (item.base_price is None or Fraction(item.base_price.amount) > limit):
        return False
    return available is None or item.is_available is available


def _by_price(item: InstanceType) -> tuple[bool, Decimal, str, str]:
    """Order as `offers` does: what has no price comes last."""
    price = item.base_price
    return price is None, price.amount if price is not None else Decimal(0), item.type, item.location


def _type_object(item: InstanceType, alias: str) -> Object:
    gpu = item.gpus[0] if item.gpus else None
    return Object(
        {
            "provider": alias,
            "instance_type": item.type,
            "instance_type_id": item.id,
            "location": item.location,
            "gpu": gpu.name if gpu is not None else None,
            "gpu_count": gpu.count if gpu is not None else 0,
            "gpu_memory_bytes": gpu.memory.total if gpu is not None else None,
            "vcpu": item.vcpu,
            "memory_bytes": item.memory.total,
            "architectures": List(item.architectures, STRING),
            "hourly_price": from_python(Fraction(item.base_price.amount)) if item.base_price is not None else None,
            "available": item.is_available,
            "stoppable": item.stoppable,
            "spot": item.spot,
        }
    )


class LocationsData:
    """The regions of a provider, in order of name."""

    name = "locations"
    schema = Schema({"items": _items(_LOCATION)})

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        found = catalogue.locations.get(alias)
        if found is None:
            raise NeedsCatalogue(alias)
        ordered = sorted(found, key=lambda item: item.name)
        return {
            "items": List(
                (
                    Object(
                        {
                            "name": item.name,
                            "description": item.description,
                            "country": item.country,
                            "available": item.available,
                        }
                    )
                    for item in ordered
                ),
                _LOCATION,
            )
        }


class ImagesData:
    """The images of a provider, in order of id."""

    name = "images"
    schema = Schema({"architecture": AttributeSpec("architecture"), "items": _items(_IMAGE)})

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        wanted = _known(arguments, ("architecture",))["architecture"]
        found = catalogue.images.get(alias)
        if found is None:
            raise NeedsCatalogue(alias)
        ordered = sorted(found, key=lambda item: item.id)
        return {
            "items": List(
                (
                    Object(
                        {
                            "id": item.id,
                            "name": item.name,
                            "architecture": item.architecture,
                            "description": item.description,
                        }
                    )
                    for item in ordered
                    if wanted is None or item.architecture in ("", wanted)
                ),
                _IMAGE,
            )
        }


_MACHINE_TEXTS: Final = (
    "name", "status", "instance_type", "instance_type_id", "location", "sub_location", "public_ip", "private_ip",
    "hostname", "image_id", "ssh_user",
)  # fmt: skip


class InstanceData:
    """One living machine of the account, whoever made it."""

    name = "instance"
    schema = Schema(
        {
            "id": AttributeSpec("id", computed=True),
            "ref_id": AttributeSpec("ref_id", computed=True),
            **{name: AttributeSpec(name, configurable=False, computed=True) for name in _MACHINE_TEXTS},
            "ssh_port": AttributeSpec("ssh_port", NUMBER, configurable=False, computed=True),
            "hourly_price": AttributeSpec("hourly_price", NUMBER, configurable=False, computed=True),
            "tags": AttributeSpec("tags", MapType(STRING), configurable=False, computed=True),
        }
    )

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        wanted = _known(arguments, ("id", "ref_id"))
        cloud_id, ref_id = wanted["id"] or "", wanted["ref_id"] or ""
        if not cloud_id and not ref_id:
            raise ValueError("It takes an id or a ref_id, and both are null.")
        found = catalogue.machine(alias, str(cloud_id), str(ref_id))
        if found is None or ref_id not in ("", found.ref_id):
            raise ValueError(f"There is no machine {cloud_id or ref_id} in this account.")
        return _machine_attributes(found)


def _machine_attributes(machine: Instance) -> dict[str, Value]:
    return {
        "id": machine.cloud_id,
        "ref_id": machine.ref_id,
        "name": machine.name,
        "status": machine.status.value,
        "instance_type": machine.instance_type,
        "instance_type_id": machine.instance_type_id,
        "location": machine.location,
        "sub_location": machine.sub_location,
        "public_ip": machine.public_ip,
        "private_ip": machine.private_ip,
        "hostname": machine.hostname,
        "image_id": machine.image_id,
        "ssh_user": machine.ssh_user,
        "ssh_port": machine.ssh_port,
        "hourly_price": from_python(Fraction(machine.hourly_price)) if machine.hourly_price is not None else None,
        "tags": Map(dict(machine.tags), STRING),
    }
