"""`brevplan import`."""

from __future__ import annotations

import asyncio

import click

from brevplan.cli.options import variable_options, writer_options, writer_request
from brevplan.cli.terminal import Terminal
from brevplan.operations.importing import UNHINDERED, Imported, import_machine
from brevplan.operations.planning import load_checked, parse_addresses
from brevplan.operations.world import system_world
from brevplan.render.money import hourly


@click.command("import")
@variable_options
@writer_options
@click.argument("address")
@click.argument("cloud_id", metavar="ID")
@click.pass_obj
def import_(
    terminal: Terminal, address: str, cloud_id: str, given: tuple[str, ...], lock_timeout: str, no_color: bool
) -> int:
    """Record a machine that is there at an address that is declared. Nothing changes at the cloud."""
    request = writer_request(terminal, given, lock_timeout, UNHINDERED)
    world = system_world()
    (wanted,) = parse_addresses([address], "import")
    project = load_checked(terminal.directory, request, world.clock.now())
    done = asyncio.run(import_machine(project, request, world, wanted, cloud_id, terminal.error_line))
    _show(terminal, done)
    return 0


def _show(terminal: Terminal, done: Imported) -> None:
    terminal.show(done.warnings)
    price = hourly(done.machine.hourly_price)
    terminal.line("Import successful!\n")
    terminal.line(f"{done.address} is {done.machine.cloud_id} at {done.alias} ({price}). The next plan shows what")
    terminal.line("differs between the machine and its declaration.")
    if done.block:
        terminal.line("\nNo mark leads from the machine to this address. Keep this in the configuration, so that it is")
        terminal.line("found again if the state is ever lost:\n")
        terminal.line(done.block.rstrip("\n"))
