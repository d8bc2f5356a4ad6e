"""The nouns of the contract: instance types, instances, locations, images, firewall rules, and their filters.

Structures are frozen and carry no behaviour beyond the identity rules that every provider must share. Prices are
USD per hour for the whole machine unless a field says else. Times are timezone-aware.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NewType

from msgspec import Struct
from msgspec.structs import replace

from brevplan.contract.bytes import Bytes

RefId = NewType("RefId", str)
"""Our name for one attempt to make a machine: written at the provider before it exists, read back ever after."""

CloudId = NewType("CloudId", str)
"""The provider's name for a machine."""


class ApiType(StrEnum):
    GLOBAL = "global"
    LOCATIONAL = "locational"


class FirewallPattern(StrEnum):
    NATIVE = "native"
    USER_DATA = "user-data"
    ALLOWLIST = "allowlist"


class LifecycleStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


DEAD = frozenset({LifecycleStatus.TERMINATING, LifecycleStatus.TERMINATED})
HALTED = frozenset({LifecycleStatus.STOPPED, LifecycleStatus.SUSPENDED})


class Money(Struct, frozen=True):
    amount: Decimal
    currency: str = "USD"


class Gpu(Struct, frozen=True, kw_only=True):
    """GPUs of one model in a machine. `name` is the bare model (`H100`); `memory` is per GPU, in nominal GB."""

    name: str
    count: int
    memory: Bytes
    type: str = ""
    interconnect: str = ""
    memory_details: str = ""
    manufacturer: str = "NVIDIA"


class Storage(Struct, frozen=True, kw_only=True):
    type: str
    size: Bytes = Bytes()
    count: int = 1
    min_size: Bytes | None = None
    max_size: Bytes | None = None
    price_per_gb_hour: Money | None = None
    is_ephemeral: bool = False
    is_elastic: bool = False


class InstanceType(Struct, frozen=True, kw_only=True):
    """One type in one location. `id` is filled last, by `with_type_id`."""

    id: str = ""
    type: str
    location: str
    available_azs: tuple[str, ...] = ()
    sub_location: str = ""
    provider: str
    cloud: str = ""
    gpus: tuple[Gpu, ...] = ()
    storage: tuple[Storage, ...] = ()
    memory: Bytes = Bytes()
    vcpu: int = 0
    architectures: tuple[str, ...] = ("x86_64",)
    base_price: Money | None = None
    is_available: bool = False
    stock: int | None = None
    """How many more can be had, where the provider says."""
    stoppable: bool = False
    rebootable: bool = False
    can_modify_firewall: bool = False
    elastic_root_volume: bool = False
    spot: bool = False
    is_container: bool = False
    stop_loses_data: bool = False
    """Stopping wipes a local disk."""
    deploy_time_s: float | None = None


class FirewallRule(Struct, frozen=True, kw_only=True):
    """Ports `from_port` to `to_port`, both included. An empty `protocol` means tcp and udp; no ranges mean anywhere."""

    from_port: int
    to_port: int
    ip_ranges: tuple[str, ...] = ()
    protocol: str = ""
    description: str = ""
    id: str = ""


class FirewallRules(Struct, frozen=True, kw_only=True):
    """`egress` None leaves everything out open; a tuple, even an empty one, closes all else."""

    ingress: tuple[FirewallRule, ...] = ()
    egress: tuple[FirewallRule, ...] | None = None


class PortMapping(Struct, frozen=True):
    from_port: int
    to_port: int


class Instance(Struct, frozen=True, kw_only=True):
    """A machine as its provider reports it. Internal marks are in fields of their own, never among `tags`."""

    cloud_id: CloudId
    ref_id: str = ""
    cloud_cred_ref_id: str = ""
    address: str = ""
    """The configuration address written beside the mark, where tags are mutable; else empty."""
    name: str = ""
    status: LifecycleStatus
    messages: tuple[str, ...] = ()
    instance_type: str = ""
    instance_type_id: str = ""
    location: str = ""
    sub_location: str = ""
    public_ip: str = ""
    private_ip: str = ""
    hostname: str = ""
    image_id: str = ""
    disk_size: Bytes = Bytes()
    filesystems: tuple[str, ...] = ()
    ssh_user: str = ""
    ssh_port: int = 22
    host_key: str = ""
    public_key: str = ""
    spot: bool = False
    firewall_rules: FirewallRules | None = None
    tags: dict[str, str] = {}
    options: dict[str, str] = {}
    stoppable: bool = False
    rebootable: bool = False
    hourly_price: Decimal | None = None
    created_at: datetime | None = None
    port_mappings: tuple[PortMapping, ...] = ()


class CreateInstanceAttrs(Struct, frozen=True, kw_only=True):
    """What a create asks for. `ref_id` is the name of this one attempt; `cloud_cred_ref_id` marks it as ours."""

    ref_id: RefId
    cloud_cred_ref_id: str
    address: str = ""
    instance_type: str
    location: str
    sub_location: str = ""
    public_key: str
    name: str = ""
    image_id: str = ""
    user_data: str = ""
    """Plain text; the provider's module does the base64."""
    disk_size: Bytes | None = None
    filesystems: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    firewall_rules: FirewallRules = FirewallRules()
    spot: bool = False
    options: dict[str, str] = {}


class Location(Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    available: bool = True
    country: str = ""


class Image(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    architecture: str = "x86_64"
    """Empty where one id stands for an image of each architecture."""
    description: str = ""
    created_at: datetime | None = None


class Quota(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    maximum: int
    current: int
    unit: str = "instance"


class SideObject(Struct, frozen=True, kw_only=True):
    """Something a provider made beside a machine (a key, a ruleset, a disk), named after the machine's ref_id."""

    kind: str
    id: str
    ref_id: str


class InstanceFilter(Struct, frozen=True, kw_only=True):
    """None or empty is no filter; `all` or `*` among the locations is none either. Tag filters are joined by AND."""

    cloud_ids: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    tags: dict[str, tuple[str, ...]] = {}


class InstanceTypeFilter(Struct, frozen=True, kw_only=True):
    locations: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    manufacturers: tuple[str, ...] = ()


EVERY_INSTANCE: Final = InstanceFilter()
EVERY_TYPE: Final = InstanceTypeFilter()


def type_id(location: str, zone: str, native_type: str) -> str:
    """Make the id that is one across all regions: `us-west-1-noSub-gpu_8x_a100`. It is not parseable back."""
    return f"{location}-{zone or 'noSub'}-{native_type}"


def with_type_id(item: InstanceType) -> InstanceType:
    """Fill the id of a type from its first zone; an id already there stays."""
    if item.id:
        return item
    zone = item.available_azs[0] if item.available_azs else ""
    return replace(item, id=type_id(item.location, zone, item.type))


def instance_type_id(instance: Instance) -> str:
    """Give the id of the type that a machine has; it equals the `id` of the matching `InstanceType`."""
    return instance.instance_type_id or type_id(instance.location, instance.sub_location, instance.instance_type)


def wants_all(locations: Iterable[str]) -> bool:
    """Tell whether a location filter lets everything through."""
    names = tuple(locations)
    return not names or "all" in names or "*" in names


def matches(instance: Instance, wanted: InstanceFilter) -> bool:
    """Apply a filter to one machine: for providers whose API cannot."""
    if wanted.cloud_ids and instance.cloud_id not in wanted.cloud_ids:
        return False
    if not wants_all(wanted.locations) and instance.location not in wanted.locations:
        return False
    return all(
        tag in instance.tags and (not allowed or instance.tags[tag] in allowed) for tag, allowed in wanted.tags.items()
    )


def type_matches(item: InstanceType, wanted: InstanceTypeFilter) -> bool:
    """Apply a filter to one type. A type stays when any of its architectures is wanted; CPU types pass a GPU filter."""
    if not wants_all(wanted.locations) and item.location not in wanted.locations:
        return False
    if wanted.instance_types and item.type not in wanted.instance_types:
        return False
    if wanted.architectures and not set(wanted.architectures) & set(item.architectures):
        return False
    return not (
        wanted.manufacturers and item.gpus and not any(gpu.manufacturer in wanted.manufacturers for gpu in item.gpus)
    )
