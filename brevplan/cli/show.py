"""`brevplan show` and `brevplan output`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brevplan.cli.arguments import read_given
from brevplan.cli.options import variable_options
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import failure, suggest
from brevplan.operations import planfile
from brevplan.operations.outputs import sensitive_output, stored_outputs
from brevplan.operations.planning import Request
from brevplan.operations.project import KINDS
from brevplan.operations.stored import read
from brevplan.render.leaves import output_data
from brevplan.render.text import render_outputs, render_plan, render_state
from brevplan.render.values import render_value
from brevplan.version import VERSION


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("path", metavar="[PLANFILE]", required=False)
@click.pass_obj
def show(terminal: Terminal, as_json: bool, no_color: bool, path: str | None) -> int:
    """Show the state, or a plan file."""
    schemas = {name: kind.schema for name, kind in KINDS.items()}
    if path is not None:
        found = planfile.read(Path(terminal.directory, path))
        if as_json:
            terminal.json_line(found.content.document)
        else:
            terminal.lines(render_plan(found.plan, schemas, color=terminal.color(terminal.out)))
        return 0
    stored = read(terminal.directory, _request(terminal))
    if as_json:
        from brevplan.render.state_json import state_document  # only with -json

        outputs = {name: (item.value, item.sensitive) for name, item in stored_outputs(stored).items()}
        terminal.json_line(state_document(stored.records, outputs, schemas, VERSION))
        return 0
    if not stored.records:
        terminal.line("The state is empty.")
        return 0
    terminal.lines(render_state(stored.records, schemas, color=terminal.color(terminal.out)))
    values = stored_outputs(stored)
    if values:
        terminal.line("\nOutputs:\n")
        terminal.lines(render_outputs({name: item.value for name, item in values.items()}))
    return 0


def _request(terminal: Terminal) -> Request:
    return Request(workspace=terminal.environment.get("BREVPLAN_WORKSPACE", ""), environment=terminal.environment)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--raw", is_flag=True, help="Print a text as it is.")
@click.option("--no-color", is_flag=True, hidden=True)
@variable_options
@click.argument("name", required=False)
@click.pass_obj
def output(
    terminal: Terminal, as_json: bool, raw: bool, no_color: bool, name: str | None, given: tuple[str, ...]
) -> int:
    """Show output values; a sensitive one is evaluated anew when it is asked for by name."""
    stored = read(terminal.directory, _request(terminal))
    outputs = stored_outputs(stored)
    if name is None:
        return _all(terminal, outputs, as_json)
    if name not in outputs:
        known = ", ".join(sorted(outputs)) or "none"
        raise failure(
            "No such output",
            f'The state has no output "{name}".',
            hint=suggest(name, outputs) or f"There are: {known}.",
        )
    item = outputs[name]
    value = item.value
    if item.sensitive:
        request = Request(given=read_given(given), workspace=stored.workspace, environment=terminal.environment)
        value = sensitive_output(terminal.directory, name, stored, request)
    if as_json:
        terminal.json_line(item.plain(value))
    elif raw:
        terminal.out.write(item.raw(name, value))
    else:
        terminal.line(render_value(value))
    return 0


def _all(terminal: Terminal, outputs: dict[str, Any], as_json: bool) -> int:
    if as_json:
        terminal.json_line(
            {name: output_data(item.value, sensitive=item.sensitive, type_=item.type) for name, item in outputs.items()}
        )
    elif outputs:
        terminal.lines(render_outputs({name: item.value for name, item in outputs.items()}))
    return 0
