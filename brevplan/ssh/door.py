"""Checks of where a machine is reached, and its line in a known_hosts file. Pure.

A door is made of what a cloud and a state file say, and ends up in files and arguments of the user's own SSH: so
nothing but plain names and addresses passes.
"""

from __future__ import annotations

import re
from typing import Final

from brevplan.engine.reach import Door, ReachError

_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*\Z|::[A-Fa-f0-9:.]*\Z")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*\Z")
_KEY: Final = re.compile(r"([a-z0-9][a-z0-9@.-]*) ([A-Za-z0-9+/]+={0,2})(?: [^\x00-\x1f\x7f]*)?\Z")

DEFAULT_PORT: Final = 22


def check_door(door: Door) -> None:
    """Raise `ReachError` for a door that cannot be one."""
    if not _HOST.match(door.host):
        raise ReachError(f"{door.host!r} is not a host name or an address, so the machine cannot be reached over SSH")
    if not _USER.match(door.user):
        raise ReachError(f"{door.user!r} is not a user name; set ssh {{ user = ... }} to the one to log in as")
    if not 1 <= door.port <= 65535:
        raise ReachError(f"{door.port} is not an SSH port: one from 1 to 65535 is needed")
    if any(character in door.private_key_file for character in '"\n\r\0'):
        raise ReachError("the name of the private key file has a quote or a line break in it; rename the file")
    if door.host_key:
        bare_key(door.host_key)


def bare_key(line: str) -> str:
    """Give type and key of a one-line OpenSSH public key, its comment left out; raise `ReachError` for another text."""
    found = _KEY.match(line.strip())
    if found is None:
        raise ReachError("a kept host key is not an OpenSSH public key on one line; the state has been altered")
    return f"{found[1]} {found[2]}"


def known_hosts_line(door: Door) -> str:
    """Write the line that makes OpenSSH trust the kept host key at this door, and no other."""
    host = door.host if door.port == DEFAULT_PORT else f"[{door.host}]:{door.port}"
    return f"{host} {bare_key(door.host_key)}\n"
