"""Addresses written in configuration: `moved { from = … }`, `import { to = … }`, `removed { from = … }`."""

from __future__ import annotations

from collections.abc import Iterator

from brevplan.engine.address import Address, InstanceKey, ModuleAddress, ModulePath, Target
from brevplan.lang import ast

Part = str | ast.Expression
"""A name, or the expression of an index."""


class NoAddress(Exception):
    """An expression is no address. The text says why."""


def read_target(node: ast.Expression) -> Target:
    """Read the address of a resource, an instance or a module; raise `NoAddress`."""
    path, parts = _module_path(_parts(node))
    if not parts:
        return ModuleAddress(path)
    address, index = _resource(parts, path)
    return address if index is None else address.instance(_literal_key(index))


def read_instance(node: ast.Expression) -> tuple[Address, ast.Expression | None]:
    """Read the address of a resource and the expression of its index, if it has one; raise `NoAddress`."""
    path, parts = _module_path(_parts(node))
    if not parts:
        raise NoAddress("a resource is needed, not a module")
    return _resource(parts, path)


def _parts(node: ast.Expression) -> list[Part]:
    found: list[Part] = []
    while isinstance(node, (ast.GetAttr, ast.Index)):
        found.append(node.name if isinstance(node, ast.GetAttr) else node.key)
        node = node.object
    if not isinstance(node, ast.Variable):
        raise NoAddress("it is not the name of a resource or module")
    return [node.name, *reversed(found)]


def _module_path(parts: list[Part]) -> tuple[ModulePath, list[Part]]:
    path: list[tuple[str, InstanceKey]] = []
    while parts and parts[0] == "module":
        if len(parts) < 2 or not isinstance(parts[1], str):
            raise NoAddress('the name of a module call must follow "module"')
        has_key = len(parts) > 2 and not isinstance(parts[2], str)
        path.append((parts[1], _literal_key(parts[2]) if has_key else None))
        parts = parts[3 if has_key else 2 :]
    return tuple(path), parts


def _resource(parts: list[Part], path: ModulePath) -> tuple[Address, ast.Expression | None]:
    names = list(_names(parts))
    if names[:1] == ["data"]:
        raise NoAddress("data is read anew each time, and is nothing to keep")
    if len(names) != 2 or len(parts) > 3:
        raise NoAddress("a resource is named by two words, and one index may follow")
    last = parts[2] if len(parts) == 3 else None
    return Address(names[0], names[1], None, False, path), last if not isinstance(last, str) else None


def _names(parts: list[Part]) -> Iterator[str]:
    for part in parts:
        if not isinstance(part, str):
            return
        yield part


def _literal_key(part: Part) -> InstanceKey:
    match part:
        case ast.Literal(value=int() as number) if not isinstance(number, bool) and number >= 0:
            return number
        case ast.Template(parts=[str() as text]):
            return text
        case ast.Template(parts=[]):
            return ""
    raise NoAddress("an index is a number or a text in quotes")
