"""`brevplan console`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from brevplan.cli.arguments import read_given
from brevplan.cli.console_history import History, history_path
from brevplan.cli.options import variable_options
from brevplan.cli.prompt import readline_prompt
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import DiagnosticsError, failure
from brevplan.lang.types import ObjectType, TupleType
from brevplan.lang.values import Secret
from brevplan.operations.console import Answer, Session, open_session
from brevplan.operations.planning import Request
from brevplan.render.console_json import error_line, text_line, value_line
from brevplan.render.values import render_type, render_value

HELP: Final = """\
Type an expression, and its value is shown: 1 + 2, var.workers, instance.web[0].public_ip.

Variables have the values given now, resources those that the state holds; nothing is asked at a cloud. An open
bracket or heredoc goes on at the next prompt. type(x) shows the type of x.

"exit" or Ctrl-D ends, Ctrl-C drops the line."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Answer every line with one JSON object, and go on after errors.")
@click.option("--no-color", is_flag=True, hidden=True)
@variable_options
@click.pass_obj
def console(terminal: Terminal, as_json: bool, no_color: bool, given: tuple[str, ...]) -> int:
    """Evaluate expressions over the configuration and the state, until "exit" or the end of input.

    From a pipe, each line is one expression; empty lines and comments are passed over, and the first error ends it
    with 1. With -json each line, an empty one too, is answered by one line: {"value": ...} or {"error": "..."}.
    """
    terminal.json = as_json
    workspace = terminal.environment.get("BREVPLAN_WORKSPACE", "")
    request = Request(given=read_given(given), workspace=workspace, environment=terminal.environment)
    session = open_session(terminal.directory, request)
    if as_json:
        return _answer_in_json(terminal, session)
    terminal.show(session.warnings)
    if terminal.can_ask:
        return _converse(terminal, session)
    for text in _lines(terminal):
        if text == "help":
            terminal.line(HELP)
        elif text and not text.startswith(("#", "//")):
            terminal.line(_shown(session.answer(text)))  # the first error ends it
        terminal.flush()
    return 0


def _lines(terminal: Terminal) -> Iterator[str]:
    try:
        for line in terminal.typed:
            text = line.removeprefix("\ufeff").strip()
            if text == "exit":
                return
            yield text
    except UnicodeDecodeError:
        raise failure("Input is not UTF-8", "What comes through the pipe must be UTF-8 text.") from None


def _answer_in_json(terminal: Terminal, session: Session) -> int:
    for text in _lines(terminal):
        try:
            answer = session.answer(text)
            terminal.line(text_line(_shown(answer)) if answer.asks_type else value_line(answer.value))
        except DiagnosticsError as problem:
            terminal.line(error_line(problem.diagnostics))
        terminal.flush()
    return 0


def _converse(terminal: Terminal, session: Session) -> int:
    history = History(history_path(terminal.environment))
    prompt = readline_prompt(history, session.names())
    terminal.signals.take_each_for_a_first()
    try:
        for text in prompt.expressions():
            if text == "exit":
                return 0
            prompt.remember(text, is_private=_reply(terminal, session, text))
            terminal.flush()
        terminal.line()  # Ctrl-D leaves the cursor behind the prompt
    finally:
        history.save()
    return 0


def _reply(terminal: Terminal, session: Session, text: str) -> bool:
    """Show the answer; tell whether what was typed is private."""
    if text == "help":
        terminal.line(HELP)
        return False
    try:
        answer = session.answer(text)
    except KeyboardInterrupt:
        return "sensitive" in text
    except DiagnosticsError as problem:
        terminal.show(problem.diagnostics)
        return "sensitive" in text  # what could not be evaluated is judged by its text alone
    terminal.line(_shown(answer))
    return answer.is_private


def _shown(answer: Answer) -> str:
    if not answer.asks_type:
        return render_value(answer.value, answer.type)
    # the names and the number of its elements tell something of a collection that is secret
    if isinstance(answer.value, Secret) and isinstance(answer.type, (ObjectType, TupleType)):
        return render_value(answer.value)
    return render_type(answer.type)
