"""The items of a machine's life: made, listed, reached, changed, stopped and ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from brevplan.contract.client import CAPABILITY_PROTOCOLS, Capability
from brevplan.contract.conformance import changing, host, reporting
from brevplan.contract.conformance.catalogue import X86
from brevplan.contract.conformance.item import Failed, Item, NotApplicable, Skipped, expect, expect_equal, few
from brevplan.contract.conformance.launching import attributes, choose, considered, is_affordable
from brevplan.contract.conformance.scene import UNKNOWN_ID, Scene
from brevplan.contract.errors import (
    CloudError,
    InstanceNotFound,
    NotFound,
    OutOfQuota,
    OutOfStock,
    Sent,
)
from brevplan.contract.model import DEAD, Instance, InstanceFilter, LifecycleStatus

_CREATE_S: Final = 60.0
_SKEW_S: Final = 60.0
UNKNOWN_NAME: Final = "conformance"


# Before there is a machine


async def _c23(scene: Scene) -> None:
    capabilities = scene.traits.capabilities
    strange = [name for name in capabilities if name not in set(Capability)]
    expect(not strange, f"not capabilities of the contract: {few(strange)}")
    lacking = {Capability.CREATE, Capability.TERMINATE} - capabilities
    expect(not lacking, f"not declared: {few(sorted(lacking))}")
    expect(scene.traits.provider, "the traits do not name the provider")


async def _x19(scene: Scene) -> None:
    there = [
        capability
        for capability, protocol in CAPABILITY_PROTOCOLS.items()
        if capability not in scene.traits.capabilities and isinstance(scene.client, protocol)
    ]
    expect(not there, f"the client has the methods, but does not declare: {few(there)}")


async def _x20(scene: Scene) -> None:
    lacking = [
        capability
        for capability, protocol in CAPABILITY_PROTOCOLS.items()
        if capability in scene.traits.capabilities and not isinstance(scene.client, protocol)
    ]
    expect(not lacking, f"declared, but the client lacks the methods: {few(lacking)}")


async def _p1(scene: Scene) -> None:
    first, second = await scene.call(scene.client.tenant_id), await scene.call(scene.client.tenant_id)
    expect(first, "the account has no id")
    expect_equal(second, first, "at the second call it")


async def _p2(scene: Scene) -> None:
    try:
        await scene.call(lambda: scene.client.get_instance(UNKNOWN_ID))
    except InstanceNotFound:
        return
    except CloudError as problem:
        raise Failed(f"an unknown machine is {type(problem).__name__}: {problem}") from None
    raise Failed("a machine is given for an id that does not exist")


async def _x16(scene: Scene) -> None:
    try:
        await scene.client.get_instance(UNKNOWN_ID)
    except NotFound:
        return
    raise Failed("a machine is given for an id that does not exist")


async def _x29(scene: Scene) -> None:
    try:
        await scene.client.get_instance(UNKNOWN_ID)
    except CloudError as problem:
        expect(not problem.retryable, f"what does not exist is worth a retry: {problem}")
        expect(problem.provider and problem.operation, f"the error names neither provider nor operation: {problem}")


async def _p3(scene: Scene) -> None:
    machines = await scene.list()
    expect(all(one.cloud_id for one in machines), "a machine in the list has no id")
    ids = [one.cloud_id for one in machines]
    expect(len(set(ids)) == len(ids), "a machine is in the list twice")
    found = await scene.call(lambda: scene.client.list_instances(InstanceFilter(cloud_ids=(UNKNOWN_ID,))))
    expect(not found, f"a list of one unknown id holds {len(found)} machines")


async def _p4(scene: Scene) -> None:
    await scene.call(lambda: scene.client.terminate_instance(UNKNOWN_ID))


async def _p5(scene: Scene) -> str:
    ref_id = scene.setup.new_ref_id()
    before = await scene.call(scene.client.side_objects)
    first = await scene.call(lambda: scene.client.fence(ref_id))
    second = await scene.call(lambda: scene.client.fence(ref_id))
    expect_equal(second, first, "the second fence of a name")
    expect(first is True or first is False, f"a fence answers {first!r}, which is neither true nor false")
    left = [one.id for one in await scene.call(scene.client.side_objects) if one.ref_id == ref_id]
    expect(not left, f"after a fence there stands under its name: {few(left)}")
    expect(len(before) <= len(await scene.call(scene.client.side_objects)), "a fence took away what is of other names")
    await scene.call(lambda: scene.client.release(ref_id))
    return "it has fences" if first else "it has no fences"


async def _p6(scene: Scene) -> None:
    ref_id = scene.setup.new_ref_id()
    await scene.call(lambda: scene.client.release(ref_id))
    await scene.call(lambda: scene.client.release(ref_id))


async def _p7(scene: Scene) -> None:
    objects = await scene.call(scene.client.side_objects)
    nameless = [one.id for one in objects if not one.ref_id]
    expect(not nameless, f"not made for any machine of ours: {few(nameless)}")
    keys = [(one.kind, one.id) for one in objects]
    expect(len(set(keys)) == len(keys), "the same thing is given twice")


# The choice


async def _c24(scene: Scene) -> None:
    scene.catalogue.first = await scene.call(lambda: scene.client.get_instance_types(X86))
    expect(scene.catalogue.first, "no type is x86_64")


async def _c25(scene: Scene) -> None:
    scene.catalogue.locations = await scene.call(scene.client.get_locations)
    expect(scene.catalogue.locations, "no location is given")


async def _x8(scene: Scene) -> str:
    scene.known(scene.catalogue.first, "C-24")
    types = await scene.call(lambda: scene.client.get_instance_types(considered(scene.setup)))
    offer = choose(types, scene.setup)
    if offer is None:
        raise Skipped("nothing that may be launched is in stock")
    scene.offer = offer
    return f"{offer.type} in {offer.location}"


async def _c26(scene: Scene) -> None:
    offer = scene.known(scene.offer, "X-8")
    names = {place.name for place in scene.known(scene.catalogue.locations, "C-25")}
    expect(offer.location in names, f"{offer.type} is sold in {offer.location}, which is no location")


async def _p12(scene: Scene) -> None:
    """Launch under a fenced name: asked only where create goes by the name, so that a new try is as good as a late one.

    Elsewhere a fence acts on what the late launch was given, which a new one brings along anew.
    """
    if Capability.CREATE_IDEMPOTENT not in scene.traits.capabilities:
        raise NotApplicable("create does not go by the name alone")
    attrs = await attributes(scene, scene.known(scene.offer, "X-8"), UNKNOWN_NAME)
    if not await scene.call(lambda: scene.client.fence(attrs.ref_id)):
        raise NotApplicable("it has no fences")
    try:
        answer = await scene.launch(attrs)
    except CloudError as problem:
        expect(problem.sent in (Sent.NO, Sent.REFUSED), f"it does not say that nothing was made: {problem}")
        return
    raise Failed(f"{answer.cloud_id} was made under a name that was fenced")


async def _x12(scene: Scene) -> str | None:
    """Ask for what is out of stock; should it come, it is ended like every machine of this run."""
    sold_out = [item for item in await scene.call(scene.client.get_instance_types) if not item.is_available]
    affordable = [item for item in sold_out if is_affordable(item, scene.setup)]
    if not affordable:
        raise NotApplicable("no type that may be launched is out of stock")
    offer = affordable[0]
    attrs = await attributes(scene, offer, UNKNOWN_NAME)
    try:
        answer = await scene.launch(attrs)
    except (OutOfStock, OutOfQuota) as problem:
        expect(problem.sent in (Sent.NO, Sent.REFUSED), f"it does not say that nothing was made: {problem}")
        made = [one.cloud_id for one in await scene.list() if one.ref_id == attrs.ref_id]
        expect(not made, f"it was refused for want of stock, and made all the same: {few(made)}")
        return f"{offer.type} in {offer.location}"
    now = [item for item in await scene.call(scene.client.get_instance_types) if item.id == offer.id]
    if now and now[0].is_available:
        raise Skipped(f"{offer.type} came into stock")
    raise Failed(f"{offer.type} is out of stock, and {answer.cloud_id} was made of it")


# The create


async def _c27(scene: Scene) -> None:
    scene.attrs = await attributes(scene, scene.known(scene.offer, "X-8"), f"{UNKNOWN_NAME}-{_stamp(scene)}")
    taken = [one.cloud_id for one in await scene.list() if one.ref_id == scene.attrs.ref_id]
    if taken:
        ref_id, scene.attrs = scene.attrs.ref_id, None
        raise Failed(f"{few(taken)} has the name {ref_id} already: a name is used once")


def _stamp(scene: Scene) -> str:
    return scene.clock.now().strftime("%Y-%m-%d-%H-%M-%S")


async def _c28(scene: Scene) -> str:
    attrs = scene.asked
    began, moment = scene.clock.monotonic(), scene.clock.now().timestamp()
    scene.answer = await scene.launch(attrs)
    scene.took = scene.clock.monotonic() - began
    scene.called = (moment, scene.clock.now().timestamp())
    expect(scene.answer.cloud_id, "it gave a machine without an id")
    await scene.appear(scene.answer.cloud_id)
    return scene.answer.cloud_id


async def _c29(scene: Scene) -> None:
    _answer(scene)
    expect(scene.took <= _CREATE_S, f"it took {scene.took:.0f} s")


def _answer(scene: Scene) -> Instance:
    return scene.known(scene.answer, "C-28")


async def _c30(scene: Scene) -> None:
    made = _made_at(scene)
    expect(
        made >= scene.called[0] - _SKEW_S, f"made {timedelta(seconds=scene.called[0] - made)} before it was asked for"
    )


async def _c31(scene: Scene) -> None:
    made = _made_at(scene)
    expect(made <= scene.called[1] + _SKEW_S, f"made {timedelta(seconds=made - scene.called[1])} after it was answered")


def _made_at(scene: Scene) -> float:
    made = scene.machine.created_at
    if made is None:
        raise NotApplicable("it does not say when a machine was made")
    expect(made.tzinfo is not None, "the time has no time zone")
    return made.timestamp()


async def _c32(scene: Scene) -> str | None:
    given, wanted = scene.machine.name, scene.asked.name
    if "name" in scene.traits.reports:
        expect_equal(given, wanted, "the name")
    return None if given == wanted else f'it is called "{given}"'


@dataclass(frozen=True, slots=True)
class _Same:
    """A field that has to be what was asked for, in what create answers (where it says anything), get and list."""

    name: str

    async def __call__(self, scene: Scene) -> None:
        wanted = getattr(scene.asked, self.name)
        if not wanted:
            raise NotApplicable("it was not asked for")
        answer = _answer(scene)
        machine = scene.machine
        if getattr(answer, self.name):
            expect_equal(getattr(answer, self.name), wanted, f"{self.name} in what create answers")
        expect_equal(getattr(machine, self.name), wanted, f"{self.name} in get")


async def _c37(scene: Scene) -> None:
    offer = scene.known(scene.offer, "X-8")
    if not offer.id:
        raise NotApplicable("the type has no id")
    expect_equal(scene.machine.instance_type_id, offer.id, "instance_type_id")


async def _x9(scene: Scene) -> str | None:
    price, offer = scene.machine.hourly_price, scene.known(scene.offer, "X-8")
    if price is None:
        raise NotApplicable("a machine does not say what it costs")
    most = scene.setup.max_price
    expect(most is None or price <= most, f"it costs ${price}/hr, more than the ${most}/hr that were allowed")
    if offer.base_price is not None:
        expect_equal(price, offer.base_price.amount, "the price")
    return f"${price}/hr"


async def _x11(scene: Scene) -> None:
    machine = scene.machine
    expect_equal(machine.cloud_id, _answer(scene).cloud_id, "the id in get")
    early = (LifecycleStatus.PENDING, LifecycleStatus.RUNNING)
    expect(machine.status in early, f"a new machine is {machine.status}{': ' if machine.messages else ''}"
           f"{'; '.join(machine.messages)}")  # fmt: skip
    expect_equal(machine.cloud_cred_ref_id, scene.setup.cred_ref_id, "cloud_cred_ref_id")
    expect(machine.ssh_port, "there is no SSH port")
    expect(machine.ssh_user, "there is no SSH user")


async def _x13(scene: Scene) -> None:
    if Capability.CREATE_IDEMPOTENT not in scene.traits.capabilities:
        raise NotApplicable("it does not promise that")
    machine = scene.machine
    again = await scene.launch(scene.asked)
    expect_equal(again.cloud_id, machine.cloud_id, "the machine of the second create")


# The list


async def _listed(scene: Scene, wanted: InstanceFilter) -> list[Instance]:
    found = await scene.call(lambda: scene.client.list_instances(wanted))
    cloud_id = scene.machine.cloud_id
    ours = [one for one in found if one.cloud_id == cloud_id]
    expect(ours, f"{cloud_id} is not in it")
    scene.listed = ours[0]
    return found


def _by_location(scene: Scene) -> InstanceFilter:
    return InstanceFilter(locations=(scene.machine.location,))


def _by_id(scene: Scene) -> InstanceFilter:
    return InstanceFilter(cloud_ids=(scene.machine.cloud_id,))


async def _c38(scene: Scene) -> None:
    await _listed(scene, _by_location(scene))


async def _c39(scene: Scene) -> None:
    await _listed(scene, _by_location(scene))
    _expect_marked(scene)


async def _c40(scene: Scene) -> None:
    await _listed(scene, _by_id(scene))


async def _c41(scene: Scene) -> None:
    await _listed(scene, _by_id(scene))
    _expect_marked(scene)


def _expect_marked(scene: Scene) -> None:
    entry = scene.known(scene.listed, "C-38")
    expect_equal(entry.location, scene.asked.location, "location")
    expect(entry.ref_id, "ref_id is empty")
    expect_equal(entry.ref_id, scene.asked.ref_id, "ref_id")
    expect(entry.cloud_cred_ref_id, "cloud_cred_ref_id is empty")
    expect_equal(entry.cloud_cred_ref_id, scene.setup.cred_ref_id, "cloud_cred_ref_id")


async def _x14(scene: Scene) -> None:
    by_id = await _listed(scene, _by_id(scene))
    expect(len(by_id) == 1, f"a list of one id holds {len(by_id)} machines")
    here = await _listed(scene, _by_location(scene))
    elsewhere = {one.location for one in here} - {scene.asked.location}
    expect(not elsewhere, f"a list of one location holds machines in {few(sorted(elsewhere))}")
    machine = await scene.read()
    listed = scene.known(scene.listed, "C-38")
    for name in ("name", "instance_type", "instance_type_id", "tags", "ssh_user", "ssh_port"):
        expect_equal(getattr(listed, name), getattr(machine, name), f"{name} in the list")


async def _x15(scene: Scene) -> None:
    if Capability.TAGS not in scene.traits.capabilities:
        raise NotApplicable("it has no tags")
    tag, value = next(iter(scene.asked.tags.items()))
    await _listed(scene, InstanceFilter(tags={tag: (value, "another")}))
    for wanted in ({tag: ("another",)}, {"no-such-tag": (value,)}):
        found = await scene.call(lambda wanted=wanted: scene.client.list_instances(InstanceFilter(tags=wanted)))  # type: ignore[misc]  # a default binds the name of this turn
        expect(not found, f"a list of what bears the tag {wanted} holds {len(found)} machines")


# The end


async def _c54(scene: Scene) -> None:
    cloud_id = scene.machine.cloud_id
    await scene.call(lambda: scene.client.terminate_instance(cloud_id))


async def _x22(scene: Scene) -> None:
    cloud_id = scene.machine.cloud_id
    deadline = scene.clock.monotonic() + scene.setup.limits.terminated
    was_ending = False
    while True:
        found = await scene.find(cloud_id)
        listed = [one for one in await scene.list() if one.cloud_id == cloud_id and one.status not in DEAD]
        if (found is None or found.status == LifecycleStatus.TERMINATED) and not listed:
            return
        lives = found is not None and found.status in (LifecycleStatus.PENDING, LifecycleStatus.RUNNING)
        expect(not (was_ending and lives), f"{cloud_id} was ending, and lives again")
        was_ending = was_ending or found is None or found.status in DEAD
        where = "get" if found is not None and found.status != LifecycleStatus.TERMINATED else "the list"
        over = scene.clock.monotonic() > deadline
        expect(
            not over, f"{where} still shows {cloud_id} {scene.setup.limits.terminated:.0f} s after it was terminated"
        )
        await scene.clock.sleep(scene.tick)


async def _x23(scene: Scene) -> None:
    cloud_id = scene.machine.cloud_id
    await scene.call(lambda: scene.client.terminate_instance(cloud_id))
    await scene.call(lambda: scene.client.terminate_instance(UNKNOWN_ID))


async def _p8(scene: Scene) -> None:
    ref_id = scene.asked.ref_id
    if scene.answer is None:
        raise Skipped("there was no machine")
    for _ in range(2):
        await scene.call(lambda: scene.client.release(ref_id))
    left = [f"{one.kind} {one.id}" for one in await scene.call(scene.client.side_objects) if one.ref_id == ref_id]
    expect(not left, f"still there after its machine is gone and all is released: {few(left)}")


async def c55(scene: Scene) -> str:
    """Ask after the clean-up whether each machine is gone, one by one."""
    if not scene.ids:
        raise Skipped("no machine was made")
    left = []
    for cloud_id in scene.ids:
        found = await scene.find(cloud_id)
        if found is not None and found.status not in DEAD:
            left.append(f"{cloud_id} ({found.status})")
    expect(not left, f"still there, and to be terminated by hand: {few(left, len(left))}")
    return f"{len(scene.ids)} made, none left"


async def x10(scene: Scene) -> None:
    """Ask after the clean-up whether the list holds anything that this run made, whatever was judged of it."""
    if not scene.refs:
        raise Skipped("no machine was asked for")
    left = [f"{one.cloud_id} ({one.ref_id})" for one in await scene.list()
            if one.status not in DEAD and (one.ref_id in scene.refs or one.cloud_id in scene.ids)]  # fmt: skip
    expect(not left, f"still in the list, and to be terminated by hand: {few(left, len(left))}")


BEFORE: Final = (
    Item("C-24", "types for x86_64 can be read", _c24),
    Item("C-25", "locations can be read", _c25),
    Item("X-8", "there is a type to launch", _x8),
    Item("C-26", "it is sold where there is a location", _c26),
)

CREATE: Final = (
    Item("C-27", "the name of the launch is fresh", _c27, launches=True),
    Item("C-28", "a machine is made, and get and list show it", _c28, launches=True),
    Item("C-29", "a create answers within a minute", _c29, launches=True),
    Item("C-30", "it was made no earlier than it was asked for", _c30, launches=True),
    Item("C-31", "it was made no later than it was answered", _c31, launches=True),
    Item("C-32", "it has the name that was asked for, where names are reported", _c32, launches=True),
    Item("C-33", "ref_id is the one that was sent", _Same("ref_id"), launches=True),
    Item("C-34", "the location is the one that was sent", _Same("location"), launches=True),
    Item("C-35", "the zone is the one that was sent", _Same("sub_location"), launches=True),
    Item("C-36", "the type is the one that was sent", _Same("instance_type"), launches=True),
    Item("C-37", "instance_type_id is the id of the type", _c37, launches=True),
    Item("X-9", "it costs what the catalogue says, and no more than it may", _x9, launches=True),
    Item("X-11", "a new machine is complete", _x11, launches=True),
    Item("X-13", "the same create again gives the same machine", _x13, launches=True),
)

TERMINATE: Final = (
    Item("C-54", "it can be terminated", _c54, launches=True),
    Item("X-22", "it goes, and does not come back", _x22, launches=True),
    Item("X-23", "terminating what is gone or unknown succeeds", _x23, launches=True),
    Item("P-8", "nothing that was made beside it is left after release", _p8, launches=True),
)

AFTER: Final = (
    Item("C-55", "the clean-up has ended every machine", c55, launches=True),
    Item("X-10", "no machine of this run is in the list", x10, launches=True),
)
"""Asked when the suite has cleaned up behind itself."""

ITEMS: Final = (
    Item("C-23", "capabilities are declared", _c23),
    Item("X-19", "what is not declared is not there", _x19),
    Item("X-20", "what is declared is there", _x20),
    Item("P-1", "the account has a lasting id", _p1),
    Item("P-2", "an unknown machine is InstanceNotFound", _p2),
    Item("X-16", "an unknown machine is not found", _x16),
    Item("X-29", "errors say where they come from and whether to retry", _x29),
    Item("P-3", "a list holds each machine once, and nothing that was not asked for", _p3),
    Item("P-4", "terminating an unknown machine succeeds", _p4),
    Item("P-5", "a fence can be put twice and leaves nothing", _p5),
    Item("P-6", "releasing an unknown name succeeds, twice", _p6),
    Item("P-7", "what stands beside machines is named after them", _p7),
    *BEFORE,
    *changing.IMAGES,
    Item("P-12", "nothing can be made under a fenced name", _p12, launches=True),
    Item("X-12", "what is out of stock is refused, and not made", _x12, launches=True),
    *CREATE,
    Item("C-38", "it is in the list of its location", _c38, launches=True),
    Item("C-39", "it bears its marks there", _c39, launches=True),
    Item("C-40", "it is in the list of its id", _c40, launches=True),
    Item("C-41", "it bears its marks there", _c41, launches=True),
    Item("X-14", "lists hold what was asked for, and say what get says", _x14, launches=True),
    Item("X-15", "it can be listed by its tags", _x15, launches=True),
    *host.REACHED,
    *reporting.ITEMS,
    *host.IMAGE,
    *host.FIREWALL,
    *changing.ITEMS,
    *TERMINATE,
)
