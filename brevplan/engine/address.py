"""The name of a resource instance, from the parser to the database: `instance.web[0]`, `data.images.ubuntu`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from brevplan.lang.printing import quote

InstanceKey = int | str | None

_PATTERN = re.compile(
    r"""(?P<data>data\.)?(?P<kind>[^\W\d][\w-]*)\.(?P<name>[^\W\d][\w-]*)(?:\[(?P<key>\d+|"(?:[^"\\]|\\.)*")\])?\Z"""
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Address:
    """`kind.name[key]`; without a key it is a single instance or, as `block`, all instances of a block."""

    kind: str
    name: str
    key: InstanceKey = None
    is_data: bool = False

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address as printed by `str`; raise `ValueError` saying how one is written."""
        found = _PATTERN.match(text.strip())
        if found is None:
            raise ValueError(
                f'"{text}" is not an address: write KIND.NAME, KIND.NAME[0] or KIND.NAME["key"], '
                "for example instance.web[0]"
            )
        key: InstanceKey = None
        if found["key"] is not None:
            key = int(found["key"]) if found["key"].isdigit() else _unquote(found["key"])
        return cls(found["kind"], found["name"], key, found["data"] is not None)

    @property
    def block(self) -> Address:
        """The address of the whole block."""
        return self if self.key is None else Address(self.kind, self.name, None, self.is_data)

    def instance(self, key: InstanceKey) -> Address:
        return Address(self.kind, self.name, key, self.is_data)

    def covers(self, other: Address) -> bool:
        """Tell whether `other` is this instance, or an instance of this block."""
        return self == other or (self.key is None and self == other.block)

    def __str__(self) -> str:
        prefix = "data." if self.is_data else ""
        if self.key is None:
            return f"{prefix}{self.kind}.{self.name}"
        key = str(self.key) if isinstance(self.key, int) else quote(self.key)
        return f"{prefix}{self.kind}.{self.name}[{key}]"

    def _order(self) -> tuple[bool, str, str, int, int, str]:
        key = self.key
        number = key if isinstance(key, int) else -1
        return self.is_data, self.kind, self.name, isinstance(key, str), number, key if isinstance(key, str) else ""

    def __lt__(self, other: Address) -> bool:
        return self._order() < other._order()


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
