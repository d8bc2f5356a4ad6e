"""What a syntax tree means, apart from where it stands and how it is written."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from brevplan.lang import ast

PLACES: Final = {"source", "start", "end", "name_end", "header_end"}


def meaning(value: Any) -> Any:
    """Give a tree without its places, and with what has two ways of writing in one of them."""
    if isinstance(value, ast.Parentheses):
        return meaning(value.inner)
    match value:
        case ast.Template(parts=[ast.Expression() as only], heredoc=False):
            return meaning(only)
    if isinstance(value, ast.Label):
        return value.text
    if isinstance(value, ast.Node):
        fields = [field.name for field in dataclasses.fields(value) if field.name not in PLACES]
        return type(value), [meaning(getattr(value, name)) for name in fields]
    if isinstance(value, list):
        return [meaning(item) for item in value]
    return {name: meaning(item) for name, item in value.items()} if isinstance(value, dict) else value
