"""AWS EC2: GPU machines in many regions. Translates the contract's calls to its requests, and its answers back.

EC2 knows no account as a whole: every question goes to one region. A list asks the regions of its filter, or all that
the account uses. A cloud id does not say where its machine is; what was seen once is remembered for that, and nothing
else, and what was not is asked for everywhere.

The marks of a machine are tags. Its key pair and its security group, which is its firewall, are named after its
ref_id, which is also the token that makes a repeated launch the same launch.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
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
    Location,
    RefId,
    SideObject,
    matches,
    type_matches,
    wants_all,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers.aws_catalogue import Catalogue
from brevplan.providers.aws_firewall import by_group, observed, wanted
from brevplan.providers.aws_groups import SecurityGroups
from brevplan.providers.aws_images import ImageFinder
from brevplan.providers.aws_rows import (
    ADDRESS_TAG,
    LONGEST_TAG,
    MARKS,
    NAME_TAG,
    OURS,
    SSH_USER,
    USER_TAG,
    Caller,
    KeyPairs,
    Made,
    Regions,
    Reservations,
    Row,
    Subnet,
    Subnets,
    Volumes,
    api_tags,
    is_enabled,
    is_users,
    mark_in,
    marks_of,
    read_instance,
    ssh_user_of,
)
from brevplan.providers.aws_wire import FILTER_VALUES, NAME, Wire, chunks, together
from brevplan.providers.http import tuned

T = TypeVar("T")

_LARGEST_USER_DATA: Final = 16384
_GIB: Final = 1024**3
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}\Z")

ARGUMENTS: Final = (
    Argument(
        "access_key_id", sensitive=True, required=True, environment="AWS_ACCESS_KEY_ID",
        description="The id of an access key.",
    ),
    Argument(
        "secret_access_key", sensitive=True, required=True, environment="AWS_SECRET_ACCESS_KEY", beside="access_key_id",
        description="The secret of the access key.",
    ),
    Argument(
        "session_token", sensitive=True, environment="AWS_SESSION_TOKEN", beside="access_key_id",
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
    "image_owner": "Whose image image_name means, which needs it: an account id, self, amazon or aws-marketplace.",
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

_COUNTRIES: Final = {
    "us": "USA", "ca": "CAN", "sa-east-1": "BRA", "mx": "MEX", "eu-west-1": "IRL", "eu-west-2": "GBR",
    "eu-west-3": "FRA", "eu-central-1": "DEU", "eu-central-2": "CHE", "eu-north-1": "SWE", "eu-south-1": "ITA",
    "eu-south-2": "ESP", "ap-south-1": "IND", "ap-south-2": "IND", "ap-northeast-1": "JPN", "ap-northeast-2": "KOR",
    "ap-northeast-3": "JPN", "ap-southeast-1": "SGP", "ap-southeast-2": "AUS", "ap-southeast-3": "IDN",
    "ap-southeast-4": "AUS", "ap-east-1": "HKG", "af-south-1": "ZAF", "me-south-1": "BHR", "me-central-1": "ARE",
    "il-central-1": "ISR",
}  # fmt: skip


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
        self._catalogue = Catalogue(self._wire)
        self._images = ImageFinder(self._wire, self._catalogue)
        self._groups = SecurityGroups(self._wire)

    # The account

    async def tenant_id(self) -> str:
        """Give what follows from the key alone, or for a temporary key, which changes by the hour, the account."""
        if not self._wire.is_temporary:
            return f"{NAME}-{sha256(self._wire.key_id.encode()).hexdigest()}"
        caller = await self._wire.call(self._home, "get_caller_identity", Caller, operation="tenant_id", service="sts")
        return f"{NAME}-{caller.account}"

    async def aclose(self) -> None:
        await self._wire.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        names = None if wants_all(wanted.locations) else sorted({_region(name) for name in wanted.locations})
        regions = names if names is not None else await self._regions("list_instances", urgency)
        listed = await together([self._list(region, urgency) for region in regions])
        return [instance for found in listed for instance in found if matches(instance, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        region, row = await self._row(cloud_id, "get_instance")
        return (await self._read(region, [row], "get_instance", Urgency.POLL))[0]

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        enabled = await self._regions("get_instance_types", Urgency.POLL)
        regions = [name for name in enabled if wants_all(wanted.locations) or name in wanted.locations]
        sold = await together([self._catalogue.sold(region) for region in regions])
        kept = (item for found in sold for item in found if type_matches(item, wanted))
        return sorted(kept, key=lambda item: (item.type, item.location))

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        found = await self._wire.call(
            self._home, "describe_regions", Regions, operation="get_locations", AllRegions=True
        )
        places = [
            Location(
                name=region.region_name,
                country=_COUNTRIES.get(region.region_name) or _COUNTRIES.get(region.region_name.partition("-")[0], ""),
                available=is_enabled(region) and (not self._given or region.region_name in self._given),
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
        made = await self._wire.call(
            attrs.location, "run_instances", Made, operation="create_instance", urgency=Urgency.CREATE, **request
        )
        row = made.instances[0]
        self._where[row.instance_id] = attrs.location
        return replace(
            read_instance(row, attrs.location, {}, None, self._clock.now(), self._ended),
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
        found = await together([self._beside(region) for region in regions])
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
        _check_tags(tags, "update_tags")
        region, row = await self._row(cloud_id, "update_tags")
        gone = [key for key in row.tag_values if is_users(key) and key not in tags]
        await self._tag(region, cloud_id, "update_tags", tags, gone)

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        region, _ = await self._row(cloud_id, "update_mark")
        if address is None:
            await self._tag(region, cloud_id, "update_mark", {}, MARKS)
        elif len(address) <= LONGEST_TAG:
            await self._tag(region, cloud_id, "update_mark", {ADDRESS_TAG: address}, ())
        else:
            await self._tag(region, cloud_id, "update_mark", {}, (ADDRESS_TAG,))

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        region, _ = await self._row(cloud_id, "rename_instance")
        await self._tag(region, cloud_id, "rename_instance", {NAME_TAG: name}, ())

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        operation = "replace_firewall_rules"
        region, row = await self._row(cloud_id, operation)
        group = row.own_group
        if group:
            present = await self._groups.rules(region, [group], operation)
        else:
            group, present = await self._groups.made(region, f"{OURS}{cloud_id}", row.vpc_id or "", {}, operation)
        await self._groups.set_rules(region, group, rules, present, operation)
        if list(row.groups) != [group]:
            # the others may be other machines', too: this one leaves them, and they stay as they are
            await self._wire.call(
                region, "modify_instance_attribute", type(None), operation=operation, InstanceId=cloud_id,
                Groups=[group],
            )  # fmt: skip

    # Regions

    async def _regions(self, operation: str, urgency: Urgency) -> tuple[str, ...]:
        """Give every region that the account uses."""
        if self._given:
            return self._given
        if not self._enabled:
            found = await self._wire.call(self._home, "describe_regions", Regions, operation=operation, urgency=urgency)
            self._enabled = tuple(sorted(region.region_name for region in found.regions if is_enabled(region)))
        return self._enabled

    async def _everywhere(self, operation: str, urgency: Urgency) -> tuple[str, ...]:
        """Give the regions where something unknown may be: those in use, and those where anything was seen."""
        return tuple(sorted({*await self._regions(operation, urgency), *self._where.values()}))

    # Machines

    async def _list(self, region: str, urgency: Urgency) -> list[Instance]:
        pages = await self._wire.pages(
            region, "describe_instances", Reservations, operation="list_instances", urgency=urgency, MaxResults=1000
        )
        rows = [row for page in pages for reservation in page.reservations for row in reservation.instances]
        return await self._read(region, rows, "list_instances", urgency)

    async def _row(self, cloud_id: CloudId, operation: str) -> tuple[str, Row]:
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
            if isinstance(answer, Row):
                self._where[cloud_id] = region
                return region, answer
            if problem is None or isinstance(problem, InstanceNotFound):
                problem = answer  # that it is nowhere counts only where every region could be asked
        raise problem or InstanceNotFound("there is no region to look in", provider=NAME, operation=operation)

    async def _described(self, region: str, cloud_id: CloudId, operation: str) -> Row:
        found = await self._wire.call(
            region, "describe_instances", Reservations, operation=operation, InstanceIds=[cloud_id]
        )
        rows = [row for reservation in found.reservations for row in reservation.instances]
        if not rows:
            raise InstanceNotFound(f"there is no machine {cloud_id}", provider=NAME, operation=operation)
        return rows[0]

    async def _read(self, region: str, rows: Sequence[Row], operation: str, urgency: Urgency) -> list[Instance]:
        """Give machines with their disks and rules, which EC2 tells elsewhere, for many of them at once."""
        living = [row for row in rows if not row.is_over]
        groups = [group for row in living if row.own_group for group in row.groups]
        sizes, present = await asyncio.gather(
            self._sizes(region, living, operation, urgency), self._groups.rules(region, groups, operation, urgency)
        )
        told = by_group(present)
        now = self._clock.now()
        found = []
        for row in rows:
            # a machine in several groups lets through what any of them does
            open_to = [rule for group in row.groups for rule in told.get(group, ())]
            rules = observed(open_to) if row.own_group and not row.is_over else None
            found.append(read_instance(row, region, sizes, rules, now, self._ended))
        self._where |= {name: region for machine in found for name in (machine.cloud_id, machine.ref_id) if name}
        return found

    async def _sizes(self, region: str, rows: Iterable[Row], operation: str, urgency: Urgency) -> dict[str, int]:
        """Give the GiB of root volumes."""
        wanted = sorted({row.root_volume for row in rows if row.root_volume})
        pages = await together(
            [
                self._wire.pages(
                    region, "describe_volumes", Volumes, operation=operation, urgency=urgency,
                    Filters=[{"Name": "volume-id", "Values": some}],
                )
                for some in chunks(wanted, FILTER_VALUES)
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
                region, "create_tags", type(None), operation=operation, Resources=[cloud_id], Tags=api_tags(tags)
            )
        if gone:
            await self._wire.call(
                region, "delete_tags", type(None), operation=operation, Resources=[cloud_id],
                Tags=[{"Key": key} for key in gone],
            )  # fmt: skip

    # Launching

    async def _launch(self, attrs: CreateInstanceAttrs) -> dict[str, Any]:
        """Make what a launch needs, and give its request: the same for the same attempt, however often it is asked."""
        check_launch(attrs)
        region = _region(attrs.location)
        self._where[attrs.ref_id] = region  # what fails from here on has left something there, and nowhere else
        image = await self._images.find(attrs, region)
        subnet = await self._subnet(region, attrs.options.get("subnet_id", ""))
        tags = marks_of(attrs)
        await self._key(region, attrs, tags)
        group, present = await self._groups.made(
            region, attrs.ref_id, subnet.vpc_id if subnet else "", tags, "create_instance"
        )
        await self._groups.set_rules(region, group, attrs.firewall_rules, present, "create_instance")
        disk: dict[str, Any] = {"VolumeType": "gp3", "DeleteOnTermination": True, "Encrypted": True}
        if size := _gib(attrs.disk_size) if attrs.disk_size else image.root_gib:
            disk["VolumeSize"] = size
        user = ssh_user_of(image.name or "")
        own = {NAME_TAG: attrs.name, **({USER_TAG: user} if user != SSH_USER else {}), **attrs.tags}
        every = api_tags({**tags, **{key: value for key, value in own.items() if value or key in attrs.tags}})
        request: dict[str, Any] = {
            "ImageId": image.image_id,
            "InstanceType": attrs.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            # without one the library makes a new one for every call, and a repeated launch is a second machine
            "ClientToken": attrs.ref_id,
            "KeyName": attrs.ref_id,
            "BlockDeviceMappings": [
                {"DeviceName": image.root_device_name or "/dev/sda1", "Ebs": disk},
                # what else an image brings would outlive the machine, and cost, wherever the image says so
                *(
                    {"DeviceName": name, "Ebs": {"DeleteOnTermination": True, **({"VolumeSize": size} if size else {})}}
                    for name, size in image.other_disks.items()
                ),
            ],
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

    async def _subnet(self, region: str, subnet_id: str) -> Subnet | None:
        if not subnet_id:
            return None
        found = await self._wire.call(
            region, "describe_subnets", Subnets, operation="create_instance", urgency=Urgency.SETTLE,
            SubnetIds=[subnet_id],
        )  # fmt: skip
        return found.subnets[0] if found.subnets else None

    async def _key(self, region: str, attrs: CreateInstanceAttrs, tags: Mapping[str, str]) -> None:
        try:
            await self._wire.call(
                region, "import_key_pair", type(None), operation="create_instance", urgency=Urgency.SETTLE,
                KeyName=attrs.ref_id, PublicKeyMaterial=attrs.public_key.strip().encode(),
                TagSpecifications=[{"ResourceType": "key-pair", "Tags": api_tags(tags)}],
            )  # fmt: skip
        except Rejected as problem:
            # named after an attempt, it is this attempt's
            if problem.code != "InvalidKeyPair.Duplicate":
                raise

    # What stands beside machines

    async def _beside(self, region: str) -> list[SideObject]:
        groups, keys = await asyncio.gather(
            self._groups.named(region, f"{OURS}*", "side_objects"),
            self._wire.call(
                region, "describe_key_pairs", KeyPairs, operation="side_objects",
                Filters=[{"Name": "key-name", "Values": [f"{OURS}*"]}],
            ),
        )  # fmt: skip
        self._where |= {name: region for name in (*(group.group_name or "" for group in groups),
                                                  *(key.key_name for key in keys.key_pairs)) if name}  # fmt: skip
        return [
            *(
                SideObject(kind="security group", id=group.group_id, ref_id=group.group_name or "")
                for group in groups
                if mark_in(group.tags, group.group_name or "")
            ),
            *(
                SideObject(kind="key pair", id=key.key_name, ref_id=key.key_name)
                for key in keys.key_pairs
                if mark_in(key.tags, key.key_name)
            ),
        ]

    async def _release(self, ref_id: RefId, operation: str) -> None:
        if not ref_id.startswith(OURS):
            return  # the mark of a machine that others made may be the name of what they still need
        known = self._where.get(ref_id)
        if known:
            await self._release_in(known, ref_id, operation)
            return
        regions = await self._everywhere(operation, Urgency.SETTLE)
        answers = await asyncio.gather(
            *(self._release_in(region, ref_id, operation) for region in regions), return_exceptions=True
        )
        problems = [answer for answer in answers if isinstance(answer, BaseException)]
        # a region that lets this key do nothing holds nothing that it made; where none lets it, the key is wrong
        told = [one for one in problems if not isinstance(one, AuthFailed)] or problems[len(regions) - 1 :]
        if told:
            raise told[0]

    async def _release_in(self, region: str, ref_id: RefId, operation: str) -> None:
        # one that is not there is deleted as well as any, says EC2
        key = self._wire.call(
            region, "delete_key_pair", type(None), operation=operation, urgency=Urgency.SETTLE, KeyName=ref_id
        )
        await _all_of([key, self._delete_group(region, ref_id, operation)])

    async def _delete_group(self, region: str, ref_id: RefId, operation: str) -> None:
        for group in await self._groups.named(region, ref_id, operation):
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


async def _all_of(calls: Sequence[Awaitable[None]]) -> None:
    """Carry all of them out, also where one fails, and then raise the first failure."""
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def _region(name: str) -> str:
    """Give a region's name, which becomes part of a host name; raise `Rejected` for what cannot be one."""
    if not _REGION.match(name):
        raise Rejected(f'"{name}" is not a region such as us-east-1', provider=NAME, sent=Sent.NO)
    return name


# Launching


def check_launch(attrs: CreateInstanceAttrs) -> None:
    """Raise `Rejected` for what EC2 cannot be asked for."""
    _check_tags(attrs.tags, "create_instance")
    if attrs.options.get("image_name") and not attrs.options.get("image_owner"):
        raise _impossible(
            "options: image_name needs image_owner, for anybody can publish an image under any name: an account id, "
            "self, amazon or aws-marketplace"
        )
    try:
        wanted(attrs.firewall_rules)
    except ValueError as problem:
        raise _impossible(f"firewalls: {problem}") from None
    if attrs.filesystems:
        raise _impossible("filesystems: volumes are not attached here; mount them in user_data")
    if len(attrs.user_data.encode()) > _LARGEST_USER_DATA:
        raise _impossible(f"user_data: EC2 takes {_LARGEST_USER_DATA} bytes at most")
    if not attrs.public_key.strip():
        raise _impossible("public_key: a key is needed")


def _check_tags(tags: Mapping[str, str], operation: str) -> None:
    for key in tags:
        if key == NAME_TAG:
            raise _impossible(f'tags: "{key}" is the name of the machine; write name = "…"', operation)
        if not key or not is_users(key):
            raise _impossible(f'tags: "{key}" is a name that AWS or brevplan uses', operation)


def _impossible(reason: str, operation: str = "create_instance") -> Rejected:
    return Rejected(reason, provider=NAME, operation=operation, sent=Sent.NO)


def _gib(size: Bytes) -> int:
    return -(-size.total // _GIB)


def connect(connection: Connection) -> Ec2Client:
    return Ec2Client(connection)


SPEC: Final = ProviderSpec(NAME, ARGUMENTS, TRAITS, connect, OPTIONS, check_launch=check_launch)
