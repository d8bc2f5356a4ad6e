"""For each conformance item a way to break a client that the item has to catch.

A break changes a `Bench` before the suite runs: it bends a method of its client, or gives it other traits or hosts.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability
from brevplan.contract.conformance.scene import UNKNOWN_ID, Limits, Setup
from brevplan.contract.errors import CloudError, InstanceNotFound, NotFound, Rejected
from brevplan.contract.model import (
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    Money,
    RefId,
    SideObject,
)
from brevplan.providers.local import LocalClient, UntaggedClient
from tests.contract.clients import connection
from tests.contract.hosts import ScriptedHosts
from tests.providers.test_local import HandClock, attrs

Method = Callable[..., Awaitable[Any]]
Bend = Callable[[Method], Method]


@dataclass
class Bench:
    """A client of the embedded cloud that can be bent, and everything that the suite is given beside it."""

    folder: Path
    clock: HandClock = field(default_factory=HandClock)
    client: Any = None
    hosts: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = LocalClient(connection(self.folder, self.clock), alter=lambda how: with_fields(how, retypes=True))
        self.hosts = ScriptedHosts(self.client)
        numbers = itertools.count()
        self.new_ref_id: Callable[[], RefId] = lambda: RefId(f"bp-verify-aaaaaaaaaaaa-{next(numbers):06d}")

    @property
    def setup(self) -> Setup:
        given = {"limits": Limits(10, 10, 10, 10, 2), "stable_ids": ("us-west-1-noSub-gpu_1x_a10",), "thorough": True}
        return Setup(
            self.client,
            self.clock,
            self.new_ref_id,
            "bp-verify",
            "ssh-ed25519 AAAA conformance",
            hosts=self.hosts,
            **{**given, **self.extra},
        )

    def bend(self, name: str, bend: Bend) -> None:
        setattr(self.client, name, bend(getattr(self.client, name)))

    def traits(self, **fields: Any) -> None:
        self.client.traits = with_fields(self.client.traits, **fields)

    def without(self, capability: Capability) -> None:
        self.traits(capabilities=self.client.traits.capabilities - {capability})


Break = Callable[[Bench], None]


# Ways to bend


def raises(error: CloudError | Exception) -> Bend:
    def bend(real: Method) -> Method:
        async def method(*given: Any, **named: Any) -> Any:
            raise error

        return method

    return bend


def after(change: Callable[..., Any]) -> Bend:
    """Change the answer; `change` is given the arguments too when it takes more than one."""

    def bend(real: Method) -> Method:
        async def method(*given: Any, **named: Any) -> Any:
            answer = await real(*given, **named)
            return change(answer, *given) if change.__code__.co_argcount > 1 else change(answer)

        return method

    return bend


def does_nothing(real: Method) -> Method:
    async def method(*given: Any, **named: Any) -> None: ...

    return method


def bent(name: str, bend: Bend) -> Break:
    return lambda bench: bench.bend(name, bend)


def types(change: Callable[[list[InstanceType]], list[InstanceType]]) -> Break:
    return bent("get_instance_types", after(change))


def every_type(change: Callable[[InstanceType], InstanceType]) -> Break:
    return types(lambda found: [change(item) for item in found])


def each_type(**fields: Any) -> Break:
    return every_type(lambda item: replace(item, **fields))


def nth_types(number: int, change: Callable[[list[InstanceType]], list[InstanceType]]) -> Break:
    """Change what the n-th call gives, counted from 1."""

    def break_(bench: Bench) -> None:
        calls = itertools.count(1)
        types(lambda found: change(found) if next(calls) == number else found)(bench)

    return break_


def asked_types(change: Callable[[list[InstanceType], InstanceTypeFilter], list[InstanceType]]) -> Break:
    """Change what calls with a filter give."""

    def bend(real: Method) -> Method:
        async def method(wanted: InstanceTypeFilter | None = None) -> list[InstanceType]:
            found = await real(wanted or InstanceTypeFilter())
            return change(found, wanted) if wanted and wanted != InstanceTypeFilter() else found

        return method

    return bent("get_instance_types", bend)


def ignores(name: str) -> Break:
    """Leave a filter of the types unheard."""

    def bend(real: Method) -> Method:
        async def method(wanted: InstanceTypeFilter | None = None) -> Any:
            return await real(replace(wanted or InstanceTypeFilter(), **{name: ()}))

        return method

    return bent("get_instance_types", bend)


def locations(change: Callable[[list[Location]], list[Location]]) -> Break:
    return bent("get_locations", after(change))


def got(**fields: Any) -> Break:
    return bent("get_instance", after(lambda machine: replace(machine, **fields)))


def got_by(change: Callable[[Instance], Instance]) -> Break:
    return bent("get_instance", after(change))


def listed(**fields: Any) -> Break:
    return bent("list_instances", after(lambda machines: [replace(one, **fields) for one in machines]))


def asked_list(change: Callable[[list[Instance], InstanceFilter], list[Instance]]) -> Break:
    def bend(real: Method) -> Method:
        async def method(wanted: InstanceFilter | None = None, **named: Any) -> list[Instance]:
            found = await real(wanted or InstanceFilter(), **named)
            return change(found, wanted) if wanted else found

        return method

    return bent("list_instances", bend)


def about_unknown(name: str, error: CloudError) -> Break:
    """Let a call about a machine that there is not end with an error."""

    def bend(real: Method) -> Method:
        async def method(cloud_id: str) -> Any:
            if cloud_id == UNKNOWN_ID:
                raise error
            return await real(cloud_id)

        return method

    return bent(name, bend)


def answers(part: str, answer: Any) -> Break:
    def change(bench: Bench) -> None:
        bench.hosts.answers[part] = answer

    return change


def all_of(*breaks: Break) -> Break:
    def change(bench: Bench) -> None:
        for one in breaks:
            one(bench)

    return change


def gpus(**fields: Any) -> Break:
    def change(item: InstanceType) -> InstanceType:
        return replace(item, gpus=tuple(replace(gpu, **fields) for gpu in item.gpus))

    return every_type(change)


# Breaks that need more than a line


def _slow_create(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(asked: Any) -> Any:
            await bench.clock.sleep(61)
            return await real(asked)

        return method

    bench.bend("create_instance", bend)


def _name_used_before(bench: Bench) -> None:
    ref_id = RefId("bp-verify-aaaaaaaaaaaa-000000")
    bench.client.cloud.create(attrs(ref_id))
    bench.new_ref_id = lambda: ref_id


def _makes_another(bench: Bench) -> None:
    bench.client.cloud.how = with_fields(bench.client.cloud.how, idempotent=False)


def _sold_out_in_name_only(bench: Bench) -> None:
    every_type(lambda item: replace(item, is_available=item.is_available and "a10" not in item.type))(bench)


def _undeclared_tags(bench: Bench) -> None:
    client = UntaggedClient(connection(bench.folder, bench.clock))
    bench.client.cloud.close()
    bench.client = client
    bench.hosts.client = client
    bench.traits(capabilities=client.traits.capabilities | {Capability.TAGS})


def _tags_merged(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any, tags: Any) -> None:
            await real(cloud_id, {**bench.client.cloud.get(cloud_id).tags, **tags})

        return method

    bench.bend("update_tags", bend)


def _mark_lost_with_the_name(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any, name: str) -> None:
            await real(cloud_id, name)
            bench.client.cloud.store.alter_machine(cloud_id, ref_id="")

        return method

    bench.bend("rename_instance", bend)


def _shrinks(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any, size: Bytes) -> None:
            bench.client.cloud.store.alter_machine(cloud_id, disk_size=size)

        return method

    bench.bend("resize_volume", bend)


def _retypes_what_runs(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any, instance_type: str) -> None:
            bench.client.cloud.store.alter_machine(cloud_id, instance_type=instance_type)

        return method

    bench.bend("change_instance_type", bend)


def _another_type_after_start(bench: Bench) -> None:
    numbers = itertools.count()

    def bend(real: Method) -> Method:
        async def method(cloud_id: Any) -> None:
            await real(cloud_id)
            bench.client.cloud.store.alter_machine(cloud_id, instance_type_id=f"other-{next(numbers)}")

        return method

    bench.bend("start_instance", bend)


def _stops_on_reboot(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any) -> None:
            bench.client.cloud.store.alter_machine(cloud_id, status=LifecycleStatus.STOPPED)

        return method

    bench.bend("reboot_instance", bend)


def _lost_after_ssh(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any) -> Any:
            if bench.hosts.commands == ["echo ready"]:
                raise Rejected("it cannot be read")
            return await real(cloud_id)

        return method

    bench.bend("get_instance", bend)


def _answers_once(bench: Bench) -> None:
    numbers = itertools.count()
    bench.bend("fence", after(lambda answer: next(numbers) % 2 == 0))


def _another_account(bench: Bench) -> None:
    numbers = itertools.count()
    bench.bend("tenant_id", after(lambda answer: f"{answer}-{next(numbers)}"))


def _refuses_what_is_gone(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(cloud_id: Any) -> None:
            if cloud_id != UNKNOWN_ID and bench.client.cloud.store.machines() == []:
                raise InstanceNotFound(f"there is no machine {cloud_id}")
            await real(cloud_id)

        return method

    bench.bend("terminate_instance", bend)


def _keeps_a_key(bench: Bench) -> None:
    made: list[str] = []
    bench.bend("create_instance", after(lambda machine, asked: made.append(asked.ref_id) or machine))
    bench.bend("side_objects", after(lambda found: [SideObject(kind="key", id=name, ref_id=name) for name in made]))


async def _true(ref_id: RefId) -> bool:
    return True


def _deaf_to_tags(bench: Bench) -> None:
    def bend(real: Method) -> Method:
        async def method(wanted: InstanceFilter | None = None, **named: Any) -> Any:
            return await real(replace(wanted or InstanceFilter(), tags={}), **named)

        return method

    bench.bend("list_instances", bend)


def _no_second_types(bench: Bench) -> None:
    calls = itertools.count(1)

    def bend(real: Method) -> Method:
        async def method(*given: Any) -> Any:
            if next(calls) == 2:
                raise Rejected("only once")
            return await real(*given)

        return method

    bench.bend("get_instance_types", bend)


def _without_first(found: list[Any]) -> list[Any]:
    return found[1:]


def _first_twice(found: list[Any]) -> list[Any]:
    return [*found, *found[:1]]


def _in_mib(item: InstanceType) -> InstanceType:
    return replace(item, memory=Bytes(item.memory.value * 1024, "MiB"))


def _zoned(item: InstanceType) -> InstanceType:
    return replace(item, sub_location=f"{item.location}a", available_azs=(f"{item.location}a",))


_HOUR = timedelta(hours=1)
_GONE = NotFound("there is no such thing", provider="local", operation="get_instance")
_WRONG = Rejected("no", provider="local", operation="get_instance")
_SILENT = InstanceNotFound("there is no machine")

CATALOGUE: dict[str, Break] = {
    "C-1": bent("get_locations", raises(Rejected("no"))),
    "C-2": locations(lambda found: []),
    "C-3": locations(lambda found: [replace(place, available=False) for place in found]),
    "X-1": locations(lambda found: [replace(place, country="us") for place in found]),
    "C-4": types(lambda found: []),
    "C-5": _no_second_types,
    "C-6": nth_types(2, _without_first),
    "C-7": nth_types(2, lambda found: [replace(found[0], id="another"), *found[1:]]),
    "C-8": nth_types(2, lambda found: [_in_mib(item) for item in found]),
    "C-9": types(_first_twice),
    "C-10": asked_types(lambda found, wanted: [] if wanted.instance_types else found),
    "C-11": asked_types(lambda found, wanted: [replace(item, base_price=Money(item.base_price.amount + 1))
                                               for item in found if item.base_price]),
    "X-2": ignores("instance_types"),
    "X-3": each_type(vcpu=0),
    "X-4": gpus(name="NVIDIA H100"),
    "X-5": ignores("architectures"),
    "X-6": each_type(sub_location="a", available_azs=("b",)),
    "X-30": each_type(deploy_time_s=-1.0),
    "C-12": asked_types(lambda found, wanted: [] if "all" in wanted.locations else found),
    "C-13": asked_types(lambda found, wanted: found if "all" in wanted.locations else []),
    "C-14": asked_types(lambda found, wanted: found[:1] if "all" in wanted.locations else found),
    "C-15": asked_types(lambda found, wanted: found if "all" in wanted.locations
                        else [replace(item, id=f"{item.id}-here") for item in found]),
    "C-16": asked_types(lambda found, wanted: found if "all" in wanted.locations
                        else [replace(item, location="") for item in found]),
    "X-7": ignores("locations"),
    "C-17": nth_types(8, lambda found: []),
    "C-18": types(_first_twice),
    "C-19": lambda bench: bench.extra.update(stable_ids=()),
    "C-20": lambda bench: bench.extra.update(stable_ids=("gone-1", "gone-2")),
    "C-21": each_type(base_price=None),
    "C-22": every_type(lambda item: replace(item, storage=tuple(replace(disk, price_per_gb_hour=None)
                                                                for disk in item.storage))),
}  # fmt: skip

LIFECYCLE: dict[str, Break] = {
    "C-23": lambda bench: bench.without(Capability.TERMINATE),
    "X-19": lambda bench: bench.without(Capability.REBOOT),
    "X-20": _undeclared_tags,
    "P-1": _another_account,
    "P-2": about_unknown("get_instance", _GONE),
    "X-16": about_unknown("get_instance", _WRONG),
    "X-29": about_unknown("get_instance", _SILENT),
    "P-3": all_of(lambda bench: bench.client.cloud.create(attrs()), bent("list_instances", after(_first_twice))),
    "P-4": about_unknown("terminate_instance", _GONE),
    "P-5": _answers_once,
    "P-6": bent("release", raises(_GONE)),
    "P-7": bent("side_objects", after(lambda found: [SideObject(kind="key", id="k", ref_id="")])),
    "C-24": types(lambda found: []),
    "C-25": locations(lambda found: []),
    "C-26": locations(lambda found: [place for place in found if place.name != "asia-south1"]),
    "P-17": lambda bench: bench.bend("get_images", lambda real: lambda **named: real()),
    "P-12": bent("fence", lambda real: _true),
    "X-12": _sold_out_in_name_only,
    "C-27": _name_used_before,
    "C-28": bent("create_instance", raises(Rejected("no"))),
    "C-29": _slow_create,
    "C-30": got_by(lambda machine: replace(machine, created_at=machine.created_at - _HOUR)),
    "C-31": got_by(lambda machine: replace(machine, created_at=machine.created_at + _HOUR)),
    "C-32": got(name="another"),
    "C-33": got(ref_id="another"),
    "C-34": got(location="us-east-1"),
    "C-35": all_of(every_type(_zoned), got(sub_location="b")),
    "C-36": got(instance_type="another"),
    "C-37": got(instance_type_id="cpu_4x_general"),
    "X-9": got(hourly_price=99),
    "X-11": got(cloud_cred_ref_id=""),
    "X-13": _makes_another,
    "C-38": asked_list(lambda found, wanted: [] if wanted.locations else found),
    "C-39": asked_list(lambda found, wanted: [replace(one, ref_id="") for one in found] if wanted.locations else found),
    "C-40": asked_list(lambda found, wanted: [] if wanted.cloud_ids else found),
    "C-41": asked_list(lambda found, wanted: [replace(one, cloud_cred_ref_id="another") for one in found]
                       if wanted.cloud_ids else found),
    "X-14": listed(instance_type_id=""),
    "X-15": _deaf_to_tags,
    "C-42": got(status=LifecycleStatus.PENDING),
    "C-43": got(ssh_user=""),
    "C-44": answers("echo ready", TimeoutError("no answer")),
    "C-45": _lost_after_ssh,
    "P-9": got(image_id="another"),
    "P-10": listed(tags={}),
    "P-11": got(private_ip=""),
    "C-46": answers("cloud-init", ConnectionResetError("lost")),
    "C-47": answers("uname -m", (0, "riscv64")),
    "C-48": answers("os-release", (0, "Debian 22.04")),
    "C-49": answers('echo "$HOME"', (0, "/root")),
    "C-50": answers("is-system-running", (1, "offline")),
    "C-51": answers("sudo -n true", (1, "")),
    "X-17": answers("uname -m", (0, "aarch64")),
    "C-52a": lambda bench: setattr(bench.hosts, "passes", lambda port: True),
    "C-52b": lambda bench: setattr(bench.hosts, "passes", lambda port: any("docker run -d" in command for command in
                                                                          bench.hosts.commands)),
    "C-52c": answers("docker run --rm alpine:3 ping", (1, "3 packets transmitted, 0 received")),
    "C-52d": answers("docker run --rm --network", (1, "")),
    "C-52e": answers("logs bp-ping", (0, "3 packets transmitted, 2 received")),
    "C-52f": answers("logs bp-client", (0, "502 Bad Gateway")),
    "P-13": _tags_merged,
    "P-16": bent("update_mark", does_nothing),
    "P-14": _mark_lost_with_the_name,
    "P-15": _shrinks,
    "P-18": _retypes_what_runs,
    "C-53": bent("start_instance", raises(Rejected("no"))),
    "X-18": _another_type_after_start,
    "X-21": _stops_on_reboot,
    "C-54": bent("terminate_instance", raises(Rejected("no"))),
    "X-22": bent("terminate_instance", does_nothing),
    "X-23": _refuses_what_is_gone,
    "P-8": _keeps_a_key,
    "C-55": bent("terminate_instance", does_nothing),
    "X-10": bent("terminate_instance", does_nothing),
}  # fmt: skip

FIREWALL: dict[str, Break] = {
    "C-60": lambda bench: setattr(bench.hosts, "passes", lambda port: False),
    "X-24": bent("replace_firewall_rules", does_nothing),
}
