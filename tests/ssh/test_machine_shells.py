"""The shells of simulated machines: who gets in, what stays, and what ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.engine.reach import AuthRefused, Door, Unreachable
from brevplan.simcloud.ssh import MachineShells
from brevplan.ssh.connection import connected, run_command
from brevplan.ssh.reach import SshReach
from tests.ssh.build import Clock, key_file, machine, new_key, public_line

REACH = SshReach(Clock(haste=20))


def quiet(_: str) -> None:
    pass


def test_each_machine_keeps_its_own_host_key_and_lets_its_own_key_in(tmp_path: Path) -> None:
    async def run() -> None:
        shells = MachineShells(tmp_path / "machines")
        doors = {}
        for name in ("one", "two"):
            where = await shells.open(name, public_line(new_key(name)), ())
            assert await shells.open(name, public_line(new_key("other")), ()) == where
            doors[name] = Door(*where, "anybody", str(key_file(tmp_path, name)))
        keys = {name: await REACH.ready(door, timeout=20, progress=quiet) for name, door in doors.items()}
        assert keys["one"] != keys["two"]
        wrong = replace(doors["one"], private_key_file=doors["two"].private_key_file)
        with pytest.raises(AuthRefused):
            await REACH.ready(wrong, timeout=3, progress=quiet)
        await shells.close("one")
        await shells.close("one")
        with pytest.raises(Unreachable):
            await REACH.ready(doors["one"], timeout=3, progress=quiet)
        where = await shells.open("one", "", ())
        again = Door(*where, "anybody", doors["one"].private_key_file)
        assert await REACH.ready(again, timeout=20, progress=quiet) == keys["one"]
        await shells.aclose()

    asyncio.run(run())


def test_commands_run_in_the_machine_s_folder_and_end_with_their_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            answer = await run_command(there.door, "pwd; echo $HOME; command -v ufw", clock=Clock(), limit_s=10)
            assert answer.stdout.splitlines() == [str(there.home), str(there.home), str(there.home / "bin/ufw")]
            async with connected(there.door) as connection:
                process = await connection.create_process("echo runs; sleep 60; touch survived")
                assert await process.stdout.readline() == "runs\n"
            await there.shells.close("i-1")  # waits for its commands, and would wait a minute
            assert not (there.home / "survived").exists()

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\nb", "-x"])
def test_an_id_that_would_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the id of a simulated machine"):
        MachineShells(tmp_path).home(name)
