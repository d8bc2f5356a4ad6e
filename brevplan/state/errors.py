"""What can be wrong with a state file. Each carries what to do next; nothing was changed when one is raised.

StateError
├── StateForeign     the file is not ours, as far as can be told
│   └── StateOfAnotherProgram  it is a sound SQLite file without our tables
├── StateTooNew      a newer brevplan wrote it
├── StateDamaged     SQLite cannot read it
├── StateUnusable    it cannot be opened or written: permissions, disk full, I/O
└── StateLocked      somebody else is applying
"""

from __future__ import annotations


class StateError(Exception):
    summary = "State cannot be used"
    can_be_rebuilt = False
    """Whether the file may be put aside, and its content be restored from configuration and cloud."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class StateForeign(StateError):
    summary = "Not a brevplan state"
    can_be_rebuilt = True


class StateOfAnotherProgram(StateForeign):
    can_be_rebuilt = False


class StateTooNew(StateError):
    summary = "State written by a newer version"


class StateDamaged(StateError):
    summary = "State is damaged"
    can_be_rebuilt = True


class StateUnusable(StateError):
    summary = "State cannot be used"


class StateLocked(StateError):
    summary = "State is locked"
