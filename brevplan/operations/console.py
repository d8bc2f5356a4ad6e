"""`brevplan console`: expressions over the variables given now and the state. No cloud is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, Source
from brevplan.engine.config import Config
from brevplan.engine.references import check_expression
from brevplan.engine.scope import ModuleScope
from brevplan.lang.evaluate import prepare
from brevplan.lang.parser import parse_expression
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.values import Value
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request
from brevplan.operations.project import DATA_KINDS, KINDS, load_project
from brevplan.operations.recalled import recalled_scope
from brevplan.operations.stored import read

PLACE: Final = "<console>"
"""What messages call the line that was typed."""


@dataclass(frozen=True, slots=True)
class Session:
    """What expressions are evaluated over, and what is worth a warning about it."""

    config: Config
    scope: ModuleScope
    warnings: list[Diagnostic]

    def evaluate(self, text: str) -> Value:
        """Give the value of one expression; raise `DiagnosticsError`."""
        expression, problems = parse_expression(Source(PLACE, text))
        if expression is None:
            raise DiagnosticsError(problems)
        try:
            prepared = prepare(expression)
            diagnostics = Diagnostics()
            check_expression(prepared, self.config, KINDS, DATA_KINDS, diagnostics)
            diagnostics.raise_if_errors()
            return prepared.evaluate(self.scope)
        except EvaluationError as problem:
            raise DiagnosticsError([problem.diagnostic]) from None


def open_session(directory: Path, request: Request) -> Session:
    """Read configuration and state, both of which may be missing; raise `DiagnosticsError`."""
    project = load_project(directory, required=False, cache=parse_cache(request.environment))
    diagnostics = Diagnostics(list(project.diagnostics.items))
    scope = recalled_scope(project, request, read(directory, request), diagnostics, offline=True)
    diagnostics.raise_if_errors()
    return Session(project.config, scope, diagnostics.items)
