"""One state, one writer: an OS lock on a file beside the state, freed by the holder's death.

The lock file names its holder for others to show. Its inode is compared after locking, since it may have been
removed and made anew between opening and locking.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from brevplan.state.database import explained
from brevplan.state.errors import StateLocked


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock. `since` is RFC 3339."""

    lock_id: str
    user: str
    host: str
    pid: int
    command: str
    since: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid}, {self.command}, since {self.since}, lock {self.lock_id})"


@dataclass(slots=True)
class Lock:
    """A lock that is held until `release`, or until the process ends."""

    path: Path
    holder: Holder
    _descriptor: int

    def release(self) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def lock_path(state: Path) -> Path:
    return state.with_name(state.name + ".lock")


def try_lock(state: Path, holder: Holder) -> Lock | Holder | None:
    """Take the lock without waiting. Gives who holds it when it is taken, None when that cannot be told."""
    path = lock_path(state)
    with explained(path):
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return read_holder(state)
            except BaseException:
                os.close(descriptor)
                raise
            if _is_same_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(holder), 0)
                return Lock(path, holder, descriptor)
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def read_holder(state: Path) -> Holder | None:
    """Give who wrote themselves into the lock file last; None when nobody is named there."""
    try:
        return msgspec.json.decode(lock_path(state).read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def is_held(state: Path) -> bool:
    """Tell whether some process holds the lock right now."""
    try:
        descriptor = os.open(lock_path(state), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def locked_error(holder: Holder | None) -> StateLocked:
    shown = str(holder) if holder is not None else "another process"
    return StateLocked(
        f"It is held by {shown}.",
        "Wait for it with -lock-timeout=5m. A dead process holds no lock; brevplan force-unlock is for a hung one.",
    )


def force(state: Path) -> None:
    """Take the lock file away from its holder: the next one makes a new file. The caller raises the epoch."""
    lock_path(state).unlink(missing_ok=True)
