"""What EC2 sells: types, GPUs and prices, read from what it says of them. Pure.

EC2 reports the memory of a GPU that can be used; people know it by its nominal size, which is what is given here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import Struct, field

from brevplan.contract.bytes import Bytes
from brevplan.contract.gpu import canonical_name, nominal_gb
from brevplan.contract.model import Gpu, InstanceType, Money, Storage, type_id

PROVIDER: Final = "aws"
_LOG: Final = logging.getLogger(__name__)

DISK_MONTH: Final = Decimal("0.08")
"""USD for a GB of gp3 and a month of 730 hours, where it is least; in some regions it is more."""
_DISK_HOUR: Final = Money((DISK_MONTH / 730).quantize(Decimal("0.000000001")))
_LARGEST_DISK: Final = Bytes(16, "TiB")

_INTERCONNECT: Final = {
    "p3": "SXM2", "p3dn": "SXM2", "p4d": "SXM4", "p4de": "SXM4", "p5": "SXM5", "p5e": "SXM5", "p5en": "SXM5",
    "p6": "SXM6",
}  # fmt: skip
_ARCHITECTURES: Final = ("x86_64", "arm64")


class _Named(Struct, rename="pascal"):
    """A GPU model within a machine."""

    name: str = ""
    manufacturer: str = ""
    count: int = 0
    logical_gpu_count: int | None = None
    gpu_partition_size: float | None = None
    memory: dict[str, int] = field(name="MemoryInfo", default_factory=dict)


class _Gpus(Struct, rename="pascal"):
    gpus: list[_Named] = field(default_factory=list)


class _Processor(Struct, rename="pascal"):
    supported_architectures: list[str] = field(default_factory=list)


class _LocalDisk(Struct, rename="pascal"):
    size: int = field(name="SizeInGB", default=0)
    count: int = 1
    type: str = ""


class _LocalDisks(Struct, rename="pascal"):
    disks: list[_LocalDisk] = field(default_factory=list)


class TypeRow(Struct, rename="pascal"):
    """A type as DescribeInstanceTypes has it, as far as it is read."""

    instance_type: str
    supported_usage_classes: list[str] = field(default_factory=list)
    processor_info: _Processor = field(default_factory=_Processor)
    vcpus: dict[str, Any] = field(name="VCpuInfo", default_factory=dict)
    memory: dict[str, int] = field(name="MemoryInfo", default_factory=dict)
    gpu_info: _Gpus | None = None
    local_disks: _LocalDisks | None = field(name="InstanceStorageInfo", default=None)

    @property
    def architectures(self) -> tuple[str, ...]:
        known = self.processor_info.supported_architectures
        return tuple(name for name in _ARCHITECTURES if name in known)


class TypeRows(Struct, rename="pascal"):
    instance_types: list[TypeRow]


class _Offering(Struct, rename="pascal"):
    instance_type: str
    location: str


class Offerings(Struct, rename="pascal"):
    instance_type_offerings: list[_Offering]


class PriceList(Struct, rename="pascal"):
    price_list: list[str]


def instance_type(row: TypeRow, region: str, zones: Iterable[str], price: Decimal | None) -> InstanceType:
    """Give a type in one region. Its id has no zone in it: a machine may be in another one than the first."""
    offered = tuple(sorted(zones))
    local = tuple(_local(disk) for disk in (row.local_disks.disks if row.local_disks else ()))
    return InstanceType(
        id=type_id(region, "", row.instance_type),
        type=row.instance_type,
        location=region,
        available_azs=offered,
        provider=PROVIDER,
        cloud=PROVIDER,
        gpus=tuple(_gpu(gpu, row.instance_type) for gpu in (row.gpu_info.gpus if row.gpu_info else ())),
        storage=(_root_disk(), *local),
        memory=Bytes(row.memory.get("SizeInMiB", 0), "MiB"),
        vcpu=int(row.vcpus.get("DefaultVCpus", 0)),
        architectures=row.architectures,
        base_price=Money(price) if price is not None else None,
        # where it is offered; that it can be had at this moment shows when it is tried
        is_available=bool(offered) and "on-demand" in row.supported_usage_classes,
        stoppable=True,
        rebootable=True,
        can_modify_firewall=True,
        elastic_root_volume=True,
        spot="spot" in row.supported_usage_classes,
        stop_loses_data=bool(local),
    )


def _root_disk() -> Storage:
    return Storage(
        type="gp3", is_elastic=True, min_size=Bytes(1, "GiB"), max_size=_LARGEST_DISK, price_per_gb_hour=_DISK_HOUR
    )


def _local(disk: _LocalDisk) -> Storage:
    return Storage(type=disk.type or "ssd", size=Bytes(disk.size, "GB"), count=disk.count, is_ephemeral=True)


def _gpu(gpu: _Named, native: str) -> Gpu:
    name = canonical_name(gpu.name)
    family = native.partition(".")[0].partition("-")[0]
    part = gpu.gpu_partition_size or 1.0
    return Gpu(
        name=name,
        type=gpu.name if part >= 1 else f"{gpu.name}, {part:g} of one",
        # of a part of a GPU there are none, and one to work with
        count=gpu.count or gpu.logical_gpu_count or 1,
        memory=Bytes(nominal_gb(name, gb_of(gpu.memory.get("SizeInMiB", 0))), "GB"),
        interconnect=_INTERCONNECT.get(family, "PCIe"),
        manufacturer="NVIDIA" if gpu.manufacturer.upper() == "NVIDIA" else "unknown",
    )


def gb_of(mib: int) -> int:
    """Give what is reported in GB: whole GiB are sold under the same number of GB, all else is GB by itself."""
    return mib // 1024 if mib % 1024 == 0 else round(mib * 1024**2 / 10**9)


def price_filters(region: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Ask for what a machine with Linux costs on demand, in one region, for several types."""
    fixed = {
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    asked = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fixed.items()]
    return [*asked, {"Type": "ANY_OF", "Field": "instanceType", "Value": ",".join(names)}]


def prices(texts: Iterable[str]) -> Mapping[str, Decimal]:
    """Read the hourly prices of types. What cannot be read, and a price of nothing, is not known."""
    found: dict[str, Decimal] = {}
    for text in texts:
        try:
            product = json.loads(text, parse_float=Decimal)
            name = product["product"]["attributes"]["instanceType"]
            amounts = [
                Decimal(dimension["pricePerUnit"]["USD"])
                for term in product["terms"]["OnDemand"].values()
                for dimension in term["priceDimensions"].values()
                if dimension.get("unit") == "Hrs"
            ]
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as problem:
            _LOG.debug("a price cannot be read: %s", type(problem).__name__)
            continue
        if isinstance(name, str) and amounts and min(amounts) > 0:
            found[name] = min(amounts)
    return found
