"""What may be shown of a request and its answer, in an error or a trace: nothing secret, and not too much. Pure."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Final

_SHOWN: Final = 300
"""How many characters the text of an error has at most."""
_TAIL: Final = 90
"""How many of them are its end, which is where a vendor's module says what to do."""

_PIECE: Final = 16
"""From how many characters on a piece of what users put into a machine is known again in an error."""
_SHORTEST: Final = 6
"""What is shorter than this is a word like any other."""

_SECRET_FIELDS: Final = frozenset(
    {"api_key", "authorization", "jupyter_token", "jupyter_url", "password", "private_key", "user_data", "envs"}
    | {"userdata", "base64_script", "x-api-key", "proxy-authorization", "cookie", "set-cookie"}
)
"""What is left out of a trace wherever it stands: credentials, and what users put into a machine.

What a request holds in these fields is left out of its error too, whole or in pieces: some APIs quote what they refuse.
"""


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def cut(line: str) -> str:
    """Give a line of 300 characters at most; of a longer one its beginning and its end."""
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - _TAIL - 3]} … {line[-_TAIL:]}"


def spellings(text: str) -> Iterator[str]:
    """Give the ways in which a text may stand in an answer: as it is, or within JSON that was not read."""
    yield text
    for plain in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield plain
        yield plain.replace("/", "\\/")


def told(content: bytes) -> set[str]:
    """Give what a request, JSON, holds in secret fields, each on one line, in every way in which it may be quoted."""
    try:
        found = list(_secret_texts(json.loads(content), is_secret=False))
    except (ValueError, RecursionError):
        return set()
    read = [text for one in found if (text := _decoded(one))]
    return {on_one_line(way) for one in (*found, *read) for way in spellings(one)}


def _secret_texts(data: Any, *, is_secret: bool) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _secret_texts(value, is_secret=is_secret or name.lower() in _SECRET_FIELDS)
    elif isinstance(data, list):
        for item in data:
            yield from _secret_texts(item, is_secret=is_secret)
    elif isinstance(data, str) and is_secret:
        yield data


def _decoded(text: str) -> str:
    """Give what base64 stands for; empty for a text that is none."""
    try:
        return b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def without_pieces(line: str, texts: set[str]) -> str:
    """Give a line without the texts, and without pieces of them; in time that grows with the lengths alone."""
    for text in sorted((one for one in texts if _SHORTEST <= len(one) < _PIECE), key=len, reverse=True):
        line = line.replace(text, "(secret)")
    pieces = {text[start : start + _PIECE] for text in texts for start in range(len(text) - _PIECE + 1)}
    kept, hidden_to = [], -1
    for at, character in enumerate(line):
        if line[at : at + _PIECE] in pieces:
            if at > hidden_to:
                kept.append("(secret)")
            hidden_to = at + _PIECE
        if at >= hidden_to:
            kept.append(character)
    return "".join(kept)


def bare(content: bytes) -> str:
    """Give JSON text with the values of secret fields left out; of anything else only its length."""
    try:
        return json.dumps(_without_secrets(json.loads(content)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"({len(content)} bytes that are no JSON)"


def _without_secrets(data: Any) -> Any:
    if isinstance(data, dict):
        return {
            name: "(secret)" if name.lower() in _SECRET_FIELDS and value else _without_secrets(value)
            for name, value in data.items()
        }
    return [_without_secrets(item) for item in data] if isinstance(data, list) else data
