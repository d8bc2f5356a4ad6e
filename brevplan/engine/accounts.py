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

LIST_SHARE: Final = 5
"""At most one part of this many of a run's time goes into one account's lists."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list of an account's machines, or why there is none. `at` is the monotonic moment when it was asked for."""

    machines: dict[str, Instance]
    at: float
    error: str = ""
    lacks: frozenset[str] = frozenset()
    """Cloud ids of the living machines that the list before this one showed, and this one does not."""

    @property
    def is_much_shorter(self) -> bool:
        """Tell whether it lacks so much that it has to be doubted: all, or more than a few and a tenth."""
        return bool(self.lacks) and (not self.machines or len(self.lacks) > max(5, len(self.machines) // 10))

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
    _shown: frozenset[str] = field(default=frozenset())

    @property
    def is_regional(self) -> bool:
        return self.traits.api_type is ApiType.LOCATIONAL

    def look_at(self, locations: Iterable[str]) -> None:
        """List these locations from now on; what is listed elsewhere is of no interest to this run."""
        places = frozenset(locations)
        if self.is_regional and places != self.places:
            self.places = places
            self._shown = frozenset()  # what other locations showed is not missing from these

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
        result = Snapshot(machines, at, lacks=self._shown - machines.keys())
        living = _living(listed)
        # what a doubtful list leaves out is asked for again at the next one
        self._shown = living | result.lacks if result.is_much_shorter else living
        return result

    def believe_gone(self, cloud_id: str) -> None:
        """Expect a machine in no list any more."""
        self._shown -= {cloud_id}

    async def find(self, cloud_id: str) -> Instance | None:
        """Get one machine, with retries; None when there is none of that id. Raises `CloudError`."""
        try:
            return await self.patience.retried(lambda: self.client.get_instance(CloudId(cloud_id)))
        except NotFound:
            return None

    async def aclose(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        await self.client.aclose()


def _living(listed: list[Instance]) -> frozenset[str]:
    return frozenset(str(machine.cloud_id) for machine in listed if machine.status not in DEAD)
