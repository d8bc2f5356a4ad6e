"""`brevplan init`."""

from __future__ import annotations

import asyncio

import click

from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import Severity
from brevplan.operations.init import init as initialise
from brevplan.operations.world import system_world


@click.command()
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def init(terminal: Terminal, no_color: bool) -> int:
    """Write a first configuration and check the providers; nothing else needs it to have run."""
    done = asyncio.run(initialise(terminal.directory, terminal.environment, system_world()))
    for name in done.written:
        terminal.line(f"Wrote {name}.")
    for alias in done.providers:
        terminal.line(f"Provider {alias}: works.")
    terminal.show(done.diagnostics)
    if any(item.severity is Severity.ERROR for item in done.diagnostics):
        return 1
    terminal.line("Ready. See what would be made: brevplan plan")
    return 0
