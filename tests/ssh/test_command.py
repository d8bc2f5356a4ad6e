"""The user's own OpenSSH client: its arguments, and its configuration files, judged by the client itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.engine.reach import Door, ReachError
from brevplan.ssh.command import ssh_arguments
from brevplan.ssh.config_file import write_config
from tests.ssh.build import Clock, machine, new_key, public_line

SSH = shutil.which("ssh")
needs_ssh = pytest.mark.skipif(SSH is None, reason="there is no OpenSSH client here")
HOST_KEY = " ".join(public_line(new_key("host")).split()[:2])


async def run_ssh(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


@needs_ssh
def test_the_client_gets_in_with_the_kept_host_key_and_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        from brevplan.ssh.reach import SshReach

        async with machine(tmp_path) as there:
            kept = await SshReach(Clock()).ready(there.door, timeout=20, progress=lambda _: None)
            known = tmp_path / "a folder" / "known%h"
            door = replace(there.door, host_key=kept)
            arguments = ssh_arguments(door, ["echo", "$HOME;", "exit", "7"], known)
            status, out, _ = await run_ssh(*arguments)
            assert (status, out) == (7, f"{there.home}\n")
            assert known.stat().st_mode & 0o777 == 0o600
            status, out, err = await run_ssh(*ssh_arguments(replace(door, host_key=HOST_KEY), ["echo", "in"], known))
            assert (status, out) == (255, "")
            assert "host key" in err.lower()

    asyncio.run(run())


def test_the_arguments_name_key_port_user_and_end_the_options_before_the_host(tmp_path: Path) -> None:
    door = Door("198.51.100.7", 2222, "ubuntu", "/keys/mine", HOST_KEY)
    arguments = ssh_arguments(door, ["nvidia-smi", "-L"], tmp_path / "known")
    assert arguments[0] == "ssh"
    assert arguments[arguments.index("-p") :] == [
        *("-p", "2222", "-l", "ubuntu", "--", "198.51.100.7", "nvidia-smi", "-L"),
    ]
    assert "StrictHostKeyChecking=yes" in arguments
    assert 'IdentityFile="/keys/mine"' in arguments
    assert (tmp_path / "known").read_text() == f"[198.51.100.7]:2222 {HOST_KEY}\n"


def test_without_a_kept_host_key_the_first_one_is_taken(tmp_path: Path) -> None:
    arguments = ssh_arguments(Door("198.51.100.7", 22, "ubuntu"), [], tmp_path / "known")
    assert "StrictHostKeyChecking=accept-new" in arguments
    assert arguments[-1] == "198.51.100.7"
    assert not (tmp_path / "known").exists()


def test_a_host_that_would_be_an_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReachError):
        ssh_arguments(Door("-oProxyCommand=id", 22, "ubuntu"), [], tmp_path / "known")


# The configuration file

DOOR = Door("198.51.100.7", 2222, "ubuntu", "~/keys/my key", HOST_KEY)


def as_seen(config: Path, name: str) -> dict[str, str]:
    """Ask the client what it makes of a configuration."""
    assert SSH is not None
    done = subprocess.run([SSH, "-G", "-F", config, name], capture_output=True, text=True, timeout=30, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@needs_ssh
def test_each_machine_has_an_entry_under_its_address_and_a_plain_name(tmp_path: Path) -> None:
    other = replace(DOOR, host="2001:db8::1", port=22, private_key_file="", host_key="")
    machines = [("instance.trainer[0]", DOOR), ('instance.w["a b"]', other)]
    file = write_config(tmp_path / ".ssh", "acme-x7", machines)
    for name in ("instance.trainer[0]", "instance.trainer-0"):
        seen = as_seen(file, name)
        assert (seen["hostname"], seen["port"], seen["user"]) == ("198.51.100.7", "2222", "ubuntu")
        assert seen["stricthostkeychecking"] in ("true", "yes")
        assert seen["identityfile"].endswith("/keys/my key")
    assert as_seen(file, "instance.w-a-b")["hostname"] == "2001:db8::1"
    known = tmp_path / ".ssh/brevplan/acme-x7.known_hosts"
    assert known.read_text() == f"[198.51.100.7]:2222 {HOST_KEY}\n"
    assert {path.stat().st_mode & 0o777 for path in (file, known, tmp_path / ".ssh/config")} == {0o600}
    assert (tmp_path / ".ssh").stat().st_mode & 0o777 == 0o700


def test_names_that_come_out_alike_are_numbered(tmp_path: Path) -> None:
    machines = [('instance.w["a b"]', DOOR), ('instance.w["a-b"]', DOOR)]
    hosts = [
        line for line in write_config(tmp_path, "acme", machines).read_text().splitlines() if line.startswith("Host ")
    ]
    assert hosts == ["Host instance.w-a-b", "Host instance.w-a-b-2"]


def test_one_line_goes_to_the_top_of_the_own_configuration_and_nothing_else_changes(tmp_path: Path) -> None:
    config = tmp_path / "config"
    own = b"# mine \xff\r\nHost *\n    User me\n"
    config.write_bytes(own)
    config.chmod(0o640)
    write_config(tmp_path, "acme", [("instance.a", DOOR)])
    once = config.read_bytes()
    assert once == b"Include brevplan/*.conf\n\n" + own
    assert config.stat().st_mode & 0o777 == 0o640
    written = config.stat().st_ino
    write_config(tmp_path, "other", [("instance.a", DOOR)])
    assert (config.read_bytes(), config.stat().st_ino) == (once, written)


def test_an_include_below_a_host_block_does_not_count(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"Host mine\n    Port 22\nInclude brevplan/*.conf\n")
    write_config(tmp_path, "acme", [])
    assert config.read_bytes().startswith(b"Include brevplan/*.conf\n\nHost mine\n")


def test_a_linked_configuration_stays_linked(tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles"
    elsewhere.write_text("Host *\n")
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "config").symlink_to(elsewhere)
    write_config(folder, "acme", [])
    assert (folder / "config").is_symlink()
    assert elsewhere.read_text() == "Include brevplan/*.conf\n\nHost *\n"


@pytest.mark.parametrize(
    ("project", "door"),
    [
        ("../../etc", DOOR),
        ("acme", replace(DOOR, host="a\nProxyCommand id")),
        ("acme", replace(DOOR, user="me\n    ProxyCommand id")),
        ("acme", replace(DOOR, private_key_file='k"\n    ProxyCommand id')),
        ("acme", replace(DOOR, host_key="ssh-ed25519 AAAA\n* ssh-rsa AAAA")),
    ],
)
def test_what_would_write_more_than_an_entry_is_refused_and_nothing_written(
    tmp_path: Path, project: str, door: Door
) -> None:
    with pytest.raises(ReachError):
        write_config(tmp_path / ".ssh", project, [("instance.a", door)])
    assert not (tmp_path / ".ssh").exists()
