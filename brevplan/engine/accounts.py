"""One account of one cloud during a run: its client, its patience, and the one poll that everybody shares."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from brevplan.contract.client import Clock, CloudClient, Traits, Urgency
from brevplan.contract.errors import CloudError
from brevplan.contract.model import Instance, InstanceFilter
from brevplan.contract.provider import ProviderSpec
from brevplan.engine.calls import Patience
from brevplan.engine.pacing import AccountPacer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list of an account's machines, or why there is none. `at` is the monotonic moment when it was asked for."""

    machines: dict[str, Instance]
    at: float
    error: str = ""

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
    _next: asyncio.Future[Snapshot] | None = field(default=None)
    _poll: asyncio.Task[None] | None = field(default=None)
    _last: float = field(default=float("-inf"))

    async def fetch(self) -> list[Instance]:
        """List once, with retries; raise `CloudError`."""
        _LOG.debug("%s: listing", self.alias)
        return await self.patience.retried(lambda: self.client.list_instances(InstanceFilter(), urgency=Urgency.POLL))

    async def next_snapshot(self) -> Snapshot:
        """Wait for the next list that is asked for from now on; however many wait, one call serves them all."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._poll = asyncio.create_task(self._serve(self._next))
        return await asyncio.shield(self._next)

    async def _serve(self, waiting: asyncio.Future[Snapshot]) -> None:
        pause = self._last + self.traits.instance_poll_s - self.clock.monotonic()
        # a moment at least, so that those who finish their calls together share the list
        await self.clock.sleep(max(pause, 0.001))
        # whoever comes after this point needs a list younger than this one
        self._next = None
        started = self._last = self.clock.monotonic()
        try:
            machines = await self.fetch()
            result = Snapshot({machine.cloud_id: machine for machine in machines}, started)
        except CloudError as problem:
            result = Snapshot({}, started, str(problem))
        if not waiting.done():
            waiting.set_result(result)

    async def aclose(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        await self.client.aclose()
