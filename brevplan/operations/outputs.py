"""Stored outputs, and sensitive ones evaluated anew: the state holds no secret to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brevplan.diagnostics import Diagnostics, DiagnosticsError, failure
from brevplan.engine.outputs import evaluate_output, stored_type, stored_value
from brevplan.lang.convert import ConversionError, to_string
from brevplan.lang.types import Type
from brevplan.lang.values import Secret, Unknown, Value, has_unknown, reveal_deep, to_python
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request
from brevplan.operations.project import load_project
from brevplan.operations.recalled import recalled_scope
from brevplan.operations.stored import Stored


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """One output as the state has it; the value of a sensitive one is a mark only."""

    value: Value
    sensitive: bool
    type: Type

    def plain(self, value: Value) -> Any:
        return to_python(reveal_deep(value))

    def raw(self, name: str, value: Value) -> str:
        """Give the text of a scalar; raise `DiagnosticsError` for anything else."""
        bare = reveal_deep(value)
        if bare is None:
            raise failure("Cannot be printed raw", f'"{name}" is null.')
        try:
            return to_string(bare)
        except ConversionError as problem:
            raise failure(
                "Cannot be printed raw", f'"{name}": {problem}.', hint="Use -json for lists and objects."
            ) from None


def stored_outputs(stored: Stored) -> dict[str, StoredOutput]:
    return {
        name: StoredOutput(
            stored_value(data), bool(isinstance(data, Mapping) and data.get("sensitive")), stored_type(data)
        )
        for name, data in sorted(stored.outputs.items())
    }


def sensitive_output(directory: Path, name: str, stored: Stored, request: Request) -> Value:
    """Evaluate a sensitive output over the state's attributes and the inputs given now."""
    project = load_project(directory, cache=parse_cache(request.environment))
    block = project.config.outputs.get(name)
    if block is None:
        raise failure("No such output", f'"{name}" is sensitive, and no longer declared: its value cannot be known.')
    diagnostics = Diagnostics()
    scope = recalled_scope(project, request, stored, diagnostics)
    diagnostics.raise_if_errors()
    found = evaluate_output(block, scope, diagnostics)
    if found is None:
        raise DiagnosticsError(diagnostics.items)
    value = found[0].value if isinstance(found[0], Secret) else found[0]
    if isinstance(value, Unknown) or has_unknown(value):
        raise failure("Value not known", f'"{name}" depends on something that the state does not hold.')
    return value
