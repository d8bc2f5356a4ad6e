"""The arguments with which the user's own OpenSSH client reaches a machine, the kept host key checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from brevplan.engine.reach import Door
from brevplan.ssh.door import check_door, known_hosts_line
from brevplan.ssh.private_file import write_private


def ssh_arguments(door: Door, command: Sequence[str], known_hosts_file: Path) -> list[str]:
    """Give the program and its arguments; write the kept host key into `known_hosts_file`, mode 0600.

    Without a kept key the one that answers is taken and written there. `command` is what OpenSSH makes of it: its
    words, joined by spaces, for the shell of the machine.
    """
    check_door(door)
    if door.host_key:
        write_private(known_hosts_file, known_hosts_line(door).encode())
    options = [
        f"StrictHostKeyChecking={'yes' if door.host_key else 'accept-new'}",
        f"UserKnownHostsFile={config_value(str(known_hosts_file))}",
        "GlobalKnownHostsFile=/dev/null",
        "CheckHostIP=no",
        "UpdateHostKeys=no",
    ]
    if door.private_key_file:
        key = os.path.expanduser(door.private_key_file)
        options += [f"IdentityFile={config_value(key)}", "IdentitiesOnly=yes"]
    chosen = [part for option in options for part in ("-o", option)]
    return ["ssh", *chosen, "-p", str(door.port), "-l", door.user, "--", door.host, *command]


def config_value(text: str) -> str:
    """Write a file name as OpenSSH's configuration takes it: quoted, and without its own signs for host and user."""
    return '"' + text.replace("%", "%%") + '"'
