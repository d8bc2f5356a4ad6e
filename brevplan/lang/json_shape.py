"""What JSON cannot say of a configuration: which members are blocks, and which texts are no templates.

Apart from the reader of JSON, so that a run that finds its files parsed does not load the parser for their shapes.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final


class _Every:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


EVERY: Final = _Every()
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Shape:
    """What the members of a body are. What is no block is an argument."""

    labels: int = 0
    """How many labels a block of this shape has: each is the name of a member on the way to the body."""
    blocks: Mapping[str, Shape] = field(default_factory=dict)
    by_label: Mapping[str, Shape] = field(default_factory=dict)
    """The shape of the body by the first label, where that decides it."""
    bare: Container[str] = _NONE
    """Arguments whose text is an expression without `${ }`: references, names, types."""
    literal: Container[str] = _NONE
    """Arguments whose texts are no templates."""
    nulls: Container[str] = _NONE
    """Arguments for which null is a value; any other argument that is null counts as left out."""
    is_file: bool = False
    """A file holds blocks alone, so that a member of an unknown name is an unknown block."""


VALUES: Final = Shape(literal=EVERY, nulls=EVERY)
"""A file of values of variables."""
