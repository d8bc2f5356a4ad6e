"""An event loop whose time is virtual: when nobody has anything to do, it jumps to the next timer.

Nothing sleeps and nothing waits for the outside, so that a run of hours takes milliseconds and is the same every time.
Time limits of asyncio go by the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class Stuck(Exception):
    """Everybody waits, and nothing will ever happen."""


class _Timers:
    """Stands where the loop looks for files that are ready: there are none, and waiting for them is a jump."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._loop.elapsed += timeout
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`elapsed` are the seconds since the beginning; it may be set before a run, so that runs follow each other."""

    def __init__(self, elapsed: float = 0.0) -> None:
        super().__init__()
        self.elapsed = elapsed
        self._selector = _Timers(self)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.elapsed

    def _process_events(self, event_list: list[object]) -> None:
        """There are no files, and so no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class LoopClock:
    """The clock port over virtual time. `skew_s` puts the wall clock beside the true time; monotonic time never is."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.skew_s = 0.0
        self._loop: VirtualLoop | None = None

    def monotonic(self) -> float:
        return self._loop.elapsed if self._loop is not None else self.elapsed

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic() + self.skew_s)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work to its end in a loop of its own that begins where the last one ended."""
        self._loop = VirtualLoop(self.elapsed)
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                return runner.run(work)
        finally:
            self.elapsed = self._loop.elapsed
            self._loop = None
