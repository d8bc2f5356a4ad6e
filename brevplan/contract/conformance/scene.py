"""The stage of one suite: the client with time and hosts beside it, what items found out, and what has to be undone.

A client neither waits nor repeats; here it is done for it, by the clock handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from brevplan.contract.client import Clock, CloudClient, Traits
from brevplan.contract.conformance.item import Failed, Skipped
from brevplan.contract.errors import CloudError, NotFound, Sent
from brevplan.contract.model import (
    DEAD,
    CloudId,
    CreateInstanceAttrs,
    Instance,
    InstanceType,
    LifecycleStatus,
    Location,
    RefId,
)

T = TypeVar("T")

TRIES: Final = 4
"""How often a call is made that fails in a way that passes."""
UNKNOWN_ID: Final = CloudId("00000000-0000-4000-8000-000000000000")
"""A cloud id in the commonest form, that no machine has."""
TICK_S: Final = 2.0


class Shell(Protocol):
    """A shell on a machine, under its SSH user."""

    async def run(self, command: str) -> tuple[int, str]:
        """Run a command; give exit status and stdout. Raises `OSError` when the machine cannot be reached."""
        ...


class Hosts(Protocol):
    """The machines as hosts, seen from outside the cloud."""

    def shell(self, machine: Instance) -> Shell:
        """Give the shell of a machine; nothing is connected before its first command. One try takes at most 30 s."""
        ...

    async def connects(self, host: str, port: int, seconds: float) -> bool:
        """Tell whether a TCP connection comes about within so many seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited, in seconds. A suite has no limit of its own, which could cut one of its waits off."""

    running: float = 20 * 60.0
    stopped: float = 10 * 60.0
    terminated: float = 20 * 60.0
    ssh: float = 10 * 60.0
    shown: float = 2 * 60.0
    """Until a list shows what a create has answered."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run of the suites is given. `new_ref_id` gives another name at each call.

    `hosts` is None where machines have no host behind them. `stable_ids` are type ids that must be there on every day;
    None where nobody knows any. `max_price` is USD an hour, for one machine; `thorough` also asks what installs
    software on the machine and takes many minutes.
    """

    client: CloudClient
    clock: Clock
    new_ref_id: Callable[[], RefId]
    cred_ref_id: str
    public_key: str
    hosts: Hosts | None = None
    limits: Limits = Limits()
    stable_ids: tuple[str, ...] | None = None
    max_price: Decimal | None = None
    instance_type: str = ""
    location: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    port: int = 9999
    thorough: bool = False
    tell: Callable[[str], None] = lambda text: None


@dataclass(slots=True)
class Catalogue:
    """What the items of the catalogue have found, for those behind them."""

    locations: list[Location] | None = None
    first: list[InstanceType] | None = None
    second: list[InstanceType] | None = None
    by_name: list[InstanceType] | None = None
    everywhere: list[InstanceType] | None = None
    located: list[InstanceType] | None = None
    again: list[InstanceType] | None = None


@dataclass(slots=True)
class Scene:
    """One suite under way."""

    setup: Setup
    catalogue: Catalogue = field(default_factory=Catalogue)
    offer: InstanceType | None = None
    attrs: CreateInstanceAttrs | None = None
    answer: Instance | None = None
    """What the create gave back."""
    called: tuple[float, float] = (0.0, 0.0)
    """When the create was called and when it answered, in seconds since 1970."""
    took: float = 0.0
    _machine: Instance | None = None
    listed: Instance | None = None
    refs: list[RefId] = field(default_factory=list)
    uncertain: list[RefId] = field(default_factory=list)
    ids: dict[CloudId, RefId] = field(default_factory=dict)

    @property
    def client(self) -> CloudClient:
        return self.setup.client

    @property
    def traits(self) -> Traits:
        return self.setup.client.traits

    @property
    def clock(self) -> Clock:
        return self.setup.clock

    @property
    def machine(self) -> Instance:
        """The machine that all is asked of, as last read; raise `Skipped` where there is none."""
        if self._machine is None:
            raise Skipped("there is no machine to ask about")
        return self._machine

    @property
    def asked(self) -> CreateInstanceAttrs:
        if self.attrs is None:
            raise Skipped("no machine was asked for")
        return self.attrs

    # Calls

    async def call(self, call: Callable[[], Awaitable[T]], *, within: float = 0.0) -> T:
        """Make a call that may be repeated, again after failures that pass: a few times, or for so many seconds."""
        deadline = self.clock.monotonic() + within
        attempt = 0
        while True:
            try:
                return await call()
            except CloudError as problem:
                attempt += 1
                over = self.clock.monotonic() >= deadline if within else attempt >= TRIES
                if not problem.retryable or over:
                    raise
                wait = problem.retry_after if problem.retry_after is not None else min(10.0, 2.0**attempt)
            await self.clock.sleep(wait)

    async def read(self) -> Instance:
        """Read the machine anew."""
        cloud_id = self.machine.cloud_id
        self._machine = await self.call(lambda: self.client.get_instance(cloud_id))
        return self._machine

    async def find(self, cloud_id: CloudId) -> Instance | None:
        try:
            return await self.call(lambda: self.client.get_instance(cloud_id))
        except NotFound:
            return None

    async def list(self) -> list[Instance]:
        return await self.call(self.client.list_instances)

    @property
    def tick(self) -> float:
        return min(TICK_S, self.traits.instance_poll_s)

    async def wait_for(self, status: LifecycleStatus, limit: float) -> Instance:
        """Wait for a status of the machine; raise `Failed` after the limit, or when it has died instead."""
        deadline = self.clock.monotonic() + limit
        while True:
            await self.clock.sleep(self.tick)
            machine = await self.read()
            if machine.status == status:
                return machine
            if machine.status in DEAD or machine.status == LifecycleStatus.FAILED:
                raise Failed(f"{machine.cloud_id} is {machine.status} instead of {status}{_words(machine)}")
            if self.clock.monotonic() > deadline:
                raise Failed(f"{machine.cloud_id} is {machine.status} and not {status} after {limit:.0f} s")

    # Launches, and what undoes them

    async def launch(self, attrs: CreateInstanceAttrs) -> Instance:
        """Create; whatever comes of it is noted before anybody judges it, and ended by `clean_up`."""
        if attrs.ref_id not in self.refs:
            self.refs.append(attrs.ref_id)
            self.setup.tell(f"Launching {attrs.instance_type} in {attrs.location} under the name {attrs.ref_id}.")
        try:
            answer = await self.client.create_instance(attrs)
        except CloudError as problem:
            if problem.sent is Sent.MAYBE:
                self.uncertain.append(attrs.ref_id)
            raise
        except BaseException:  # broken off in the middle: the request may have arrived
            self.uncertain.append(attrs.ref_id)
            raise
        if answer.cloud_id:
            self.ids.setdefault(answer.cloud_id, attrs.ref_id)
        else:
            self.uncertain.append(attrs.ref_id)
        return answer

    async def appear(self, cloud_id: CloudId) -> Instance:
        """Wait until get and list show a new machine; give what get shows, and keep what the list shows."""
        deadline = self.clock.monotonic() + max(self.setup.limits.shown, self.traits.grace_window_s)
        while True:
            self._machine = await self.find(cloud_id)
            self.listed = next((one for one in await self.list() if one.cloud_id == cloud_id), None)
            if self._machine is not None and self.listed is not None:
                return self._machine
            if self.clock.monotonic() > deadline:
                where = "get" if self._machine is None else "list"
                raise Failed(f"{where} does not show {cloud_id}, which create has answered")
            await self.clock.sleep(self.tick)

    async def clean_up(self) -> None:
        """End every machine that was made and release what was made beside it; errors are told and passed over."""
        for ref_id in self.uncertain:
            await self._quietly(f"fence {ref_id}", lambda ref_id=ref_id: self.client.fence(ref_id))  # type: ignore[misc]  # a default binds the name of this turn
        await self._look_for_the_late()
        for cloud_id in list(self.ids):
            if await self._is_dead(cloud_id):
                continue
            self.setup.tell(f"Terminating {cloud_id}.")
            await self._quietly(f"terminate {cloud_id}", lambda one=cloud_id: self.client.terminate_instance(one))  # type: ignore[misc]  # as above
        await self._await_the_end()
        for ref_id in self.refs:
            await self._quietly(f"release {ref_id}", lambda ref_id=ref_id: self.client.release(ref_id))  # type: ignore[misc]  # as above

    async def _look_for_the_late(self) -> None:
        """Find machines of ours by their marks; after a lost answer, for as long as the cloud's lists may lag."""
        if not self.refs:
            return
        window = self.traits.grace_window_s if self.uncertain else 0.0
        deadline = self.clock.monotonic() + window
        while True:
            try:
                for machine in await self.list():
                    if machine.ref_id in self.refs and machine.status not in DEAD:
                        self.ids.setdefault(machine.cloud_id, RefId(machine.ref_id))
            except CloudError as problem:
                self.setup.tell(f"Cannot look for machines of this run: {problem}.")
            if self.clock.monotonic() >= deadline:
                return
            await self.clock.sleep(max(self.tick, window / 10))

    async def _is_dead(self, cloud_id: CloudId, *, also_ending: bool = True) -> bool:
        try:
            found = await self.find(cloud_id)
        except Exception:  # a read that fails is no reason to leave a machine standing
            return False
        return found is None or found.status in (DEAD if also_ending else {LifecycleStatus.TERMINATED})

    async def _await_the_end(self) -> None:
        """Wait until what was made beside the machines can go: many clouds refuse while they live."""
        deadline = self.clock.monotonic() + self.setup.limits.terminated
        for cloud_id in self.ids:
            while not await self._is_dead(cloud_id, also_ending=False):
                if self.clock.monotonic() > deadline:
                    self.setup.tell(f"{cloud_id} is still there: terminate it by hand, or it goes on costing.")
                    break
                await self.clock.sleep(self.tick)
            else:
                self.setup.tell(f"{cloud_id} is gone.")

    async def _quietly(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await self.call(call, within=self.setup.limits.terminated)
        except Exception as problem:  # the rest has to be undone whatever is wrong with the client
            self.setup.tell(f"Cannot {what}: {problem}.")

    def known(self, value: T | None, item: str) -> T:
        """Give what an earlier item found; raise `Skipped` when it found nothing."""
        if value is None:
            raise Skipped(f"{item} gave nothing to ask about")
        return value


def _words(machine: Instance) -> str:
    return f": {'; '.join(machine.messages)}" if machine.messages else ""
