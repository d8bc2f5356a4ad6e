"""Machines as hosts of the conformance suite: a real shell over SSH, real connections."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from brevplan.contract.model import CloudId, Instance, LifecycleStatus
from brevplan.operations.hosts import SshHosts, new_key
from brevplan.simcloud.ssh import MachineShells
from tests.ssh.build import Clock, free_port


def machine(port: int) -> Instance:
    return Instance(
        cloud_id=CloudId("i-1"),
        status=LifecycleStatus.RUNNING,
        public_ip="127.0.0.1",
        ssh_user="ubuntu",
        ssh_port=port,
    )


def test_the_key_is_for_its_owner_alone_and_opens_the_machine(tmp_path: Path) -> None:
    public_key, private_key = new_key(tmp_path / "keys")
    assert stat.S_IMODE(private_key.stat().st_mode) == 0o600
    assert public_key.startswith("ssh-ed25519 ")

    async def run() -> None:
        shells = MachineShells(tmp_path / "machines")
        port = free_port()
        try:
            await shells.open("i-1", public_key, (), port=port)
            hosts = SshHosts(private_key, Clock())
            shell = hosts.shell(machine(port))
            assert await shell.run("echo ready") == (0, "ready\n")
            assert (await shell.run("exit 3"))[0] == 3
            assert await hosts.connects("127.0.0.1", port, 5)
        finally:
            await shells.aclose()

    asyncio.run(run())


def test_nobody_there_is_an_os_error_and_no_connection(tmp_path: Path) -> None:
    _, private_key = new_key(tmp_path)
    hosts = SshHosts(private_key, Clock())
    port = free_port()

    async def run() -> None:
        assert not await hosts.connects("127.0.0.1", port, 5)
        with pytest.raises(OSError, match="connection refused"):
            await hosts.shell(machine(port)).run("echo ready")

    asyncio.run(run())
