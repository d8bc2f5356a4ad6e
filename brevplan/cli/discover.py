"""`brevplan discover`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from brevplan.cli.options import variable_options, writer_request
from brevplan.cli.terminal import Terminal
from brevplan.engine.bench import EVERYTHING
from brevplan.operations.discover import Discovery, look_around
from brevplan.operations.planning import load_checked
from brevplan.operations.world import system_world
from brevplan.render.discovered import discovered_document, render_discovered


@click.command()
@variable_options
@click.option("--adopt", metavar="[=FILE]", help="Write import blocks for orphans and foreign machines (imports.hcl).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def discover(terminal: Terminal, adopt: str | None, as_json: bool, given: tuple[str, ...], no_color: bool) -> int:
    """List the machines of all accounts that the state does not know. Only reads at the clouds."""
    terminal.json = as_json
    request = writer_request(terminal, given, "0s", EVERYTHING)
    world = system_world()
    project = load_checked(terminal.directory, request, world.clock.now())
    path = Path(terminal.directory, adopt) if adopt is not None else None
    found = asyncio.run(look_around(project, request, world, path))
    if as_json:
        terminal.json_line(discovered_document(found.found, found.adopted))
    else:
        terminal.lines(render_discovered(found.found))
    terminal.show(found.problems)
    if path is not None and not as_json:
        _show_adopted(terminal, found, path)
    return 1 if found.problems else 0


def _show_adopted(terminal: Terminal, found: Discovery, path: Path) -> None:
    number = len(found.adopted)
    if not number:
        terminal.line("\nThere is nothing to adopt: no file was written.")
        return
    terminal.line(f"\nWrote {number} import block{'s' if number > 1 else ''} to {path}:\n")
    terminal.lines(f"  {address} is {item.machine.cloud_id}" for address, item in found.adopted.items())
    terminal.line("\nTo have the resources written, and then to take the machines in:")
    terminal.line("  brevplan plan -generate-config-out=adopted.hcl\n  brevplan apply")
