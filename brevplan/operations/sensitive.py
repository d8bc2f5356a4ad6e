"""Where the literals of something sensitive stand in a configuration: they are cut out of what a plan file keeps.

Sensitive are the arguments that a schema or a provider says so of, sensitive variables and outputs, and whatever is
wrapped in `sensitive(…)`; and everything that these are made of, through locals and the defaults of variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from brevplan.engine.config import Config
from brevplan.lang import ast
from brevplan.operations.project import KINDS
from brevplan.providers import registry

_SHORTEST: Final = 4


@dataclass(slots=True)
class Taint:
    """The locals and variables that lead into something sensitive."""

    locals: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)


def trace(config: Config, bodies: Sequence[ast.Body]) -> Taint:
    """Follow what is sensitive back to the locals and variables that it is made of."""
    taint = Taint(variables={name for name, block in config.variables.items() if block.sensitive})
    pending = [node for body in bodies for block in body.blocks for node in _sinks(block)]
    while pending:
        for root, name in _names(pending.pop()):
            if root == "local" and name in config.locals and name not in taint.locals:
                taint.locals.add(name)
                pending.append(config.locals[name].node)
            elif root == "var" and name in config.variables:
                taint.variables.add(name)
    return taint


def spans(body: ast.Body, taint: Taint) -> list[tuple[int, int]]:
    """Give the stretches of a text to cut out, in order and apart from each other."""
    found = {(node.start, node.end) for node in _nodes(body, taint) if any(True for _ in _literals(node))}
    return _apart(sorted(found))


def _nodes(body: ast.Body, taint: Taint) -> Iterator[ast.Node]:
    for block in body.blocks:
        yield from _sinks(block)
        for name, attribute in block.body.attributes.items():
            if (block.type == "locals" and name in taint.locals) or (
                name == "default" and block.type == "variable" and _label(block) in taint.variables
            ):
                yield attribute.value


def secret_texts(bodies: Sequence[ast.Body], taint: Taint) -> frozenset[str]:
    """Give the texts inside of the cut literals, but for those too short to be told from other words."""
    found: set[str] = set()
    for body in bodies:
        for node in _nodes(body, taint):
            for literal in _literals(node):
                if isinstance(literal, ast.Literal):
                    found.add(str(literal.value))
                elif isinstance(literal, ast.Template):
                    found.update(part for part in literal.parts if isinstance(part, str))
    return frozenset(text for text in found if len(text) >= _SHORTEST)


def _apart(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in found:
        if not result or start >= result[-1][1]:
            result.append((start, end))
    return result


def _label(block: ast.Block) -> str:
    return block.labels[0].text if block.labels else ""


def _sinks(block: ast.Block) -> Iterator[ast.Node]:
    """Give the expressions of a block whose values are sensitive."""
    names = _sensitive_names(block)
    for name, attribute in block.body.attributes.items():
        if name in names:
            yield attribute.value
        else:
            yield from _wrapped(attribute.value)
    for inner in block.body.blocks:
        yield from _sinks(inner)


def _wrapped(node: ast.Node) -> Iterator[ast.Node]:
    """Give the arguments of `sensitive(…)` inside of an expression."""
    if isinstance(node, ast.Call) and node.name.removeprefix("core::") == "sensitive":
        yield from node.arguments
        return
    for child in ast.children(node):
        yield from _wrapped(child)


def _sensitive_names(block: ast.Block) -> set[str]:
    label = _label(block)
    if block.type == "provider" and label in registry.MODULES:
        return {name for name, argument in registry.spec(label).all_arguments().items() if argument.sensitive}
    if block.type == "resource" and label in KINDS:
        return {name for name, spec in KINDS[label].schema.attributes.items() if spec.sensitive}
    if block.type in ("variable", "output") and _is_true(block.body.attributes.get("sensitive")):
        return {"default", "value"}
    return set()


def _is_true(attribute: ast.Attribute | None) -> bool:
    node = attribute.value if attribute is not None else None
    while isinstance(node, ast.Parentheses):
        node = node.inner
    return isinstance(node, ast.Literal) and node.value is True


def _names(node: ast.Node) -> Iterator[tuple[str, str]]:
    """Give the first two names of every reference in an expression."""
    if isinstance(node, ast.GetAttr) and isinstance(node.object, ast.Variable):
        yield node.object.name, node.name
    for child in ast.children(node):
        yield from _names(child)


def _literals(node: ast.Node) -> Iterator[ast.Node]:
    """Give the texts and numbers written in an expression."""
    if isinstance(node, ast.Literal) and node.value is not None:
        yield node
    if isinstance(node, ast.Template) and any(isinstance(part, str) for part in node.parts):
        yield node
    for child in ast.children(node):
        yield from _literals(child)
