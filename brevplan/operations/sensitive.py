"""Where the literals of something sensitive stand in a configuration: they are cut out of what a plan file keeps.

Sensitive are the arguments that a schema or a provider says so of, sensitive variables and outputs, and whatever is
wrapped in `sensitive(…)`; and everything that these are made of, through locals and the defaults of variables.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from brevplan.engine.config import Config
from brevplan.lang import ast
from brevplan.operations.project import KINDS
from brevplan.providers import registry

_SHORTEST: Final = 4


Name = tuple[str, str, str]
"""A folder as `path.module` gives it, what is named there (local, var, output, input, for_each), and its name."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A block with `for_each`, by its type and labels."""

    name: str
    for_each: ast.Node


def _repeated(block: ast.Block) -> Repeated | None:
    attribute = block.body.attributes.get("for_each")
    return Repeated(_full_name(block), attribute.value) if attribute is not None else None


def _full_name(block: ast.Block) -> str:
    return ".".join([block.type, *(label.text for label in block.labels)])


@dataclass(frozen=True, slots=True)
class Taint:
    """What leads into something sensitive: locals, variables, outputs, and the inputs of calls as `call.input`."""

    names: frozenset[Name]

    def variables_of(self, directory: str) -> set[str]:
        return {name for folder, sort, name in self.names if (folder, sort) == (directory, "var")}


def trace(config: Config, bodies: Sequence[ast.Body]) -> Taint:
    """Follow what is sensitive back to what it is made of, through all modules."""
    return _Trace(config).run(bodies)


class _Trace:
    def __init__(self, config: Config) -> None:
        self.folders = {module.directory: module for _, module in config.modules()}
        self.found: set[Name] = set()
        self.pending: list[tuple[str, ast.Node, Repeated | None]] = []
        """A folder, something sensitive there, and the block around it if that is repeated over values."""

    def run(self, bodies: Sequence[ast.Body]) -> Taint:
        for folder, module in self.folders.items():
            for name, variable in module.variables.items():
                if variable.sensitive or variable.ephemeral:
                    self.add(folder, "var", name)
        for body in bodies:
            folder = folder_of(body)
            for block in body.blocks:
                self.pending.extend((folder, node, _repeated(block)) for node in _sinks(block))
        while self.pending:
            folder, node, around = self.pending.pop()
            for root, name, behind in _names(node):
                if root == "module":
                    self.outputs(folder, name, behind)
                elif root == "each" and around is not None:
                    self.over(folder, around)
                else:
                    self.add(folder, root, name)
        return Taint(frozenset(self.found))

    def over(self, folder: str, around: Repeated) -> None:
        """What `each` stands for is made of what the block is repeated over."""
        name = (folder, "for_each", around.name)
        if name not in self.found:
            self.found.add(name)
            self.pending.append((folder, around.for_each, None))

    def add(self, folder: str, sort: str, name: str) -> None:
        """Note a local, a variable or an output, and go on with what it is made of."""
        module = self.folders.get(folder)
        if module is None or name not in _declared(module, sort) or (folder, sort, name) in self.found:
            return
        self.found.add((folder, sort, name))
        if sort == "local":
            self.pending.append((folder, module.locals[name].node, None))
        elif sort == "output":
            self.pending.append((folder, module.outputs[name].value.node, None))
        else:
            self.inputs(folder, name)

    def inputs(self, folder: str, name: str) -> None:
        """A variable of a called module is made of what the calls say."""
        for outer, module in self.folders.items():
            for call, child in module.children.items():
                block = module.calls[call]
                given = block.inputs.get(name) if child.directory == folder else None
                if given is not None:
                    around = Repeated(f"module.{call}", block.for_each.node) if block.for_each is not None else None
                    self.found.add((outer, "input", f"{call}.{name}"))
                    self.pending.append((outer, given.node, around))

    def outputs(self, folder: str, call: str, name: str) -> None:
        module = self.folders.get(folder)
        child = module.children.get(call) if module is not None else None
        for output in ([name] if name else child.outputs) if child is not None else ():
            assert child is not None
            self.add(child.directory, "output", output)


def _declared(module: Config, sort: str) -> Container[str]:
    match sort:
        case "local":
            return module.locals
        case "var":
            return module.variables
    return module.outputs


def folder_of(body: ast.Body) -> str:
    """Give the folder of a file as `path.module` gives it."""
    return posixpath.dirname(body.source.name) or "."


def spans(body: ast.Body, taint: Taint) -> list[tuple[int, int]]:
    """Give the stretches of a text to cut out, in order and apart from each other."""
    found = {(node.start, node.end) for node in _nodes(body, taint) if any(True for _ in _literals(node))}
    return _apart(sorted(found))


def _nodes(body: ast.Body, taint: Taint) -> Iterator[ast.Node]:
    folder = folder_of(body)
    for block in body.blocks:
        yield from _sinks(block)
        for name, attribute in block.body.attributes.items():
            if _named(block, name, folder) in taint.names:
                yield attribute.value


def _named(block: ast.Block, argument: str, folder: str) -> Name:
    """Say what an argument of a block gives a value to."""
    match block.type, argument:
        case _, "for_each":
            return folder, "for_each", _full_name(block)
        case "locals", name:
            return folder, "local", name
        case "variable", "default":
            return folder, "var", _label(block)
        case "output", "value":
            return folder, "output", _label(block)
        case "module", name:
            return folder, "input", f"{_label(block)}.{name}"
    return folder, "", ""


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
        if names and block.type == "variable":
            # what a secret is compared with tells of it
            yield from (attribute.value for attribute in inner.body.attributes.values())
        else:
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
    if block.type == "provider" and registry.is_known(label):
        return {name for name, argument in registry.spec(label).all_arguments().items() if argument.sensitive}
    if block.type == "resource" and label in KINDS:
        return {name for name, spec in KINDS[label].schema.attributes.items() if spec.sensitive}
    marks = ("sensitive", "ephemeral")
    if block.type in ("variable", "output") and any(_is_true(block.body.attributes.get(name)) for name in marks):
        return {"default", "value", "type"}
    return set()


def _is_true(attribute: ast.Attribute | None) -> bool:
    node = attribute.value if attribute is not None else None
    while isinstance(node, ast.Parentheses):
        node = node.inner
    return isinstance(node, ast.Literal) and node.value is True


def _names(node: ast.Node) -> Iterator[tuple[str, str, str]]:
    """Give the first two names of every reference in an expression, and of a module the output behind them."""
    names: list[str] = []
    base = node
    while isinstance(base, (ast.GetAttr, ast.Index)):
        if isinstance(base, ast.GetAttr):
            names.append(base.name)
        else:
            yield from _names(base.key)
        base = base.object
    if isinstance(base, ast.Variable) and names and base.name in ("local", "var", "module", "each"):
        yield base.name, names[-1], names[-2] if len(names) > 1 else ""
    for child in ast.children(base):
        yield from _names(child)


def _literals(node: ast.Node) -> Iterator[ast.Node]:
    """Give the texts and numbers written in an expression."""
    if isinstance(node, ast.Literal) and node.value is not None:
        yield node
    if isinstance(node, ast.Template) and any(isinstance(part, str) for part in node.parts):
        yield node
    for child in ast.children(node):
        yield from _literals(child)
