"""What a variable makes of the value that it is given: type, null, marks."""

from __future__ import annotations

from brevplan.engine.config import VariableBlock
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.values import Secret, Value, reveal, reveal_deep


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
    try:
        converted = convert(value, block.type)
    except ConversionError as problem:
        hidden = block.sensitive or isinstance(value, Secret)
        reason = "its value does not suit the type" if hidden else str(problem)
        raise UnsuitableInput("Unsuitable value", f'Variable "{block.name}"{origin}: {reason}.') from None
    return marked_as(block, converted)


def marked_as(block: VariableBlock, value: Value) -> Value:
    """Put the marks on a value that its variable is declared with."""
    return Secret(reveal_deep(value)) if block.sensitive else value
