"""The embedded cloud: no account, no network, one SQLite file. Translates the contract's calls to `simcloud`'s.

Its account is its path. Everything a user can do elsewhere can be tried here for nothing, faults included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final, SupportsFloat, TypeVar

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.duration import parse_duration
from brevplan.contract.errors import CloudError, Rejected
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallRules,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    Location,
    RefId,
    SideObject,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import Call, Fault, Faults, SeededFaults, raised
from brevplan.simcloud.model import Behaviour
from brevplan.simcloud.store import Store

T = TypeVar("T")

DEFAULT_PATH: Final = "local-cloud.db"


ARGUMENTS: Final = (
    Argument("path", default=DEFAULT_PATH, description="The file that is this cloud."),
    Argument("boot_time", "duration", default="0s", description="How long a machine is pending."),
    Argument("list_lag", "duration", default="0s", description="How far a list is behind."),
    Argument("fail_rate", "rate", default=0, description="Share of the calls that fail."),
    Argument("lost_response_rate", "rate", default=0, description="Share of the changes whose answer is lost."),
    Argument("out_of_stock", "list(string)", default=(), description="Types that cannot be had."),
    Argument("requests_per_minute", "number", minimum=1, description="Most requests in a minute; more are refused."),
    Argument("seed", "number", default=0, description="What the faults are drawn from."),
)

OPTIONS: Final = {
    "image_family": "Any text; kept and reported.",
    "placement_group": "Any text; kept and reported.",
    "subnet_id": "Any text; kept and reported.",
}

TRAITS: Final = Traits(
    provider=catalogue.PROVIDER,
    capabilities=frozenset(Capability) - {Capability.VPC, Capability.KUBERNETES},
    reports=frozenset(
        {
            "disk_size",
            "filesystems",
            "firewall_rules",
            "image_id",
            "instance_type",
            "location",
            "name",
            "options",
            "power_state",
            "public_key",
            "spot",
            "sub_location",
            "tags",
        }
    ),
    mutable_tags=True,
    in_place=frozenset({"name"}),
    instance_poll_s=0.05,
    grace_window_s=0.0,
    promises=frozenset({"public_ip", "private_ip"}),
    option_names=frozenset(OPTIONS),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The provider block's arguments, read."""

    path: str
    how: Behaviour
    fail_rate: float
    lost_response_rate: float
    seed: int
    grace_window_s: float
    creates_per_minute: int | None

    @classmethod
    def of(cls, connection: Connection) -> Settings:
        given = connection.settings
        per_minute = _number(given, "requests_per_minute")
        creates = _number(given, "creates_per_minute")
        list_lag = _duration(given, "list_lag")
        return cls(
            path=os.path.abspath(os.path.join(connection.directory, str(given.get("path") or DEFAULT_PATH))),
            how=Behaviour(
                boot_s=_duration(given, "boot_time"),
                list_lag_s=list_lag,
                out_of_stock=_types(given.get("out_of_stock")),
                requests_per_minute=None if per_minute is None else int(per_minute),
            ),
            fail_rate=_rate(given, "fail_rate"),
            lost_response_rate=_rate(given, "lost_response_rate"),
            seed=int(_number(given, "seed") or 0),
            grace_window_s=list_lag if given.get("grace_window") is None else _duration(given, "grace_window"),
            creates_per_minute=None if creates is None else int(creates),
        )


class UntaggedClient:
    """The client of one file, without what needs tags.

    `faults` is for simulations: it takes the place of those that the settings ask for. So is `alter`, which says how
    this cloud differs from the one that the settings describe.
    """

    def __init__(
        self,
        connection: Connection,
        faults: Faults | None = None,
        alter: Callable[[Behaviour], Behaviour] = lambda how: how,
    ) -> None:
        settings = Settings.of(connection)
        how = alter(settings.how)
        self.traits = _traits_under(settings, how)
        self._pacer = connection.pacer
        self._clock = connection.clock
        self._path = settings.path
        self.cloud = SimCloud(Store(settings.path), connection.clock, how)
        self.cloud.faults = faults or SeededFaults(
            settings.seed, settings.fail_rate, settings.lost_response_rate, self.cloud.next_call
        )

    # The account

    async def tenant_id(self) -> str:
        await self._pacer.admit(Urgency.POLL)
        return f"local-{sha256(os.fsencode(self._path)).hexdigest()}"

    async def aclose(self) -> None:
        self.cloud.close()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        return await self._call(Call("list_instances"), urgency, lambda fault: self.cloud.instances(wanted, fault))

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        return await self._read("get_instance", lambda: self.cloud.get(cloud_id), target=cloud_id)

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        return await self._read("get_instance_types", lambda: self.cloud.types(wanted))

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        return await self._read("get_locations", lambda: list(catalogue.LOCATIONS))

    async def get_images(self, *, architectures: Sequence[str] = (), names: Sequence[str] = ()) -> list[Image]:
        return await self._read("get_images", lambda: _images(architectures, names))

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        return await self._call(
            Call("create_instance", attrs.ref_id, changes=True),
            Urgency.CREATE,
            lambda fault: self.cloud.create(attrs, fault),
        )

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        await self._change(
            "terminate_instance", cloud_id, lambda: self.cloud.terminate(cloud_id), urgency=Urgency.SETTLE
        )

    async def fence(self, ref_id: RefId) -> bool:
        if not self.cloud.how.fences:
            return False
        await self._change("fence", ref_id, lambda: self.cloud.fence(ref_id), urgency=Urgency.SETTLE)
        return True

    async def release(self, ref_id: RefId) -> None:
        """Do nothing: this cloud makes nothing beside a machine."""
        await self._change("release", ref_id, lambda: None, urgency=Urgency.SETTLE)

    async def side_objects(self) -> list[SideObject]:
        return await self._read("side_objects", list)

    # Changing

    async def stop_instance(self, cloud_id: CloudId) -> None:
        await self._change("stop_instance", cloud_id, lambda: self.cloud.stop(cloud_id))

    async def start_instance(self, cloud_id: CloudId) -> None:
        await self._change("start_instance", cloud_id, lambda: self.cloud.start(cloud_id))

    async def reboot_instance(self, cloud_id: CloudId) -> None:
        await self._change("reboot_instance", cloud_id, lambda: self.cloud.reboot(cloud_id))

    async def resize_volume(self, cloud_id: CloudId, size: Bytes) -> None:
        await self._change("resize_volume", cloud_id, lambda: self.cloud.resize(cloud_id, size))

    async def change_instance_type(self, cloud_id: CloudId, instance_type: str) -> None:
        await self._change("change_instance_type", cloud_id, lambda: self.cloud.retype(cloud_id, instance_type))

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        await self._change("rename_instance", cloud_id, lambda: self.cloud.rename(cloud_id, name))

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        await self._change("replace_firewall_rules", cloud_id, lambda: self.cloud.set_rules(cloud_id, rules))

    # Every call

    async def _read(self, operation: str, answer: Callable[[], T], *, target: str = "") -> T:
        return await self._call(Call(operation, target), Urgency.POLL, lambda _: answer())

    async def _change(
        self, operation: str, target: str, change: Callable[[], None], *, urgency: Urgency = Urgency.CREATE
    ) -> None:
        await self._call(Call(operation, target, changes=True), urgency, lambda _: change())

    async def _call(self, call: Call, urgency: Urgency, effect: Callable[[Fault], T]) -> T:
        await self._pacer.admit(urgency)
        try:
            return await self.carry(call, effect)
        except CloudError as error:
            error.provider = error.provider or self.traits.provider
            error.operation = error.operation or call.operation
            raise

    async def carry(self, call: Call, effect: Callable[[Fault], T]) -> T:
        """Bring a call to the cloud and its answer back. A simulation puts a network of its own in this place."""
        fault = self.cloud.enter(call)
        if fault.delay_s:
            await self._clock.sleep(fault.delay_s)
        if fault.before:
            raise raised(fault.before)
        answer = effect(fault)
        if fault.after:
            raise raised(fault.after)
        return answer


class LocalClient(UntaggedClient):
    """The client of one file."""

    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        await self._change("update_tags", cloud_id, lambda: self.cloud.set_tags(cloud_id, tags))

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        await self._change("update_mark", cloud_id, lambda: self.cloud.set_mark(cloud_id, address))


def _images(architectures: Sequence[str], names: Sequence[str]) -> list[Image]:
    return [
        image
        for image in catalogue.IMAGES
        if (not architectures or image.architecture in architectures)
        and (not names or any(fnmatchcase(image.name, name) or fnmatchcase(image.id, name) for name in names))
    ]


# Settings


def _traits_under(settings: Settings, how: Behaviour) -> Traits:
    missing = {Capability.TAGS} if not how.tags else set()
    missing |= {Capability.CREATE_IDEMPOTENT} if not how.idempotent else set()
    return with_fields(
        TRAITS,
        capabilities=TRAITS.capabilities - missing,
        reports=TRAITS.reports if how.tags else TRAITS.reports - {"tags"},
        mutable_tags=how.tags,
        in_place=TRAITS.in_place | ({"instance_type"} if how.retypes else set()),
        recoverable="full" if how.tags else "partial",
        instance_poll_s=min(5.0, max(0.05, settings.how.boot_s / 4)),
        grace_window_s=settings.grace_window_s,
        requests_per_minute=settings.how.requests_per_minute,
        creates_per_minute=settings.creates_per_minute,
    )


def _duration(given: Mapping[str, object], name: str) -> float:
    """Read a length of time, written as users write it or converted to seconds already."""
    value = given.get(name)
    if value is None:
        return 0.0
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise _wrong(name, str(error)) from None
    return _checked(name, value, 0.0, float("inf"))


def _rate(given: Mapping[str, object], name: str) -> float:
    value = given.get(name)
    return 0.0 if value is None else _checked(name, value, 0.0, 1.0)


def _number(given: Mapping[str, object], name: str) -> float | None:
    value = given.get(name)
    return None if value is None else _checked(name, value, float("-inf"), float("inf"))


def _checked(name: str, value: object, lowest: float, highest: float) -> float:
    if not isinstance(value, SupportsFloat):
        raise _wrong(name, f"{value!r} is not a number")
    number = float(value)
    if not lowest <= number <= highest:
        raise _wrong(name, f"{number:g} is not from {lowest:g} to {highest:g}")
    return number


def _types(value: object) -> frozenset[str]:
    names = frozenset(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else frozenset()
    known = sorted({offer.type for offer in catalogue.offers()})
    for name in sorted(names.difference(known)):
        raise _wrong("out_of_stock", f'there is no instance type "{name}"{catalogue.nearest(name, known)}')
    return names


def _wrong(name: str, reason: str) -> Rejected:
    return Rejected(f"argument {name}: {reason}", provider=catalogue.PROVIDER)


def connect(connection: Connection) -> LocalClient:
    return LocalClient(connection)


SPEC: Final = ProviderSpec(
    name=catalogue.PROVIDER,
    arguments=ARGUMENTS,
    traits=TRAITS,
    connect=connect,
    options=OPTIONS,
    account_free=True,
)
