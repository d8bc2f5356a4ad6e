"""`brevplan fmt`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.operations.fmt import format_paths


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 3 when something would change.")
@click.option("--diff", is_flag=True, help="Show what changes.")
@click.option("--recursive", is_flag=True, help="Folders below, too.")
@click.option("--write", type=bool, default=True, hidden=True)
@click.option("--list", "listing", is_flag=True, hidden=True)
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("paths", nargs=-1, metavar="[PATH or -]")
@click.pass_obj
def fmt(
    terminal: Terminal, check: bool, diff: bool, recursive: bool, write: bool, listing: bool, no_color: bool,
    paths: tuple[str, ...],
) -> int:  # fmt: skip
    """Write files in the canonical style."""
    done = format_paths(terminal.directory, paths, recursive=recursive, write=write and not check)
    terminal.show(done.diagnostics)
    if done.standard_output is not None and not check:
        terminal.out.write(done.standard_output)
    for change in done.changes:
        if change.name != "-":
            terminal.line(change.name)
        if diff:
            terminal.lines(change.diff())
    if done.diagnostics:
        return 1
    return 3 if check and done.changes else 0
