"""One account of one cloud during a run: its client, its patience, and the one poll that everybody shares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from brevplan.contract.client import Clock, CloudClient, Traits, Urgency
from brevplan.contract.errors import CloudError, NotFound
from brevplan.contract.model import DEAD, ApiType, CloudId, Instance, InstanceFilter
from brevplan.contract.provider import ProviderSpec
from brevplan.engine.calls import Patience
from brevplan.engine.pacing import AccountPacer

_LOG = logging.getLogger(__name__)

MOST_GETS: Final = 3
"""How many machines that a list lacks are looked at, one by one, before the list is believed."""

LIST_SHARE: Final = 5
"""At most one part of this many of a run's time goes into one account's lists."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list of an account's machines, or why there is none. `at` is the monotonic moment when it was asked for."""

    machines: dict[str, Instance]
    at: float
    error: str = ""
    lacks: frozenset[str] = frozenset()
    """Cloud ids of machines that an earlier list showed alive, that are not known to be gone, and not in this list."""

    def by_ref(self, ref_id: str) -> list[Instance]:
        return [machine for machine in self.machines.values() if machine.ref_id == ref_id]


@dataclass(slots=True)
class Account:
    """`alias` is the key of the provider block; two blocks may lead to the same account and share a fingerprint."""

    alias: str
    spec: ProviderSpec
    client: CloudClient
    traits: Traits
    fingerprint: str
    tenant: str
    endpoint: str
    pacer: AccountPacer
    patience: Patience
    clock: Clock
    places: frozenset[str] = frozenset()
    """The locations that are listed, where the API is regional; none: every one that the account uses."""
    _next: asyncio.Future[Snapshot] | None = field(default=None)
    _poll: asyncio.Task[None] | None = field(default=None)
    _last: float = field(default=float("-inf"))
    _took: float = field(default=0.0)
    _shown: set[str] = field(default_factory=set)
    _doubt: tuple[Snapshot, asyncio.Task[str]] | None = field(default=None)

    @property
    def is_regional(self) -> bool:
        return self.traits.api_type is ApiType.LOCATIONAL

    def look_at(self, locations: Iterable[str]) -> None:
        """List these locations from now on; what is listed elsewhere is of no interest to this run."""
        places = frozenset(locations)
        if self.is_regional and places != self.places:
            self.places = places
            self._shown = set()  # what other locations showed is not missing from these

    async def fetch(self) -> list[Instance]:
        """List once, with retries; raise `CloudError`."""
        _LOG.debug("%s: listing", self.alias)
        wanted = InstanceFilter(locations=tuple(sorted(self.places)))
        listed = await self.patience.retried(lambda: self.client.list_instances(wanted, urgency=Urgency.POLL))
        self._shown = self._shown or _living(listed)
        return listed

    async def next_snapshot(self) -> Snapshot:
        """Wait for the next list that is asked for from now on; however many wait, one call serves them all."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._poll = asyncio.create_task(self._serve(self._next))
        return await asyncio.shield(self._next)

    async def _serve(self, waiting: asyncio.Future[Snapshot]) -> None:
        # a list that takes long is asked for less often, so that most of the time is left for the work itself
        pause = self._last + max(self.traits.instance_poll_s, LIST_SHARE * self._took) - self.clock.monotonic()
        # a moment at least, so that those who finish their calls together share the list
        await self.clock.sleep(max(pause, 0.001))
        # whoever comes after this point needs a list younger than this one
        self._next = None
        started = self._last = self.clock.monotonic()
        try:
            result = self._compared(await self.fetch(), started)
        except CloudError as problem:
            result = Snapshot({}, started, str(problem))
        except Exception as problem:  # a defect of a provider's module: whoever waits must hear of it
            result = Snapshot({}, started, f"internal error: {type(problem).__name__}: {problem}")
        self._took = self.clock.monotonic() - started
        if not waiting.done():
            waiting.set_result(result)

    def _compared(self, listed: list[Instance], at: float) -> Snapshot:
        machines = {str(machine.cloud_id): machine for machine in listed}
        result = Snapshot(machines, at, lacks=frozenset(self._shown - machines.keys()))
        self._shown = _living(listed) | result.lacks
        return result

    async def doubt(self, snapshot: Snapshot) -> str:
        """Say why a list is not complete: a machine that it lacks is alive. However many ask, a few gets serve all."""
        if not snapshot.lacks:
            return ""
        if self._doubt is None or self._doubt[0] is not snapshot:
            self._doubt = (snapshot, asyncio.create_task(self._doubted(snapshot)))
        return await asyncio.shield(self._doubt[1])

    async def _doubted(self, snapshot: Snapshot) -> str:
        for cloud_id in sorted(snapshot.lacks)[:MOST_GETS]:
            try:
                machine = await self.find(cloud_id)
            except CloudError as problem:
                return str(problem)
            if machine is not None and machine.status not in DEAD:
                return f"the list of {self.alias} lacks {len(snapshot.lacks)} machines, and {cloud_id} is alive"
            self.believe_gone(cloud_id)
        return ""

    def believe_gone(self, cloud_id: str) -> None:
        """Expect a machine in no list any more."""
        self._shown.discard(cloud_id)

    async def find(self, cloud_id: str) -> Instance | None:
        """Get one machine, with retries; None when there is none of that id. Raises `CloudError`."""
        try:
            return await self.patience.retried(lambda: self.client.get_instance(CloudId(cloud_id)))
        except NotFound:
            return None

    async def aclose(self) -> None:
        under_way = [task for task in (self._poll, self._doubt and self._doubt[1]) if task is not None]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self.client.aclose()


def _living(listed: list[Instance]) -> set[str]:
    return {str(machine.cloud_id) for machine in listed if machine.status not in DEAD}
