"""The machines of a project in the user's own SSH configuration.

brevplan writes files of its own below `~/.ssh/brevplan` and one line at the top of `~/.ssh/config` that includes them.
At the top, because further down the line would belong to the last `Host` block before it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from brevplan.engine.reach import Door, ReachError
from brevplan.ssh.command import config_value
from brevplan.ssh.door import check_door, known_hosts_line
from brevplan.ssh.private_file import write_private

FOLDER: Final = "brevplan"
INCLUDE: Final = b"Include brevplan/*.conf"

_PROJECT: Final = re.compile(r"[a-z0-9-]+\Z")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._\[\]-]+\Z")
_BLOCK: Final = re.compile(rb"\s*(host|match)[\s=]", re.IGNORECASE)


def write_config(ssh_folder: Path, project: str, machines: Sequence[tuple[str, Door]]) -> Path:
    """Write one `Host` entry for each address of a project, and see to the line that includes them; give the file.

    `ssh_folder` is the user's `~/.ssh`. The same machines again change nothing, none at all leave an empty file.
    """
    if not _PROJECT.match(project):
        raise ReachError(f"{project!r} is not a project's name: lower-case letters, digits and - are")
    folder = ssh_folder / FOLDER
    for _, door in machines:
        check_door(door)
    known_hosts = folder / f"{project}.known_hosts"
    keys = "".join(sorted({known_hosts_line(door) for _, door in machines if door.host_key}))
    write_private(known_hosts, keys.encode())
    file = folder / f"{project}.conf"
    write_private(file, _entries(machines, known_hosts).encode())
    _include(ssh_folder / "config")
    return file


def _entries(machines: Iterable[tuple[str, Door]], known_hosts: Path) -> str:
    taken: set[str] = set()
    parts = ["# Written by brevplan ssh-config; changes are overwritten.\n"]
    for address, door in sorted(machines, key=lambda machine: machine[0]):
        parts.append("\n".join(_entry(_names(address, taken), door, known_hosts)) + "\n")
    return "\n".join(parts)


def _entry(names: Sequence[str], door: Door, known_hosts: Path) -> Iterator[str]:
    yield f"Host {' '.join(names)}"
    yield f"    HostName {door.host}"
    yield f"    Port {door.port}"
    yield f"    User {door.user}"
    if door.private_key_file:
        yield f"    IdentityFile {config_value(os.path.expanduser(door.private_key_file))}"
        yield "    IdentitiesOnly yes"
    yield f"    UserKnownHostsFile {config_value(str(known_hosts))}"
    yield f"    StrictHostKeyChecking {'yes' if door.host_key else 'accept-new'}"
    yield "    CheckHostIP no"
    yield "    UpdateHostKeys no"


def _names(address: str, taken: set[str]) -> list[str]:
    """Give the names of a machine: its address, where SSH can take it, and one without brackets and quotes."""
    plain = re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._-]+", "-", address)).strip("-.") or "machine"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    names = [address, name] if _PLAIN.match(address) and address not in (name, *taken) else [name]
    taken.update(names)
    return names


def _include(config: Path) -> None:
    """Put the line at the top of the user's own configuration, unless it stands before the first block already."""
    target = Path(os.path.realpath(config))
    try:
        content = target.read_bytes()
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        content, mode = b"", 0o600
    for line in content.splitlines():
        if _BLOCK.match(line):
            break
        if line.strip() == INCLUDE:
            return
    write_private(target, INCLUDE + b"\n" + (b"\n" + content if content else b""), mode=mode)
