"""`brevplan console`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from brevplan.cli.arguments import read_given
from brevplan.cli.options import variable_options
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import DiagnosticsError
from brevplan.operations.console import Session, open_session
from brevplan.operations.planning import Request
from brevplan.render.console_json import error_line, value_line
from brevplan.render.text import render_value


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each line, and go on after an error.")
@click.option("--no-color", is_flag=True, hidden=True)
@variable_options
@click.pass_obj
def console(terminal: Terminal, as_json: bool, no_color: bool, given: tuple[str, ...]) -> int:
    """Evaluate expressions over the configuration and the state: one a line, until "exit" or the end of input."""
    terminal.json = as_json
    workspace = terminal.environment.get("BREVPLAN_WORKSPACE", "")
    request = Request(given=read_given(given), workspace=workspace, environment=terminal.environment)
    session = open_session(terminal.directory, request)
    if as_json:
        return _answer_in_json(terminal, session, _expressions(terminal.typed))
    terminal.show(session.warnings)
    if terminal.can_ask:
        return _converse(terminal, session)
    for text in _expressions(terminal.typed):
        terminal.line(render_value(session.evaluate(text), typed=True))  # the first error ends it
        terminal.flush()
    return 0


def _answer_in_json(terminal: Terminal, session: Session, texts: Iterable[str]) -> int:
    for text in texts:
        try:
            terminal.line(value_line(session.evaluate(text)))
        except DiagnosticsError as problem:
            terminal.line(error_line(problem.diagnostics))
        terminal.flush()
    return 0


def _converse(terminal: Terminal, session: Session) -> int:
    for text in _expressions(_prompted(terminal)):
        try:
            terminal.line(render_value(session.evaluate(text), typed=True))
        except DiagnosticsError as problem:
            terminal.show(problem.diagnostics)
        terminal.flush()
    return 0


def _prompted(terminal: Terminal) -> Iterator[str]:
    """Ask for lines, with the keys of readline; its history is not written to a file, for it may hold secrets."""
    import readline  # noqa: F401  # importing it is what gives input() its history

    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            terminal.line()
        except EOFError:
            terminal.line()
            return


def _expressions(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text = line.strip()
        if text == "exit":
            return
        if text:
            yield text
