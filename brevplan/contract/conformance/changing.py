"""The items of what a client can change: tags, marks, names, disks, power. Each only where it is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import (
    Capability,
    ChangeType,
    Images,
    Reboot,
    Rename,
    ResizeVolume,
    StopStart,
    UpdateTags,
)
from brevplan.contract.conformance import host
from brevplan.contract.conformance.item import Failed, Item, NotApplicable, expect, expect_equal, few
from brevplan.contract.conformance.scene import Scene
from brevplan.contract.errors import CloudError, NotReady, Rejected
from brevplan.contract.model import Instance, InstanceType, InstanceTypeFilter, LifecycleStatus

Call = Callable[[], Awaitable[object]]
Claim = Callable[[Instance], bool]

_KEPT: Final = ("ref_id", "cloud_cred_ref_id", "instance_type_id")
_MARKER: Final = "bp-conformance-marker"


def _declared(scene: Scene, capability: Capability) -> None:
    if capability not in scene.traits.capabilities:
        raise NotApplicable(f"{capability} is not declared")


async def _p17(scene: Scene) -> str:
    _declared(scene, Capability.IMAGES)
    client = scene.client
    assert isinstance(client, Images), "X-20 has looked at that"
    images = await scene.call(client.get_images)
    expect(images, "there is no image")
    expect(all(image.id and image.name for image in images), "an image has no id or no name")
    ids = [image.id for image in images]
    expect(len(set(ids)) == len(ids), "an image is given twice")
    wanted = images[0].architecture
    others = [
        one.id for one in await scene.call(lambda: client.get_images(architectures=(wanted,)))
        if one.architecture != wanted
    ]  # fmt: skip
    expect(not others, f"asked for {wanted}, and given also {few(others)}")
    start = images[0].name[:6]
    named = await scene.call(lambda: client.get_images(names=(f"{start}*",)))
    expect(images[0].id in [one.id for one in named], f'"{start}*" does not find the image "{images[0].name}"')
    none = await scene.call(lambda: client.get_images(names=("no-such-image-*",)))
    expect(not none, f"asked for a name that no image has, and given {few(one.id for one in none)}")
    return f"{len(images)} images"


async def _p13(scene: Scene) -> None:
    _declared(scene, Capability.TAGS)
    client, before = scene.client, scene.machine
    assert isinstance(client, UpdateTags), "X-20 has looked at that"
    wanted = {"purpose": "changed", "second": "one"}
    for tags in (wanted, {"second": "one"}, dict(scene.asked.tags)):
        await scene.call(lambda tags=tags: client.update_tags(before.cloud_id, tags))  # type: ignore[misc]  # a default binds the tags of this turn
        after = await _settled(scene, lambda machine, tags=tags: machine.tags == tags)  # type: ignore[misc]  # as above
        expect_equal(after.tags, tags, "the tags after they were changed")
        _expect_kept(before, after)


async def _p16(scene: Scene) -> None:
    _declared(scene, Capability.TAGS)
    if not scene.traits.mutable_tags:
        raise NotApplicable("its tags cannot be changed")
    client, before = scene.client, scene.machine
    assert isinstance(client, UpdateTags), "X-20 has looked at that"
    for address in ("instance.conformance", 'instance.moved["a"]'):
        await scene.call(lambda address=address: client.update_mark(before.cloud_id, address=address))  # type: ignore[misc]  # a default binds the address of this turn
        after = await _settled(scene, lambda machine, address=address: machine.address == address)  # type: ignore[misc]  # as above
        expect_equal(after.address, address, "the address beside the mark")
        expect_equal(after.tags, before.tags, "the tags after the mark was changed")
        _expect_kept(before, after)


async def _p14(scene: Scene) -> None:
    client, before = scene.client, scene.machine
    if "name" not in scene.traits.in_place:
        raise NotApplicable("a machine cannot be given another name")
    if not isinstance(client, Rename):
        raise Failed("names can be changed, the traits say, and the client lacks the method")
    await scene.call(lambda: client.rename_instance(before.cloud_id, "conformance-renamed"))
    after = await _settled(scene, lambda machine: machine.name == "conformance-renamed")
    expect_equal(after.name, "conformance-renamed", "the name after it was changed")
    _expect_kept(before, after)


async def _p15(scene: Scene) -> None:
    _declared(scene, Capability.RESIZE_VOLUME)
    client, before = scene.client, scene.machine
    assert isinstance(client, ResizeVolume), "X-20 has looked at that"
    if not scene.known(scene.offer, "X-8").elastic_root_volume or not before.disk_size.value:
        raise NotApplicable("the disk of this type has one size")
    larger = Bytes(before.disk_size.value + 10, before.disk_size.unit)
    await scene.call(lambda: client.resize_volume(before.cloud_id, larger))
    after = await _settled(scene, lambda machine: machine.disk_size == larger)
    expect_equal(after.disk_size, larger, "the size of the disk after it was made larger")
    try:
        await scene.call(lambda: client.resize_volume(before.cloud_id, before.disk_size))
    except Rejected:
        expect_equal((await scene.read()).disk_size, larger, "the size of the disk after a smaller one was refused")
        return
    raise Failed("a smaller disk was not refused")


async def _p18(scene: Scene) -> str:
    if "instance_type" not in scene.traits.in_place:
        raise NotApplicable("a machine keeps its type")
    client, power = scene.client, await _stoppable(scene)
    if not isinstance(client, ChangeType):
        raise Failed("the type can be changed, the traits say, and the client lacks the method")
    before, limits = scene.machine, scene.setup.limits
    other = await _other_type(scene)
    try:
        await client.change_instance_type(before.cloud_id, other.type)
    except NotReady:
        expect_equal((await scene.read()).instance_type, before.instance_type, "the type, after that was refused,")
    else:
        raise Failed("the type of a running machine was changed, or so it says")
    await scene.call(lambda: power.stop_instance(before.cloud_id))
    await scene.wait_for(LifecycleStatus.STOPPED, limits.stopped)
    for offer_id, name in ((other.id, other.type), (before.instance_type_id, before.instance_type)):
        for _ in range(2):  # the same again changes nothing
            await scene.call(lambda name=name: client.change_instance_type(before.cloud_id, name))  # type: ignore[misc]  # a default binds the name of this turn
        after = await _settled(scene, lambda machine, name=name: machine.instance_type == name)  # type: ignore[misc]  # as above
        expect_equal((after.instance_type, after.instance_type_id), (name, offer_id), "the type after it was changed")
        expect_equal(after.status, LifecycleStatus.STOPPED, "the status after its type was changed")
    await scene.call(lambda: power.start_instance(before.cloud_id), within=limits.stopped)
    _expect_kept(before, await scene.wait_for(LifecycleStatus.RUNNING, limits.running))
    return f"{other.type} and back"


async def _other_type(scene: Scene) -> InstanceType:
    """Give a type that the machine could become: of its place and its processors, and to be had."""
    mine = scene.known(scene.offer, "X-8")
    here = await scene.call(lambda: scene.client.get_instance_types(InstanceTypeFilter(locations=(mine.location,))))
    others = [one for one in here if one.type != mine.type and one.is_available and one.stoppable]
    fitting = [one for one in others if set(one.architectures) & set(mine.architectures)]
    if not fitting:
        raise NotApplicable(f"nothing else is sold in {mine.location} that it could become")
    return min(fitting, key=lambda one: (one.base_price is None, one.base_price and one.base_price.amount, one.type))


async def _c53(scene: Scene) -> None:
    client = await _stoppable(scene)
    cloud_id = scene.machine.cloud_id
    await scene.call(lambda: client.stop_instance(cloud_id))
    await scene.call(lambda: client.start_instance(cloud_id), within=scene.setup.limits.stopped)


async def _stoppable(scene: Scene) -> StopStart:
    _declared(scene, Capability.STOP_START)
    machine = await scene.read()
    if not machine.stoppable:
        raise NotApplicable("this machine cannot be stopped")
    client = scene.client
    assert isinstance(client, StopStart), "X-20 has looked at that"
    return client


async def _x18(scene: Scene) -> None:
    offer, limits = scene.known(scene.offer, "X-8"), scene.setup.limits
    agreed = offer.stoppable or not scene.machine.stoppable
    expect(agreed, f"the machine can be stopped, it says; its type {offer.type} cannot")
    client = await _stoppable(scene)
    before = await scene.wait_for(LifecycleStatus.RUNNING, limits.running)
    if scene.setup.hosts is not None:
        await scene.setup.hosts.shell(before).run(f"echo kept > ~/{_MARKER} && sync")
    cloud_id = before.cloud_id
    await scene.call(lambda: client.stop_instance(cloud_id))
    await scene.wait_for(LifecycleStatus.STOPPED, limits.stopped)
    await _unmoved(scene, lambda: client.stop_instance(cloud_id), LifecycleStatus.STOPPED)
    await scene.call(lambda: client.start_instance(cloud_id), within=limits.stopped)
    after = await scene.wait_for(LifecycleStatus.RUNNING, limits.running)
    await _unmoved(scene, lambda: client.start_instance(cloud_id), LifecycleStatus.RUNNING)
    _expect_kept(before, after)
    if scene.setup.hosts is not None:
        await host.answers(scene)
        _, text = await scene.setup.hosts.shell(after).run(f"cat ~/{_MARKER}")
        expect(text.strip() == "kept" or offer.stop_loses_data, "the disk lost what was on it")


async def _unmoved(scene: Scene, call: Call, status: LifecycleStatus) -> None:
    """Make a call that has nothing to do; it may be refused, but moves nothing."""
    try:
        await call()
    except CloudError as problem:
        expect(not problem.retryable, f"a machine that is {status} already asks for a retry: {problem}")
    expect_equal((await scene.read()).status, status, "after nothing was to be done, the status")


async def _x21(scene: Scene) -> None:
    _declared(scene, Capability.REBOOT)
    offer, machine = scene.known(scene.offer, "X-8"), await scene.read()
    agreed = offer.rebootable or not machine.rebootable
    expect(agreed, f"the machine can be rebooted, it says; its type {offer.type} cannot")
    if not machine.rebootable:
        raise NotApplicable("this machine cannot be rebooted")
    client = scene.client
    assert isinstance(client, Reboot), "X-20 has looked at that"
    await scene.call(lambda: client.reboot_instance(machine.cloud_id), within=scene.setup.limits.running)
    after = await scene.wait_for(LifecycleStatus.RUNNING, scene.setup.limits.running)
    _expect_kept(machine, after)
    if scene.setup.hosts is not None:
        await host.answers(scene)


def _expect_kept(before: Instance, after: Instance) -> None:
    for name in _KEPT:
        expect_equal(getattr(after, name), getattr(before, name), f"{name} afterwards")


async def _settled(scene: Scene, is_there: Claim) -> Instance:
    """Read until a change shows, or for as long as the cloud may lag; give what was read last."""
    deadline = scene.clock.monotonic() + max(scene.setup.limits.shown, scene.traits.grace_window_s)
    while True:
        machine = await scene.read()
        if is_there(machine) or scene.clock.monotonic() > deadline:
            return machine
        await scene.clock.sleep(scene.tick)


IMAGES: Final = (Item("P-17", "images can be read and asked for", _p17),)

ITEMS: Final = (
    Item("P-13", "its tags become what they are set to, and its marks stay", _p13, launches=True),
    Item("P-16", "the address beside its mark can be rewritten", _p16, launches=True),
    Item("P-14", "it can be given another name", _p14, launches=True),
    Item("P-15", "its disk can grow, and not shrink", _p15, launches=True),
    Item("P-18", "stopped, it can become one of another type", _p18, launches=True),
    Item("C-53", "it can be stopped, and started at once", _c53, launches=True),
    Item("X-18", "stopped and started, it is the same", _x18, launches=True),
    Item("X-21", "it can be rebooted", _x21, launches=True),
)
