"""`brevplan force-unlock`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import failure
from brevplan.operations.stored import current_holder
from brevplan.operations.stored import force_unlock as unlock


@click.command("force-unlock")
@click.option("--force", is_flag=True, help="Do not ask.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("lock_id", required=False, default="")
@click.pass_obj
def force_unlock(terminal: Terminal, force: bool, lock_id: str, no_color: bool) -> int:
    """Take the state's lock from a process that hangs; it cannot write any more from then on."""
    holder = current_holder(terminal.directory)
    if holder is not None and not force:
        if not terminal.can_ask:
            raise failure("Nobody to ask", f"The lock is held by {holder}.", hint="Add -force.")
        if not terminal.ask(f"Take the lock from {holder}?", 'Only "yes" is taken for an answer.'):
            terminal.error_line("The lock stays where it is.")
            return 1
    done = unlock(terminal.directory, lock_id)
    terminal.line(f"The lock was taken from {done.holder}." if done.holder is not None else "Nobody holds the lock.")
    return 0
