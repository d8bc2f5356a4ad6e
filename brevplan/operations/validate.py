"""`brevplan validate`: every mistake that can be found without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from brevplan.diagnostics import Diagnostic, DiagnosticsError
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


def check_syntax(path: Path) -> list[Diagnostic]:
    """Parse one file and give what is wrong with it."""
    try:
        read = parse_values if path.name.endswith(".vars.hcl.json") else parse_source
        _, problems = read(read_source(path, str(path)))
    except DiagnosticsError as problem:
        return problem.diagnostics
    return problems
