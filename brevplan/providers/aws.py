"""AWS EC2: GPU machines in many regions. Translates the contract's calls to its requests, and its answers back.

EC2 knows no account as a whole: every question goes to one region. A list asks the regions of its filter, or all that
the account uses. A cloud id does not say where its machine is; what was seen once is remembered for that, and nothing
else, and what was not is asked for everywhere.

The marks of a machine are tags. Its key pair and its security group, which is its firewall, are named after its
ref_id, which is also the token that makes a repeated launch the same launch.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import (
    CloudError,
    DuplicateFirewallRule,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
    NotReady,
    Rejected,
    Sent,
)
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    ApiType,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    FirewallRules,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    RefId,
    SideObject,
    matches,
    type_id,
    type_matches,
    wants_all,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers.aws_firewall import (
    Difference,
    GroupRule,
    GroupRules,
    Permission,
    by_group,
    difference,
    fresh,
    observed,
)
from brevplan.providers.aws_types import (
    Offerings,
    PriceList,
    TypeRow,
    TypeRows,
    instance_type,
    price_filters,
    prices,
)
from brevplan.providers.aws_wire import NAME, PRICING_REGION, Wire, chunks
from brevplan.providers.http import tuned

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)


REF_TAG: Final = "brev-ref-id"
CRED_TAG: Final = "brev-cloud-cred-ref-id"
ADDRESS_TAG: Final = "brevplan-address"
USER_TAG: Final = "brevplan-ssh-user"
NAME_TAG: Final = "Name"
MARKS: Final = (REF_TAG, CRED_TAG, ADDRESS_TAG)
_NOT_THE_USERS: Final = (*MARKS, USER_TAG, NAME_TAG)

_OURS: Final = "bp-"
_SSH_USER: Final = "ubuntu"
_LONGEST_TAG: Final = 256
_LARGEST_USER_DATA: Final = 16384
_GIB: Final = 1024**3
_FILTER_VALUES: Final = 200
_NAMES_A_PRICE_REQUEST: Final = 50
_YOUNG: Final = timedelta(minutes=10)
"""A machine that dies by itself within this of its launch has failed; later it is gone, as others are."""

_GPU_FAMILIES: Final = ("p*", "g*")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}\Z")

DEEP_LEARNING_IMAGE: Final = (
    "/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
)
UBUNTU_IMAGE: Final = "ubuntu/images/hvm-ssd*/ubuntu-jammy-22.04-{architecture}-server-*"
CANONICAL: Final = "099720109477"

ARGUMENTS: Final = (
    Argument(
        "access_key_id", sensitive=True, required=True, environment="AWS_ACCESS_KEY_ID",
        description="The id of an access key.",
    ),
    Argument(
        "secret_access_key", sensitive=True, required=True, environment="AWS_SECRET_ACCESS_KEY",
        description="The secret of the access key.",
    ),
    Argument(
        "session_token", sensitive=True, environment="AWS_SESSION_TOKEN",
        description="The token that goes with a temporary access key.",
    ),
    Argument(
        "region", environment="AWS_REGION", default="us-east-1",
        description="The region that is asked about the account itself.",
    ),
    Argument(
        "regions", "list(string)",
        description="The regions that are used; every enabled one when it is left out.",
    ),
    Argument("pricing_endpoint", description="Base URL of the price list, in place of the documented one."),
)  # fmt: skip

OPTIONS: Final = {
    "iam_instance_profile": "The name of an instance profile that the machine gets.",
    "image_name": "The name of an image, with wildcards; the newest one is taken.",
    "image_owner": "Whose image is meant by image_name: an account id, or self, amazon, aws-marketplace.",
    "image_parameter": "The name of an SSM parameter that holds the id of an image.",
    "subnet_id": "The subnet of the machine; its zone is the machine's. The default VPC when it is left out.",
}

TRAITS: Final = Traits(
    provider=NAME,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.CREATE_IDEMPOTENT,
            Capability.TERMINATE,
            Capability.CREATE_TERMINATE,
            Capability.USER_DATA,
            Capability.TAGS,
            Capability.REBOOT,
            Capability.RESIZE_VOLUME,
            Capability.STOP_START,
            Capability.MODIFY_FIREWALL,
        }
    ),
    # not sub_location: a zone that was left to EC2 would come back as one that nobody asked for
    reports=frozenset(
        {"disk_size", "firewall_rules", "image_id", "instance_type", "location", "name", "power_state", "spot", "tags"}
    ),
    api_type=ApiType.LOCATIONAL,
    firewall_pattern=FirewallPattern.NATIVE,
    mutable_tags=True,
    in_place=frozenset({"instance_type", "name"}),
    instance_poll_s=5.0,
    catalogue_poll_s=300.0,
    # EC2 refills two launches a second; its other limits are a region's own, and wide
    creates_per_minute=100,
    grace_window_s=60.0,
    promises=frozenset({"public_ip"}),
    option_names=frozenset(OPTIONS),
)

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

_COUNTRIES: Final = {
    "us": "USA", "ca": "CAN", "sa-east-1": "BRA", "mx": "MEX", "eu-west-1": "IRL", "eu-west-2": "GBR",
    "eu-west-3": "FRA", "eu-central-1": "DEU", "eu-central-2": "CHE", "eu-north-1": "SWE", "eu-south-1": "ITA",
    "eu-south-2": "ESP", "ap-south-1": "IND", "ap-south-2": "IND", "ap-northeast-1": "JPN", "ap-northeast-2": "KOR",
    "ap-northeast-3": "JPN", "ap-southeast-1": "SGP", "ap-southeast-2": "AUS", "ap-southeast-3": "IDN",
    "ap-southeast-4": "AUS", "ap-east-1": "HKG", "af-south-1": "ZAF", "me-south-1": "BHR", "me-central-1": "ARE",
    "il-central-1": "ISR",
}  # fmt: skip


# What the API answers, as far as it is read


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
    volume_size: int | None = None


class _Mapping(Struct, rename="pascal"):
    device_name: str | None = ""
    ebs: _Ebs | None = None


class _Group(Struct, rename="pascal"):
    group_id: str = ""
    group_name: str | None = ""
    vpc_id: str | None = ""


class _Interface(Struct, rename="pascal"):
    groups: list[_Group] = field(default_factory=list)


class _Place(Struct, rename="pascal"):
    availability_zone: str | None = ""


class _Row(Struct, rename="pascal"):
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
    security_groups: list[_Group] = field(default_factory=list)
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
    def our_group(self) -> str:
        """Give the id of the security group that is this machine's firewall; empty where it has none of ours."""
        # given to a network interface, a group is told there, and need not be among the machine's own
        groups = [*self.security_groups, *(group for card in self.network_interfaces for group in card.groups)]
        return next((group.group_id for group in groups if (group.group_name or "").startswith(_OURS)), "")

    @property
    def tag_values(self) -> dict[str, str]:
        return {tag.key: tag.value or "" for tag in self.tags}


class _Reservation(Struct, rename="pascal"):
    instances: list[_Row] = field(default_factory=list)


class _Reservations(Struct, rename="pascal"):
    reservations: list[_Reservation]


class _Volume(Struct, rename="pascal"):
    volume_id: str
    size: int


class _Volumes(Struct, rename="pascal"):
    volumes: list[_Volume]


class _Region(Struct, rename="pascal"):
    region_name: str
    opt_in_status: str | None = ""


class _Regions(Struct, rename="pascal"):
    regions: list[_Region]


class _Subnet(Struct, rename="pascal"):
    vpc_id: str
    availability_zone: str | None = ""


class _Subnets(Struct, rename="pascal"):
    subnets: list[_Subnet]


class _Image(Struct, rename="pascal"):
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


class _Images(Struct, rename="pascal"):
    images: list[_Image]


class _Value(Struct, rename="pascal"):
    value: str = ""


class _Parameter(Struct, rename="pascal"):
    parameter: _Value


class _Groups(Struct, rename="pascal"):
    security_groups: list[_Group]


class _KeyPair(Struct, rename="pascal"):
    key_name: str = ""


class _KeyPairs(Struct, rename="pascal"):
    key_pairs: list[_KeyPair]


class _Made(Struct, rename="pascal"):
    instances: Annotated[list[_Row], Meta(min_length=1)]


class _Caller(Struct, rename="pascal"):
    account: Annotated[str, Meta(min_length=1)]


class Ec2Client:
    """The client of one account."""

    def __init__(self, connection: Connection) -> None:
        self.traits = tuned(TRAITS, connection.settings)
        self._clock = connection.clock
        self._wire = Wire(connection)
        self._home = _region(str(connection.settings.get("region") or "us-east-1"))
        given = connection.settings.get("regions")
        self._given = tuple(_region(str(name)) for name in given) if isinstance(given, (list, tuple)) else ()
        self._enabled: tuple[str, ...] = ()
        self._where: dict[str, str] = {}
        """The region of what was seen: by cloud id, and by ref_id."""
        self._ended: set[str] = set()
        self._fenced: set[str] = set()
        self._rows: dict[str, TypeRow] = {}
        self._images: dict[tuple[str, ...], _Image] = {}
        self._prices: dict[str, Mapping[str, Decimal]] = {}

    # The account

    async def tenant_id(self) -> str:
        """Give what follows from the key alone, or for a temporary key, which changes by the hour, the account."""
        if not self._wire.is_temporary:
            return f"{NAME}-{sha256(self._wire.key_id.encode()).hexdigest()}"
        caller = await self._wire.call(self._home, "get_caller_identity", _Caller, operation="tenant_id", service="sts")
        return f"{NAME}-{caller.account}"

    async def aclose(self) -> None:
        await self._wire.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        names = None if wants_all(wanted.locations) else sorted({_region(name) for name in wanted.locations})
        regions = names if names is not None else await self._regions("list_instances", urgency)
        listed = await _together([self._list(region, urgency) for region in regions])
        return [instance for found in listed for instance in found if matches(instance, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        region, row = await self._row(cloud_id, "get_instance")
        return (await self._read(region, [row], "get_instance", Urgency.POLL))[0]

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        enabled = await self._regions("get_instance_types", Urgency.POLL)
        regions = [name for name in enabled if wants_all(wanted.locations) or name in wanted.locations]
        sold = await _together([self._sold(region) for region in regions])
        kept = (item for found in sold for item in found if type_matches(item, wanted))
        return sorted(kept, key=lambda item: (item.type, item.location))

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        found = await self._wire.call(
            self._home, "describe_regions", _Regions, operation="get_locations", AllRegions=True
        )
        places = [
            Location(
                name=region.region_name,
                country=_COUNTRIES.get(region.region_name) or _COUNTRIES.get(region.region_name.partition("-")[0], ""),
                available=_is_enabled(region) and (not self._given or region.region_name in self._given),
            )
            for region in sorted(found.regions, key=lambda region: region.region_name)
        ]
        return [place for place in places if include_unavailable or place.available]

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        try:
            if attrs.ref_id in self._fenced:
                raise _impossible(f"{attrs.ref_id} was given up, and is not launched again")
            request = await self._launch(attrs)
        except CloudError as problem:
            # nothing was launched, whatever became of key and group: release() removes them
            problem.sent = Sent.NO
            raise
        self._where[attrs.ref_id] = attrs.location
        made = await self._wire.call(
            attrs.location, "run_instances", _Made, operation="create_instance", urgency=Urgency.CREATE, **request
        )
        row = made.instances[0]
        self._where[row.instance_id] = attrs.location
        return replace(
            _instance(row, attrs.location, {}, {}, self._clock.now(), self._ended),
            ref_id=attrs.ref_id,
            cloud_cred_ref_id=attrs.cloud_cred_ref_id,
            address=attrs.address,
        )

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        try:
            await self._change(cloud_id, "terminate_instances", "terminate_instance", Urgency.SETTLE)
        except InstanceNotFound:
            return
        self._ended.add(cloud_id)

    async def fence(self, ref_id: RefId) -> bool:
        """Delete the key and the group of an attempt that is given up: a launch that comes later fails without them.

        A group that is in use says that a machine has it, whatever the lists show: `NotReady`, nothing is given up.
        """
        self._fenced.add(ref_id)  # nor does this client launch under it any more: that would bring the key back
        await self._release(ref_id, "fence")
        return True

    async def release(self, ref_id: RefId) -> None:
        """Delete the key pair and the security group named after an attempt of ours."""
        await self._release(ref_id, "release")

    async def side_objects(self) -> list[SideObject]:
        regions = await self._regions("side_objects", Urgency.POLL)
        found = await _together([self._beside(region) for region in regions])
        return sorted((item for items in found for item in items), key=lambda item: (item.ref_id, item.kind, item.id))

    # Changing

    async def stop_instance(self, cloud_id: CloudId) -> None:
        await self._change(cloud_id, "stop_instances", "stop_instance", Urgency.POLL)

    async def start_instance(self, cloud_id: CloudId) -> None:
        await self._change(cloud_id, "start_instances", "start_instance", Urgency.POLL)

    async def reboot_instance(self, cloud_id: CloudId) -> None:
        """Restart. The machine is reported as running all along."""
        await self._change(cloud_id, "reboot_instances", "reboot_instance", Urgency.POLL)

    async def resize_volume(self, cloud_id: CloudId, size: Bytes) -> None:
        """Grow the root volume, in whole GiB. EC2 would say so itself of a smaller one, but not everybody who speaks
        its language does."""
        region, row = await self._row(cloud_id, "resize_volume")
        now = (await self._sizes(region, [row], "resize_volume", Urgency.POLL)).get(row.root_volume)
        if now is None:
            raise Rejected("the machine has no volume that can grow", provider=NAME, operation="resize_volume")
        if _gib(size) < now:
            raise Rejected(
                f"the disk has {now} GiB and cannot shrink to {_gib(size)}", provider=NAME, operation="resize_volume"
            )
        if _gib(size) > now:
            await self._wire.call(
                region, "modify_volume", type(None), operation="resize_volume", VolumeId=row.root_volume,
                Size=_gib(size),
            )  # fmt: skip

    async def change_instance_type(self, cloud_id: CloudId, instance_type: str) -> None:
        operation = "change_instance_type"
        region, row = await self._row(cloud_id, operation)
        if row.instance_type == instance_type:
            return
        if row.status_name != "stopped":
            # EC2 would say so itself, but not everybody who speaks its language does
            raise NotReady(f"{cloud_id} is {row.status_name}, not stopped", provider=NAME, operation=operation)
        await self._wire.call(
            region, "modify_instance_attribute", type(None), operation=operation, InstanceId=cloud_id,
            InstanceType={"Value": instance_type},
        )  # fmt: skip

    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        _check_tags(tags)
        region, row = await self._row(cloud_id, "update_tags")
        gone = [key for key in row.tag_values if _is_users(key) and key not in tags]
        await self._tag(region, cloud_id, "update_tags", tags, gone)

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        region, _ = await self._row(cloud_id, "update_mark")
        if address is None:
            await self._tag(region, cloud_id, "update_mark", {}, MARKS)
        elif len(address) <= _LONGEST_TAG:
            await self._tag(region, cloud_id, "update_mark", {ADDRESS_TAG: address}, ())
        else:
            await self._tag(region, cloud_id, "update_mark", {}, (ADDRESS_TAG,))

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        region, _ = await self._row(cloud_id, "rename_instance")
        await self._tag(region, cloud_id, "rename_instance", {NAME_TAG: name}, ())

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        operation = "replace_firewall_rules"
        region, row = await self._row(cloud_id, operation)
        group = row.our_group
        if group:
            await self._set_rules(region, group, rules, await self._rules(region, [group], operation), operation)
            return
        # not made by us: its own groups may be other machines', too, and are left alone
        group, present = await self._group(region, f"{_OURS}{cloud_id}", row.vpc_id or "", {}, operation)
        await self._set_rules(region, group, rules, present, operation)
        await self._wire.call(
            region, "modify_instance_attribute", type(None), operation=operation, InstanceId=cloud_id, Groups=[group]
        )

    # Regions

    async def _regions(self, operation: str, urgency: Urgency) -> tuple[str, ...]:
        """Give every region that the account uses."""
        if self._given:
            return self._given
        if not self._enabled:
            found = await self._wire.call(
                self._home, "describe_regions", _Regions, operation=operation, urgency=urgency
            )
            self._enabled = tuple(sorted(region.region_name for region in found.regions if _is_enabled(region)))
        return self._enabled

    async def _everywhere(self, operation: str, urgency: Urgency) -> tuple[str, ...]:
        """Give the regions where something unknown may be: those in use, and those where anything was seen."""
        return tuple(sorted({*await self._regions(operation, urgency), *self._where.values()}))

    # Machines

    async def _list(self, region: str, urgency: Urgency) -> list[Instance]:
        pages = await self._wire.pages(
            region, "describe_instances", _Reservations, operation="list_instances", urgency=urgency, MaxResults=1000
        )
        rows = [row for page in pages for reservation in page.reservations for row in reservation.instances]
        return await self._read(region, rows, "list_instances", urgency)

    async def _row(self, cloud_id: CloudId, operation: str) -> tuple[str, _Row]:
        """Find a machine and where it is; raise `InstanceNotFound` when every region says that it is not there."""
        known = self._where.get(cloud_id)
        if known is not None:
            return known, await self._described(known, cloud_id, operation)
        regions = await self._everywhere(operation, Urgency.POLL)
        answers = await asyncio.gather(
            *(self._described(region, cloud_id, operation) for region in regions), return_exceptions=True
        )
        problem: BaseException | None = None
        for region, answer in zip(regions, answers, strict=True):
            if isinstance(answer, _Row):
                self._where[cloud_id] = region
                return region, answer
            if problem is None or isinstance(problem, InstanceNotFound):
                problem = answer  # that it is nowhere counts only where every region could be asked
        raise problem or InstanceNotFound("there is no region to look in", provider=NAME, operation=operation)

    async def _described(self, region: str, cloud_id: CloudId, operation: str) -> _Row:
        found = await self._wire.call(
            region, "describe_instances", _Reservations, operation=operation, InstanceIds=[cloud_id]
        )
        rows = [row for reservation in found.reservations for row in reservation.instances]
        if not rows:
            raise InstanceNotFound(f"there is no machine {cloud_id}", provider=NAME, operation=operation)
        return rows[0]

    async def _read(self, region: str, rows: Sequence[_Row], operation: str, urgency: Urgency) -> list[Instance]:
        """Give machines with their disks and rules, which EC2 tells elsewhere, for many of them at once."""
        living = [row for row in rows if not row.is_over]
        groups = [row.our_group for row in living if row.our_group]
        sizes, present = await asyncio.gather(
            self._sizes(region, living, operation, urgency), self._rules(region, groups, operation, urgency)
        )
        rules = {group: observed(found) for group, found in by_group(present).items()}
        # a group that nothing was said of lets nothing through
        rules |= {group: observed(()) for group in groups if group not in rules}
        now = self._clock.now()
        found = [_instance(row, region, sizes, rules, now, self._ended) for row in rows]
        self._where |= {name: region for machine in found for name in (machine.cloud_id, machine.ref_id) if name}
        return found

    async def _sizes(self, region: str, rows: Iterable[_Row], operation: str, urgency: Urgency) -> dict[str, int]:
        """Give the GiB of root volumes."""
        wanted = sorted({row.root_volume for row in rows if row.root_volume})
        pages = await _together(
            [
                self._wire.pages(
                    region, "describe_volumes", _Volumes, operation=operation, urgency=urgency,
                    Filters=[{"Name": "volume-id", "Values": some}],
                )
                for some in chunks(wanted, _FILTER_VALUES)
            ]
        )  # fmt: skip
        return {volume.volume_id: volume.size for found in pages for page in found for volume in page.volumes}

    async def _change(self, cloud_id: CloudId, method: str, operation: str, urgency: Urgency) -> None:
        region = self._where.get(cloud_id) or (await self._row(cloud_id, operation))[0]
        await self._wire.call(region, method, type(None), operation=operation, urgency=urgency, InstanceIds=[cloud_id])

    async def _tag(
        self, region: str, cloud_id: CloudId, operation: str, tags: Mapping[str, str], gone: Sequence[str]
    ) -> None:
        """Write tags, and take others off; what is written first is what must not be lost."""
        if tags:
            await self._wire.call(
                region, "create_tags", type(None), operation=operation, Resources=[cloud_id], Tags=_api_tags(tags)
            )
        if gone:
            await self._wire.call(
                region, "delete_tags", type(None), operation=operation, Resources=[cloud_id],
                Tags=[{"Key": key} for key in gone],
            )  # fmt: skip

    # Launching

    async def _launch(self, attrs: CreateInstanceAttrs) -> dict[str, Any]:
        """Make what a launch needs, and give its request: the same for the same attempt, however often it is asked."""
        _check(attrs)
        region = _region(attrs.location)
        image = await self._image(attrs, region)
        subnet = await self._subnet(region, attrs.options.get("subnet_id", ""))
        tags = _marks(attrs)
        await self._key(region, attrs, tags)
        group, present = await self._group(
            region, attrs.ref_id, subnet.vpc_id if subnet else "", tags, "create_instance"
        )
        await self._set_rules(region, group, attrs.firewall_rules, present, "create_instance")
        disk: dict[str, Any] = {"VolumeType": "gp3", "DeleteOnTermination": True, "Encrypted": True}
        if size := _gib(attrs.disk_size) if attrs.disk_size else image.root_gib:
            disk["VolumeSize"] = size
        user = _ssh_user(image.name or "")
        own = {NAME_TAG: attrs.name, **({USER_TAG: user} if user != _SSH_USER else {}), **attrs.tags}
        every = _api_tags({**tags, **{key: value for key, value in own.items() if value or key in attrs.tags}})
        request: dict[str, Any] = {
            "ImageId": image.image_id,
            "InstanceType": attrs.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            # without one the library makes a new one for every call, and a repeated launch is a second machine
            "ClientToken": attrs.ref_id,
            "KeyName": attrs.ref_id,
            "BlockDeviceMappings": [{"DeviceName": image.root_device_name or "/dev/sda1", "Ebs": disk}],
            "MetadataOptions": {"HttpTokens": "required"},
            "TagSpecifications": [{"ResourceType": kind, "Tags": every} for kind in ("instance", "volume")],
        }
        if subnet:
            request["NetworkInterfaces"] = [
                {
                    "DeviceIndex": 0,
                    "SubnetId": attrs.options["subnet_id"],
                    "Groups": [group],
                    "AssociatePublicIpAddress": True,
                }
            ]
        else:
            request["SecurityGroupIds"] = [group]
        if attrs.sub_location:
            request["Placement"] = {"AvailabilityZone": attrs.sub_location}
        if attrs.user_data:
            request["UserData"] = attrs.user_data  # the library does the base64
        if attrs.spot:
            request["InstanceMarketOptions"] = {"MarketType": "spot"}
        if profile := attrs.options.get("iam_instance_profile"):
            request["IamInstanceProfile"] = {"Name": profile}
        return request

    async def _subnet(self, region: str, subnet_id: str) -> _Subnet | None:
        if not subnet_id:
            return None
        found = await self._wire.call(
            region, "describe_subnets", _Subnets, operation="create_instance", urgency=Urgency.SETTLE,
            SubnetIds=[subnet_id],
        )  # fmt: skip
        return found.subnets[0] if found.subnets else None

    async def _key(self, region: str, attrs: CreateInstanceAttrs, tags: Mapping[str, str]) -> None:
        try:
            await self._wire.call(
                region, "import_key_pair", type(None), operation="create_instance", urgency=Urgency.SETTLE,
                KeyName=attrs.ref_id, PublicKeyMaterial=attrs.public_key.strip().encode(),
                TagSpecifications=[{"ResourceType": "key-pair", "Tags": _api_tags(tags)}],
            )  # fmt: skip
        except Rejected as problem:
            # named after an attempt, it is this attempt's
            if problem.code != "InvalidKeyPair.Duplicate":
                raise

    async def _image(self, attrs: CreateInstanceAttrs, region: str) -> _Image:
        """Find the image of a launch; once found, it stays the same for as long as this client lives."""
        options = attrs.options
        asked = (attrs.image_id, *(options.get(name, "") for name in ("image_parameter", "image_name", "image_owner")))
        key = (region, *asked, "" if any(asked[:3]) else attrs.instance_type)
        if key not in self._images:
            self._images[key] = await self._found_image(attrs, region)
        return self._images[key]

    async def _found_image(self, attrs: CreateInstanceAttrs, region: str) -> _Image:
        options = attrs.options
        if attrs.image_id:
            return await self._newest_image(region, attrs.image_id, ImageIds=[attrs.image_id])
        if options.get("image_parameter"):
            return await self._image_of_parameter(region, options["image_parameter"])
        if options.get("image_name"):
            owner: dict[str, Any] = {"Owners": [options["image_owner"]]} if options.get("image_owner") else {}
            filters = [{"Name": "name", "Values": [options["image_name"]]}, {"Name": "state", "Values": ["available"]}]
            return await self._newest_image(region, options["image_name"], Filters=filters, **owner)
        row = await self._type_row(region, attrs.instance_type)
        architecture = row.architectures[0] if row.architectures else "x86_64"
        if row.gpu_info is not None:
            return await self._image_of_parameter(region, DEEP_LEARNING_IMAGE.format(architecture=architecture))
        short = {"x86_64": "amd64"}.get(architecture, architecture)
        return await self._newest_image(
            region, "Ubuntu 22.04", Owners=[CANONICAL],
            Filters=[{"Name": "name", "Values": [UBUNTU_IMAGE.format(architecture=short)]},
                     {"Name": "state", "Values": ["available"]}],
        )  # fmt: skip

    async def _image_of_parameter(self, region: str, name: str) -> _Image:
        try:
            found = await self._wire.call(
                region, "get_parameter", _Parameter, operation="create_instance", urgency=Urgency.SETTLE,
                service="ssm", Name=name,
            )  # fmt: skip
        except NotFound as problem:
            raise ImageNotFound(
                f"there is no parameter {name} in {region} that names an image: set image_id",
                provider=NAME, operation="create_instance", http_status=problem.http_status, code=problem.code,
            ) from None  # fmt: skip
        return await self._newest_image(region, found.parameter.value, ImageIds=[found.parameter.value])

    async def _newest_image(self, region: str, what: str, **asked: Any) -> _Image:
        pages = await self._wire.pages(
            region, "describe_images", _Images, operation="create_instance", urgency=Urgency.SETTLE, **asked
        )
        found = [image for page in pages for image in page.images]
        if not found:
            raise ImageNotFound(f'no image "{what}" in {region}', provider=NAME, operation="create_instance")
        return max(found, key=lambda image: (image.creation_date or "", image.image_id))

    async def _type_row(self, region: str, name: str) -> TypeRow:
        if name not in self._rows:
            found = await self._wire.call(
                region, "describe_instance_types", TypeRows, operation="create_instance", urgency=Urgency.SETTLE,
                InstanceTypes=[name],
            )  # fmt: skip
            self._rows |= {row.instance_type: row for row in found.instance_types}
        if name not in self._rows:
            raise Rejected(f"there is no type {name} in {region}", provider=NAME, operation="create_instance")
        return self._rows[name]

    # Security groups

    async def _group(
        self, region: str, name: str, vpc_id: str, tags: Mapping[str, str], operation: str
    ) -> tuple[str, list[GroupRule]]:
        """Make a group, or find the one that an earlier try made; give its id and what it lets through."""
        place: dict[str, Any] = {"VpcId": vpc_id} if vpc_id else {}
        spec = [{"ResourceType": "security-group", "Tags": _api_tags(tags)}]
        labels: dict[str, Any] = {"TagSpecifications": spec} if tags else {}
        try:
            made = await self._wire.call(
                region, "create_security_group", _Group, operation=operation, urgency=Urgency.SETTLE, GroupName=name,
                Description="The firewall of one machine, made by brevplan", **place, **labels,
            )  # fmt: skip
            return made.group_id, [fresh(made.group_id)]
        except Rejected as problem:
            if problem.code != "InvalidGroup.Duplicate":
                raise
            found = await self._groups(region, name, operation)
            same = [group.group_id for group in found if not vpc_id or group.vpc_id == vpc_id]
            if not same:
                raise
            return same[0], await self._rules(region, same[:1], operation, Urgency.SETTLE)

    async def _groups(self, region: str, name: str, operation: str) -> list[_Group]:
        pages = await self._wire.pages(
            region, "describe_security_groups", _Groups, operation=operation, urgency=Urgency.SETTLE,
            Filters=[{"Name": "group-name", "Values": [name]}],
        )  # fmt: skip
        return [group for page in pages for group in page.security_groups]

    async def _rules(
        self, region: str, groups: Iterable[str], operation: str, urgency: Urgency = Urgency.POLL
    ) -> list[GroupRule]:
        pages = await _together(
            [
                self._wire.pages(
                    region, "describe_security_group_rules", GroupRules, operation=operation, urgency=urgency,
                    Filters=[{"Name": "group-id", "Values": some}], MaxResults=1000,
                )
                for some in chunks(sorted(set(groups)), _FILTER_VALUES)
            ]
        )  # fmt: skip
        return [rule for found in pages for page in found for rule in page.security_group_rules]

    async def _set_rules(
        self, region: str, group: str, rules: FirewallRules, present: Sequence[GroupRule], operation: str
    ) -> None:
        try:
            change = difference(rules, present)
        except ValueError as problem:
            raise Rejected(f"firewalls: {problem}", provider=NAME, operation=operation, sent=Sent.NO) from None
        if present == [fresh(group)] and rules.egress is None:
            # a new group lets everything out by IPv4, and by IPv6 where the network has it
            change = Difference(tuple(item for item in change.add if not item[0].is_egress))
        for is_egress, way in ((False, "ingress"), (True, "egress")):
            await self._authorize(region, group, way, _of(change.add, is_egress), operation)
            described = _of(change.describe, is_egress)
            if described:
                await self._wire.call(
                    region, f"update_security_group_rule_descriptions_{way}", type(None), operation=operation,
                    urgency=Urgency.SETTLE, GroupId=group, IpPermissions=[one.api(text) for one, text in described],
                )  # fmt: skip
            await self._revoke(region, group, way, [one for one in change.revoke if one.is_egress is is_egress],
                               operation)  # fmt: skip

    async def _authorize(
        self, region: str, group: str, way: str, permissions: Sequence[tuple[Permission, str]], operation: str
    ) -> None:
        if not permissions:
            return
        method = f"authorize_security_group_{way}"
        try:
            await self._wire.call(
                region, method, type(None), operation=operation, urgency=Urgency.SETTLE, GroupId=group,
                IpPermissions=[permission.api(text) for permission, text in permissions],
            )  # fmt: skip
        except DuplicateFirewallRule:
            # all or nothing: with one that is there already, none of the others was made
            if len(permissions) > 1:
                for one in permissions:
                    await self._authorize(region, group, way, [one], operation)

    async def _revoke(self, region: str, group: str, way: str, rules: Sequence[GroupRule], operation: str) -> None:
        if not rules:
            return
        ids = [rule.security_group_rule_id for rule in rules if rule.security_group_rule_id]
        first = Permission(True, "-1", -1, -1, "0.0.0.0/0")
        what: dict[str, Any] = {"SecurityGroupRuleIds": ids} if ids else {"IpPermissions": [first.api()]}
        try:
            await self._wire.call(
                region, f"revoke_security_group_{way}", type(None), operation=operation, urgency=Urgency.SETTLE,
                GroupId=group, **what,
            )  # fmt: skip
        except NotFound:
            # somebody else took one of them away, and then none was: the others go one by one
            if len(rules) > 1:
                for one in rules:
                    await self._revoke(region, group, way, [one], operation)

    # What stands beside machines

    async def _beside(self, region: str) -> list[SideObject]:
        groups, keys = await asyncio.gather(
            self._groups(region, f"{_OURS}*", "side_objects"),
            self._wire.call(
                region, "describe_key_pairs", _KeyPairs, operation="side_objects",
                Filters=[{"Name": "key-name", "Values": [f"{_OURS}*"]}],
            ),
        )  # fmt: skip
        self._where |= {name: region for name in (*(group.group_name or "" for group in groups),
                                                  *(key.key_name for key in keys.key_pairs)) if name}  # fmt: skip
        return [
            *(
                SideObject(kind="security group", id=group.group_id, ref_id=group.group_name or "")
                for group in groups
                if (group.group_name or "").startswith(_OURS)
            ),
            *(
                SideObject(kind="key pair", id=key.key_name, ref_id=key.key_name)
                for key in keys.key_pairs
                if key.key_name.startswith(_OURS)
            ),
        ]

    async def _release(self, ref_id: RefId, operation: str) -> None:
        if not ref_id.startswith(_OURS):
            return  # the mark of a machine that others made may be the name of what they still need
        known = self._where.get(ref_id)
        regions = (known,) if known else await self._everywhere(operation, Urgency.SETTLE)
        await _together([self._release_in(region, ref_id, operation) for region in regions])

    async def _release_in(self, region: str, ref_id: RefId, operation: str) -> None:
        # one that is not there is deleted as well as any, says EC2
        await self._wire.call(
            region, "delete_key_pair", type(None), operation=operation, urgency=Urgency.SETTLE, KeyName=ref_id
        )
        for group in await self._groups(region, ref_id, operation):
            try:
                await self._wire.call(
                    region, "delete_security_group", type(None), operation=operation, urgency=Urgency.SETTLE,
                    GroupId=group.group_id,
                )  # fmt: skip
            except NotReady as problem:
                problem.message = f"the security group {group.group_id} is still in use: {problem.message}"
                raise
            except NotFound:
                continue

    # What is sold

    async def _sold(self, region: str) -> list[InstanceType]:
        pages = await self._wire.pages(
            region, "describe_instance_types", TypeRows, operation="get_instance_types",
            # there is no filter for GPUs; their families begin with these letters
            Filters=[{"Name": "instance-type", "Values": list(_GPU_FAMILIES)}],
        )  # fmt: skip
        rows = {row.instance_type: row for page in pages for row in page.instance_types if row.gpu_info}
        self._rows |= rows
        names = sorted(rows)
        zones, known = await asyncio.gather(self._zones(region, names), self._priced(region, names))
        return [instance_type(rows[name], region, zones.get(name, ()), known.get(name)) for name in names]

    async def _zones(self, region: str, names: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for some in chunks(names, _FILTER_VALUES):
            pages = await self._wire.pages(
                region, "describe_instance_type_offerings", Offerings, operation="get_instance_types",
                LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": some}],
            )  # fmt: skip
            for offering in (item for page in pages for item in page.instance_type_offerings):
                found.setdefault(offering.instance_type, set()).add(offering.location)
        return found

    async def _priced(self, region: str, names: Sequence[str]) -> Mapping[str, Decimal]:
        """Give prices, asked for once. Where nobody may ask for them they are not known, and never nothing."""
        if region not in self._prices:
            texts: list[str] = []
            try:
                for some in chunks(names, _NAMES_A_PRICE_REQUEST):
                    pages = await self._wire.pages(
                        PRICING_REGION, "get_products", PriceList, operation="get_instance_types", service="pricing",
                        ServiceCode="AmazonEC2", Filters=price_filters(region, some),
                    )  # fmt: skip
                    texts += [text for page in pages for text in page.price_list]
            except CloudError as problem:
                _LOG.info("prices in %s are not known: %s", region, problem)
                return {}
            self._prices[region] = prices(texts)
        return self._prices[region]


async def _together(calls: Sequence[Awaitable[T]]) -> list[T]:
    """Await all, or raise the first failure, and leave nothing running."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _of(found: Iterable[tuple[Permission, str]], is_egress: bool) -> list[tuple[Permission, str]]:
    return [item for item in found if item[0].is_egress is is_egress]


def _is_enabled(region: _Region) -> bool:
    return region.opt_in_status != "not-opted-in"


def _region(name: str) -> str:
    """Give a region's name, which becomes part of a host name; raise `Rejected` for what cannot be one."""
    if not _REGION.match(name):
        raise Rejected(f'"{name}" is not a region such as us-east-1', provider=NAME, sent=Sent.NO)
    return name


# Instances


def _instance(
    row: _Row,
    region: str,
    sizes: Mapping[str, int],
    rules: Mapping[str, FirewallRules],
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
        ssh_user=tags.get(USER_TAG) or _SSH_USER,
        spot=spot,
        firewall_rules=rules.get(row.our_group) if row.our_group else None,
        tags={key: value for key, value in tags.items() if _is_users(key)},
        stoppable=row.root_device_type != "instance-store" and not spot,
        rebootable=True,
        created_at=row.launch_time.astimezone(UTC) if row.launch_time else None,
    )


def _status(row: _Row, now: datetime, ended: set[str]) -> LifecycleStatus:
    if row.is_over and row.instance_id not in ended and row.state_reason and row.state_reason.code in _DIED:
        launched = row.launch_time
        if launched is not None and now - launched < _YOUNG:
            return LifecycleStatus.FAILED
    # A word that nobody knows says nothing. What is not gone is taken to be there: `pending` would make a machine on
    # its way out look like one on its way in, and a wait for `running` also waits for an address.
    return _STATUS.get(row.status_name, LifecycleStatus.RUNNING)


def _messages(row: _Row) -> Iterable[str]:
    if row.status_name not in _STATUS:
        yield f'EC2 calls its state "{row.status_name}", which is not known here'
    if row.state_reason and (row.state_reason.message or row.state_reason.code):
        yield row.state_reason.message or row.state_reason.code or ""


# Tags


def _api_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _marks(attrs: CreateInstanceAttrs) -> dict[str, str]:
    tags = {REF_TAG: str(attrs.ref_id), CRED_TAG: attrs.cloud_cred_ref_id}
    # one that does not fit is left out: half of it would be the address of something else
    return {**tags, ADDRESS_TAG: attrs.address} if 0 < len(attrs.address) <= _LONGEST_TAG else tags


def _is_users(key: str) -> bool:
    return key not in _NOT_THE_USERS and not key.startswith("aws:")


def _check_tags(tags: Mapping[str, str]) -> None:
    for key in tags:
        if key == NAME_TAG:
            raise _impossible(f'tags: "{key}" is the name of the machine; write name = "…"')
        if not key or not _is_users(key):
            raise _impossible(f'tags: "{key}" is a name that AWS or brevplan uses')


# Launching


def _check(attrs: CreateInstanceAttrs) -> None:
    _check_tags(attrs.tags)
    if attrs.filesystems:
        raise _impossible("filesystems: volumes are not attached here; mount them in user_data")
    if len(attrs.user_data.encode()) > _LARGEST_USER_DATA:
        raise _impossible(f"user_data: EC2 takes {_LARGEST_USER_DATA} bytes at most")
    if not attrs.public_key.strip():
        raise _impossible("public_key: a key is needed")


def _impossible(reason: str) -> Rejected:
    return Rejected(reason, provider=NAME, operation="create_instance", sent=Sent.NO)


def _gib(size: Bytes) -> int:
    return -(-size.total // _GIB)


def _ssh_user(image_name: str) -> str:
    """Give the user that an image is made for, by its name."""
    lowered = image_name.lower()
    if "ubuntu" in lowered:
        return _SSH_USER
    if lowered.startswith(("al2023", "amzn", "rhel")) or "amazon linux" in lowered or "amazonlinux" in lowered:
        return "ec2-user"
    return "admin" if lowered.startswith("debian") else _SSH_USER


def connect(connection: Connection) -> Ec2Client:
    return Ec2Client(connection)


SPEC: Final = ProviderSpec(name=NAME, arguments=ARGUMENTS, traits=TRAITS, connect=connect, options=OPTIONS)
