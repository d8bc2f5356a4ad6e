"""`brevplan state`: what looks into the state, and what changes it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from brevplan.cli.arguments import read_given
from brevplan.cli.options import to_seconds, variable_options
from brevplan.cli.terminal import Terminal
from brevplan.engine.ports import Role
from brevplan.operations.planning import Request, parse_targets
from brevplan.operations.project import KINDS, read_source
from brevplan.operations.stored import choose, read
from brevplan.operations.world import system_world
from brevplan.render import edits
from brevplan.render.text import render_state

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def state() -> None:
    """Look into the state, and change it by hand."""


def _request(terminal: Terminal, lock_timeout: str = "0s", given: tuple[str, ...] = ()) -> Request:
    return Request(
        given=read_given(given),
        workspace=terminal.environment.get("BREVPLAN_WORKSPACE", ""),
        lock_timeout=to_seconds(lock_timeout, "-lock-timeout"),
        environment=terminal.environment,
    )


def _lock_options(command: F) -> F:
    command = click.option("--no-color", is_flag=True, help="No colours.")(command)
    return click.option("--lock-timeout", default="0s", metavar="D", help="Wait this long for the state's lock.")(
        command
    )


_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


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


@state.command()
@_dry_run
@_lock_options
@variable_options
@click.argument("source")
@click.argument("target", metavar="DESTINATION")
@click.pass_obj
def mv(
    terminal: Terminal,
    source: str,
    target: str,
    dry_run: bool,
    lock_timeout: str,
    no_color: bool,
    given: tuple[str, ...],
) -> int:
    """Give an instance, a block or a module another address.

    The tag of each machine is rewritten where its cloud allows it; where the account cannot be reached, that is said,
    and the move is made all the same. Prints the moved block to commit.
    """
    from brevplan.operations.moving import move  # what only looks does without it

    request = _request(terminal, lock_timeout, given)
    done = asyncio.run(
        move(terminal.directory, source, target, request, system_world(), terminal.error_line, dry_run=dry_run)
    )
    terminal.lines(edits.moved_lines(done.source, done.target, done.blocks, dry_run=dry_run))
    terminal.show(done.warnings)
    return 0


@state.command()
@_dry_run
@_lock_options
@variable_options
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.pass_obj
def rm(
    terminal: Terminal,
    addresses: tuple[str, ...],
    dry_run: bool,
    lock_timeout: str,
    no_color: bool,
    given: tuple[str, ...],
) -> int:
    """Forget instances, blocks and modules, which go on running.

    The mark of each machine is taken off where its cloud allows it. Where it does not, or the account cannot be
    reached, the state remembers that the machine is not ours, so that no plan adopts it. Of an address that has
    several machines the current one is taken; the others only where there is no current one.
    """
    from brevplan.operations.removing import remove  # what only looks does without it

    request = _request(terminal, lock_timeout, given)
    done = asyncio.run(
        remove(terminal.directory, addresses, request, system_world(), terminal.error_line, dry_run=dry_run)
    )
    terminal.lines(edits.removed_lines(done.names, dry_run=dry_run))
    terminal.show(done.warnings)
    return 0


@state.command()
@_lock_options
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.pass_obj
def unprotect(terminal: Terminal, addresses: tuple[str, ...], lock_timeout: str, no_color: bool) -> int:
    """Take away the prevent_destroy that the state remembers of instances, blocks and modules."""
    from brevplan.operations.removing import unprotect as disarm  # what only looks does without it

    done = disarm(terminal.directory, addresses, _request(terminal, lock_timeout), system_world(), terminal.error_line)
    terminal.lines(edits.unprotected_lines(done.addresses, done.untouched))
    terminal.show(done.warnings)
    return 0


@state.command()
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def pull(terminal: Terminal, no_color: bool) -> int:
    """Print the whole state as JSON.

    Secrets are digests in it; the salt beside them makes it possible to try guesses, so keep it as you keep the state.
    """
    from brevplan.operations.exchange import pull as read_whole  # what only looks at a part does without it

    terminal.out.write(read_whole(terminal.directory, _request(terminal)))
    return 0


@state.command()
@click.option("--force", is_flag=True, help="Also over a state of another lineage or with a higher serial.")
@_lock_options
@click.argument("path", metavar="FILE")
@click.pass_obj
def push(terminal: Terminal, path: str, force: bool, lock_timeout: str, no_color: bool) -> int:
    """Put a state that was pulled in the place of the present one; with - it is read from standard input."""
    from brevplan.operations.exchange import push as replace_whole  # what only looks does without it

    text = terminal.read_all() if path == "-" else read_source(Path(terminal.directory, path), path).text
    request = _request(terminal, lock_timeout)
    done = replace_whole(terminal.directory, text, request, system_world(), terminal.error_line, force=force)
    terminal.line(edits.pushed_line(done.resources, done.serial))
    return 0
