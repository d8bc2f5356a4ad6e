"""What EC2 answers, as far as it is read, and the contract's machine that a row of it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import CloudId, CreateInstanceAttrs, FirewallRules, Instance, LifecycleStatus, type_id

REF_TAG: Final = "brev-ref-id"
CRED_TAG: Final = "brev-cloud-cred-ref-id"
ADDRESS_TAG: Final = "brevplan-address"
USER_TAG: Final = "brevplan-ssh-user"
NAME_TAG: Final = "Name"
MARKS: Final = (REF_TAG, CRED_TAG, ADDRESS_TAG)
_NOT_THE_USERS: Final = (*MARKS, USER_TAG, NAME_TAG)

OURS: Final = "bp-"
"""How the names begin of what is made for one attempt: a ref_id."""
SSH_USER: Final = "ubuntu"
LONGEST_TAG: Final = 256
_YOUNG: Final = timedelta(minutes=10)
"""A machine that dies by itself within this of its launch has failed; later it is gone, as others are."""


_STATUS: Final = {
    "pending": LifecycleStatus.PENDING,
    "running": LifecycleStatus.RUNNING,
    "shutting-down": LifecycleStatus.TERMINATING,
    "terminated": LifecycleStatus.TERMINATED,
    "stopping": LifecycleStatus.STOPPING,
    "stopped": LifecycleStatus.STOPPED,
}
_DIED: Final = (
    "Server.InsufficientInstanceCapacity",
    "Server.SpotInstanceTermination",
    "Server.InternalError",
    "Client.VolumeLimitExceeded",
    "Client.InternalError",
    "Client.InvalidSnapshot.NotFound",
)
"""Reasons by which a machine ends that nobody ended."""


class _Coded(Struct, rename="pascal"):
    code: str | None = ""
    message: str | None = ""


class _State(Struct, rename="pascal"):
    name: str = ""


class _Tag(Struct, rename="pascal"):
    key: str
    value: str | None = ""


class _Ebs(Struct, rename="pascal"):
    volume_id: str | None = ""
    attach_time: datetime | None = None
    volume_size: int | None = None


class _Mapping(Struct, rename="pascal"):
    device_name: str | None = ""
    ebs: _Ebs | None = None


class Group(Struct, rename="pascal"):
    group_id: str = ""
    group_name: str | None = ""
    vpc_id: str | None = ""
    tags: list[_Tag] = field(default_factory=list)


class MadeGroup(Struct, rename="pascal"):
    group_id: Annotated[str, Meta(min_length=1)]


class _Interface(Struct, rename="pascal"):
    groups: list[Group] = field(default_factory=list)


class _Place(Struct, rename="pascal"):
    availability_zone: str | None = ""


class Row(Struct, rename="pascal"):
    """A machine. What is missing is nothing, so that no machine hides another."""

    instance_id: Annotated[str, Meta(min_length=1)]
    instance_type: str | None = ""
    image_id: str | None = ""
    state: _State | None = None
    state_reason: _Coded | None = None
    launch_time: datetime | None = None
    public_ip_address: str | None = ""
    public_dns_name: str | None = ""
    private_ip_address: str | None = ""
    private_dns_name: str | None = ""
    placement: _Place | None = None
    root_device_name: str | None = ""
    root_device_type: str | None = ""
    instance_lifecycle: str | None = ""
    vpc_id: str | None = ""
    block_device_mappings: list[_Mapping] = field(default_factory=list)
    security_groups: list[Group] = field(default_factory=list)
    network_interfaces: list[_Interface] = field(default_factory=list)
    tags: list[_Tag] = field(default_factory=list)

    @property
    def status_name(self) -> str:
        return self.state.name if self.state else ""

    @property
    def is_over(self) -> bool:
        return self.status_name == "terminated"

    @property
    def root_volume(self) -> str:
        for mapping in self.block_device_mappings:
            if mapping.device_name == self.root_device_name and mapping.ebs:
                return mapping.ebs.volume_id or ""
        return ""

    @property
    def groups(self) -> dict[str, str]:
        """Give the names of the machine's security groups by their ids."""
        # given to a network interface, a group is told there, and need not be among the machine's own
        found = [*self.security_groups, *(group for card in self.network_interfaces for group in card.groups)]
        return {group.group_id: group.group_name or "" for group in found if group.group_id}

    @property
    def own_group(self) -> str:
        """Give the id of the group that was made for this machine alone; empty where there is none."""
        names = {self.tag_values.get(REF_TAG) or f"{OURS}{self.instance_id}", f"{OURS}{self.instance_id}"}
        return next((group_id for group_id, name in self.groups.items() if name in names), "")

    @property
    def created_at(self) -> datetime | None:
        """Give when the machine was made: a start sets its launch time anew, and leaves its root disk attached."""
        for mapping in self.block_device_mappings:
            if mapping.device_name == self.root_device_name and mapping.ebs and mapping.ebs.attach_time:
                return mapping.ebs.attach_time
        return self.launch_time

    @property
    def tag_values(self) -> dict[str, str]:
        return {tag.key: tag.value or "" for tag in self.tags}


class _Reservation(Struct, rename="pascal"):
    instances: list[Row] = field(default_factory=list)


class Reservations(Struct, rename="pascal"):
    reservations: list[_Reservation]


class _Volume(Struct, rename="pascal"):
    volume_id: str
    size: int


class Volumes(Struct, rename="pascal"):
    volumes: list[_Volume]


class Region(Struct, rename="pascal"):
    region_name: str
    opt_in_status: str | None = ""


class Regions(Struct, rename="pascal"):
    regions: list[Region]


class Subnet(Struct, rename="pascal"):
    vpc_id: str
    availability_zone: str | None = ""


class Subnets(Struct, rename="pascal"):
    subnets: list[Subnet]


class Image(Struct, rename="pascal"):
    image_id: str
    name: str | None = ""
    architecture: str | None = ""
    root_device_name: str | None = ""
    creation_date: str | None = ""
    block_device_mappings: list[_Mapping] = field(default_factory=list)

    @property
    def root_gib(self) -> int:
        """Give the size of the root disk, which no machine's can be smaller than."""
        disks = {one.device_name: one.ebs.volume_size for one in self.block_device_mappings if one.ebs}
        return disks.get(self.root_device_name) or 0

    @property
    def other_disks(self) -> dict[str, int | None]:
        """Give the GiB of the volumes beside the root disk, by the names of their devices."""
        return {
            one.device_name: one.ebs.volume_size for one in self.block_device_mappings
            if one.ebs and one.device_name and one.device_name != self.root_device_name
        }  # fmt: skip


class Images(Struct, rename="pascal"):
    images: list[Image]


class _Value(Struct, rename="pascal"):
    value: str = ""


class Parameter(Struct, rename="pascal"):
    parameter: _Value


class Groups(Struct, rename="pascal"):
    security_groups: list[Group]


class _KeyPair(Struct, rename="pascal"):
    key_name: str = ""
    tags: list[_Tag] = field(default_factory=list)


class KeyPairs(Struct, rename="pascal"):
    key_pairs: list[_KeyPair]


class Made(Struct, rename="pascal"):
    instances: Annotated[list[Row], Meta(min_length=1)]


class Caller(Struct, rename="pascal"):
    account: Annotated[str, Meta(min_length=1)]


def is_enabled(region: Region) -> bool:
    return region.opt_in_status != "not-opted-in"


def read_instance(
    row: Row,
    region: str,
    sizes: Mapping[str, int],
    rules: FirewallRules | None,
    now: datetime,
    ended: set[str],
) -> Instance:
    """Read a machine; a list and a single answer are read alike."""
    tags = row.tag_values
    size = sizes.get(row.root_volume)
    spot = row.instance_lifecycle == "spot"
    native = row.instance_type or ""
    return Instance(
        cloud_id=CloudId(row.instance_id),
        ref_id=tags.get(REF_TAG, ""),
        cloud_cred_ref_id=tags.get(CRED_TAG, ""),
        address=tags.get(ADDRESS_TAG, ""),
        name=tags.get(NAME_TAG, ""),
        status=_status(row, now, ended),
        messages=tuple(_messages(row)),
        instance_type=native,
        instance_type_id=type_id(region, "", native),
        location=region,
        sub_location=(row.placement.availability_zone or "") if row.placement else "",
        public_ip=row.public_ip_address or "",
        private_ip=row.private_ip_address or "",
        hostname=row.public_dns_name or row.private_dns_name or "",
        image_id=row.image_id or "",
        disk_size=Bytes(size, "GiB") if size else Bytes(),
        ssh_user=tags.get(USER_TAG) or SSH_USER,
        spot=spot,
        firewall_rules=rules,
        tags={key: value for key, value in tags.items() if is_users(key)},
        stoppable=row.root_device_type != "instance-store" and not spot,
        rebootable=True,
        created_at=row.created_at.astimezone(UTC) if row.created_at else None,
    )


def _status(row: Row, now: datetime, ended: set[str]) -> LifecycleStatus:
    if row.is_over and row.instance_id not in ended and row.state_reason and row.state_reason.code in _DIED:
        launched = row.launch_time
        if launched is not None and now - launched < _YOUNG:
            return LifecycleStatus.FAILED
    # A word that nobody knows says nothing. What is not gone is taken to be there: `pending` would make a machine on
    # its way out look like one on its way in, and a wait for `running` also waits for an address.
    return _STATUS.get(row.status_name, LifecycleStatus.RUNNING)


def _messages(row: Row) -> Iterable[str]:
    if row.status_name not in _STATUS:
        yield f'EC2 calls its state "{row.status_name}", which is not known here'
    if row.state_reason and (row.state_reason.message or row.state_reason.code):
        yield row.state_reason.message or row.state_reason.code or ""


def mark_in(tags: Iterable[_Tag], name: str) -> bool:
    """Tell whether what stands beside machines bears the mark of the attempt that it is called by."""
    return any(tag.key == REF_TAG and tag.value == name for tag in tags)


def api_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def marks_of(attrs: CreateInstanceAttrs) -> dict[str, str]:
    tags = {REF_TAG: str(attrs.ref_id), CRED_TAG: attrs.cloud_cred_ref_id}
    # one that does not fit is left out: half of it would be the address of something else
    return {**tags, ADDRESS_TAG: attrs.address} if 0 < len(attrs.address) <= LONGEST_TAG else tags


def is_users(key: str) -> bool:
    return key not in _NOT_THE_USERS and not key.startswith("aws:")


def ssh_user_of(image_name: str) -> str:
    """Give the user that an image is made for, by its name."""
    lowered = image_name.lower()
    if "ubuntu" in lowered:
        return SSH_USER
    if lowered.startswith(("al2023", "amzn", "rhel")) or "amazon linux" in lowered or "amazonlinux" in lowered:
        return "ec2-user"
    return "admin" if lowered.startswith("debian") else SSH_USER
