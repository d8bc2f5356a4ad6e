"""`brevplan validate`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import Severity, failure
from brevplan.operations.validate import check_syntax
from brevplan.operations.validate import validate as check
from brevplan.render.diagnostics import diagnostic_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--syntax-only", metavar="FILE", help="Only parse this file and those named behind it; - is stdin.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("files", nargs=-1, metavar="")
@click.pass_obj
def validate(terminal: Terminal, as_json: bool, syntax_only: str | None, no_color: bool, files: tuple[str, ...]) -> int:
    """Check the configuration without asking anybody."""
    if syntax_only is not None:
        found = check_syntax(terminal.directory, (syntax_only, *files), terminal.read_all)
    elif files:
        raise failure(
            "Wrong usage",
            f'"{files[0]}" is not expected: all files of a folder are one configuration.',
            hint="-chdir=DIR checks another folder, -syntax-only FILE parses one file.",
        )
    else:
        found = check(terminal.directory, terminal.environment)
    errors = sum(item.severity is Severity.ERROR for item in found)
    if as_json:
        terminal.json_line(
            {
                "format_version": "1.0",
                "valid": errors == 0,
                "error_count": errors,
                "warning_count": len(found) - errors,
                "diagnostics": [diagnostic_json(item) for item in found],
            }
        )
        return 1 if errors else 0
    terminal.show(found)
    if not errors:
        terminal.line("Success! The configuration is valid.")
    return 1 if errors else 0
