"""Which machine is asked for: the cheapest that fits, with a value for everything that the client says it reports."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, FirewallReach, Images
from brevplan.contract.conformance.scene import Scene, Setup
from brevplan.contract.model import (
    CreateInstanceAttrs,
    FirewallRule,
    FirewallRules,
    Image,
    InstanceType,
    InstanceTypeFilter,
)

TAGS: Final = {"purpose": "conformance"}
RULE: Final = FirewallRule(from_port=8443, to_port=8443, ip_ranges=("192.0.2.0/24",), protocol="tcp")
"""A rule that opens a port to nobody: its range is set aside for documentation."""
_NOBODY: Final = "192.0.2.1/32"
"""The like as one address, for a cloud that knows nothing else."""


def considered(setup: Setup) -> InstanceTypeFilter:
    """Give the filter for what is chosen from: x86_64, unless a type was asked for by name."""
    return InstanceTypeFilter() if setup.instance_type else InstanceTypeFilter(architectures=("x86_64",))


def choose(types: Iterable[InstanceType], setup: Setup) -> InstanceType | None:
    """Give the cheapest type that can be had now and is within the limits; of equal prices the first."""
    fitting = [item for item in types if item.is_available and fits(item, setup)]
    return min(fitting, key=lambda item: item.base_price.amount if item.base_price else Decimal("inf"), default=None)


def fits(item: InstanceType, setup: Setup) -> bool:
    """Tell whether a type is one that may be launched: as asked for, and within the highest price."""
    if setup.instance_type and item.type != setup.instance_type:
        return False
    if setup.location and item.location != setup.location:
        return False
    return is_affordable(item, setup)


def is_affordable(item: InstanceType, setup: Setup) -> bool:
    """Tell whether a type costs no more than it may; a price that is not known may be any."""
    if setup.max_price is None:
        return True
    return item.base_price is not None and item.base_price.amount <= setup.max_price


async def attributes(scene: Scene, offer: InstanceType, name: str) -> CreateInstanceAttrs:
    """Give what a machine is asked for with: what `reports` names gets a value that is not the default."""
    reports = scene.traits.reports
    setup = scene.setup
    return CreateInstanceAttrs(
        ref_id=setup.new_ref_id(),
        cloud_cred_ref_id=setup.cred_ref_id,
        instance_type=offer.type,
        location=offer.location,
        sub_location=offer.sub_location,
        public_key=setup.public_key,
        name=name,
        image_id=await _image(scene, offer) if "image_id" in reports else "",
        disk_size=_disk(offer) if "disk_size" in reports else None,
        tags=TAGS if {"tags"} & reports or Capability.TAGS in scene.traits.capabilities else {},
        firewall_rules=rules(scene.traits.firewall, RULE) if "firewall_rules" in reports else FirewallRules(),
        options=dict(setup.options),
    )


def rules(reach: FirewallReach, *wanted: FirewallRule) -> FirewallRules:
    """Give these rules, as near to them as a firewall of this reach can come: one address, perhaps, at every port."""
    if reach.ports or reach.networks:
        return FirewallRules(ingress=wanted)
    ranges = tuple(sorted({*reach.always, _NOBODY} if wanted else reach.always))
    every = FirewallRule(from_port=1, to_port=65535, ip_ranges=ranges)
    return FirewallRules(ingress=(every,) if ranges else ())


async def _image(scene: Scene, offer: InstanceType) -> str:
    client = scene.client
    if Capability.IMAGES not in scene.traits.capabilities or not isinstance(client, Images):
        return ""
    images = await scene.call(client.get_images)
    fitting = [image for image in images if image.architecture in offer.architectures and _is_ubuntu(image)]
    return fitting[-1].id if fitting else ""


def _is_ubuntu(image: Image) -> bool:
    return any(f"ubuntu {version}" in image.name.lower() for version in ("22.04", "24.04"))


def _disk(offer: InstanceType) -> Bytes | None:
    """Give a size that a default is not likely to have, where a size can be chosen."""
    disk = offer.storage[0] if offer.storage else None
    if disk is None or not offer.elastic_root_volume or disk.min_size is None:
        return None
    roomy = Bytes(64, "GiB" if disk.min_size.unit.endswith("iB") else "GB")
    return roomy if disk.min_size < roomy and (disk.max_size is None or roomy <= disk.max_size) else disk.min_size
