"""Amounts of memory and disk with the unit they were given in. Compared and hashed by the number of bytes."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

UNITS: Final[dict[str, int]] = {
    "B": 1,
    **{f"{prefix}B": 10 ** (3 * power) for power, prefix in enumerate("KMGTPE", start=1)},
    **{f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGTPE", start=1)},
}

_TEXT = re.compile(r"\s*(\d+)\s*([KMGTPE]?i?B)\s*\Z")


class Bytes(Struct, frozen=True, eq=False):
    """`value` times `unit`, for example `Bytes(80, "GB")`. The zero value has an empty unit."""

    value: int = 0
    unit: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS and (self.value or self.unit):
            raise ValueError(f'unknown unit "{self.unit}": one of {", ".join(UNITS)} is needed')
        if self.value < 0:
            raise ValueError("a size cannot be negative")

    @classmethod
    def parse(cls, text: str) -> Bytes:
        """Read `500GiB` or `1 TB`; raise `ValueError` naming the units."""
        found = _TEXT.match(text)
        if not found or found[2] not in UNITS:
            raise ValueError(f'"{text}" is not a size: write a whole number and a unit, such as 500GiB or 1TB')
        return cls(int(found[1]), found[2])

    @property
    def total(self) -> int:
        """The number of bytes."""
        return self.value * UNITS[self.unit] if self.unit else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bytes) and self.total == other.total

    # written out: `total_ordering` leaves what a Struct has already as it is
    def __lt__(self, other: Bytes) -> bool:
        return self.total < other.total

    def __le__(self, other: Bytes) -> bool:
        return self.total <= other.total

    def __gt__(self, other: Bytes) -> bool:
        return self.total > other.total

    def __ge__(self, other: Bytes) -> bool:
        return self.total >= other.total

    def __hash__(self) -> int:
        return hash(self.total)

    def __bool__(self) -> bool:
        return self.total > 0

    def __str__(self) -> str:
        return f"{self.value} {self.unit}" if self.unit else "0 B"
