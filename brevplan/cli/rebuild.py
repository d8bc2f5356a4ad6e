"""`brevplan rebuild`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from brevplan.cli.options import variable_options, writer_options, writer_request
from brevplan.cli.terminal import Terminal
from brevplan.operations.importing import UNHINDERED
from brevplan.operations.mapping import parse_wishes
from brevplan.operations.planning import load_checked
from brevplan.operations.rebuild import rebuild as restore
from brevplan.operations.world import system_world
from brevplan.render.rebuilt import render_rebuilt


@click.command()
@variable_options
@writer_options
@click.option("--map", "maps", multiple=True, metavar="REF=ADDRESS", help="Say which machine belongs where.")
@click.option("--accept-account", multiple=True, metavar="ALIAS", help="Accept that the account is another one.")
@click.pass_obj
def rebuild(
    terminal: Terminal,
    maps: tuple[str, ...],
    accept_account: tuple[str, ...],
    given: tuple[str, ...],
    lock_timeout: str,
    no_color: bool,
) -> int:
    """Restore a lost or damaged state from configuration and clouds. Writes only the state."""
    request = writer_request(terminal, given, lock_timeout, UNHINDERED)
    request = replace(request, accepted_accounts=frozenset(accept_account))
    wishes = parse_wishes(maps)
    world = system_world()
    project = load_checked(terminal.directory, request, world.clock.now())
    result = asyncio.run(restore(project, request, world, wishes, terminal.error_line))
    terminal.show([*result.warnings, *result.problems])
    terminal.lines(render_rebuilt(result))
    return 1 if result.problems or result.doubled else 0
