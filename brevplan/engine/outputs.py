"""What outputs would become: evaluated over the planned values, compared with what was stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change, Mode, OutputChange
from brevplan.engine.codec import decode_type, encode_type
from brevplan.engine.config import Config, OutputBlock
from brevplan.engine.desired import check_rules
from brevplan.engine.observed import Facts
from brevplan.engine.scope import ModuleScope, marked_output
from brevplan.engine.secrets import seal, unchanged, unseal
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import Secret, Value, has_secret, reveal_deep, type_of


def plan_outputs(
    config: Config,
    scope: ModuleScope,
    facts: Facts,
    mode: Mode,
    changes: Iterable[Change],
    diagnostics: Diagnostics,
) -> dict[str, OutputChange]:
    """Give every output that is declared or stored, with what happens to it, in order of name."""
    planned: dict[str, OutputChange] = {}
    left_out = {change.address for change in changes if change.blocked}
    for name in sorted({*config.outputs, *facts.prior_outputs}):
        stored = facts.prior_outputs.get(name)
        before = stored_value(stored) if stored is not None else None
        block = config.outputs.get(name)
        if block is None or mode is Mode.DESTROY:
            sensitive = isinstance(stored, Mapping) and bool(stored.get("sensitive"))
            if stored is not None:
                planned[name] = OutputChange(name, Action.DELETE, before, None, sensitive)
            continue
        value = evaluate_output(block, scope, diagnostics)
        if value is None:
            continue
        after, reads = value
        if stored is not None and any(read.covers(address) for read in reads for address in left_out):
            after = before  # what it reads is not going to change now
        action = Action.NOOP
        if stored is None:
            action = Action.CREATE
        elif not _same_output(after, before, stored, facts.salt):
            action = Action.UPDATE
        planned[name] = OutputChange(name, action, before, after, block.sensitive)
    return planned


def evaluate_output(
    block: OutputBlock, scope: ModuleScope, diagnostics: Diagnostics
) -> tuple[Value, frozenset[Address]] | None:
    """Evaluate one output; None after reporting a mistake. A sensitive one comes back as a secret."""
    check_rules(block.preconditions, scope, "Precondition", f"output.{block.name}", diagnostics)
    try:
        with scope.board.recording() as reads:
            value = marked_output(block, block.value.evaluate(scope))
            for reference in block.depends_on:
                scope.await_reference(reference)
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return None
    if has_secret(value) and not block.sensitive:
        diagnostics.error(
            "Output would show a secret",
            f'The value of "{block.name}" comes from something sensitive.',
            block.value.node.span,
            hint="Add sensitive = true to the output, or nonsensitive(…) around what is not secret.",
        )
        return None
    return value, frozenset(reads)


def stored_value(stored: Any) -> Value:
    """Give the value of a stored output; a sensitive one is known by its digest only."""
    if not isinstance(stored, Mapping):
        return None
    if stored.get("sensitive"):
        return unseal(stored.get("value"), ANY) if stored.get("value") is not None else Secret(None)
    return unseal(stored.get("value"), stored_type(stored))


def stored_type(stored: Any) -> Type:
    """Give the type that an output had when it was stored."""
    return decode_type(stored.get("type")) if isinstance(stored, Mapping) else ANY


def store_output(value: Value, salt: str, *, sensitive: bool) -> dict[str, Any]:
    """Give the stored form of an output's final value."""
    return {"value": seal(value, salt), "type": encode_type(type_of(reveal_deep(value))), "sensitive": sensitive}


def _same_output(after: Value, before: Value, stored: object, salt: str) -> bool:
    was = isinstance(stored, Mapping) and bool(stored.get("sensitive"))
    if was != isinstance(after, Secret):
        return False
    return unchanged(after, before, salt)
