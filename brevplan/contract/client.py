"""The client of one account at one cloud: small protocols, one a capability.

A client translates and nothing else: it does not retry, wait, read back or keep state. Every method returns
promptly, raises `CloudError`, and awaits the `Pacer` that it was given before each request.

A method outside `CloudClient` is called only when its capability is declared; a client without the capability
does not have the method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import (
    ApiType,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    FirewallRules,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    Location,
    Quota,
    RefId,
    SideObject,
)


class Capability(StrEnum):
    CREATE = "create-instance"
    CREATE_IDEMPOTENT = "create-instance-idempotent"
    TERMINATE = "terminate-instance"
    CREATE_TERMINATE = "create-terminate-instance"
    USER_DATA = "instance-userdata"
    TAGS = "tags"
    REBOOT = "reboot-instance"
    RESIZE_VOLUME = "resize-instance-volume"
    STOP_START = "stop-start-instance"
    IMAGES = "machine-image"
    MODIFY_FIREWALL = "modify-firewall"
    VPC = "vpc"
    KUBERNETES = "managed-kubernetes"


class Urgency(StrEnum):
    """What a request is for; the pacer lets the more urgent through first when the rate is scarce."""

    SETTLE = "settle"
    POLL = "poll"
    CREATE = "create"


class Pacer(Protocol):
    """The account's rate limit, awaited by the client before each request."""

    async def admit(self, urgency: Urgency) -> None: ...


class Clock(Protocol):
    """Time as a parameter. `monotonic` in seconds; `now` timezone-aware UTC."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class FirewallReach:
    """Which rules a provider's pattern can enforce exactly. Everything, unless said otherwise."""

    ipv6: bool = True
    egress: bool = True
    ports: bool = True
    """False: who is let in may reach every port."""
    networks: bool = True
    """False: single addresses can be let in, and no ranges of them."""
    most_ports: int = 65535
    """How many ports one rule may open, unless it opens all of them."""
    ssh_from_anywhere: bool = True
    """False: SSH is not open by itself either; a machine needs a rule that names an address."""
    always: tuple[str, ...] = ()
    """Ranges that the provider block lets in at every port; they count among the rules of each machine."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a provider is like, known without a call."""

    provider: str
    capabilities: frozenset[Capability]
    reports: frozenset[str]
    """Instance attributes whose value in list and get is the truth, so that drift in them is drift."""
    api_type: ApiType = ApiType.GLOBAL
    firewall_pattern: FirewallPattern = FirewallPattern.NATIVE
    takes_cloud_config: bool = False
    """With the firewall in the user data: the user's own may be `#cloud-config` as well, and not only a script."""
    firewall: FirewallReach = FirewallReach()
    recoverable: Literal["full", "partial", "by import block"] = "full"
    """How much of a lost state can be restored from the cloud."""
    mutable_tags: bool = False
    in_place: frozenset[str] = frozenset()
    """Further arguments that can be changed on a living machine: `name`, and on a stopped one `instance_type`."""
    instance_poll_s: float = 5.0
    catalogue_poll_s: float = 60.0
    catalogue: str = ""
    """What of the block's settings the catalogue depends on: blocks that differ in it see different ones."""
    creates_per_minute: int | None = None
    requests_per_minute: int | None = None
    grace_window_s: float = 60.0
    promises: frozenset[str] = frozenset({"public_ip"})
    """Addresses that a running machine has: creation waits for them."""
    unsupported_options: bool = True
    option_names: frozenset[str] = frozenset()


@runtime_checkable
class CloudClient(Protocol):
    """What every provider offers."""

    traits: Traits

    async def tenant_id(self) -> str:
        """Give the stable id of the account behind the credential."""
        ...

    async def list_instances(self, wanted: InstanceFilter = ..., *, urgency: Urgency = ...) -> list[Instance]:
        """Give every machine of the account that the filter lets through, in one logical call; all or an error."""
        ...

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        """Give one machine; raise `InstanceNotFound`."""
        ...

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        """Ask for a machine and return as soon as its cloud id is known; all else in the answer may be missing."""
        ...

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        """Start the end of a machine. One that is gone already is a success."""
        ...

    async def get_instance_types(self, wanted: InstanceTypeFilter = ...) -> list[InstanceType]: ...

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]: ...

    async def fence(self, ref_id: RefId) -> bool:
        """Make a late launch under this ref_id fail; False where the cloud has no such means. Idempotent."""
        ...

    async def release(self, ref_id: RefId) -> None:
        """Remove what was made beside the machine of this attempt. Idempotent; nothing there is a success."""
        ...

    async def side_objects(self) -> list[SideObject]:
        """Give everything of ours that stands beside machines: keys, rulesets, disks."""
        ...

    async def aclose(self) -> None:
        """Let connections and files go."""
        ...


@runtime_checkable
class StopStart(Protocol):
    async def stop_instance(self, cloud_id: CloudId) -> None: ...

    async def start_instance(self, cloud_id: CloudId) -> None:
        """Raises `OutOfStock` or `OutOfQuota` when the machine cannot come back now."""
        ...


@runtime_checkable
class Reboot(Protocol):
    async def reboot_instance(self, cloud_id: CloudId) -> None: ...


@runtime_checkable
class ResizeVolume(Protocol):
    async def resize_volume(self, cloud_id: CloudId, size: Bytes) -> None:
        """Grow the disk; raise `Rejected` when the size is smaller than now."""
        ...


@runtime_checkable
class UpdateTags(Protocol):
    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        """Make the user's tags exactly these; the marks stay."""
        ...

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        """Rewrite the address beside the mark, or with None take the whole mark off: the machine is forgotten."""
        ...


@runtime_checkable
class Rename(Protocol):
    async def rename_instance(self, cloud_id: CloudId, name: str) -> None: ...


@runtime_checkable
class ChangeType(Protocol):
    async def change_instance_type(self, cloud_id: CloudId, instance_type: str) -> None:
        """Make a stopped machine one of another type, by the provider's name; raise `NotReady` while it is not stopped.

        The same type again changes nothing.
        """
        ...


@runtime_checkable
class ModifyFirewall(Protocol):
    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        """Make the rules of a machine exactly these; the same rules again change nothing."""
        ...


@runtime_checkable
class Images(Protocol):
    async def get_images(self, *, architectures: Sequence[str] = (), names: Sequence[str] = ()) -> list[Image]:
        """Give the images; `names` may hold `*`."""
        ...


@runtime_checkable
class Quotas(Protocol):
    async def get_quota(self, instance_type: str) -> Quota: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """What a provider's module needs to make a client: settings of the block and ports of the process.

    `settings` are the provider block's arguments, converted, defaults filled, secrets revealed. `directory` is the
    folder that relative paths in settings start from. `endpoint` is part of the account's fingerprint.
    """

    settings: Mapping[str, object]
    environment: Mapping[str, str]
    directory: str
    pacer: Pacer
    clock: Clock
    extra: Mapping[str, object] = field(default_factory=dict)


CAPABILITY_PROTOCOLS: Mapping[Capability, type] = {
    Capability.STOP_START: StopStart,
    Capability.REBOOT: Reboot,
    Capability.RESIZE_VOLUME: ResizeVolume,
    Capability.TAGS: UpdateTags,
    Capability.MODIFY_FIREWALL: ModifyFirewall,
    Capability.IMAGES: Images,
}
