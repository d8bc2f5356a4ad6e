"""Against a real OpenSSH server, with a configuration, port and host keys of its own.

It is looked for in $BREVPLAN_SSHD, in PATH and in /usr/sbin. Run by root it wants a user and a folder that a computer
without it lacks: those it is shown in a mount namespace of its own, so that nothing of the computer changes.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from brevplan.contract.model import Gpu
from brevplan.engine.health import judge
from brevplan.engine.reach import CommandFailed, Door, HostKeyChanged
from brevplan.simcloud.ssh import MachineShells
from brevplan.ssh.connection import run_command, run_script
from brevplan.ssh.reach import SshReach
from tests.ssh.build import H100, Clock, free_port, key_file, new_key, public_line, rule, rules

SSHD = os.environ.get("BREVPLAN_SSHD") or shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
USER = pwd.getpwuid(os.geteuid()).pw_name

_IN_A_NAMESPACE = 'mount --bind "$0" /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'


def environment() -> dict[str, str]:
    assert SSHD is not None
    beside = ":".join(str(folder) for folder in (Path(SSHD).parents[1] / "lib").glob("*-linux-gnu"))
    return {**os.environ, "LD_LIBRARY_PATH": beside} if "BREVPLAN_SSHD" in os.environ else dict(os.environ)


def command(folder: Path, *arguments: str) -> list[str]:
    assert SSHD is not None
    if os.geteuid() != 0:
        return [SSHD, *arguments]
    users = folder / "passwd"
    users.write_text(f"root:x:0:0::{folder}:/bin/sh\nsshd:x:64999:65534::/run/sshd:/bin/false\n")
    return ["unshare", "-m", "/bin/sh", "-c", _IN_A_NAMESPACE, str(users), SSHD, *arguments]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the server's configuration, and skip where it cannot be run here."""
    if SSHD is None:
        pytest.skip("there is no sshd here: install openssh-server, or name one in $BREVPLAN_SSHD")
    asyncio.run(_furnish(tmp_path))
    home = tmp_path / "machines/i-1"
    for kind in ("ed25519", "ecdsa"):
        name = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256"}[kind]
        file = tmp_path / f"host-{kind}"
        file.touch(mode=0o600)
        asyncssh.generate_private_key(name).write_private_key(file)
    set_env = f"HOME={home} BREVPLAN_ROOT={home} PATH={home}/bin:{os.environ['PATH']}"
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {free_port()}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host-ed25519\nHostKey {tmp_path}/host-ecdsa\n"
        f"UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n"
        f"AuthorizedKeysFile {home}/.ssh/authorized_keys\nSetEnv {set_env}\n"
    )
    tried = subprocess.run(
        command(tmp_path, "-t", "-f", str(config)), env=environment(), capture_output=True, text=True, timeout=30
    )
    if tried.returncode != 0:
        pytest.skip(f"sshd cannot be run here: {tried.stderr.strip()[:200]}")
    return config


async def _furnish(folder: Path) -> None:
    shells = MachineShells(folder / "machines")
    await shells.open("i-1", public_line(new_key()), [H100])
    await shells.aclose()


@asynccontextmanager
async def server(config: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command(config.parent, "-D", "-e", "-f", str(config)),
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


def door(config: Path) -> Door:
    port = int(config.read_text().split()[1])
    return Door("127.0.0.1", port, USER, str(key_file(config.parent)))


def host_key(config: Path, kind: str) -> str:
    return " ".join(public_line(asyncssh.read_private_key(config.parent / f"host-{kind}")).split()[:2])


def test_it_is_waited_for_until_it_is_up_and_knows_the_key(config: Path) -> None:
    async def run() -> None:
        accepted = config.parent / "machines/i-1/.ssh/authorized_keys"
        line = accepted.read_text()
        accepted.write_text("")
        said: list[str] = []
        reach = SshReach(Clock(haste=5))
        waiting = asyncio.create_task(reach.ready(door(config), timeout=200, progress=said.append))
        await asyncio.sleep(0.3)
        async with server(config):
            await asyncio.sleep(1)
            accepted.write_text(line)
            assert await waiting == host_key(config, "ed25519")
        assert "connection refused" in said[0]
        assert "does not accept the key" in said[-1]

    asyncio.run(run())


def test_a_kept_host_key_of_any_kind_is_checked(config: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock(haste=5))
        async with server(config):
            for kind in ("ed25519", "ecdsa"):
                known = replace(door(config), host_key=host_key(config, kind))
                assert await reach.ready(known, timeout=50, progress=lambda _: None) == known.host_key
            changed = replace(door(config), host_key=" ".join(public_line(new_key("other")).split()[:2]))
            with pytest.raises(HostKeyChanged):
                await reach.ready(changed, timeout=50, progress=lambda _: None)

    asyncio.run(run())


def test_commands_gpus_keys_and_firewall(config: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock(haste=5))
        home = config.parent / "machines/i-1"
        async with server(config):
            there = door(config)
            await reach.ready(there, timeout=50, progress=lambda _: None)
            answer = await run_command(there, "cat; echo err >&2; exit 7", clock=Clock(), limit_s=10, given="given")
            assert (answer.exit_status, answer.stdout, answer.stderr) == (7, "given", "err\n")
            with pytest.raises(CommandFailed, match="status 3"):
                await run_script(there, "exit 3", clock=Clock(), limit_s=10)
            assert judge(await reach.gpus(there), [H100]) == ""
            assert judge(await reach.gpus(there), [Gpu(name="A100", count=2, memory=H100.memory)]) != ""
            await reach.set_authorized_keys(there, [public_line(new_key("friend"))])
            friend = replace(there, private_key_file=str(key_file(config.parent, "friend")))
            await SshReach(Clock()).set_firewall(friend, rules(rule(443)))
            first = (home / "etc/ufw/user.rules").read_text()
            assert [line.partition(" comment")[0] for line in first.splitlines()] == [
                "allow 22/tcp",
                f"allow {there.port}/tcp",
                "allow 443",
            ]
            await SshReach(Clock()).set_firewall(friend, rules(rule(443)))
            assert (home / "etc/ufw/user.rules").read_text() == first

    asyncio.run(run())
