"""Options that several commands share, and their way into a `Request`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

from brevplan.cli.arguments import read_given
from brevplan.cli.terminal import Terminal
from brevplan.contract.duration import parse_duration
from brevplan.diagnostics import DiagnosticsError, error, failure
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.operations.planning import Request, parse_addresses, parse_targets

F = TypeVar("F", bound=Callable[..., Any])


def variable_options(command: F) -> F:
    """Add `-var` and `-var-file`: declared for the help, they arrive as `given` (see `brevplan.cli.arguments`)."""
    command = click.option("--given", multiple=True, hidden=True)(command)
    command = click.option("--var", "_var", expose_value=False, metavar="NAME=VALUE", help="Set a variable.")(command)
    return click.option("--var-file", expose_value=False, metavar="FILE", help="Read variables from a file.")(command)


def writer_options(command: F) -> F:
    """Add the options of commands that write to the state, and make no plan to approve."""
    options = [
        click.option("--lock-timeout", default="0s", metavar="D", help="Wait this long for the state's lock."),
        click.option("--no-color", is_flag=True, help="No colours."),
        click.option("--input", "_input", type=bool, expose_value=False, hidden=True),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def writer_request(terminal: Terminal, given: Iterable[str], lock_timeout: str, options: Options) -> Request:
    """Give the request of a command with `writer_options` and `variable_options`; raise `DiagnosticsError`."""
    return Request(
        options,
        read_given(given),
        terminal.environment.get("BREVPLAN_WORKSPACE", ""),
        lock_timeout=to_seconds(lock_timeout, "-lock-timeout"),
        environment=terminal.environment,
    )


def plan_options(command: F) -> F:
    """Add the options that say what to plan and how."""
    options = [
        click.option("--target", multiple=True, metavar="ADDRESS", help="Only this, and what it needs."),
        click.option("--exclude", multiple=True, metavar="ADDRESS", help="All but this, and what needs it."),
        click.option("--replace", multiple=True, metavar="ADDRESS", help="Make this one anew."),
        click.option("--reap", multiple=True, metavar="REF", help="Destroy this orphan."),
        click.option("--refresh-only", is_flag=True, help="Only record what has changed outside."),
        click.option(
            "--refresh", type=bool, default=True, metavar="BOOL", help="Look at the clouds first (default true)."
        ),
        click.option("--destroy", "destroying", is_flag=True, help="Plan the end of everything."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
        click.option("--concise", is_flag=True, help="Show only the last lines."),
        click.option("--parallelism", type=int, default=10, metavar="N", help="Calls under way at once (default 10)."),
        click.option("--lock-timeout", default="0s", metavar="D", help="Wait this long for the state's lock."),
        click.option(
            "--accept-account", multiple=True, metavar="ALIAS", help="Accept that the account is another one."
        ),
        click.option(
            "--ignore-orphans", is_flag=True, help="Create although a machine of ours stands unaccounted for."
        ),
        click.option("--allow-no-stock", is_flag=True, help="Try types that show no stock."),
        click.option("--no-color", is_flag=True, help="No colours."),
        click.option("--input", "_input", type=bool, default=True, hidden=True),
        click.option("--compact-warnings", is_flag=True, hidden=True),
    ]
    for option in reversed(options):
        command = option(command)
    return variable_options(command)


@dataclass(frozen=True, slots=True)
class PlanArguments:
    """The options of `plan_options`, as click gives them."""

    target: tuple[str, ...]
    exclude: tuple[str, ...]
    replace: tuple[str, ...]
    reap: tuple[str, ...]
    refresh_only: bool
    refresh: bool
    destroying: bool
    as_json: bool
    concise: bool
    parallelism: int
    lock_timeout: str
    accept_account: tuple[str, ...]
    ignore_orphans: bool
    allow_no_stock: bool
    no_color: bool
    _input: bool
    compact_warnings: bool
    given: tuple[str, ...]


def to_request(arguments: PlanArguments, terminal: Terminal) -> Request:
    """Check the options together; raise `DiagnosticsError`."""
    problems = []
    if arguments.target and arguments.exclude:
        problems.append(error("Options contradict each other", "-target and -exclude cannot be given together."))
    if arguments.destroying and arguments.refresh_only:
        problems.append(error("Options contradict each other", "-destroy and -refresh-only cannot be given together."))
    if arguments.refresh_only and not arguments.refresh:
        problems.append(error("Options contradict each other", "-refresh-only and -refresh=false exclude each other."))
    if arguments.parallelism < 1:
        problems.append(error("Invalid option", f"-parallelism={arguments.parallelism}: 1 or more is needed."))
    if problems:
        raise DiagnosticsError(problems)
    mode = Mode.DESTROY if arguments.destroying else Mode.REFRESH_ONLY if arguments.refresh_only else Mode.NORMAL
    options = Options(
        mode,
        parse_targets(arguments.target, "-target"),
        parse_targets(arguments.exclude, "-exclude"),
        parse_addresses(arguments.replace, "-replace"),
        frozenset(arguments.reap),
        arguments.allow_no_stock,
        arguments.ignore_orphans,
    )
    return Request(
        options,
        read_given(arguments.given),
        terminal.environment.get("BREVPLAN_WORKSPACE", ""),
        arguments.refresh,
        frozenset(arguments.accept_account),
        arguments.parallelism,
        to_seconds(arguments.lock_timeout, "-lock-timeout"),
        environment=terminal.environment,
    )


def to_seconds(text: str, option: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise failure("Invalid option", f"{option}: {problem}.") from None


def to_amount(text: str | None, option: str) -> Decimal | None:
    """Read an amount of USD; raise `DiagnosticsError`."""
    try:
        amount = Decimal(text.removeprefix("$")) if text is not None else None
        if amount is not None and not amount.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise failure(
            "Invalid option", f'{option}: "{text}" is not an amount.', hint=f"For example: {option}=2.50"
        ) from None
    return amount
