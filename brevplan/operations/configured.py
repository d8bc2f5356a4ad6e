"""Opens provider blocks for commands that only look at clouds: they need no state, and no values but those given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from brevplan.diagnostics import Diagnostics, DiagnosticsError
from brevplan.engine.accounts import Account
from brevplan.engine.board import Context
from brevplan.engine.config import Config, ProviderBlock
from brevplan.engine.scope import ModuleScope
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request, environment_of, gather_values
from brevplan.operations.project import configuration_files, load_project
from brevplan.operations.session import close_accounts, open_accounts
from brevplan.operations.world import Outside, ProjectFiles

Keys = Mapping[str, ProviderBlock | None]


def read_configuration(directory: Path, environment: Mapping[str, str]) -> Config:
    """Read the configuration of a folder; an empty one where there is none. Raises `DiagnosticsError`."""
    if directory.is_dir() and configuration_files(directory):
        return load_project(directory, cache=parse_cache(environment)).config
    return Config()


async def open_configured(
    directory: Path, environment: Mapping[str, str], world: Outside, choose: Callable[[Config], Keys]
) -> dict[str, Account]:
    """Open the accounts of the blocks that `choose` picks out of the folder's configuration, by their keys.

    Raises `DiagnosticsError`, with nothing left open.
    """
    diagnostics = Diagnostics()
    files = ProjectFiles(directory)
    now = world.clock.now()
    config = Config()
    scope = ModuleScope.of_root(config, {}, environment_of(files, now), Context("default", ""))
    if directory.is_dir() and configuration_files(directory):
        project = load_project(directory, cache=parse_cache(environment))
        config = project.config
        request = Request(environment=environment)
        _, scope = gather_values(project, request, files, now, Diagnostics(), "default", offline=True)
    accounts = await open_accounts(config, choose(config), scope, directory, environment, world, diagnostics)
    if diagnostics.has_errors:
        await close_accounts(accounts)
        raise DiagnosticsError(diagnostics.items)
    return accounts
