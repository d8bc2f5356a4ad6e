"""Waiting for a machine's SSH, against real servers: what is waited through, what ends it, and the host key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from brevplan.contract.errors import Unavailable
from brevplan.engine.reach import (
    AuthRefused,
    CommandFailed,
    Door,
    HostKeyChanged,
    MachineGone,
    ReachError,
    Unreachable,
)
from brevplan.simcloud.ssh import MachineShells
from brevplan.ssh.connection import run_command, run_script
from brevplan.ssh.reach import SshReach
from tests.ssh.build import Clock, free_port, key_file, machine, new_key, public_line

QUICK = SshReach(Clock(haste=20))


def quiet(_: str) -> None:
    pass


def test_a_machine_that_answers_gives_its_host_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            key = await QUICK.ready(there.door, timeout=60, progress=quiet)
            kept = asyncssh.read_private_key(there.home / "etc/ssh/host_key")
            assert key == " ".join(public_line(kept).split()[:2])
            assert await QUICK.ready(replace(there.door, host_key=key), timeout=60, progress=quiet) == key

    asyncio.run(run())


def test_a_refused_connection_is_waited_through_and_told_once(tmp_path: Path) -> None:
    async def run() -> None:
        shells = MachineShells(tmp_path)
        port = free_port()
        door = Door("127.0.0.1", port, "ubuntu", str(key_file(tmp_path)))
        said: list[str] = []
        waiting = asyncio.create_task(QUICK.ready(door, timeout=600, progress=said.append))
        await asyncio.sleep(0.3)
        try:
            await shells.open("i-1", public_line(new_key()), (), port=port)
            assert (await waiting).startswith("ssh-ed25519 ")
        finally:
            await shells.aclose()
        assert said == [f"ubuntu@127.0.0.1:{port}: connection refused"]

    asyncio.run(run())


def test_a_refused_key_is_waited_through_until_the_machine_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            accepted = there.home / ".ssh/authorized_keys"
            line = accepted.read_text()
            accepted.write_text("")
            said: list[str] = []
            waiting = asyncio.create_task(QUICK.ready(there.door, timeout=600, progress=said.append))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            accepted.write_text(line)
            assert await waiting
            assert len(said) == 1
            assert "does not accept the key" in said[0]

    asyncio.run(run())


def test_a_key_refused_to_the_end_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            stranger = replace(there.door, private_key_file=str(key_file(tmp_path, "stranger")))
            with pytest.raises(AuthRefused, match=r"no SSH within 10 s.*does not accept the key of .*stranger"):
                await QUICK.ready(stranger, timeout=10, progress=quiet)

    asyncio.run(run())


def test_nobody_there_ends_at_the_timeout(tmp_path: Path) -> None:
    door = Door("127.0.0.1", free_port(), "ubuntu", str(key_file(tmp_path)))
    with pytest.raises(Unreachable, match=r"no SSH within 10 s.*connection refused"):
        asyncio.run(QUICK.ready(door, timeout=10, progress=quiet))


def test_a_server_that_never_speaks_ends_at_the_timeout(tmp_path: Path) -> None:
    async def run() -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        async with server:
            door = Door("127.0.0.1", server.sockets[0].getsockname()[1], "ubuntu", str(key_file(tmp_path)))
            with pytest.raises(Unreachable, match="did not answer"):
                await SshReach(Clock()).ready(door, timeout=0.5, progress=quiet)

    asyncio.run(run())


def test_a_terminal_status_ends_the_wait_early(tmp_path: Path) -> None:
    async def run() -> None:
        answers = iter(["", Unavailable("busy"), "the machine failed"])

        async def gone() -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        door = Door("127.0.0.1", free_port(), "ubuntu", str(key_file(tmp_path)))
        with pytest.raises(MachineGone, match="the machine failed"):
            await QUICK.ready(door, timeout=6000, progress=quiet, gone=gone)

    asyncio.run(run())


def test_advice_in_place_of_a_command_is_not_readiness(tmp_path: Path) -> None:
    async def run() -> None:
        def advise(process: asyncssh.SSHServerProcess[str]) -> None:
            process.stdout.write('Please login as the user "ubuntu" rather than the user "root".\n')
            process.exit(0)

        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[new_key("host")],
            authorized_client_keys=asyncssh.import_authorized_keys(public_line(new_key())),
            process_factory=advise,
        )
        async with server:
            door = Door("127.0.0.1", server.get_port(), "root", str(key_file(tmp_path)))
            with pytest.raises(Unreachable, match="Please login as the user"):
                await QUICK.ready(door, timeout=5, progress=quiet)

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_changed_host_key_is_refused_at_once_and_nothing_is_sent(tmp_path: Path, kind: str) -> None:
    other = asyncssh.generate_private_key(kind).export_public_key("openssh").decode().strip()

    async def run() -> None:
        async with machine(tmp_path) as there:
            door = replace(there.door, host_key=other)
            with pytest.raises(HostKeyChanged, match="another host key"):
                await SshReach(Clock()).ready(door, timeout=600, progress=quiet)
            with pytest.raises(HostKeyChanged):
                await SshReach(Clock()).gpus(door)
            assert there.calls() == []

    asyncio.run(run())


def test_the_exit_status_and_the_last_words_of_a_command_come_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            answer = await run_command(there.door, "echo out; echo err >&2; exit 7", clock=Clock(), limit_s=10)
            assert (answer.exit_status, answer.stdout, answer.stderr) == (7, "out\n", "err\n")
            with pytest.raises(CommandFailed, match="status 3: no such thing") as failed:
                await run_script(there.door, "echo no such thing >&2; exit 3", clock=Clock(), limit_s=10)
            assert failed.value.exit_status == 3

    asyncio.run(run())


def test_a_script_with_root_rights_goes_through_sudo_but_for_root(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            await run_script(there.door, "true", clock=Clock(), limit_s=10, as_root=True)
            assert [line.split()[:3] for line in there.calls()] == [["sudo", "-n", "sh"]]
            there.forget_calls()
            await run_script(replace(there.door, user="root"), "true", clock=Clock(), limit_s=10, as_root=True)
            assert there.calls() == []

    asyncio.run(run())


def test_sudo_that_asks_for_a_password_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            (there.home / "bin/sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
            with pytest.raises(CommandFailed, match="sudo without a password"):
                await run_script(there.door, "true", clock=Clock(), limit_s=10, as_root=True)

    asyncio.run(run())


def test_a_script_cut_off_on_its_way_does_not_run(tmp_path: Path) -> None:
    from brevplan.ssh import connection

    async def run() -> None:
        async with machine(tmp_path) as there:
            answer = await run_command(
                there.door, connection._RUNNER, clock=Clock(), limit_s=10, given="touch cut-off\n"
            )
            assert answer.exit_status == 74
            assert not (there.home / "cut-off").exists()

    asyncio.run(run())


def test_a_command_that_does_not_end_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            with pytest.raises(Unreachable, match="did not end within"):
                await run_command(there.door, "sleep 5", clock=Clock(), limit_s=0.3)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (Door("-oProxyCommand=id", 22, "ubuntu"), "not a host name"),
        (Door("10.0.0.1\nHost *", 22, "ubuntu"), "not a host name"),
        (Door("", 22, "ubuntu"), "not a host name"),
        (Door("10.0.0.1", 22, "-l root"), "not a user name"),
        (Door("10.0.0.1", 0, "ubuntu"), "not an SSH port"),
        (Door("10.0.0.1", 22, "ubuntu", host_key="ssh-ed25519 AAAA\n* ssh-rsa BBBB"), "host key"),
        (Door("10.0.0.1", 22, "ubuntu", "/nowhere/key"), "cannot be read"),
    ],
)
def test_a_door_that_cannot_be_one_is_refused_at_once(door: Door, words: str) -> None:
    with pytest.raises(ReachError, match=words) as refused:
        asyncio.run(SshReach(Clock()).ready(door, timeout=60, progress=quiet))
    assert not refused.value.retryable


def test_a_locked_or_broken_private_key_says_what_to_do(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    new_key().write_private_key(locked, passphrase="words")
    broken = tmp_path / "broken"
    broken.write_text("no key")
    for file, words in ((locked, "ssh-add"), (broken, "not a private key")):
        door = Door("127.0.0.1", free_port(), "ubuntu", str(file))
        with pytest.raises(ReachError, match=words):
            asyncio.run(SshReach(Clock()).ready(door, timeout=60, progress=quiet))
