"""A world to test in: time passes only when everybody waits, ids count, and the faults of the cloud are chosen."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from brevplan.contract.client import Capability, Connection
from brevplan.contract.model import FirewallPattern, FirewallRules
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import Source
from brevplan.engine.apply import Apply
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.change import Plan
from brevplan.engine.events import Event
from brevplan.engine.reach import Door, FoundGpu, HostKeyChanged, ReachError, Unreachable
from brevplan.operations.apply import Applied, Hooks, apply
from brevplan.operations.plan import plan
from brevplan.operations.planning import Planned, Request
from brevplan.operations.project import load_sources
from brevplan.operations.world import Outside
from brevplan.providers import registry
from brevplan.providers.local import LocalClient, UntaggedClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.model import Behaviour, Machine
from brevplan.simcloud.store import Store
from brevplan.state.store import StateStore

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuY6PuXNmyrB4jqJ5YVhE0W0nqXUGGy1jdz4ZyM1QyR test"
QUIET_TURNS = 40
"""How many turns of the loop without a new sleeper count as everybody waiting."""


class VirtualClock:
    """Sleeping costs no time: once nobody does anything, the clock jumps to the earliest sleeper.

    `away` counts calls that are answered by another thread: while there are any, somebody does something.
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.away = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._watch: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed + max(seconds, 0.0), next(self._numbers), future))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._advance())
        await future

    async def _advance(self) -> None:
        while self._sleepers:
            seen = -1
            quiet = 0
            while quiet < QUIET_TURNS:
                await asyncio.sleep(0.001 if self.away else 0)
                newest = max((number for _, number, _ in self._sleepers), default=-1)
                quiet = quiet + 1 if newest == seen and not self.away else 0
                seen = newest
            at, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.elapsed = max(self.elapsed, at)
                future.set_result(None)


class CountingIds:
    """Ids in order: `aaaaaa`, `aaaaab`, …; another process starts at another number."""

    def __init__(self, first: int = 0) -> None:
        self._attempts = count(first)
        self._runs = count(1)

    def attempt(self) -> str:
        number = next(self._attempts)
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(letters[number // 26**place % 26] for place in range(5, -1, -1))

    def skip(self, number: int) -> None:
        """Go on so much further: two labs at one cloud give no name twice."""
        for _ in range(number):
            next(self._attempts)

    def run(self) -> str:
        return f"run-{next(self._runs):06d}"


@dataclass
class ChosenFaults:
    """Faults by a function of the call; every call is remembered."""

    choose: Callable[[Call], Fault] = lambda call: NO_FAULT
    calls: list[Call] = field(default_factory=list)

    def draw(self, call: Call) -> Fault:
        self.calls.append(call)
        return self.choose(call)

    def count(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.calls)


class _FixedRules(LocalClient):
    """A cloud that takes rules at launch, and never again."""

    replace_firewall_rules = None  # type: ignore[assignment]  # a client without the ability lacks the method


@dataclass
class Hand:
    """Stands for SSH: what is asked of machines is remembered, what they answer is chosen.

    `silent` are hosts where nobody answers; `gpus` gives what a machine shows, by host.
    """

    clock: VirtualClock
    gpus_of: Callable[[str], list[FoundGpu]] = lambda host: []
    silent: set[str] = field(default_factory=set)
    on_call: Callable[[str, Door], None] = lambda what, door: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    rules: dict[str, FirewallRules] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def _enter(self, what: str, door: Door) -> None:
        self.calls.append((what, door.host))
        self.doors.append(door)
        self.on_call(what, door)

    async def ready(
        self, door: Door, *, timeout: float, progress: Callable[[str], None],
        gone: Callable[[], Awaitable[str]] | None = None,
    ) -> str:  # fmt: skip
        self._enter("ready", door)
        until = self.clock.monotonic() + timeout
        while door.host in self.silent:
            if gone is not None and (reason := await gone()):
                raise ReachError(reason)
            if self.clock.monotonic() >= until:
                raise Unreachable(f"nobody answers at {door.host}")
            await self.clock.sleep(5)
        key = f"ssh-ed25519 AAAA{door.host}"
        if door.host_key not in ("", key):
            raise HostKeyChanged("another host key")
        return key

    async def gpus(self, door: Door) -> list[FoundGpu]:
        self._enter("gpus", door)
        return self.gpus_of(door.host)

    async def set_firewall(self, door: Door, rules: FirewallRules) -> None:
        self._enter("set_firewall", door)
        self.rules[door.host] = rules

    async def set_authorized_keys(self, door: Door, keys: Sequence[str]) -> None:
        self._enter("set_authorized_keys", door)
        self.keys[door.host] = tuple(keys)


class Lab:
    """One project in a folder, with its state, its cloud and its clock. `text` is the configuration."""

    def __init__(
        self, folder: Path, text: str, *, idempotent: bool = True, tags: bool = True, fences: bool = True,
        retypes: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.text = folder, text
        self.clock = VirtualClock()
        self.ids = CountingIds()
        self.faults = ChosenFaults()
        self.idempotent, self.tags, self.fences, self.retypes = idempotent, tags, fences, retypes
        self.events: list[Event] = []
        self.said: list[str] = []
        self.hand = Hand(self.clock)
        self.lacks: frozenset[Capability] = frozenset()
        """Capabilities that this cloud is without."""
        self.outside = Outside(self.clock, self.ids, self.hand, self._spec)

    def _spec(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._connect)

    def _connect(self, connection: Connection) -> UntaggedClient:
        kind: type[UntaggedClient] = LocalClient if self.tags else UntaggedClient
        if Capability.MODIFY_FIREWALL in self.lacks:
            kind = _FixedRules
        client = kind(connection, self.faults, self._lacking)
        traits = client.traits
        client.traits = replace(
            traits,
            capabilities=traits.capabilities - self.lacks,
            reports=traits.reports - {"firewall_rules"} if self.lacks else traits.reports,
            firewall_pattern=FirewallPattern.USER_DATA if self.lacks else traits.firewall_pattern,
        )
        return client

    def _lacking(self, how: Behaviour) -> Behaviour:
        return replace(how, idempotent=self.idempotent, tags=self.tags, fences=self.fences, retypes=self.retypes)

    def request(self, options: Options = EVERYTHING, **fields: Any) -> Request:
        return Request(options, environment={}, **fields)

    def apply(
        self, options: Options = EVERYTHING, *, approve: bool = True, on_run: Callable[[Apply], None] | None = None
    ) -> Applied:
        """Apply the configuration; raise what the operation raises."""

        async def run() -> Applied:
            project = load_sources(self.folder, [Source("main.hcl", self.text)])
            hooks = Hooks(
                lambda found: approve,
                self.events.append,
                self.said.append,
                lambda running: on_run(running) if on_run is not None and running is not None else None,
            )
            return await apply(project, self.request(options), self.outside, hooks)

        return asyncio.run(run())

    def plan(self, options: Options = EVERYTHING, **fields: Any) -> Plan:
        return self.planned(options, **fields)[0]

    def planned(self, options: Options = EVERYTHING, **fields: Any) -> tuple[Plan, Planned]:
        async def run() -> tuple[Plan, Planned]:
            project = load_sources(self.folder, [Source("main.hcl", self.text)])
            async with plan(project, self.request(options, **fields), self.outside) as found:
                return found.folded.plan, found

        return asyncio.run(run())

    def machines(self) -> list[Machine]:
        """Give the living machines of the cloud."""
        store = Store(str(self.folder / "local-cloud.db"))
        try:
            return store.machines()
        finally:
            store.close()

    def cloud(self) -> Store:
        return Store(str(self.folder / "local-cloud.db"))

    def state(self) -> StateStore:
        store = StateStore.open(self.folder / "brevplan.db", create=False)
        assert store is not None
        return store

    def recorded(self) -> Mapping[str, str]:
        """Give the cloud id of every current row by address."""
        with suppress(AssertionError):
            store = self.state()
            try:
                return {str(r.address): r.cloud_id for r in store.records() if r.role.value == "current" and r.cloud_id}
            finally:
                store.close()
        return {}


def actions(plan: Plan) -> dict[str, str]:
    """Give what a plan does, by address, no-ops left out."""
    return {
        f"{change.address} {change.deposed}".strip(): (
            "import" if change.is_noop is False and change.action.value == "no-op" else change.action.value
        )
        for change in plan.effective
    }


def configuration(count: int = 1, *, provider: str = "", body: str = "", rest: str = "") -> str:
    """Give a configuration of `count` machines `instance.m[…]` on the embedded cloud."""
    return f"""
brevplan {{
  project = "lab"
}}
provider "local" {{
  {provider}
}}
resource "instance" "m" {{
  count         = {count}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
  {body}
}}
{rest}
"""
