"""Which files a pattern of `fileset()` matches: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` over folders.

Names that begin with a dot are names like all others. Links are followed, but not into a folder that they lie in.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ANY_FOLDERS: Final = "**"
_SPECIAL: Final = frozenset("*?[{\\")

_Identity = tuple[int, int]


def matching_files(root: Path, pattern: str) -> list[str]:
    """Give the paths, relative to a folder and in order; raise `ValueError` for a pattern that is none."""
    steps = [
        step if step == ANY_FOLDERS or not _SPECIAL & set(step) else _compiled(step)
        for step in posixpath.normpath(pattern.lstrip("/")).split("/")
    ]
    return sorted(set(_matching(root, "", steps, ())))


def _matching(
    root: Path, folder: str, steps: Sequence[str | re.Pattern[str]], above: tuple[_Identity, ...]
) -> Iterator[str]:
    step, rest = steps[0], steps[1:]
    if step == ANY_FOLDERS:
        yield from _matching(root, folder, rest or [re.compile(".*", re.DOTALL)], above)
    elif isinstance(step, str):
        yield from _found(root, posixpath.join(folder, step), rest, above)
        return
    for name in _names(root / folder):
        path = posixpath.join(folder, name)
        if isinstance(step, re.Pattern):
            if step.fullmatch(name):
                yield from _found(root, path, rest, above)
        elif (identity := _identity(root / path)) is not None and identity not in above:
            yield from _matching(root, path, steps, (*above, identity))


def _found(root: Path, path: str, rest: Sequence[str | re.Pattern[str]], above: tuple[_Identity, ...]) -> Iterator[str]:
    if not rest and (root / path).is_file():
        yield path
    elif rest and (root / path).is_dir():
        yield from _matching(root, path, rest, above)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _identity(path: Path) -> _Identity | None:
    """Tell folders apart, by whatever way they are reached; None for what is no folder."""
    if not path.is_dir():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino


def _compiled(step: str) -> re.Pattern[str]:
    """Translate the pattern of one name."""
    parts, position, depth = [], 0, 0
    while position < len(step):
        letter, position = step[position], position + 1
        if letter == "[":
            end = _end_of_class(step, position)
            parts.append(_class(step[position:end]))
            position = end + 1
        elif letter == "\\" and position < len(step):
            parts.append(re.escape(step[position]))
            position += 1
        elif letter == "{":
            parts.append("(?:")
            depth += 1
        elif letter == "}" and depth:
            parts.append(")")
            depth -= 1
        elif letter == "," and depth:
            parts.append("|")
        else:
            parts.append({"*": ".*", "?": "."}.get(letter) or re.escape(letter))
    if depth:
        raise ValueError('a "{" is not closed within the name that it begins in')
    return re.compile("".join(parts), re.DOTALL)


def _end_of_class(step: str, position: int) -> int:
    found = re.compile(r"\^?(?:\\.|[^\]\\])+(?=\])").match(step, position)
    if found is None:
        raise ValueError('a "[" is not closed, or has nothing in it')
    return found.end()


def _class(inside: str) -> str:
    """Translate what stands in brackets: letters, ranges of them, and a leading `^` for all others."""
    negation, members = ("^", inside[1:]) if inside.startswith("^") else ("", inside)
    letters = re.findall(r"\\.|[^\\]", members, re.DOTALL)
    escaped = "".join("-" if letter == "-" else re.escape(letter[-1]) for letter in letters)
    try:
        re.compile(f"[{escaped}]")
    except re.error:
        raise ValueError(f'"[{inside}]" is no range of letters') from None
    return f"[{negation}{escaped}]"
