"""`brevplan init`: a first configuration where there is none, a `.gitignore`, and one call to each provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Diagnostics, failure
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request, gather_values
from brevplan.operations.project import configuration_files, load_project
from brevplan.operations.session import close_accounts, open_accounts, provider_keys
from brevplan.operations.world import Outside, ProjectFiles

IGNORED: Final = ("*.db", "*.db-wal", "*.db-shm", "*.db.lock", "*.plan", "*.plan.partial", ".brevplan/")

_MAIN: Final = """\
brevplan {{
  project = "{project}"
}}

provider "local" {{}}

resource "firewall" "web" {{
  ingress {{
    from_port = 443
  }}
}}

resource "instance" "first" {{
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = {public_key}
  firewalls     = [firewall.web]
}}

output "ip" {{
  value = instance.first.public_ip
}}
"""


@dataclass(slots=True)
class Initialised:
    written: list[str] = field(default_factory=list)
    providers: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)


async def init(directory: Path, environment: Mapping[str, str], world: Outside) -> Initialised:
    """Write what is missing and check what is there; running it again changes nothing."""
    done = Initialised()
    try:
        if not configuration_files(directory):
            (directory / "main.hcl").write_text(_scaffold(directory, environment, world), encoding="utf-8")
            done.written.append("main.hcl")
        if _ignore(directory / ".gitignore"):
            done.written.append(".gitignore")
    except OSError as problem:
        raise failure("Directory cannot be written", f"{directory}: {problem.strerror}.") from None
    await _check_providers(directory, environment, world, done)
    return done


def _scaffold(directory: Path, environment: Mapping[str, str], world: Outside) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", directory.absolute().name.lower()).strip("-")[:13].strip("-") or "project"
    keys = Path(environment.get("HOME", "~")).expanduser() / ".ssh"
    found = next((name for name in ("id_ed25519.pub", "id_rsa.pub") if (keys / name).is_file()), "id_ed25519.pub")
    return _MAIN.format(project=f"{base}-{world.ids.attempt()}", public_key=f'file("~/.ssh/{found}")')


def _ignore(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    missing = [line for line in IGNORED if line not in lines]
    if missing:
        path.write_text("\n".join([*lines, *missing]) + "\n", encoding="utf-8")
    return bool(missing)


async def _check_providers(directory: Path, environment: Mapping[str, str], world: Outside, done: Initialised) -> None:
    project = load_project(directory, cache=parse_cache(environment))
    request = Request(environment=environment)
    diagnostics = Diagnostics()
    files = ProjectFiles(directory)
    _, scope = gather_values(project, request, files, world.clock.now(), diagnostics, "default", offline=True)
    diagnostics = Diagnostics()  # what is missing for a plan is not init's matter
    accounts = await open_accounts(
        project.config, provider_keys(project.config), scope, directory, environment, world, diagnostics
    )
    try:
        for alias, account in sorted(accounts.items()):
            await account.patience.retried(account.client.get_locations)
            done.providers.append(alias)
    finally:
        await close_accounts(accounts)
    done.diagnostics = diagnostics.items
