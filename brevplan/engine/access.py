"""How one machine is reached: what its declaration says, and the way there once it has an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from brevplan.contract.model import FirewallRules, Instance
from brevplan.engine.reach import Door, FoundGpu, Reach


@dataclass(frozen=True, slots=True)
class Access:
    """How the declaration of a machine wants it reached over SSH. What is empty is what the provider reports."""

    user: str = ""
    port: int = 0
    private_key_file: str = ""
    timeout_s: float = 600.0
    verify_gpu: bool = False
    replaces_unhealthy: bool = False

    def door(self, machine: Instance, host_key: str = "") -> Door:
        """Give the way to a machine; `host_key` is the one kept from first contact."""
        return Door(
            machine.public_ip,
            self.port or machine.ssh_port,
            self.user or machine.ssh_user,
            self.private_key_file,
            host_key or machine.host_key,
        )


def within(access: Access, directory: str) -> Access:
    """Let a relative private key file be one of the project's folder."""
    path = access.private_key_file
    if not path or path.startswith(("/", "~")):
        return access
    return replace(access, private_key_file=f"{directory}/{path}")


@dataclass(frozen=True, slots=True)
class Shell:
    """One machine's own hands: what can be changed on it over SSH. Every method raises `ReachError`."""

    reach: Reach
    door: Door

    async def gpus(self) -> list[FoundGpu]:
        return await self.reach.gpus(self.door)

    async def set_firewall(self, rules: FirewallRules) -> None:
        await self.reach.set_firewall(self.door, rules)

    async def set_authorized_keys(self, keys: Sequence[str]) -> None:
        await self.reach.set_authorized_keys(self.door, keys)
