"""A file for its owner alone, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a file in place in one step; folders that are missing are made for the owner alone."""
    for folder in reversed(path.parents):
        folder.mkdir(mode=0o700, exist_ok=True)  # one by one: `parents=True` would leave the upper ones to the umask
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
