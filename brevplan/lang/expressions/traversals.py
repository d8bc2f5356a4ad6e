"""References: a name and the steps behind it. The scope is asked about as many steps as the source has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import normalize

from brevplan.diagnostics import Span
from brevplan.lang import ast
from brevplan.lang.operators import OperationError, get_attribute, get_index
from brevplan.lang.prepared import Key, Loop, Preparer, Reference, Run, Scope, Step, placed
from brevplan.lang.values import Value

StepNode = ast.GetAttr | ast.Index


def prepare_traversal(preparer: Preparer, node: ast.Expression, loops: frozenset[str]) -> Run:
    nodes: list[StepNode] = []
    base = node
    while isinstance(base, (ast.GetAttr, ast.Index)):
        nodes.append(base)
        base = base.object
    nodes.reverse()
    if isinstance(base, ast.Variable) and base.name not in loops:
        return _reference(preparer, base, node, nodes, loops)
    source = _loop_value(base) if isinstance(base, ast.Variable) else preparer.expression(base, loops)
    if not nodes:
        return source
    steps = _steps(preparer, nodes, loops)
    return lambda scope, loop: _follow(source(scope, loop), _ready(steps, scope, loop), nodes)


def _loop_value(node: ast.Variable) -> Run:
    name = node.name
    return lambda scope, loop: loop[name]


def _reference(
    preparer: Preparer, root: ast.Variable, whole: ast.Expression, nodes: list[StepNode], loops: frozenset[str]
) -> Run:
    name, span = root.name, Span(root.source, root.start, whole.end)
    fixed = tuple(_fixed_steps(nodes))
    preparer.references.append(Reference(name, fixed, span, _name_beyond(nodes[len(fixed) :])))
    if len(fixed) == len(nodes):

        def run_fixed(scope: Scope, loop: Loop) -> Value:
            value, used = scope.resolve(name, fixed, span)
            return _follow(value, fixed, nodes, used)

        return run_fixed
    steps = _steps(preparer, nodes, loops)

    def run(scope: Scope, loop: Loop) -> Value:
        ready = _ready(steps, scope, loop)
        value, used = scope.resolve(name, ready, span)
        return _follow(value, ready, nodes, used)

    return run


def _steps(preparer: Preparer, nodes: Sequence[StepNode], loops: frozenset[str]) -> list[str | Run]:
    return [node.name if isinstance(node, ast.GetAttr) else preparer.expression(node.key, loops) for node in nodes]


def _fixed_steps(nodes: Sequence[StepNode]) -> Iterator[Step]:
    """Give the steps that do not depend on anything, up to the first that does."""
    for node in nodes:
        if isinstance(node, ast.GetAttr):
            yield node.name
            continue
        key = _literal_key(node.key)
        if key is None:
            return
        yield Key(key)


def _name_beyond(nodes: Sequence[StepNode]) -> str:
    following = nodes[1] if len(nodes) > 1 else None
    return following.name if isinstance(following, ast.GetAttr) else ""


def _literal_key(node: ast.Expression) -> Value:
    if isinstance(node, ast.Literal):
        return node.value
    if isinstance(node, ast.Template) and len(node.parts) == 1 and isinstance(node.parts[0], str):
        return normalize("NFC", node.parts[0])
    return None


def _ready(steps: Sequence[str | Run], scope: Scope, loop: Loop) -> tuple[Step, ...]:
    return tuple([step if isinstance(step, str) else Key(step(scope, loop)) for step in steps])


def _follow(value: Value, steps: Sequence[Step], nodes: Sequence[StepNode], start: int = 0) -> Value:
    """Apply the steps from `start` on to a value; a mistake underlines the name or the key."""
    for position in range(start, len(steps)):
        step = steps[position]
        try:
            value = get_attribute(value, step) if isinstance(step, str) else get_index(value, step.value)
        except OperationError as problem:
            raise placed(problem, _step_span(nodes[position])) from None
    return value


def _step_span(node: StepNode) -> Span:
    if isinstance(node, ast.Index):
        return node.key.span
    return Span(node.source, node.end - len(node.name), node.end)
