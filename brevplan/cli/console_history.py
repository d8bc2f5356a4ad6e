"""What was typed at the console before: a file of its own per user, that no secret gets into.

One expression a line, the newest last. The file is only ever replaced whole, so that two consoles at once cannot mix
their lines; the one that ends last adds its own to what it finds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MAX_ENTRIES: Final = 1000
MAX_LENGTH: Final = 2000
"""Longer lines are pasted data, and nobody looks for them."""


def history_path(environment: Mapping[str, str]) -> Path | None:
    """Give the file by the XDG rules; None for somebody without a home."""
    state = environment.get("XDG_STATE_HOME", "")
    # a relative path has no meaning there, says the specification
    if state and Path(state).is_absolute():
        return Path(state, "brevplan", "console_history")
    home = environment.get("HOME", "")
    return Path(home, ".local", "state", "brevplan", "console_history") if home else None


@dataclass(slots=True)
class History:
    """Entries of earlier runs, and those of this one. A file that cannot be read or written is done without."""

    path: Path | None
    added: list[str] = field(default_factory=list)

    def entries(self) -> list[str]:
        """Give what the file holds, oldest first."""
        if self.path is None:
            return []
        try:
            text = self.path.read_bytes().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.split("\n") if line][-MAX_ENTRIES:]

    def add(self, text: str, *, is_private: bool) -> None:
        """Remember an expression.

        What is private stays out: `sensitive("…")` spells a secret, which would lie in this file long after the
        configuration has forgotten it. What takes several lines stays out too, for a line is an entry.
        """
        is_repeated = bool(self.added) and self.added[-1] == text
        if not is_private and not is_repeated and "\n" not in text and 0 < len(text) <= MAX_LENGTH:
            self.added.append(text)

    def save(self) -> None:
        """Write the file anew: 0600, in a folder that only its owner looks into when it is made here."""
        if self.path is None or not self.added:
            return
        entries = [*self.entries(), *self.added][-MAX_ENTRIES:]
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(partial, "".join(f"{entry}\n" for entry in entries))
        except OSError:
            with suppress(OSError):  # a console without a history is still a console
                partial.unlink()
        self.added.clear()

    def _write(self, partial: Path, text: str) -> None:
        assert self.path is not None
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        partial.replace(self.path)
