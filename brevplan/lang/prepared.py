"""What evaluation is made of: references, scopes, errors with a place, and an expression that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from brevplan.diagnostics import Diagnostic, Severity, Span
from brevplan.lang import ast
from brevplan.lang.gate import Environment
from brevplan.lang.operators import OperationError, get_attribute, get_index, to_bool
from brevplan.lang.printing import print_value
from brevplan.lang.values import MAX_PARTS, Marks, Unknown, Value, ValueTooLarge, all_marks


class Key(NamedTuple):
    """An index step of a reference; an attribute step is a plain `str`."""

    value: Value


Step = str | Key


class Scope(Protocol):
    """What names mean while an expression runs."""

    @property
    def environment(self) -> Environment: ...

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        """Give the value that a reference leads to and how many of its steps that took; raise `EvaluationError`."""
        ...


class EvaluationError(Exception):
    """An expression has no value. `catchable` is false for mistakes that `try` and `can` must not hide."""

    def __init__(self, diagnostic: Diagnostic, *, catchable: bool = True) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic
        self.catchable = catchable


def fault(summary: str, detail: str, span: Span, *, hint: str = "", catchable: bool = True) -> EvaluationError:
    return EvaluationError(Diagnostic(Severity.ERROR, summary, detail, span, hint), catchable=catchable)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name used in an expression with the steps written after it, as far as these are fixed."""

    root: str
    steps: tuple[Step, ...]
    span: Span
    beyond: str = ""
    """The name behind the first step that is not fixed, if one is: `ip` of `module.m[each.key].ip`."""

    def __str__(self) -> str:
        text = self.root
        for step in self.steps:
            text += f".{step}" if isinstance(step, str) else f"[{print_value(step.value)}]"
        return text


Loop = Mapping[str, Value]
Run = Callable[[Scope, Loop], Value]

NO_LOOP: Loop = {}


class Preparer(Protocol):
    """What every kind of expression needs to prepare those inside of it."""

    references: list[Reference]

    def expression(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        """Make an expression ready to run. `loops` are the names bound by enclosing `for` expressions."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """An expression ready to run, with every reference it makes."""

    node: ast.Expression
    references: tuple[Reference, ...]
    run: Run

    def evaluate(self, scope: Scope) -> Value:
        """Give the value; raise `EvaluationError` with the values of the references in its diagnostic."""
        try:
            return self.run(scope, NO_LOOP)
        except EvaluationError as problem:
            raise EvaluationError(self._explained(problem.diagnostic, scope), catchable=problem.catchable) from None
        except RecursionError:
            raise too_deep(self.node) from None
        except ValueTooLarge:
            detail = f"It would have more than {MAX_PARTS} parts."
            raise fault("Value too large", detail, self.node.span, catchable=False) from None

    def _explained(self, diagnostic: Diagnostic, scope: Scope) -> Diagnostic:
        if diagnostic.values:
            return diagnostic
        return replace(diagnostic, values=self.named_values(scope))

    def named_values(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        """Give the references of the expression with their values as text, for a message about it."""
        return tuple(_reference_values(self.references, scope))


def _reference_values(references: Sequence[Reference], scope: Scope) -> Iterator[tuple[str, str]]:
    shown: set[str] = set()
    for reference in references[:8]:
        name = str(reference)
        if name in shown:
            continue
        shown.add(name)
        try:
            value, used = scope.resolve(reference.root, reference.steps, reference.span)
            for step in reference.steps[used:]:
                value = get_attribute(value, step) if isinstance(step, str) else get_index(value, step.value)
        except (EvaluationError, OperationError):
            continue
        yield name, print_value(value, short=True)


def too_deep(node: ast.Node) -> EvaluationError:
    return fault("Expression nested too deeply", "Split it into several locals.", node.span, catchable=False)


def placed(problem: OperationError, span: Span) -> EvaluationError:
    return fault(problem.summary, problem.message, span, hint=problem.hint)


def truth_of(node: ast.Node, value: Value, what: str) -> bool | Unknown:
    """Give what a condition says; its marks are the caller's matter."""
    if value is True or value is False:
        return value
    try:
        return to_bool(value, what)
    except OperationError as problem:
        raise placed(problem, node.span) from None


def attempt(run: Run, scope: Scope, loop: Loop) -> Value | EvaluationError:
    """Evaluate what may not be needed: a mistake that `try` would catch is given back."""
    try:
        return run(scope, loop)
    except EvaluationError as problem:
        if not problem.catchable:
            raise
        return problem


def touched(run: Run, scope: Scope, loop: Loop) -> Marks:
    """Evaluate what does not count yet, for the references it reads; give the marks of what is in it."""
    value = attempt(run, scope, loop)
    return 0 if isinstance(value, EvaluationError) else all_marks(value)
