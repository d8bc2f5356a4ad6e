"""Machines as hosts for the conformance suite: a shell over SSH with a key of this run alone, and TCP connects."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brevplan.contract.client import Clock
from brevplan.contract.conformance.scene import Shell
from brevplan.contract.model import Instance
from brevplan.engine.reach import Door, ReachError

_LONGEST_S: Final = 900.0
"""How long one command may run: the longest installs Kubernetes."""


def new_key(folder: Path) -> tuple[str, Path]:
    """Make a key pair that only this run has; give the public line and the file of the private one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from brevplan.ssh.private_file import write_private

    key = Ed25519PrivateKey.generate()
    path = folder / "id_ed25519"
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{line} brevplan-verify", path


@dataclass(frozen=True, slots=True)
class SshShell:
    door: Door
    clock: Clock

    async def run(self, command: str) -> tuple[int, str]:
        from brevplan.ssh.connection import run_command

        try:
            answer = await run_command(self.door, command, clock=self.clock, limit_s=_LONGEST_S)
        except ReachError as problem:
            raise ConnectionError(str(problem)) from None
        return answer.exit_status, answer.stdout


@dataclass(frozen=True, slots=True)
class SshHosts:
    private_key: Path
    clock: Clock

    def shell(self, machine: Instance) -> Shell:
        door = Door(machine.public_ip, machine.ssh_port, machine.ssh_user, str(self.private_key))
        return SshShell(door, self.clock)

    async def connects(self, host: str, port: int, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True
