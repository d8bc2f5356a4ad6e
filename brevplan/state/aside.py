"""Moving a damaged state out of the way: nothing is thrown away, and nothing is written over."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Final

from brevplan.state.database import explained

_BESIDE: Final = ("-wal", "-shm", "-journal", "")
"""What SQLite keeps beside a file. The file comes last: a log that was left alone would be read into the next one."""


def move_aside(path: Path) -> Path:
    """Rename a state with its logs to the first free name `PATH.damaged`, `PATH.damaged.2`…; raise `StateError`."""
    with explained(path):
        target = _free(path)
        for suffix in _BESIDE:
            source = Path(f"{path}{suffix}")
            if source.exists() or source.is_symlink():
                source.rename(f"{target}{suffix}")
    return target


def _free(path: Path) -> Path:
    for number in count(1):
        target = path.with_name(f"{path.name}.damaged" + (f".{number}" if number > 1 else ""))
        names = [Path(f"{target}{suffix}") for suffix in _BESIDE]
        if not any(name.exists() or name.is_symlink() for name in names):
            return target
    raise AssertionError
