"""What can be wrong with a state file. Each carries what to do next; nothing was changed when one is raised.

StateError
├── StateForeign     the file is not ours
├── StateTooNew      a newer brevplan wrote it
├── StateDamaged     SQLite cannot read it
├── StateUnusable    it cannot be opened or written: permissions, disk full, I/O
└── StateLocked      somebody else is applying
"""

from __future__ import annotations


class StateError(Exception):
    summary = "State cannot be used"

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class StateForeign(StateError):
    summary = "Not a brevplan state"


class StateTooNew(StateError):
    summary = "State written by a newer version"


class StateDamaged(StateError):
    summary = "State is damaged"


class StateUnusable(StateError):
    summary = "State cannot be used"


class StateLocked(StateError):
    summary = "State is locked"
