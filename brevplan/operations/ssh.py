"""`brevplan ssh` and `ssh-config`: the way to recorded machines, by the state and the `ssh` blocks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brevplan.diagnostics import Diagnostics, DiagnosticsError, failure
from brevplan.engine.access import Access, within
from brevplan.engine.address import path_names
from brevplan.engine.desired import evaluate
from brevplan.engine.expand import expand
from brevplan.engine.ports import Record, Role
from brevplan.engine.reach import Door, ReachError
from brevplan.engine.scope import InstanceScope, ModuleScope, repetition_names
from brevplan.kinds.instance import InstanceKind
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request
from brevplan.operations.project import Project, load_project
from brevplan.operations.recalled import recalled_scope
from brevplan.operations.stored import Stored, choose, read


@dataclass(frozen=True, slots=True)
class Written:
    """What `ssh-config` wrote: the file, and the addresses in it."""

    path: Path
    addresses: list[str]


def ssh_command(directory: Path, text: str, command: Sequence[str], request: Request, data: Path) -> list[str]:
    """Give the program and arguments that lead to a machine; raise `DiagnosticsError`.

    `data` is the project's folder for what can be lost: the kept host key is written there for OpenSSH to check.
    """
    from brevplan.ssh.command import ssh_arguments

    stored = read(directory, request)
    (record,) = choose(stored, text)
    door = _doors(directory, stored, [record], request).get(str(record.address))
    if door is None:
        raise failure("No way to the machine", f"{record.address} has no address that is known.",
                      hint="brevplan apply waits for it; brevplan state show shows what is known.")  # fmt: skip
    known_hosts = data / "known_hosts" / re.sub(r"[^A-Za-z0-9._-]+", "-", record.key)
    try:
        return ssh_arguments(door, command, known_hosts)
    except (ReachError, OSError) as problem:
        raise failure("No way to the machine", f"{record.address}: {problem}.") from None


def write_ssh_config(directory: Path, request: Request) -> Written:
    """Write the machines of the workspace into the user's SSH configuration; raise `DiagnosticsError`."""
    from brevplan.ssh.config_file import write_config

    home = request.environment.get("HOME", "")
    if not os.path.isabs(home):
        raise failure("No home", "HOME does not say where the user's SSH configuration lies.")
    stored = read(directory, request)
    current = [record for record in stored.records if record.role is Role.CURRENT and record.cloud_id]
    doors = _doors(directory, stored, current, request)
    try:
        path = write_config(Path(home, ".ssh"), _project_name(directory, stored, request), sorted(doors.items()))
    except (ReachError, OSError) as problem:
        raise failure("SSH configuration cannot be written", f"{problem}.") from None
    return Written(path, sorted(doors))


def _project_name(directory: Path, stored: Stored, request: Request) -> str:
    project = _project(directory, request)
    name = project.config.settings.project if project is not None else ""
    name = name or re.sub(r"[^a-z0-9-]+", "-", directory.absolute().name.lower()).strip("-") or "project"
    return name if stored.workspace == "default" else f"{name}-{stored.workspace.lower().replace('_', '-')}"


def _doors(directory: Path, stored: Stored, records: Sequence[Record], request: Request) -> dict[str, Door]:
    """Give the way to each machine that has an address, by its address in the configuration."""
    project = _project(directory, request)
    scope = recalled_scope(project, request, stored, Diagnostics(), offline=True) if project is not None else None
    found = {}
    for record in records:
        attributes = record.attributes
        host = _text(attributes, "public_ip")
        if not host:
            continue
        access = _access(project, scope, record) if project is not None and scope is not None else None
        access = within(access or Access(), str(directory))
        port = attributes.get("ssh_port")
        found[str(record.address)] = Door(
            host,
            access.port or (port if isinstance(port, int) else 22),
            access.user or _text(attributes, "ssh_user") or "root",
            access.private_key_file,
            _text(attributes, "host_key"),
        )
    return found


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""


def _project(directory: Path, request: Request) -> Project | None:
    """Load the configuration; with mistakes in it, the state alone shows the way."""
    try:
        return load_project(directory, cache=parse_cache(request.environment))
    except DiagnosticsError:
        return None


def _access(project: Project, root: ModuleScope, record: Record) -> Access | None:
    """Read the `ssh` block of a recorded machine, where it is still declared."""
    address = record.address
    declaration = project.config.declaration(address)
    scopes = root.board.instances(path_names(address.module))
    scope = next((item for item in scopes if item.path == address.module), None)
    if declaration is None or scope is None or not declaration.blocks:
        return None
    kind, quiet = InstanceKind(), Diagnostics()
    expansion = expand(declaration, scope, quiet)
    for key, each in expansion.instances if expansion is not None else ():
        if key == address.key:
            context = InstanceScope(scope, repetition_names(key, each))
            return kind.access(evaluate(declaration, kind.schema, context, address, quiet).attributes)
    return None
