"""The guards that can be taken away, one at a time, to see that the auditor notices."""

from __future__ import annotations

from enum import StrEnum


class Guard(StrEnum):
    """One thing that keeps machines from being lost or bought twice. The simulation can go without it; nobody else."""

    WRITE_AHEAD = "write-ahead"
    """The intent that is durable before its launch request leaves."""
    CONFIRMING_GET = "confirming get"
    """The get that is asked before the absence of a machine from a list is believed."""
    GRACE_WINDOW = "grace window"
    """The time over which an unanswered launch is looked for."""
    FENCE = "fence"
    """What keeps a late launch from landing once its attempt is given up."""
    EPOCH = "epoch"
    """What stops a run whose lock was taken away from writing."""
    FINGERPRINT = "account fingerprint"
    """What tells one account from another behind the same provider block."""
    FSYNC = "fsync"
    """What makes a commit survive a power cut."""
