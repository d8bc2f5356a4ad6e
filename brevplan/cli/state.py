"""`brevplan state list` and `brevplan state show`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.engine.ports import Role
from brevplan.operations.planning import Request, parse_targets
from brevplan.operations.project import KINDS
from brevplan.operations.stored import choose, read
from brevplan.render.text import render_state


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def state() -> None:
    """Look into the state."""


def _request(terminal: Terminal) -> Request:
    return Request(workspace=terminal.environment.get("BREVPLAN_WORKSPACE", ""), environment=terminal.environment)


@state.command("list")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS...]")
@click.pass_obj
def list_(terminal: Terminal, addresses: tuple[str, ...], no_color: bool) -> int:
    """List the addresses in the state: all, or those of the blocks, instances and modules named."""
    stored = read(terminal.directory, _request(terminal))
    wanted = parse_targets(addresses, "state list")
    for record in stored.records:
        if wanted and not any(item.covers(record.address) for item in wanted):
            continue
        shown = str(record.address)
        terminal.line(shown if record.role is Role.CURRENT else f"{shown} ({record.role.value} {record.key})")
    return 0


@state.command()
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("address")
@click.pass_obj
def show(terminal: Terminal, address: str, no_color: bool) -> int:
    """Show the attributes of one address."""
    found = choose(read(terminal.directory, _request(terminal)), address)
    schemas = {name: kind.schema for name, kind in KINDS.items()}
    terminal.lines(render_state(found, schemas, color=terminal.color(terminal.out)))
    return 0
