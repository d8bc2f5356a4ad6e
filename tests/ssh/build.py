"""Machines to reach: real SSH servers on free loopback ports, a key of the tests' own, and a clock in a hurry."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import asyncssh

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import FirewallRule, FirewallRules, Gpu
from brevplan.engine.reach import Door
from brevplan.simcloud.ssh import MachineShells

H100 = Gpu(name="H100", count=2, memory=Bytes(80, "GB"))


class Clock:
    """Real time, `haste` times as fast: what waits a second waits a fraction of it."""

    def __init__(self, haste: float = 1.0) -> None:
        self._haste = haste

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() * self._haste

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._haste)


def new_key(name: str = "own") -> asyncssh.SSHKey:
    """Give the key of a name, the same each time."""
    return _key(name)


@lru_cache
def _key(name: str) -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519", comment=name)


def public_line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode().strip()


def key_file(folder: Path, name: str = "own") -> Path:
    path = folder / f"key-{name}"
    if not path.exists():
        path.touch(mode=0o600)
        new_key(name).write_private_key(path)
    return path


@dataclass(frozen=True)
class Machine:
    shells: MachineShells
    home: Path
    door: Door

    def calls(self) -> list[str]:
        return (self.home / "calls.log").read_text().splitlines()

    def forget_calls(self) -> None:
        (self.home / "calls.log").write_text("")

    def ufw_rules(self) -> list[str]:
        return [line.partition(" comment ")[0] for line in (self.home / "etc/ufw/user.rules").read_text().splitlines()]

    def firewall_files(self) -> dict[str, str]:
        names = ("etc/ufw/user.rules", "etc/ufw/ufw.conf", "etc/default/ufw", "firewall/iptables", "firewall/ip6tables")
        return {name: (self.home / name).read_text() for name in names}


@asynccontextmanager
async def machine(folder: Path, *, gpus: Sequence[Gpu] = (H100,), user: str = "ubuntu") -> AsyncIterator[Machine]:
    shells = MachineShells(folder / "machines")
    try:
        host, port = await shells.open("i-1", public_line(new_key()), gpus)
        yield Machine(shells, shells.home("i-1"), Door(host, port, user, str(key_file(folder))))
    finally:
        await shells.aclose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rule(low: int, high: int | None = None, *ranges: str, protocol: str = "") -> FirewallRule:
    return FirewallRule(from_port=low, to_port=high or low, ip_ranges=ranges, protocol=protocol)


def rules(*ingress: FirewallRule, egress: tuple[FirewallRule, ...] | None = None) -> FirewallRules:
    return FirewallRules(ingress=ingress, egress=egress)
