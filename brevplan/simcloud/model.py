"""The one model of the simulated cloud: what a machine is, how it comes, changes, is seen and goes. Pure.

A machine is stored as it will be once it has settled, with the times at which things happen to it; what it looks like
at a moment follows from those times and the moment. So nothing has to run between two calls.

A stopped machine keeps its disk and its addresses, but gives its place in the region back: a start can find it taken.
A failed machine keeps its place until it is terminated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import NotReady, Rejected
from brevplan.contract.model import (
    CloudId,
    CreateInstanceAttrs,
    FirewallRules,
    Instance,
    InstanceType,
    LifecycleStatus,
)
from brevplan.simcloud import catalogue, firewall
from brevplan.simcloud.faults import NO_FAULT, Fault


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How this cloud behaves, in seconds where a time is meant."""

    boot_s: float = 0.0
    stop_s: float = 0.0
    end_s: float = 0.0
    """How long a machine is terminating before it is gone."""
    list_lag_s: float = 0.0
    """How long a list leaves out what is new and shows what is gone; a get is always current."""
    out_of_stock: frozenset[str] = frozenset()
    requests_per_minute: int | None = None
    tags: bool = True
    """Whether tags can be written and read. Without them a machine bears its mark in its names alone."""
    idempotent: bool = True
    """Whether the same launch again gives the same machine again."""
    fences: bool = True
    """Whether a launch that is under way can be kept from landing."""
    retypes: bool = False
    """Whether a stopped machine can become one of another type."""


class Machine(Struct, frozen=True, kw_only=True):
    """A machine as it is stored. `body.status` is the one it will settle in: running, stopped or failed."""

    number: int
    ref_id: str
    """The name it was made under; stays when the mark is taken off, for a ref_id is never used again."""
    born_at: float
    ready_at: float
    fails_at: float | None = None
    gone_at: float | None = None
    user_data_digest: str = ""
    reboots: int = 0
    body: Instance

    @property
    def holds_place(self) -> bool:
        return self.gone_at is None and self.body.status != LifecycleStatus.STOPPED


def cloud_id_of(number: int) -> CloudId:
    return CloudId(f"i-{number:08d}")


def number_of(cloud_id: str) -> int | None:
    """Read a cloud id back; None for what this cloud never gave out."""
    digits = cloud_id.removeprefix("i-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        return None
    number = int(digits)
    return number if cloud_id_of(number) == cloud_id else None


def digest_of_user_data(cloud_id: str, text: str) -> str:
    """Give what the store keeps of a start-up script: enough to tell it from another one, not to read it."""
    return sha256(f"{cloud_id}\n{text}".encode()).hexdigest() if text else ""


# What is seen


def seen(machine: Machine, now: float) -> Instance | None:
    """Give what a get shows at a moment; None when the machine is not there yet or not any more."""
    if now < machine.born_at:
        return None
    if machine.gone_at is not None:
        return replace(machine.body, status=LifecycleStatus.TERMINATING) if now < machine.gone_at else None
    return standing(machine, now)


def listed(machine: Machine, now: float, lag: float) -> Instance | None:
    """Give what a list shows at a moment, which is behind by `lag` on what has come and what has gone."""
    if now < machine.born_at + lag:
        return None
    if machine.gone_at is not None and machine.gone_at <= now < machine.gone_at + lag:
        return standing(machine, now)
    return seen(machine, now)


def standing(machine: Machine, now: float) -> Instance:
    """Give the machine as its own times make it, whether or not it was ended since."""
    body = machine.body
    if machine.fails_at is not None and now >= machine.fails_at:
        reason = "the machine could not be started: no capacity was left"
        return replace(body, status=LifecycleStatus.FAILED, messages=(reason,), public_ip="", private_ip="")
    if now >= machine.ready_at and machine.fails_at is None:
        return body
    if body.status == LifecycleStatus.STOPPED:
        return replace(body, status=LifecycleStatus.STOPPING)
    if body.status == LifecycleStatus.FAILED:
        return body
    return replace(body, status=LifecycleStatus.PENDING, public_ip="", private_ip="")


# How it comes


def conceive(
    attrs: CreateInstanceAttrs, offer: InstanceType, number: int, now: float, how: Behaviour, fault: Fault = NO_FAULT
) -> Machine:
    """Make a machine from a request that `check` has let through."""
    cloud_id = cloud_id_of(number)
    born_at = now + fault.late_s
    price = offer.base_price.amount if offer.base_price else None
    return Machine(
        number=number,
        ref_id=attrs.ref_id,
        born_at=born_at,
        ready_at=born_at + (how.boot_s if fault.boot_s is None else fault.boot_s),
        fails_at=None if fault.fails_after_s is None else born_at + fault.fails_after_s,
        gone_at=now if fault.vanish else None,
        user_data_digest=digest_of_user_data(cloud_id, attrs.user_data),
        body=Instance(
            cloud_id=cloud_id,
            ref_id=attrs.ref_id,
            cloud_cred_ref_id=attrs.cloud_cred_ref_id,
            address=attrs.address if how.tags else "",
            name=attrs.name or cloud_id,
            status=LifecycleStatus.RUNNING,
            instance_type=offer.type,
            instance_type_id=offer.id,
            location=offer.location,
            sub_location=attrs.sub_location,
            public_ip=_public_ip(number),
            private_ip=_private_ip(number),
            hostname=f"{cloud_id}.{offer.location}.local",
            image_id=catalogue.find_image(attrs.image_id, offer),
            disk_size=attrs.disk_size or offer.storage[0].size,
            filesystems=attrs.filesystems,
            ssh_user="ubuntu",
            public_key=attrs.public_key,
            spot=attrs.spot,
            firewall_rules=firewall.named(attrs.firewall_rules),
            tags=dict(attrs.tags) if how.tags else {},
            options=dict(attrs.options),
            stoppable=offer.stoppable,
            rebootable=offer.rebootable,
            hourly_price=price,
            created_at=datetime.fromtimestamp(born_at, UTC),
        ),
    )


def check(attrs: CreateInstanceAttrs, offer: InstanceType) -> None:
    """Raise `Rejected` for a request that cannot be met whatever the stock."""
    if not attrs.ref_id:
        raise Rejected("a machine needs a ref_id")
    if not attrs.public_key.strip():
        raise Rejected("a machine needs a public key")
    if attrs.spot and not offer.spot:
        raise Rejected(f"{offer.type} cannot be had as spot")
    catalogue.check_zone(attrs.sub_location, offer.location)
    catalogue.find_image(attrs.image_id, offer)
    firewall.named(attrs.firewall_rules)
    if attrs.disk_size is not None:
        _check_disk(attrs.disk_size, offer)


def _check_disk(size: Bytes, offer: InstanceType) -> None:
    disk = offer.storage[0]
    if not offer.elastic_root_volume:
        if size != disk.size:
            raise Rejected(f"the disk of {offer.type} is always {disk.size}, not {size}")
        return
    if (disk.min_size and size < disk.min_size) or (disk.max_size and size > disk.max_size):
        raise Rejected(f"the disk of {offer.type} can be {disk.min_size} to {disk.max_size}, not {size}")


def _public_ip(number: int) -> str:
    # The range set aside for benchmarks: nothing on the internet answers there.
    low = number % (1 << 17)
    return f"198.{18 + (low >> 16)}.{(low >> 8) & 255}.{low & 255}"


def _private_ip(number: int) -> str:
    return f"10.{(number >> 16) & 255}.{(number >> 8) & 255}.{number & 255}"


# How it changes: each takes the machine as stored and gives it as it will be stored


def stop(machine: Machine, now: float, how: Behaviour) -> Machine:
    """Stop; a machine that is stopped already stays as it is."""
    if not machine.body.stoppable:
        raise Rejected(f"{machine.body.instance_type} cannot be stopped")
    status = _status_for_power(machine, now)
    if status in (LifecycleStatus.STOPPED, LifecycleStatus.STOPPING):
        return machine
    if status == LifecycleStatus.PENDING:
        raise NotReady("the machine is still booting: it can be stopped once it runs")
    return replace(machine, ready_at=now + how.stop_s, body=replace(machine.body, status=LifecycleStatus.STOPPED))


def start(machine: Machine, now: float, how: Behaviour) -> Machine:
    """Start; a machine that runs or boots already stays as it is. The place it needs is the caller's to find."""
    if _status_for_power(machine, now) in (LifecycleStatus.RUNNING, LifecycleStatus.PENDING):
        return machine
    return replace(machine, ready_at=now + how.boot_s, body=replace(machine.body, status=LifecycleStatus.RUNNING))


def reboot(machine: Machine, now: float) -> Machine:
    status = _status_for_power(machine, now)
    if status == LifecycleStatus.PENDING:
        raise NotReady("the machine is still booting")
    if status != LifecycleStatus.RUNNING:
        raise Rejected("the machine is stopped: start it instead")
    return replace(machine, reboots=machine.reboots + 1)


def _status_for_power(machine: Machine, now: float) -> LifecycleStatus:
    status = standing(machine, now).status
    if status == LifecycleStatus.FAILED:
        raise Rejected("the machine has failed: all that can be done is to terminate it")
    return status


def resize(machine: Machine, size: Bytes, offer: InstanceType) -> Machine:
    if size == machine.body.disk_size:
        return machine
    if size < machine.body.disk_size:
        raise Rejected(f"a disk can only grow: it is {machine.body.disk_size}, which is more than {size}")
    _check_disk(size, offer)
    return with_body(machine, disk_size=size)


def retype(machine: Machine, now: float, offer: InstanceType) -> Machine:
    """Turn a stopped machine into one of another type, which has its own price and keeps the disk."""
    if offer.type == machine.body.instance_type:
        return machine
    if _status_for_power(machine, now) != LifecycleStatus.STOPPED:
        raise NotReady("the machine is not stopped: its type can be changed once it is")
    price = offer.base_price.amount if offer.base_price else None
    return with_body(
        machine, instance_type=offer.type, instance_type_id=offer.id, hourly_price=price, stoppable=offer.stoppable,
        rebootable=offer.rebootable,
    )  # fmt: skip


def replace_rules(machine: Machine, rules: FirewallRules) -> Machine:
    return with_body(machine, firewall_rules=firewall.named(rules))


def with_body(machine: Machine, **fields: object) -> Machine:
    """Give the machine with some of what it reports put otherwise."""
    return replace(machine, body=replace(machine.body, **fields))
