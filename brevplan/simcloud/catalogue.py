"""What the simulated cloud sells: types with prices, regions, how many of each type a region holds, and images.

Data and look-ups only. Zones are left out of the type list on purpose: they would change a type's id with the order
of the list. A machine may still ask for one of a region's two zones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import ImageNotFound, Rejected
from brevplan.contract.model import Gpu, Image, InstanceType, Location, Money, Storage, type_id, with_type_id

PROVIDER: Final = "local"

LOCATIONS: Final = (
    Location(name="asia-south1", description="Mumbai, India", country="IND"),
    Location(name="europe-west4", description="Eemshaven, Netherlands", country="NLD"),
    Location(name="us-east-1", description="Virginia, USA", country="USA"),
    Location(name="us-west-1", description="California, USA", country="USA"),
)

ZONES: Final = ("a", "b")

_BUILT = datetime(2025, 1, 15, tzinfo=UTC)

IMAGES: Final = (
    Image(id="ubuntu-22.04-arm64", name="Ubuntu 22.04 LTS", architecture="arm64", created_at=_BUILT),
    Image(
        id="ubuntu-22.04-cuda-arm64",
        name="Ubuntu 22.04 LTS with CUDA 12",
        architecture="arm64",
        description="The default of arm64 types.",
        created_at=_BUILT,
    ),
    Image(
        id="ubuntu-22.04-cuda-x86-64",
        name="Ubuntu 22.04 LTS with CUDA 12",
        description="The default of x86_64 types.",
        created_at=_BUILT,
    ),
    Image(id="ubuntu-22.04-x86-64", name="Ubuntu 22.04 LTS", created_at=_BUILT),
    Image(id="ubuntu-24.04-cuda-x86-64", name="Ubuntu 24.04 LTS with CUDA 12", created_at=_BUILT),
    Image(id="ubuntu-24.04-x86-64", name="Ubuntu 24.04 LTS", created_at=_BUILT),
)

_DEFAULT_IMAGES: Final = {"x86_64": "ubuntu-22.04-cuda-x86-64", "arm64": "ubuntu-22.04-cuda-arm64"}

_SMALLEST_DISK: Final = Bytes(10, "GB")
_LARGEST_DISK: Final = Bytes(64, "TB")


@dataclass(frozen=True, slots=True)
class _Card:
    """One GPU model as it is built into machines."""

    name: str
    type: str
    gigabytes: int
    interconnect: str
    memory_details: str

    def built_in(self, count: int) -> Gpu:
        return Gpu(
            name=self.name,
            type=self.type,
            count=count,
            memory=Bytes(self.gigabytes, "GB"),
            interconnect=self.interconnect,
            memory_details=self.memory_details,
        )


_A10 = _Card("A10", "A10", 24, "PCIe", "GDDR")
_A100_40 = _Card("A100", "A100 SXM4 40GB", 40, "SXM4", "HBM2e")
_A100_80 = _Card("A100", "A100 SXM4 80GB", 80, "SXM4", "HBM2e")
_A6000 = _Card("A6000", "RTX A6000", 48, "PCIe", "GDDR")
_B200 = _Card("B200", "B200 SXM6", 180, "SXM6", "HBM3")
_GH200 = _Card("GH200", "GH200", 96, "", "HBM3")
_H100 = _Card("H100", "H100 SXM5", 80, "SXM5", "HBM3")
_H100_PCIE = _Card("H100", "H100 PCIe", 80, "PCIe", "HBM2e")
_H200 = _Card("H200", "H200 SXM5", 141, "SXM5", "HBM3")
_L4 = _Card("L4", "L4", 24, "PCIe", "GDDR")
_L40S = _Card("L40S", "L40S", 48, "PCIe", "GDDR")
_V100 = _Card("V100", "V100 SXM2", 16, "SXM2", "HBM")


@dataclass(frozen=True, slots=True)
class _Model:
    """One line of the price list. `stock` says by region how many there are; a region without an entry sells none."""

    name: str
    price: str
    vcpu: int
    ram_gib: int
    disk_gb: int
    stock: Mapping[str, int]
    card: _Card | None = None
    cards: int = 0
    architecture: str = "x86_64"
    elastic: bool = True
    stoppable: bool = True
    stop_loses_data: bool = False
    spot: bool = False


_EVERYWHERE: Final = ("asia-south1", "europe-west4", "us-east-1", "us-west-1")
_AMERICA: Final = ("us-east-1", "us-west-1")
_WEST: Final = ("europe-west4", "us-west-1")
_NORTH: Final = ("europe-west4", "us-east-1", "us-west-1")
_PLENTY: Final = 25_000


def _in(regions: Iterable[str], count: int) -> dict[str, int]:
    return dict.fromkeys(regions, count)


_MODELS: Final = (
    _Model("cpu_4x_general", "0.12", 4, 16, 100, _in(_EVERYWHERE, _PLENTY), spot=True),
    _Model("gpu_1x_a10", "0.75", 30, 200, 1400, _in(_EVERYWHERE, _PLENTY), _A10, 1, spot=True),
    _Model("gpu_1x_a100_40gb_sxm4", "1.29", 30, 200, 512, _in(_AMERICA, 96), _A100_40, 1),
    _Model("gpu_8x_a100_40gb_sxm4", "10.32", 124, 1800, 6000, _in(_AMERICA, 48), _A100_40, 8, elastic=False),
    _Model("gpu_8x_a100_80gb_sxm4", "14.32", 240, 1800, 20000, _in(_NORTH, 64), _A100_80, 8, spot=True),
    # The one that cannot be had: it stays in the list, so that its ids are stable and a plan can say why.
    _Model("gpu_8x_b200_sxm6", "39.92", 208, 2900, 22000, _in(_AMERICA, 0), _B200, 8),
    _Model("gpu_1x_gh200", "1.49", 64, 432, 4000, _in(_AMERICA, 64), _GH200, 1, architecture="arm64"),
    _Model("gpu_1x_h100_pcie", "2.49", 26, 200, 1000, _in(_WEST, 128), _H100_PCIE, 1),
    _Model("gpu_1x_h100_sxm5", "3.29", 26, 225, 2750, _in(_AMERICA, 512), _H100, 1),
    _Model("gpu_8x_h100_sxm5", "23.92", 208, 1800, 22000, _in(_NORTH, 1024), _H100, 8),
    _Model("gpu_8x_h200_sxm5", "31.10", 208, 2000, 22000, _in(("us-east-1", "europe-west4"), 32), _H200, 8),
    _Model("gpu_1x_l4", "0.58", 16, 64, 500, _in(("asia-south1", "europe-west4", "us-east-1"), 512), _L4, 1, spot=True),
    # Its disk is in the machine itself: whoever stops it loses what is on it.
    _Model("gpu_1x_l40s", "1.10", 16, 96, 1000, _in(_EVERYWHERE, 256), _L40S, 1, stop_loses_data=True, elastic=False),
    _Model("gpu_4x_l40s", "4.28", 64, 384, 4000, _in(("asia-south1", "us-east-1"), 32), _L40S, 4),
    _Model("gpu_1x_rtx_a6000", "0.80", 14, 100, 512, _in(_WEST, 128), _A6000, 1, stoppable=False),
    _Model("gpu_8x_v100_sxm2", "4.40", 92, 448, 6000, _in(("us-east-1",), 24), _V100, 8, elastic=False),
)


@cache
def offers() -> tuple[InstanceType, ...]:
    """Give every type in every region that sells it, by type and location, as if nothing had been taken yet."""
    return tuple(
        _offer(model, location)
        for model in sorted(_MODELS, key=lambda one: one.name)
        for location in sorted(model.stock)
    )


def _offer(model: _Model, location: str) -> InstanceType:
    return with_type_id(
        InstanceType(
            type=model.name,
            location=location,
            provider=PROVIDER,
            cloud=PROVIDER,
            gpus=(model.card.built_in(model.cards),) if model.card else (),
            storage=(_disk(model),),
            memory=Bytes(model.ram_gib, "GiB"),
            vcpu=model.vcpu,
            architectures=(model.architecture,),
            base_price=Money(Decimal(model.price)),
            is_available=model.stock[location] > 0,
            stock=model.stock[location],
            stoppable=model.stoppable,
            rebootable=True,
            can_modify_firewall=True,
            elastic_root_volume=model.elastic,
            spot=model.spot,
            stop_loses_data=model.stop_loses_data,
        )
    )


def _disk(model: _Model) -> Storage:
    size = Bytes(model.disk_gb, "GB")
    if not model.elastic:
        return Storage(type="nvme", size=size, is_ephemeral=model.stop_loses_data)
    return Storage(
        type="ssd",
        size=size,
        min_size=_SMALLEST_DISK,
        max_size=_LARGEST_DISK,
        price_per_gb_hour=Money(Decimal(0)),
        is_elastic=True,
    )


@cache
def _by_id() -> Mapping[str, InstanceType]:
    return {offer.id: offer for offer in offers()}


def find_offer(instance_type: str, location: str) -> InstanceType:
    """Give one type in one region; raise `Rejected` with the names near it."""
    found = _by_id().get(type_id(location, "", instance_type))
    if found:
        return found
    regions = [place.name for place in LOCATIONS]
    if location not in regions:
        raise Rejected(f'there is no location "{location}"{nearest(location, regions)}')
    sold_in = sorted(offer.location for offer in offers() if offer.type == instance_type)
    if sold_in:
        raise Rejected(f'"{instance_type}" is not sold in {location}, only in {", ".join(sold_in)}')
    names = sorted({offer.type for offer in offers()})
    raise Rejected(f'there is no instance type "{instance_type}"{nearest(instance_type, names)}')


def find_image(image_id: str, offer: InstanceType) -> str:
    """Give the image that a machine starts from, the type's default where none is named."""
    if not image_id:
        return _DEFAULT_IMAGES[offer.architectures[0]]
    for image in IMAGES:
        if image.id == image_id:
            if image.architecture not in offer.architectures:
                needed = ", ".join(offer.architectures)
                raise Rejected(f'image "{image_id}" is for {image.architecture}, but {offer.type} is {needed}')
            return image_id
    raise ImageNotFound(f'there is no image "{image_id}"{nearest(image_id, [image.id for image in IMAGES])}')


def check_zone(sub_location: str, location: str) -> None:
    """Raise `Rejected` for a zone that the region does not have; none at all is fine."""
    known = [location + zone for zone in ZONES]
    if sub_location and sub_location not in known:
        raise Rejected(f'there is no zone "{sub_location}" in {location}: it has {", ".join(known)}')


def nearest(name: str, known: Sequence[str]) -> str:
    """Say what a name that is not known could have meant."""
    from difflib import get_close_matches  # Here, because only a mistake needs it.

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f": did you mean {' or '.join(close)}?" if close else f": known are {', '.join(known)}"
