"""`brevplan version`."""

from __future__ import annotations

import platform
import sys

import click

from brevplan.cli.terminal import Terminal
from brevplan.version import VERSION


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def version(terminal: Terminal, as_json: bool) -> None:
    """Show the version of brevplan."""
    system = f"{sys.platform}_{platform.machine()}"
    if as_json:
        terminal.json_line({"brevplan_version": VERSION, "platform": system})
    else:
        terminal.line(f"brevplan v{VERSION}\non {system}")
