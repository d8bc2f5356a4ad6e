"""`brevplan history`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.operations.stored import history as read_history
from brevplan.render.tables import render_table


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, metavar="N", help="At most this many (default 20).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def history(terminal: Terminal, limit: int, as_json: bool, no_color: bool) -> int:
    """List past runs, newest first."""
    runs = read_history(terminal.directory, limit)
    if as_json:
        names = (
            "run_id",
            "workspace",
            "command",
            "actor",
            "git_commit",
            "started",
            "ended",
            "plan_id",
            "summary",
            "outcome",
        )
        terminal.json_line({"format_version": "1.0", "runs": [{n: getattr(run, n) for n in names} for run in runs]})
        return 0
    if runs:
        rows = [[r.started, r.command, r.outcome, r.summary, r.actor, r.git_commit or "-", r.run_id] for r in runs]
        terminal.lines(render_table(["STARTED", "COMMAND", "OUTCOME", "SUMMARY", "BY", "COMMIT", "RUN"], rows))
    return 0
