"""`brevplan fmt`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.operations.fmt import STANDARD_INPUT, Done, format_input, format_paths


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 3 when something would change.")
@click.option("--diff", is_flag=True, help="Show what changes.")
@click.option("--recursive", is_flag=True, help="Folders below, too.")
@click.option("--write", type=bool, default=True, metavar="BOOL", help="Write the files (default true).")
@click.option("--list", "listing", type=bool, default=True, metavar="BOOL", help="Name what changes (default true).")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("paths", nargs=-1, metavar="[PATH or -]")
@click.pass_obj
def fmt(
    terminal: Terminal, check: bool, diff: bool, recursive: bool, write: bool, listing: bool, no_color: bool,
    paths: tuple[str, ...],
) -> int:  # fmt: skip
    """Write files in the canonical style, that of terraform fmt; the folder's when none is named."""
    if paths == ("-",):
        done = format_input(terminal.read_all())
    else:
        done = format_paths(terminal.directory, paths, recursive=recursive, write=write and not check)
    terminal.show(done.diagnostics)
    if done.standard_output is not None and not check and not diff:
        terminal.out.write(done.standard_output)
    _tell(terminal, done, listing=listing, diff=diff)
    if done.diagnostics:
        return 1
    return 3 if check and done.changes else 0


def _tell(terminal: Terminal, done: Done, *, listing: bool, diff: bool) -> None:
    for change in done.changes:
        if listing and change.name != STANDARD_INPUT:
            terminal.line(change.name)
        if diff:
            terminal.lines(change.diff())
