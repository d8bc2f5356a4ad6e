"""One state, one writer: an OS lock on a file beside the state, freed by the holder's death.

The lock file names its holder for others to show. Its inode is compared after locking, since it may have been
removed and made anew between opening and locking.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        if not self.lock_id:
            return "another process"
        return f"{self.user}@{self.host} (process {self.pid}, {self.command}, since {self.since}, lock {self.lock_id})"


SOMEBODY: Final = Holder("", "", "", 0, "", "")
"""Who holds a lock whose file does not tell: it was just taken, or something else was written into it."""


@dataclass(slots=True)
class Lock:
    """A lock that is held until `release`, or until the process ends."""

    path: Path
    holder: Holder
    _descriptor: int

    def release(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):  # a name left in the file does no harm: the lock is what counts
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def lock_path(state: Path) -> Path:
    """Give the lock file of a state, the same one by whatever link the state is reached."""
    there = Path(os.path.realpath(state)) if os.path.islink(state) else state
    return there.with_name(there.name + ".lock")


def try_lock(state: Path, holder: Holder) -> Lock | Holder:
    """Take the lock without waiting; give who holds it when it is taken."""
    path = lock_path(state)
    with explained(path):
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_same_file(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, msgspec.json.encode(holder), 0)
                    return Lock(path, holder, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return read_holder(state) or SOMEBODY
            except BaseException:
                os.close(descriptor)
                raise
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
    path = lock_path(state)
    if not path.exists():
        return False
    with explained(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def locked_error(holder: Holder) -> StateLocked:
    return StateLocked(
        f"It is held by {holder}.",
        "Wait for it with -lock-timeout=5m. A dead process holds no lock; brevplan force-unlock is for a hung one.",
    )


def force(state: Path) -> None:
    """Take the lock file away from its holder: the next one makes a new file. The caller raises the epoch."""
    path = lock_path(state)
    with explained(path):
        path.unlink(missing_ok=True)
