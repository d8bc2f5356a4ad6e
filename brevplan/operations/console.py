"""`brevplan console`: expressions over the variables given now and the state. No cloud is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, Source, failure
from brevplan.engine.config import Config, Declaration
from brevplan.engine.kind import Schema
from brevplan.engine.references import check_expression
from brevplan.engine.scope import ModuleScope
from brevplan.lang import ast
from brevplan.lang.evaluate import prepare
from brevplan.lang.functions import registry
from brevplan.lang.parser import parse_expression
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.static_types import merged, static_type
from brevplan.lang.types import ANY, ListType, MapType, ObjectType, Type
from brevplan.lang.values import Secret, Value, type_of
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request
from brevplan.operations.project import DATA_KINDS, KINDS, load_project
from brevplan.operations.recalled import recalled_scope
from brevplan.operations.stored import read

PLACE: Final = "<console>"
"""What messages call the line that was typed."""

_FIXED_NAMES: Final = ("brevplan.project", "brevplan.workspace", "path.cwd", "path.module", "path.root")


@dataclass(frozen=True, slots=True)
class Answer:
    """A value with what is known of its type; `asks_type` when the type is what was asked for."""

    value: Value
    type: Type
    asks_type: bool = False
    is_private: bool = False
    """The expression spells out something secret, so that it must not be remembered."""


@dataclass(frozen=True, slots=True)
class Session:
    """What expressions are evaluated over, and what is worth a warning about it."""

    config: Config
    scope: ModuleScope
    warnings: list[Diagnostic]

    def answer(self, text: str) -> Answer:
        """Evaluate one expression, or the argument of a `type(…)` around it; raise `DiagnosticsError`."""
        # behind the last line of a heredoc there must be another line
        expression, problems = parse_expression(Source(PLACE, f"{text}\n" if "\n" in text else text))
        if expression is None:
            raise DiagnosticsError(problems)
        asked = _asked_of(expression)
        inner = asked if asked is not None else expression
        _refuse_inner_types(inner)
        value = self._value(inner)
        type_ = merged(type_of(value), static_type(inner, self._type_of_name))
        is_private = _spells_secret(inner) or (isinstance(value, Secret) and _has_text(inner))
        return Answer(value, type_, asked is not None, is_private)

    def evaluate(self, text: str) -> Value:
        """Give the value of one expression; raise `DiagnosticsError`."""
        return self.answer(text).value

    def _value(self, expression: ast.Expression) -> Value:
        try:
            prepared = prepare(expression)
            diagnostics = Diagnostics()
            check_expression(prepared, self.config, KINDS, DATA_KINDS, diagnostics)
            diagnostics.raise_if_errors()
            return prepared.evaluate(self.scope)
        except EvaluationError as problem:
            raise DiagnosticsError([problem.diagnostic]) from None

    def names(self) -> list[str]:
        """Give every name that an expression may begin with, and the functions, for completion."""
        return sorted({*_FIXED_NAMES, *self._declared(), *(f"{name}(" for name in registry.names())})

    def _declared(self) -> Iterator[str]:
        yield from (f"var.{name}" for name in self.config.variables)
        yield from (f"local.{name}" for name in self.config.locals)
        yield from map(str, self.config.resources)

    def _type_of_name(self, root: str) -> Type:
        if root == "local":
            # what a local takes from another one is left open: that would have to be told apart from a cycle
            return ObjectType(
                {name: static_type(it.node, self._type_of_block) for name, it in self.config.locals.items()}
            )
        return self._type_of_block(root)

    def _type_of_block(self, root: str) -> Type:
        if root == "var":
            return ObjectType({name: block.type for name, block in self.config.variables.items()})
        if root == "data":
            return ObjectType(
                {name: self._blocks(name, kind.schema, is_data=True) for name, kind in DATA_KINDS.items()}
            )
        return self._blocks(root, KINDS[root].schema, is_data=False) if root in KINDS else ANY

    def _blocks(self, kind: str, schema: Schema, *, is_data: bool) -> Type:
        found = (item for item in self.config.resources.items() if (item[0].kind, item[0].is_data) == (kind, is_data))
        return ObjectType({address.name: _block_type(block, schema) for address, block in found})


def open_session(directory: Path, request: Request) -> Session:
    """Read configuration and state, both of which may be missing; raise `DiagnosticsError`."""
    project = load_project(directory, required=False, cache=parse_cache(request.environment))
    diagnostics = Diagnostics(list(project.diagnostics.items))
    scope = recalled_scope(project, request, read(directory, request), diagnostics, offline=True)
    diagnostics.raise_if_errors()
    return Session(project.config, scope, diagnostics.items)


def _block_type(block: Declaration, schema: Schema) -> Type:
    one = ObjectType({name: spec.type for name, spec in schema.attributes.items()})
    if block.count is not None:
        return ListType(one)
    return MapType(one) if block.for_each is not None else one


def _asked_of(node: ast.Expression) -> ast.Expression | None:
    """Give the argument of `type(…)` when that is the whole expression."""
    while isinstance(node, ast.Parentheses):
        node = node.inner
    if isinstance(node, ast.Call) and node.name == "type" and len(node.arguments) == 1 and not node.expand:
        return node.arguments[0]
    return None


def _refuse_inner_types(expression: ast.Expression) -> None:
    for node in _walk(expression):
        if isinstance(node, ast.Call) and node.name == "type" and len(node.arguments) == 1:
            raise failure(
                "Invalid use of type function",
                '"type" shows the type of a value at the console, and cannot be a part of an expression.',
                node.span,
                hint="Write type(…) around the whole expression.",
            )


def _spells_secret(node: ast.Expression) -> bool:
    """Tell whether an expression has a literal inside of `sensitive(…)`: then its text holds the secret itself."""
    return any(isinstance(part, ast.Call) and part.name == "sensitive" and _has_literal(part) for part in _walk(node))


def _has_literal(node: ast.Node) -> bool:
    return _has_text(node) or any(isinstance(part, ast.Literal) and part.value is not None for part in _walk(node))


def _has_text(node: ast.Node) -> bool:
    return any(isinstance(part, ast.Template) and any(isinstance(p, str) for p in part.parts) for part in _walk(node))


def _walk(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for child in ast.children(node):
        yield from _walk(child)
