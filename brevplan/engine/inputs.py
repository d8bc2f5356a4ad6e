"""What a variable makes of the value that it is given: type, null, marks."""

from __future__ import annotations

from brevplan.engine.config import VariableBlock
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.values import EPHEMERAL, SENSITIVE, Secret, Value, has_ephemeral, mark_whole, reveal


class UnsuitableInput(Exception):
    """A variable refuses a value."""

    def __init__(self, summary: str, detail: str) -> None:
        super().__init__(detail)
        self.summary, self.detail = summary, detail


def accept(block: VariableBlock, value: Value, origin: str = "") -> Value:
    """Convert a given value, or the default, to the variable's type; raise `UnsuitableInput`."""
    if reveal(value) is None and not block.nullable:
        value = block.default
        if value is None:
            raise UnsuitableInput("Null is not allowed", f'"{block.name}" has nullable = false.')
    if has_ephemeral(value) and not block.ephemeral:
        raise UnsuitableInput(
            "Ephemeral value is not accepted",
            f'Variable "{block.name}"{origin}: it is not declared with ephemeral = true, so its value may be stored.',
        )
    try:
        converted = convert(value, block.type)
    except ConversionError as problem:
        hidden = block.sensitive or isinstance(value, Secret)
        reason = "its value does not suit the type" if hidden else str(problem)
        raise UnsuitableInput("Unsuitable value", f'Variable "{block.name}"{origin}: {reason}.') from None
    return marked_as(block, converted)


def marked_as(block: VariableBlock, value: Value) -> Value:
    """Put the marks on a value that its variable is declared with."""
    marks = (SENSITIVE if block.sensitive else 0) | (EPHEMERAL if block.ephemeral else 0)
    return mark_whole(value, marks)
