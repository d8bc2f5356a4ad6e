"""Further keys of a machine's user: a marked block, and nothing outside it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.engine.reach import AuthRefused
from brevplan.ssh.authorized_keys import authorized_keys_script
from brevplan.ssh.reach import SshReach
from tests.ssh.build import Clock, key_file, machine, new_key, public_line


def test_a_further_key_gets_in_and_the_injected_one_stays(tmp_path: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock(haste=20))
        async with machine(tmp_path) as there:
            file = there.home / ".ssh/authorized_keys"
            before = file.read_text()
            friend = replace(there.door, private_key_file=str(key_file(tmp_path, "friend")))
            await reach.set_authorized_keys(there.door, [public_line(new_key("friend"))])
            once = file.read_text()
            assert once.startswith(before)
            assert file.stat().st_mode & 0o777 == 0o600
            written = file.stat().st_ino
            await reach.set_authorized_keys(friend, [public_line(new_key("friend"))])
            assert (file.read_text(), file.stat().st_ino) == (once, written)
            await reach.set_authorized_keys(there.door, [])
            assert file.read_text() == before
            with pytest.raises(AuthRefused):
                await reach.ready(friend, timeout=3, progress=lambda _: None)

    asyncio.run(run())


def test_lines_written_by_hand_stay_around_the_block(tmp_path: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock())
        async with machine(tmp_path) as there:
            file = there.home / ".ssh/authorized_keys"
            own = file.read_text()
            await reach.set_authorized_keys(there.door, [public_line(new_key("one"))])
            file.write_text(file.read_text() + "# by hand, and no line break")
            await reach.set_authorized_keys(there.door, [public_line(new_key("two"))])
            expected = [
                "# by hand, and no line break",
                "# brevplan: begin",
                public_line(new_key("two")),
                "# brevplan: end",
            ]
            assert file.read_text().splitlines() == [*own.splitlines(), *expected]

    asyncio.run(run())


def test_a_block_whose_end_was_cut_keeps_its_lines(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            file = there.home / ".ssh/authorized_keys"
            own = file.read_text()
            file.write_text(f"# brevplan: begin\n{own}")
            await SshReach(Clock()).set_authorized_keys(there.door, [])
            assert file.read_text() == own

    asyncio.run(run())


def test_a_linked_file_is_changed_where_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            file = there.home / ".ssh/authorized_keys"
            elsewhere = there.home / "keys"
            file.rename(elsewhere)
            file.symlink_to(elsewhere)
            await SshReach(Clock()).set_authorized_keys(there.door, [public_line(new_key("one"))])
            assert file.is_symlink()
            assert public_line(new_key("one")) in elsewhere.read_text()

    asyncio.run(run())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\nBREVPLAN_KEYS\ntouch owned",
        "ssh-ed25519 $(touch owned)AAAAAAAAAAAAAAA",
        'command="sh" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA',
    ],
)
def test_what_is_no_key_on_one_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an OpenSSH public key"):
        authorized_keys_script([text])
