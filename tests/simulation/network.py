"""What lies between a simulated run and its cloud: time on the way, lost answers, and requests that arrive late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from brevplan.contract.client import Connection, Urgency
from brevplan.contract.errors import CloudError, InstanceNotFound
from brevplan.contract.model import CloudId, CreateInstanceAttrs, Instance, InstanceFilter, RefId
from brevplan.providers.local import EVERY_INSTANCE, LocalClient, UntaggedClient
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import NO_FAULT, Call, Fault, raised
from tests.simulation.mutations import Guard
from tests.simulation.process import Killed, Process

if TYPE_CHECKING:
    from tests.simulation.site import Site

T = TypeVar("T")


@dataclass
class Network:
    """Requests whose sender no longer waits for them, and which arrive all the same."""

    site: Site
    _adrift: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def lose_sight_of(self, call: Call, effect: Callable[[Fault], object], fault: Fault) -> None:
        """The sender is gone: the request arrives later, or never."""
        late_s = self.site.lateness()
        if not call.changes or late_s is None:
            return
        if call.operation == "create_instance":
            # the cloud holds what is to come, so that a fence can still keep it out
            self._arrive(lambda: effect(replace(fault, late_s=late_s)))
            return
        self._adrift.append((self.site.clock.monotonic() + late_s, lambda: effect(NO_FAULT)))

    def deliver(self) -> None:
        """Let arrive what is due."""
        now = self.site.clock.monotonic()
        due = [effect for at, effect in self._adrift if at <= now]
        self._adrift = [(at, effect) for at, effect in self._adrift if at > now]
        for effect in due:
            self._arrive(effect)

    def _arrive(self, effect: Callable[[], object]) -> None:
        try:
            effect()
        except CloudError as problem:
            self.site.note(None, f"a late request is refused: {problem}")


class _Carried(UntaggedClient):
    """A client whose calls go through the simulation's network."""

    def __init__(self, connection: Connection, process: Process) -> None:
        site = process.site
        super().__init__(connection, site, site.character.alter)
        # the cloud lives by true time, whatever the clock of its caller says
        self.cloud = SimCloud(self.cloud.store, site.true_clock, self.cloud.how, site)
        self._site, self._process = site, process
        self._listed: set[CloudId] = set()
        self.traits = replace(self.traits, instance_poll_s=site.character.poll_s)
        if site.lacks is Guard.GRACE_WINDOW:
            self.traits = replace(self.traits, grace_window_s=0.0)

    async def tenant_id(self) -> str:
        found = await super().tenant_id()
        return "the same for everybody" if self._site.lacks is Guard.FINGERPRINT else found

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        if self._site.lacks is Guard.CONFIRMING_GET and cloud_id not in self._listed:
            raise InstanceNotFound(f'there is no machine "{cloud_id}"')
        return await super().get_instance(cloud_id)

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        found = await super().list_instances(wanted, urgency=urgency)
        self._listed = {machine.cloud_id for machine in found}
        return found

    async def fence(self, ref_id: RefId) -> bool:
        return False if self._site.lacks is Guard.FENCE else await super().fence(ref_id)

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        self._process.launched.add(attrs.ref_id)
        self._site.launched(attrs.ref_id, self._process)
        return await super().create_instance(attrs)

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        self._site.judge_end(self._process, cloud_id, self.cloud)
        await super().terminate_instance(cloud_id)

    async def carry(self, call: Call, effect: Callable[[Fault], T]) -> T:
        site, process = self._site, self._process
        what = f"{call.operation} {call.target}".strip()
        process.point(f"send {what}")
        site.network.deliver()
        fault = self.cloud.enter(call)
        try:
            await asyncio.sleep(site.time_on_the_way() + fault.delay_s + process.stall())
        except asyncio.CancelledError:
            if not fault.before:
                site.network.lose_sight_of(call, effect, fault)
            raise
        if process.dead:
            raise Killed
        site.network.deliver()
        if fault.before:
            site.note(process, f"fault: {what}: {fault.before}")
            raise raised(fault.before)
        answer = effect(fault)
        process.point(f"done {what}{_shown(answer)}")
        await asyncio.sleep(site.time_on_the_way())
        if fault.after:
            site.note(process, f"fault: {what}: the answer is lost")
            raise raised(fault.after)
        return answer


def _shown(answer: object) -> str:
    if isinstance(answer, Instance):
        return f" -> {answer.cloud_id} {answer.status.value}"
    return f" -> {len(answer)}" if isinstance(answer, list) else ""


class SimulatedClient(_Carried, LocalClient):
    """Of a cloud with tags."""


class UntaggedSimulatedClient(_Carried):
    """Of a cloud without."""
