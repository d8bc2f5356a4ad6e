"""The name of a resource instance, from the parser to the database: `instance.web[0]`, `module.a["x"].instance.b`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from brevplan.lang.printing import quote

InstanceKey = int | str | None
ModulePath = tuple[tuple[str, InstanceKey], ...]
"""The calls that lead to a module instance, from the root: `(("a", "x"), ("b", None))` is `module.a["x"].module.b`."""

_NAME = r"[^\W\d][\w-]*"
_KEY = r"""(?:\[(?P<key>\d+|"(?:[^"\\]|\\.)*")\])?"""
_MODULE = re.compile(rf"module\.(?P<name>{_NAME}){_KEY}(?:\.(?=[^.])|\Z)")
_RESOURCE = re.compile(rf"(?P<data>data\.)?(?P<kind>{_NAME})\.(?P<name>{_NAME}){_KEY}\Z")


@total_ordering
@dataclass(frozen=True, slots=True)
class Address:
    """`kind.name[key]` in a module; without a key a single instance or, as `block`, all instances of a block."""

    kind: str
    name: str
    key: InstanceKey = None
    is_data: bool = False
    module: ModulePath = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address as printed by `str`; raise `ValueError` saying how one is written."""
        path, rest = _parse_path(text.strip())
        found = _RESOURCE.match(rest)
        if found is None:
            raise ValueError(
                f'"{text}" is not an address: write KIND.NAME, KIND.NAME[0] or KIND.NAME["key"], '
                "for example instance.web[0]"
            )
        return cls(found["kind"], found["name"], _parse_key(found["key"]), found["data"] is not None, path)

    @property
    def block(self) -> Address:
        """The address of the whole block."""
        return self if self.key is None else Address(self.kind, self.name, None, self.is_data, self.module)

    @property
    def declared(self) -> Address:
        """The block as its own module calls it."""
        if self.key is None and not self.module:
            return self
        return Address(self.kind, self.name, None, self.is_data)

    def instance(self, key: InstanceKey) -> Address:
        return Address(self.kind, self.name, key, self.is_data, self.module)

    def inside(self, path: ModulePath) -> Address:
        """The same name in another module instance."""
        return Address(self.kind, self.name, self.key, self.is_data, path) if path != self.module else self

    def covers(self, other: Address) -> bool:
        """Tell whether `other` is this instance, or an instance of this block."""
        return self == other or (self.key is None and self == other.block)

    def __str__(self) -> str:
        prefix = f"{path_text(self.module)}." if self.module else ""
        data = "data." if self.is_data else ""
        return f"{prefix}{data}{self.kind}.{self.name}{_key_text(self.key)}"

    def order(self) -> tuple[object, bool, str, str, bool, int, str]:
        """Give what addresses are sorted by: faster as the key of a long list than comparing them."""
        key = self.key
        number = key if isinstance(key, int) else -1
        path = path_order(self.module) if self.module else ()
        is_text = isinstance(key, str)
        return path, self.is_data, self.kind, self.name, is_text, number, key if isinstance(key, str) else ""

    def __lt__(self, other: Address) -> bool:
        return self.order() < other.order()


@dataclass(frozen=True, slots=True)
class ModuleAddress:
    """`module.a` or `module.a["x"].module.b`: everything in a module; without a last key, in all its instances."""

    module: ModulePath

    def covers(self, other: Address) -> bool:
        return self.holds(other.module)

    def holds(self, path: ModulePath) -> bool:
        """Tell whether a module instance is this one, or lies in it."""
        last, mine = len(self.module) - 1, self.module
        if len(path) <= last or path[:last] != mine[:last]:
            return False
        return path[last][0] == mine[last][0] and mine[last][1] in (None, path[last][1])

    def __str__(self) -> str:
        return path_text(self.module)


Target = Address | ModuleAddress
"""What `-target` and `moved` can name."""


def parse_target(text: str) -> Target:
    """Read the address of a resource, an instance or a module; raise `ValueError`."""
    path, rest = _parse_path(text.strip())
    return ModuleAddress(path) if path and not rest else Address.parse(text)


def path_text(path: ModulePath) -> str:
    return ".".join(f"module.{name}{_key_text(key)}" for name, key in path)


def path_order(path: ModulePath) -> tuple[tuple[str, bool, int, str], ...]:
    """Give what module instances are sorted by: names, then numbers, then texts."""
    return tuple(
        (name, isinstance(key, str), key if isinstance(key, int) else -1, key if isinstance(key, str) else "")
        for name, key in path
    )


def path_names(path: ModulePath) -> tuple[str, ...]:
    """Give the names of the calls without instance keys: where the module stands in the configuration."""
    return tuple(name for name, _ in path)


def _parse_path(text: str) -> tuple[ModulePath, str]:
    path: list[tuple[str, InstanceKey]] = []
    while (found := _MODULE.match(text)) is not None:
        path.append((found["name"], _parse_key(found["key"])))
        text = text[found.end() :]
    return tuple(path), text


def _parse_key(text: str | None) -> InstanceKey:
    if text is None:
        return None
    return int(text) if text.isdigit() else _unquote(text)


def _key_text(key: InstanceKey) -> str:
    if key is None:
        return ""
    return f"[{key}]" if isinstance(key, int) else f"[{quote(key)}]"


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|\$\$(?=\{)|%%(?=\{)", re.DOTALL)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _unquote(text: str) -> str:
    """Undo what `quote` does to a text."""

    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        if code:
            return chr(int(code, 16))
        return _SHORT.get(found[3], found[3]) if found[3] else found[0][0]

    return _ESCAPE.sub(plain, text[1:-1])
