"""Configuration written for people to go on with: a block in canonical style from values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brevplan.diagnostics import Source
from brevplan.lang.formatter import format_text
from brevplan.lang.printing import print_value, quote
from brevplan.lang.values import Value


@dataclass(frozen=True, slots=True)
class Code:
    """An expression as it is to be written, where no value can stand for it."""

    text: str


def write_block(type_: str, labels: Sequence[str], arguments: Mapping[str, Value | Code], comment: str = "") -> str:
    """Give the text of a block, with a comment line above it."""
    lines = [f"# {comment}"] if comment else []
    lines.append(" ".join([type_, *map(quote, labels), "{"]))
    for name, value in arguments.items():
        lines.append(f"  {name} = {value.text if isinstance(value, Code) else print_value(value)}")
    text, problems = format_text(Source(type_, "\n".join([*lines, "}", ""])))
    assert not problems, "what is written must be readable"
    return text
