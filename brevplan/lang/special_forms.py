"""Functions that take expressions instead of values, or need the evaluator itself: `try`, `can`, templates, `type`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from brevplan.diagnostics import Source, Span, suggest
from brevplan.lang import ast
from brevplan.lang.gate import Environment
from brevplan.lang.prepared import (
    NO_LOOP,
    EvaluationError,
    Loop,
    Prepared,
    Run,
    Scope,
    Step,
    attempt,
    fault,
    marked,
)
from brevplan.lang.types import ANY, BOOL, STRING, Primitive
from brevplan.lang.values import (
    Mapping_,
    Secret,
    Unknown,
    Value,
    first_unknown,
    has_secret,
    has_unknown,
    is_open,
    reveal,
    type_of,
)


def _try(node: ast.Call, arguments: list[Run]) -> Run:
    if not arguments:
        raise fault('Error in function "try"', "At least one expression is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        reasons = []
        for position, argument in enumerate(arguments):
            value = attempt(argument, scope, loop)
            if isinstance(value, EvaluationError):
                reasons.append(value.diagnostic)
            elif _is_settled(value, node.arguments[position]):
                return value
            else:
                return _undecided_try(value, arguments[position + 1 :], scope, loop)
        listed = "; ".join(f"{reason.summary} ({reason.detail.rstrip('.')})" for reason in reasons)
        raise fault('Error in function "try"', f"No expression succeeded: {listed}.", node.span)

    return run


def _is_settled(value: Value, node: ast.Expression) -> bool:
    """Tell whether an expression that has a value now cannot fail once everything is known.

    What is partly unknown was either put together of parts that may yet fail, or found by steps from a name: had
    one of these led through an unknown, it would be unknown as a whole.
    """
    if isinstance(reveal(value), Unknown):
        return False
    while isinstance(node, (ast.GetAttr, ast.Index, ast.Parentheses)):
        node = node.inner if isinstance(node, ast.Parentheses) else node.object
    return isinstance(node, ast.Variable) or not has_unknown(value)


def _undecided_try(value: Value, others: Sequence[Run], scope: Scope, loop: Loop) -> Value:
    """Give the unknown that stands for this value, or for one of the others should it fail after all."""
    found = [value]
    for other in others:
        result = attempt(other, scope, loop)
        if not isinstance(result, EvaluationError):
            found.append(result)
    types = {type_of(item) for item in found if item is not None}
    type_ = types.pop() if len(types) == 1 and not any(map(is_open, found)) else ANY
    cause = first_unknown((value,))
    result = Unknown(type_, cause.because if cause is not None else "")
    return marked(result, any(map(has_secret, found)))


def _can(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "can"', "Exactly one expression is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        value = attempt(arguments[0], scope, loop)
        if isinstance(value, EvaluationError):
            return False
        if _is_settled(value, node.arguments[0]):
            return True
        cause = first_unknown((value,))
        return Unknown(BOOL, cause.because if cause is not None else "", not_null=True)

    return run


def _type(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "type"', "Exactly one value is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        value = arguments[0](scope, loop)
        type_, cause = type_of(value), first_unknown((value,)) if is_open(value) else None
        text: Value = str(type_) if cause is None else Unknown(STRING, cause.because, not_null=True)
        # the names and the number of its elements tell something of a collection that is secret
        return marked(text, has_secret(value) and not isinstance(type_, Primitive))

    return run


def _templatefile(node: ast.Call, arguments: list[Run]) -> Run:
    def read(path: str, scope: Scope) -> Source:
        try:
            return Source(path, scope.environment.files.read_bytes(path).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise fault(
                'Error in function "templatefile"', f'Cannot read "{path}": {reason}.', node.arguments[0].span
            ) from None

    return _rendering(node, arguments, read, "The path")


def _templatestring(node: ast.Call, arguments: list[Run]) -> Run:
    return _rendering(node, arguments, lambda text, scope: Source("template", text), "The template")


def _rendering(node: ast.Call, arguments: list[Run], read: Callable[[str, Scope], Source], what: str) -> Run:
    """Make a call that renders a template: `read` gets its text by the first argument, `what` names that one."""
    title = f'Error in function "{node.name}"'
    if len(arguments) != 2:
        raise fault(title, "A template and an object of its variables are needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        first, given = arguments[0](scope, loop), arguments[1](scope, loop)
        hidden = isinstance(first, Secret) or isinstance(given, Secret)
        text, names = reveal(first), reveal(given)
        waits = next((value for value in (text, names) if isinstance(value, Unknown)), None)
        if waits is not None:
            return marked(Unknown(ANY, waits.because), hidden or has_secret(names))
        if not isinstance(text, str):
            raise fault(title, f"{what} must be a text.", node.arguments[0].span)
        try:
            result = render_template(read(text, scope), names, scope, node)
        except EvaluationError as problem:
            if not hidden:
                raise
            # the message would show a part of the template, or of what is filled in
            reason = "The template cannot be rendered; why is not shown, because it or its variables are secret."
            raise fault(title, reason, node.span, catchable=problem.catchable) from None
        return marked(result, hidden)

    return run


@dataclass(slots=True)
class _TemplateScope:
    """Inside a rendered template only the variables given to it have meaning."""

    environment: Environment
    names: Mapping[str, Value]

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        if root not in self.names:
            raise fault(
                "Missing template variable",
                f'The template uses "{root}", and it was not given.',
                span,
                hint=suggest(root, self.names) or f'Add "{root}" to the variables of the template.',
            )
        return self.names[root], 0


def render_template(source: Source, names: Value, scope: Scope, node: ast.Call) -> Value:
    if not isinstance(names, Mapping_):
        raise fault(f'Error in function "{node.name}"', "The variables must be an object.", node.arguments[1].span)
    key = ("template", source.name, source.text)
    prepared = scope.environment.cache.get(key)
    if not isinstance(prepared, Prepared):
        prepared = scope.environment.cache[key] = _prepared_template(source, node)
    return prepared.run(_TemplateScope(scope.environment, names.items), NO_LOOP)


def _prepared_template(source: Source, node: ast.Call) -> Prepared:
    from brevplan.lang.parser import parse_template  # the parser is not needed to run literals

    template, problems = parse_template(source)
    if template is None or problems:
        raise EvaluationError(problems[0])
    if any(isinstance(inner, ast.Call) and inner.name.endswith("templatefile") for inner in _walk(template)):
        raise fault("Recursive template", "A template may not call templatefile itself.", node.span)
    from brevplan.lang.evaluate import prepare  # the evaluator knows the special forms, and they need it for templates

    return prepare(template)


def _walk(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for child in ast.children(node):
        yield from _walk(child)


SPECIAL_FORMS: dict[str, Callable[[ast.Call, list[Run]], Run]] = {
    "try": _try,
    "can": _can,
    "templatefile": _templatefile,
    "templatestring": _templatestring,
    "type": _type,
}
