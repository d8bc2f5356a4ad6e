"""Taking the state's lock for a command that writes: waiting for it, and saying who has it."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brevplan.engine.ports import rfc3339
from brevplan.operations.planning import state_failure
from brevplan.operations.world import Outside, host_name, user_name
from brevplan.state.errors import StateError
from brevplan.state.lock import Holder, Lock, locked_error, try_lock

RETRY_EVERY_S = 0.2


def new_holder(command: str, world: Outside) -> Holder:
    return Holder(secrets.token_hex(8), user_name(), host_name(), os.getpid(), command, rfc3339(world.clock.now()))


@contextmanager
def locked(state: Path, command: str, world: Outside, timeout_s: float, tell: Callable[[str], None]) -> Iterator[Lock]:
    """Hold the lock for the block; raise `DiagnosticsError` naming the holder when it cannot be had in time."""
    holder = new_holder(command, world)
    end = time.monotonic() + timeout_s
    told = False
    try:
        while not isinstance(found := try_lock(state, holder), Lock):
            if time.monotonic() >= end:
                raise locked_error(found)
            if not told:
                tell(f"Waiting for the state's lock, held by {found}...")
                told = True
            _stop_if_interrupted()
            time.sleep(min(RETRY_EVERY_S, max(end - time.monotonic(), 0.0)))
    except StateError as problem:
        raise state_failure(problem) from problem
    try:
        yield found
    finally:
        found.release()


def _stop_if_interrupted() -> None:
    """Hear a Ctrl-C while nothing is awaited: the loop has only noted it, for when the command awaits again."""
    with suppress(RuntimeError):  # no loop: then a Ctrl-C has ended the sleep
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
