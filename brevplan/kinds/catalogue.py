"""Data sources over the catalogue: `instance_types`, `locations`, `images`, and one living `instance`."""

from __future__ import annotations

from fractions import Fraction

from brevplan.contract.gpu import GpuQuery
from brevplan.contract.model import Instance, InstanceType
from brevplan.engine.kind import Attributes, AttributeSpec, Catalogue, NeedsCatalogue, Schema
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING
from brevplan.lang.values import Object, Tuple, Value, from_python, reveal


def _items() -> AttributeSpec:
    return AttributeSpec("items", ANY, configurable=False, computed=True)


class InstanceTypesData:
    """Types that match every filter, cheapest first."""

    name = "instance_types"
    schema = Schema(
        {
            "gpu": AttributeSpec("gpu"),
            "location": AttributeSpec("location"),
            "max_price": AttributeSpec("max_price", NUMBER),
            "available": AttributeSpec("available", BOOL),
            "items": _items(),
        }
    )

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        types = catalogue.types.get(alias)
        if types is None:
            raise NeedsCatalogue(alias)
        found = [item for item in types.values() if _wanted(item, arguments)]
        found.sort(key=lambda item: (item.base_price.amount if item.base_price else 0, item.type, item.location))
        return {"items": Tuple(_type_object(item) for item in found)}


def _wanted(item: InstanceType, arguments: Attributes) -> bool:
    gpu, location, limit, available = (
        reveal(arguments.get(name)) for name in ("gpu", "location", "max_price", "available")
    )
    if isinstance(location, str) and item.location != location:
        return False
    if isinstance(gpu, str) and not GpuQuery.parse(gpu).matches(item):
        return False
    if isinstance(limit, (int, Fraction)) and (item.base_price is None or Fraction(item.base_price.amount) > limit):
        return False
    return available is None or item.is_available is available


def _type_object(item: InstanceType) -> Object:
    gpu = item.gpus[0] if item.gpus else None
    return Object(
        {
            "id": item.id,
            "instance_type": item.type,
            "location": item.location,
            "gpu": gpu.name if gpu else "",
            "gpu_count": gpu.count if gpu else 0,
            "vcpu": item.vcpu,
            "hourly_price": from_python(Fraction(item.base_price.amount)) if item.base_price else None,
            "available": item.is_available,
            "stoppable": item.stoppable,
        }
    )


class LocationsData:
    name = "locations"
    schema = Schema({"items": _items()})

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        found = catalogue.locations.get(alias)
        if found is None:
            raise NeedsCatalogue(alias)
        return {
            "items": Tuple(
                Object({"name": item.name, "description": item.description, "country": item.country})
                for item in sorted(found, key=lambda item: item.name)
            )
        }


class ImagesData:
    name = "images"
    schema = Schema({"architecture": AttributeSpec("architecture"), "items": _items()})

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        found = catalogue.images.get(alias)
        if found is None:
            raise NeedsCatalogue(alias)
        wanted = reveal(arguments.get("architecture"))
        return {
            "items": Tuple(
                Object({"id": item.id, "name": item.name, "architecture": item.architecture})
                for item in sorted(found, key=lambda item: item.id)
                if wanted is None or item.architecture == wanted
            )
        }


class InstanceData:
    """One living machine of the account, whoever made it."""

    name = "instance"
    schema = Schema(
        {
            "id": AttributeSpec("id", STRING),
            "ref_id": AttributeSpec("ref_id", STRING),
            **{
                name: AttributeSpec(name, configurable=False, computed=True)
                for name in ("name", "status", "public_ip", "private_ip", "instance_type", "location")
            },
        }
    )

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        cloud_id, ref_id = reveal(arguments.get("id")), reveal(arguments.get("ref_id"))
        if not isinstance(cloud_id, str) and not isinstance(ref_id, str):
            raise ValueError("An id or a ref_id that is known while planning is needed.")
        found = catalogue.machine(alias, str(cloud_id or ""), str(ref_id or ""))
        if found is None:
            raise ValueError(f"There is no machine {cloud_id or ref_id} in this account.")
        return _machine_attributes(found)


def _machine_attributes(machine: Instance) -> dict[str, Value]:
    return {
        "id": machine.cloud_id,
        "ref_id": machine.ref_id,
        "name": machine.name,
        "status": machine.status.value,
        "public_ip": machine.public_ip,
        "private_ip": machine.private_ip,
        "instance_type": machine.instance_type,
        "location": machine.location,
    }
