"""What `-var` and `-var-file` gave, before anything is read or evaluated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """`-var` (`is_file` false, `NAME=VALUE`) or `-var-file` (a path)."""

    text: str
    is_file: bool = False
