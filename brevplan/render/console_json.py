"""Answers of `console -json`: one object a line, `value` or `error`.

Numbers are written exactly. What is secret or not known yet stands in the value as the console writes it; `sensitive`
and `unknown` say where, so that it is not mistaken for a text: true for the whole, or the same for its parts.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from brevplan.diagnostics import Diagnostic
from brevplan.lang.functions.encoding import to_json
from brevplan.lang.gate import FunctionError
from brevplan.lang.printing import print_value
from brevplan.lang.values import Secret, Unknown, Value, has_secret, has_unknown, rebuild
from brevplan.render.leaves import secret_mask, unknown_mask


def value_line(value: Value) -> str:
    """Write an answer; an infinity, which JSON does not have, is an error."""
    try:
        text = to_json(_shown(value))
    except FunctionError as problem:
        return _error(f"{problem.message[:1].upper()}{problem.message[1:]}.")
    if has_secret(value):
        text += f',"sensitive":{_json(secret_mask(value))}'
    if has_unknown(value):
        text += f',"unknown":{_json(unknown_mask(value))}'
    return f'{{"value":{text}}}'


def text_line(text: str) -> str:
    """Write an answer that is a text of our own: a type."""
    return f'{{"value":{_json(text)}}}'


def error_line(diagnostics: Iterable[Diagnostic]) -> str:
    """Write what is wrong with a line, and where: each message on the one line that an error has."""
    return _error(" ".join(map(_message, diagnostics)))


def _message(d: Diagnostic) -> str:
    place = f"{d.span}: " if d.span is not None else ""
    return " ".join(" ".join(filter(None, (f"{place}{d.summary}.", d.detail, d.hint))).split())


def _error(text: str) -> str:
    return f'{{"error":{_json(text)}}}'


def _shown(value: Value) -> Value:
    return print_value(value) if isinstance(value, (Secret, Unknown)) else rebuild(value, _shown)


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()
