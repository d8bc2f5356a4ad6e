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


def read_instance(
    node: ast.Expression,
) -> tuple[Address, tuple[ast.Expression | None, ...], ast.Expression | None]:
    """Read the address of a block, with the expressions of the keys on the way to it and of its own.

    Raises `NoAddress`.
    """
    calls, parts = _calls(_parts(node))
    if not parts:
        raise NoAddress("a resource is needed, not a module")
    address, index = _resource(parts, tuple((name, None) for name, _ in calls))
    return address, tuple(key for _, key in calls), index


def _parts(node: ast.Expression) -> list[Part]:
    found: list[Part] = []
    while isinstance(node, (ast.GetAttr, ast.Index)):
        found.append(node.name if isinstance(node, ast.GetAttr) else node.key)
        node = node.object
    if not isinstance(node, ast.Variable):
        raise NoAddress("it is not the name of a resource or module")
    return [node.name, *reversed(found)]


def _module_path(parts: list[Part]) -> tuple[ModulePath, list[Part]]:
    calls, rest = _calls(parts)
    return tuple((name, _literal_key(key) if key is not None else None) for name, key in calls), rest


def _calls(parts: list[Part]) -> tuple[list[tuple[str, ast.Expression | None]], list[Part]]:
    """Take the module calls off the beginning, each with the expression of its key."""
    found: list[tuple[str, ast.Expression | None]] = []
    while parts and parts[0] == "module":
        name = parts[1] if len(parts) > 1 else None
        if not isinstance(name, str):
            raise NoAddress('the name of a module call must follow "module"')
        key = parts[2] if len(parts) > 2 else None
        found.append((name, key if not isinstance(key, str) else None))
        parts = parts[2 if key is None or isinstance(key, str) else 3 :]
    return found, parts


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


def _literal_key(part: ast.Expression) -> InstanceKey:
    match part:
        case ast.Literal(value=int() as number) if not isinstance(number, bool) and number >= 0:
            return number
        case ast.Template(parts=[str() as text]):
            return text
        case ast.Template(parts=[]):
            return ""
    raise NoAddress("an index is a number or a text in quotes")
