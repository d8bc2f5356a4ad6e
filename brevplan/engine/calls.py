"""Calls to clouds with the engine's patience: retries with backoff and jitter, `Retry-After` heard, time limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from brevplan.contract.client import Clock
from brevplan.contract.errors import CloudError, RateLimited, Unavailable
from brevplan.engine.pacing import LIMIT, AccountPacer, Limit

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Patience:
    """How long and how often one account's calls are tried. `jitter` gives a number from 0 to 1."""

    clock: Clock
    pacer: AccountPacer
    jitter: Callable[[], float]
    retries: int = 5
    request_timeout: float = 30.0
    hurried: bool = False
    """The run was asked to stop: what could be tried until a far moment is left to the next run."""

    async def once(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make one call; a timeout becomes `Unavailable`, of which nothing is known."""
        try:
            async with asyncio.timeout(self.request_timeout) as timeout:
                token = LIMIT.set(Limit(timeout, self.request_timeout))
                try:
                    return await call()
                finally:
                    LIMIT.reset(token)
        except TimeoutError:
            raise Unavailable(f"no answer within {self.request_timeout:g} s") from None

    async def retried(self, call: Callable[[], Awaitable[T]], *, until: float | None = None) -> T:
        """Make a call that may be repeated, again after each retryable failure.

        With `until`, a moment of the monotonic clock, it goes on to that moment; else for `retries` further tries.
        """
        attempt = 0
        while True:
            try:
                return await self.once(call)
            except CloudError as problem:
                attempt += 1
                exhausted = attempt > self.retries if until is None else self._is_over(until)
                _LOG.info("%s (try %d%s)", problem, attempt, ", given up" if exhausted else "")
                if not problem.retryable or exhausted:
                    raise
                await self.wait(problem, attempt)

    def _is_over(self, until: float) -> bool:
        return self.hurried or self.clock.monotonic() >= until

    async def wait(self, problem: CloudError, attempt: int) -> None:
        """Wait as long as a failure asks for."""
        if isinstance(problem, RateLimited) and problem.retry_after is not None:
            self.pacer.pause(problem.retry_after)
            await self.clock.sleep(problem.retry_after)
            return
        await self.clock.sleep(min(10.0, 0.1 * 2**attempt) * (0.5 + self.jitter() / 2))
