"""`brevplan validate`: every mistake that can be found without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from brevplan.diagnostics import Diagnostic, DiagnosticsError, Source
from brevplan.operations.planning import Request, check, load_checked
from brevplan.operations.project import parse_source, parse_values, read_source
from brevplan.operations.world import SystemClock


def validate(directory: Path, environment: Mapping[str, str]) -> list[Diagnostic]:
    """Give all diagnostics of a configuration; never touches the network or the state."""
    try:
        request, now = Request(environment=environment), SystemClock().now()
        return check(load_checked(directory, request, now), request, now).items
    except DiagnosticsError as problem:
        return problem.diagnostics


def check_syntax(directory: Path, names: Sequence[str], standard_input: Callable[[], str]) -> list[Diagnostic]:
    """Parse files by the syntax that each name tells, `-` being HCL from standard input; give what is wrong."""
    found: list[Diagnostic] = []
    for name in names:
        try:
            source = Source("<stdin>", standard_input()) if name == "-" else read_source(directory / name, name)
        except DiagnosticsError as problem:
            found += problem.diagnostics
            continue
        read = parse_values if name.endswith(".vars.hcl.json") else parse_source
        found += read(source)[1]
    return found
