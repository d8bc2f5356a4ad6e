"""How many instances a block has, and under which keys: `count` and `for_each`."""

from __future__ import annotations

from typing import Protocol

from brevplan.diagnostics import Diagnostics
from brevplan.engine.board import Expansion
from brevplan.engine.scope import ModuleScope
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.prepared import EvaluationError, Prepared
from brevplan.lang.types import NUMBER, friendly
from brevplan.lang.values import EPHEMERAL, Mapping_, Secret, Sequence_, Set, Unknown, Value, type_of


class Repeatable(Protocol):
    """A block that can have `count` or `for_each`."""

    @property
    def count(self) -> Prepared | None: ...

    @property
    def for_each(self) -> Prepared | None: ...


def mode_of(declaration: Repeatable) -> str:
    if declaration.count is not None:
        return "count"
    return "for_each" if declaration.for_each is not None else "single"


def expand(
    declaration: Repeatable, scope: ModuleScope, diagnostics: Diagnostics, *, offline: bool = False
) -> Expansion | None:
    """Give the instances of a block, or None after reporting why there are none to give.

    `offline` takes an unknown number for one instance, so that the rest of the block can be checked.
    """
    if declaration.count is not None:
        return _count(declaration.count, scope, diagnostics, offline)
    if declaration.for_each is not None:
        return _for_each(declaration.for_each, scope, diagnostics, offline)
    return Expansion("single", ((None, None),))


def _count(prepared: Prepared, scope: ModuleScope, diagnostics: Diagnostics, offline: bool) -> Expansion | None:
    value = _evaluated(prepared, scope, diagnostics)
    span = prepared.node.span
    if value is _FAILED:
        return None
    if isinstance(value, Unknown):
        if offline:
            return Expansion("count", ((0, None),))
        diagnostics.error("count is not known yet", _UNKNOWN.format("count", value.because or "it"), span, hint=_HINT)
        return None
    if value is None:
        diagnostics.error("Invalid count", "count is null.", span, hint="A whole number of 0 or more is needed.")
        return None
    try:
        number = convert(value, NUMBER)
    except ConversionError as problem:
        diagnostics.error("Invalid count", f"{str(problem).capitalize()}.", span)
        return None
    if not isinstance(number, int) or number < 0:
        diagnostics.error("Invalid count", "A whole number of 0 or more is needed.", span)
        return None
    if number > 100_000:
        diagnostics.error("Invalid count", f"{number} instances are more than one block can have (100,000).", span)
        return None
    return Expansion("count", tuple((index, None) for index in range(number)))


def _for_each(prepared: Prepared, scope: ModuleScope, diagnostics: Diagnostics, offline: bool) -> Expansion | None:
    value = _evaluated(prepared, scope, diagnostics)
    span = prepared.node.span
    if value is _FAILED:
        return None
    if isinstance(value, Unknown):
        if offline:
            return Expansion("for_each", (("key", Unknown()),))
        diagnostics.error(
            "for_each is not known yet", _UNKNOWN.format("for_each", value.because or "it"), span, hint=_HINT
        )
        return None
    if isinstance(value, Mapping_):
        return Expansion("for_each", tuple(value.items.items()))
    if isinstance(value, Set) and all(isinstance(item, str) for item in value.items):
        return Expansion("for_each", tuple((str(item), item) for item in value.items))
    shown = "null" if value is None else f"a {friendly(type_of(value))}"
    is_list = isinstance(value, Sequence_) and not isinstance(value, Set)
    hint = "Wrap the list in toset(…)." if is_list else ""
    diagnostics.error(
        "Invalid for_each", f"A map, an object or a set of texts is needed, not {shown}.", span, hint=hint
    )
    return None


_FAILED = Unknown(because="failed")
_UNKNOWN = '"{}" decides which resources exist, and {} is known after apply only.'
_HINT = "Make it depend on variables and literals, or apply what it depends on first: -target=ADDRESS"


def _evaluated(prepared: Prepared, scope: ModuleScope, diagnostics: Diagnostics) -> Value:
    try:
        value = prepared.evaluate(scope)
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return _FAILED
    if isinstance(value, Secret):
        passing = value.marks & EPHEMERAL
        diagnostics.error(
            "Ephemeral value decides instances" if passing else "Sensitive value decides instances",
            f"The keys of instances are shown in plans and kept in the state, so they cannot be "
            f"{'ephemeral' if passing else 'secret'}.",
            prepared.node.span,
            hint="" if passing else "Use nonsensitive(…) if the value is not secret after all.",
        )
        return _FAILED
    return value
