"""Whether the file that was opened is still the one that its name leads to.

An open file can be deleted or replaced under its user, who then writes where nobody will ever read. SQLite does not
look again, so a run looks before each of its transactions.
"""

from __future__ import annotations

import os
from pathlib import Path

from brevplan.state.errors import StateUnusable

_HINT = (
    "Find out who does that, put the right file back, and run the same command again: what was made meanwhile is "
    "found by its mark."
)


class FileWatch:
    """Remembers which files a state's path and its write-ahead log lead to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = Path(os.path.realpath(path) + "-wal")  # SQLite follows links too
        self._file = _inode(path)
        self._log: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise `StateUnusable` when the state, or the log with its latest commits, is another file by now."""
        if _inode(self._path) != self._file:
            raise StateUnusable(f"{self._path} was deleted or replaced while this run was using it.", _HINT)
        if self._log is not None and _inode(self._log_path) != self._log:
            raise StateUnusable(f"{self._log_path} was deleted or replaced while this run was using it.", _HINT)

    def follow_log(self) -> None:
        """Remember the log, which the first commit makes; a file system without shared memory has none."""
        if self._log is None:
            self._log = _inode(self._log_path)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_dev, there.st_ino
