"""`check` blocks: what should hold of the whole. What does not hold is a warning, and never stops anything."""

from __future__ import annotations

from dataclasses import replace

from brevplan.diagnostics import Diagnostics, as_warning, warning
from brevplan.engine.config import Condition
from brevplan.engine.desired import message_of
from brevplan.engine.scope import ModuleScope
from brevplan.lang.operators import OperationError, to_bool
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.values import Unknown, reveal


def check_all(root: ModuleScope, diagnostics: Diagnostics) -> None:
    """Check the assertions of every module, over what is planned or is there."""
    for _, scope in sorted(root.board.modules.items(), key=lambda item: str(item[0])):
        for check in scope.config.checks.values():
            for rule in check.asserts:
                _check(rule, scope, diagnostics)


def _check(rule: Condition, scope: ModuleScope, diagnostics: Diagnostics) -> None:
    try:
        truth = to_bool(reveal(rule.condition.evaluate(scope)), "The condition")
        text = message_of(rule, scope) if truth is False else ""
    except EvaluationError as problem:
        diagnostics.add(replace(as_warning(problem.diagnostic), address=scope.text))
        return
    except OperationError as problem:
        diagnostics.add(warning(problem.summary, problem.message, rule.span, address=scope.text))
        return
    if isinstance(truth, Unknown):
        if _looks_in_vain(rule, scope):
            return  # told already
        text = "The condition cannot be judged yet: it will be when this plan is applied."
        diagnostics.add(warning("Check block assertion known after apply", text, rule.span, address=scope.text))
        return
    if truth is False:
        diagnostics.add(warning("Check block assertion failed", text, rule.span, address=scope.text))


def _looks_in_vain(rule: Condition, scope: ModuleScope) -> bool:
    """Tell whether a condition is about a data source that could not be read."""
    failed = {(block.kind, block.name) for block in scope.board.failed_blocks() if block.is_data}
    return any(reference.root == "data" and reference.steps[:2] in failed for reference in rule.condition.references)
