"""What is needed of a machine's shell: waiting until it answers, looking at its GPUs, its firewall, its keys.

A port and its values; `brevplan.ssh` implements it.

    ReachError                the text is for a person and holds no secret
    ├── Unreachable           nobody answers yet: refused, timeout, reset, not booted
    ├── AuthRefused           the key is not accepted, or not yet: a booting machine may not have written it
    ├── HostKeyChanged        another machine answers than at first contact; final
    ├── MachineGone           whoever watches the machine says that it will not come any more
    └── CommandFailed         a command ran there and failed
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from brevplan.contract.model import FirewallRules


@dataclass(frozen=True, slots=True)
class Door:
    """Where and how a machine is reached."""

    host: str
    port: int
    user: str
    private_key_file: str = ""
    """Empty: the SSH agent, then the user's default keys."""
    host_key: str = ""
    """The OpenSSH one-line public key kept from first contact; empty at first contact."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """One GPU as the machine's driver names it."""

    name: str
    memory_mib: int


class ReachError(Exception):
    """A machine could not be reached, or not be brought to what was asked."""

    retryable = False


class Unreachable(ReachError):
    retryable = True


class AuthRefused(ReachError):
    retryable = True


class HostKeyChanged(ReachError):
    pass


class MachineGone(ReachError):
    pass


class CommandFailed(ReachError):
    """`exit_status` as the machine gave it, -1 when a signal ended the command."""

    def __init__(self, message: str, exit_status: int, stderr: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.stderr = stderr


class Reach(Protocol):
    """How a machine is reached; each call connects anew."""

    async def ready(
        self,
        door: Door,
        *,
        timeout: float,
        progress: Callable[[str], None],
        gone: Callable[[], Awaitable[str]] | None = None,
    ) -> str:
        """Wait until a command runs there, and give the host key; raise `ReachError` after `timeout` seconds.

        `progress` hears each new reason for waiting. `gone` is asked every 5 seconds and gives a reason to end
        early, or an empty text.
        """
        ...

    async def gpus(self, door: Door) -> list[FoundGpu]:
        """Give the GPUs that the driver shows; none at all where it shows none, for whatever reason."""
        ...

    async def set_firewall(self, door: Door, rules: FirewallRules) -> None:
        """Make the rules of the machine exactly these, in place; the same rules again change nothing.

        When the machine can no longer be reached under the new rules it goes back to the former ones by itself, and
        this raises.
        """
        ...

    async def set_authorized_keys(self, door: Door, keys: Sequence[str]) -> None:
        """Make the further keys of the user exactly these; keys that others put there stay."""
        ...
