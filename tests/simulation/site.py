"""One simulated world: its clouds, its folders, its time, and everything that its seed decides while it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from random import Random

from msgspec.structs import replace as with_fields

from brevplan.contract.client import Connection
from brevplan.contract.model import DEAD, CloudId
from brevplan.contract.provider import ProviderSpec
from brevplan.operations.planning import Planned
from brevplan.providers import registry
from brevplan.providers.local import UntaggedClient
from brevplan.simcloud import model
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import NO_FAULT, Call, Chance, DrawnFaults, Fault
from brevplan.simcloud.model import Behaviour, Machine
from brevplan.simcloud.store import Store
from brevplan.state import lock
from brevplan.state.store import StateStore
from tests.simulation.loop import START, LoopClock
from tests.simulation.mutations import Guard
from tests.simulation.network import Network, SimulatedClient, UntaggedSimulatedClient
from tests.simulation.process import PROCESS, Process, task_factory
from tests.world import CountingIds

PROJECT = "sim"
MARK = f"bp-{PROJECT}"


@dataclass(frozen=True, slots=True)
class Character:
    """What the cloud of a schedule is like, for as long as it lasts."""

    tags: bool = True
    idempotent: bool = True
    fences: bool = True
    list_lag_s: float = 0.0
    grace_window_s: float = 30.0
    boot_s: float = 0.0
    stop_s: float = 0.0
    end_s: float = 0.0
    requests_per_minute: int | None = None
    poll_s: float = 5.0
    latest_s: float = 0.0
    """How late a request may arrive whose sender is gone."""

    def alter(self, how: Behaviour) -> Behaviour:
        return replace(
            how,
            tags=self.tags,
            idempotent=self.idempotent,
            fences=self.fences,
            boot_s=self.boot_s,
            stop_s=self.stop_s,
            end_s=self.end_s,
            list_lag_s=self.list_lag_s,
            requests_per_minute=self.requests_per_minute,
        )

    def settings(self) -> str:
        """Give the arguments of the provider block that tell brevplan of it."""
        return f'boot_time = "{self.boot_s:g}s"\n  grace_window = "{self.grace_window_s:g}s"'


class _TrueClock:
    """The time that clouds live by."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(START.timestamp() + self._clock.monotonic(), START.tzinfo)

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Site:
    """`lacks` is the guard that this world goes without. Notes and problems are gathered as it goes on."""

    def __init__(self, folder: Path, seed: int, character: Character, lacks: Guard | None = None) -> None:
        self.folder, self.seed, self.character, self.lacks = folder, seed, character, lacks
        self.chance = Random(f"site {seed}")
        self.clock = LoopClock()
        self.true_clock = _TrueClock(self.clock)
        self.ids = CountingIds()
        self.network = Network(self)
        self.problems: list[str] = []
        self.trace: list[str] = []
        self.key = "right"
        self.doubles_expected = False
        self.destroyed_by_hand: set[str] = set()
        self._faults: DrawnFaults | None = None
        self._launched: dict[str, Process] = {}
        self._stores: dict[str, Store] = {}

    # What the seed decides

    def unsettle(self, chances: Sequence[Chance]) -> None:
        """Let faults happen from now on; none, and there are no more."""
        self._faults = DrawnFaults(self.seed, chances) if chances else None

    def draw(self, call: Call) -> Fault:
        """Decide what befalls a call (`Faults`)."""
        return self._faults.draw(call) if self._faults is not None else NO_FAULT

    def jitter(self) -> float:
        return self.chance.random()

    def time_on_the_way(self) -> float:
        return self.chance.choice((0.0, 0.01, 0.05, 0.2))

    def lateness(self) -> float | None:
        """Decide when a request arrives that nobody waits for any more; None for never."""
        return None if self.chance.random() < 0.4 else self.chance.uniform(0.0, self.character.latest_s)

    # Clouds

    def spec_of(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._connect)

    def _connect(self, connection: Connection) -> UntaggedClient:
        process = PROCESS.get()
        assert process is not None, "clients belong to a process"
        settings = {**connection.settings, "path": str(self.cloud_path)}
        connection = replace(connection, settings=settings)
        kind = SimulatedClient if self.character.tags else UntaggedSimulatedClient
        return kind(connection, process)

    @property
    def cloud_path(self) -> Path:
        """The account that the present key leads to."""
        return self.folder / f"{self.key}.db"

    def store(self, key: str = "right") -> Store:
        if key not in self._stores:
            self._stores[key] = Store(self.folder / f"{key}.db")
        return self._stores[key]

    def cloud(self) -> SimCloud:
        """The right account, as its owner's other tools see it."""
        return SimCloud(self.store(), self.true_clock, self.character.alter(Behaviour()))

    def machines(self) -> list[Machine]:
        """Give the machines that are there now, in the order of making."""
        now = self.true_clock.now().timestamp()
        return [machine for machine in self.store().machines() if machine.born_at <= now]

    # Runs

    def run(self, *processes: Process, starts_s: Sequence[float] = ()) -> None:
        """Carry out runs to their ends, all at once; the dead leave the disk as it was when they died."""
        self.clock.run(self._together(processes, starts_s))
        for process in processes:
            if process.dead and len(processes) == 1:
                process.restore()

    async def _together(self, processes: Sequence[Process], starts_s: Sequence[float]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(task_factory)
        loop.set_exception_handler(lambda loop, context: None)  # what a dead process leaves behind
        runs = []
        for index, process in enumerate(processes):
            if index < len(starts_s):
                await asyncio.sleep(starts_s[index])
            token = PROCESS.set(process)
            runs.append(asyncio.create_task(process.main()))
            PROCESS.reset(token)
        found = await asyncio.gather(*runs, return_exceptions=True)
        for process, result in zip(processes, found, strict=True):
            if isinstance(result, BaseException) and not process.dead:
                self.problem(f"{process.name} ended with {type(result).__name__}: {result}")

    def wait(self, seconds: float) -> None:
        """Let time pass while nobody runs."""
        self.clock.elapsed += seconds
        self.network.deliver()

    def take_lock_from_others(self, folder: Path) -> None:
        """What `force-unlock` does."""
        path = folder / "brevplan.db"
        store = StateStore.open(path, create=False)
        if store is not None:
            store.raise_epoch()
            store.close()
        lock.force(path)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    # Watching

    def note(self, process: Process | None, text: str) -> None:
        name = process.name if process is not None else "-"
        self.trace.append(f"{self.clock.monotonic():9.2f} {name:8} {text}")

    def problem(self, text: str) -> None:
        self.note(None, f"PROBLEM: {text}")
        self.problems.append(text)

    def launched(self, ref_id: str, process: Process) -> None:
        """Hear of a launch: a ref_id is used for one attempt, ever."""
        if ref_id in self._launched and self._launched[ref_id] is not process:
            self.problem(f"{ref_id} was used by two runs")
        if ref_id in self._launched and not self.character.idempotent:
            self.problem(f"{ref_id} was launched twice at a cloud that is not idempotent")
        self._launched[ref_id] = process

    def judge_end(self, process: Process, cloud_id: str, cloud: SimCloud) -> None:
        """Hear of the end of a machine: it was approved, or is a failed launch of this very run."""
        if cloud_id in process.approved:
            return
        machine = _find(cloud.store, cloud_id)
        ref_id = machine.body.ref_id if machine is not None else ""
        if ref_id not in process.launched or ref_id in process.settled:
            self.problem(f"{process.name} ends {cloud_id}, and no approved plan said so")

    def judge_plan(self, process: Process, found: Planned) -> None:
        """Look through a plan: every machine of ours that the clouds show without delay is accounted for."""
        if self.key != "right" or not found.facts.refreshed:
            return
        view = found.facts.views["local"]
        if view.unverified:
            return
        plan = found.folded.plan
        told = {change.cloud_id for change in plan.changes} | {orphan.cloud_id for orphan in plan.orphans}
        blocked = " ".join(change.blocked for change in plan.blocked)
        for machine in view.machines.values():
            is_told = machine.cloud_id in told or machine.cloud_id in blocked
            if machine.cloud_cred_ref_id == MARK and machine.status not in DEAD and not is_told:
                self.problem(f"a plan of {process.name} says nothing of {machine.cloud_id} ({machine.ref_id})")

    # Other people's hands

    def hand(self, verb: str, pick: float) -> None:
        """Do something to one of our machines behind everybody's back; `pick` from 0 to 1 chooses which."""
        ours = [machine for machine in self.machines() if machine.body.cloud_cred_ref_id == MARK]
        if not ours:
            return
        machine = ours[int(pick * len(ours)) % len(ours)]
        cloud_id = machine.body.cloud_id
        self.note(None, f"somebody does {verb} to {cloud_id}")
        with contextlib.suppress(Exception):
            self._do(verb, machine, cloud_id)

    def _do(self, verb: str, machine: Machine, cloud_id: CloudId) -> None:
        cloud = self.cloud()
        match verb:
            case "stop":
                cloud.stop(cloud_id)
            case "start":
                cloud.start(cloud_id)
            case "destroy":
                self.destroyed_by_hand.add(cloud_id)
                cloud.terminate(cloud_id)
            case "rename":
                cloud.rename(cloud_id, "somebody")
            case "retag":
                cloud.set_tags(cloud_id, {"by": "hand"})
            case "double":
                self.doubles_expected = True
                self._double(machine)

    def _double(self, machine: Machine) -> None:
        store = self.store()
        with store.write():
            number = store.next_number("machine")
            body = with_fields(machine.body, cloud_id=model.cloud_id_of(number))
            store.add(with_fields(machine, number=number, body=body))


def _find(store: Store, cloud_id: str) -> Machine | None:
    number = model.number_of(cloud_id)
    if number is None:
        return None
    with store.read():
        return store.machine(number)
