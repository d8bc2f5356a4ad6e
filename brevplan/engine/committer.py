"""Durable writes, grouped: what several steps want written in one turn of the loop becomes one transaction."""

from __future__ import annotations

import asyncio

from brevplan.engine.ports import Journal, StateLost, Write


class Committer:
    """Collects writes until the loop's next turn. A write that fails fails every later one: the run has ended."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pending: list[tuple[tuple[Write, ...], asyncio.Future[None]]] = []
        self.lost: StateLost | None = None

    async def commit(self, *writes: Write) -> None:
        """Return once the writes are durable; raise `StateLost` when they will not be."""
        if self.lost is not None:
            raise StateLost(str(self.lost))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((writes, done))
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._flush)
        await done

    def _flush(self) -> None:
        batch, self._pending = self._pending, []
        try:
            self._journal.transact([write for writes, _ in batch for write in writes])
        except StateLost as problem:
            self._give_up(problem, batch)
            return
        except Exception as problem:  # a defect; whoever waits must hear of it, or the run would hang for ever
            self._give_up(StateLost(f"internal error: {type(problem).__name__}: {problem}"), batch)
            return
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    def _give_up(self, problem: StateLost, batch: list[tuple[tuple[Write, ...], asyncio.Future[None]]]) -> None:
        self.lost = problem
        for _, done in batch:
            if not done.done():
                done.set_exception(StateLost(str(problem)))
