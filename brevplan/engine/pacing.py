"""Rate limits, one bucket an account: settling and terminating go before polling, polling before creating."""

from __future__ import annotations

import asyncio
import heapq
from contextvars import ContextVar
from itertools import count
from typing import Final

from brevplan.contract.client import Clock, Traits, Urgency


class Limit:
    """The time limit of one call. It counts from the call, so it stands still while the call waits for its rate."""

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._timeout, self._seconds = timeout, seconds

    def suspend(self) -> None:
        self._timeout.reschedule(None)

    def resume(self) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)


LIMIT: Final[ContextVar[Limit | None]] = ContextVar("brevplan_limit", default=None)
"""The limit of the call that the running task is making."""

_ORDER: Final = {Urgency.SETTLE: 0, Urgency.POLL: 1, Urgency.CREATE: 2}


LEAST_WAIT_S: Final = 0.001
"""Less than this may be too little for a clock to show, and the wait would never end."""


class _Bucket:
    """Tokens that grow with time; a quarter of a minute's worth may be taken at once."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self.rate = per_minute / 60.0
        self.capacity = max(1.0, per_minute / 4.0)
        self.tokens = self.capacity
        self.clock = clock
        self.at = clock.monotonic()

    def delay(self) -> float:
        """Give the seconds until a token is there; 0 when one is."""
        now = self.clock.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.rate)
        self.at = now
        # what rounding leaves of a token is no time that a clock could show
        return 0.0 if self.tokens >= 1.0 - 1e-6 else (1.0 - self.tokens) / self.rate

    def take(self) -> None:
        self.tokens -= 1.0


class AccountPacer:
    """The `Pacer` of one account.

    `reserve` takes the tokens of a launch before its intent is written; the client's own `admit` for that launch then
    passes at once, so that no rate wait stands between the intent and its request.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: _Bucket | None = None
        self._creates: _Bucket | None = None
        self._queue: list[tuple[int, int]] = []
        self._numbers = count()
        self._reserved: set[asyncio.Task[object] | None] = set()
        self._not_before = 0.0

    def configure(self, traits: Traits) -> None:
        if traits.requests_per_minute:
            self._requests = _Bucket(traits.requests_per_minute, self._clock)
        if traits.creates_per_minute:
            self._creates = _Bucket(traits.creates_per_minute, self._clock)

    def pause(self, seconds: float) -> None:
        """Let nothing through for a while: the provider said so."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    async def reserve(self, task: asyncio.Task[object] | None = None) -> None:
        """Take the tokens of a launch for a task, or the running one: the request that it makes next passes at once."""
        await self._pass(Urgency.CREATE)
        self._reserved.add(task or asyncio.current_task())

    async def admit(self, urgency: Urgency) -> None:
        if urgency is Urgency.CREATE and (task := asyncio.current_task()) in self._reserved:
            self._reserved.discard(task)
            return
        await self._pass(urgency)

    async def _pass(self, urgency: Urgency) -> None:
        if self._requests is None and self._creates is None and not self._not_before:
            return
        ticket = (_ORDER[urgency], next(self._numbers))
        heapq.heappush(self._queue, ticket)
        limit = LIMIT.get()
        try:
            while (delay := self._delay(ticket, urgency)) > 0:
                if limit is not None:
                    limit.suspend()
                await self._clock.sleep(max(delay, LEAST_WAIT_S))
        finally:
            self._queue.remove(ticket)
            heapq.heapify(self._queue)
            if limit is not None:
                limit.resume()
        for bucket in self._buckets(urgency):
            bucket.take()

    def _buckets(self, urgency: Urgency) -> list[_Bucket]:
        wanted = [self._requests, self._creates if urgency is Urgency.CREATE else None]
        return [bucket for bucket in wanted if bucket is not None]

    def _delay(self, ticket: tuple[int, int], urgency: Urgency) -> float:
        held = self._not_before - self._clock.monotonic()
        if held > 0:
            return held
        delay = max((bucket.delay() for bucket in self._buckets(urgency)), default=0.0)
        if delay == 0.0 and self._queue[0] != ticket:
            return 0.01  # somebody more urgent has not woken up yet
        return delay
