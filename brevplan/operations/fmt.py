"""`brevplan fmt`: files in the canonical style, written whole or not at all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, DiagnosticsError, Source, failure
from brevplan.lang.formatter import format_text
from brevplan.operations.project import read_source

STANDARD_INPUT: Final = "<stdin>"
_NO_NEWLINE: Final = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file whose text changes."""

    name: str
    before: str
    after: str

    def diff(self) -> Iterator[str]:
        """Give the lines of a unified difference that `patch` understands."""
        before, after = _lines(self.before), _lines(self.after)
        for line in difflib.unified_diff(before, after, f"old/{self.name}", f"new/{self.name}", lineterm=""):
            yield line.removesuffix("\n")
            if not line.endswith("\n") and not line.startswith(("---", "+++", "@@")):
                yield _NO_NEWLINE


@dataclass(slots=True)
class Done:
    changes: list[Formatted] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    standard_output: str | None = None


def _lines(text: str) -> list[str]:
    # only a line feed ends a line: `splitlines` would also break where a text holds, say, a form feed
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [line for line in text.split("\n")[-1:] if line]


def format_input(text: str) -> Done:
    """Format what came from standard input; with a mistake in it there is no text to give."""
    source = Source(STANDARD_INPUT, text)
    after, problems = format_text(source)
    changes = [Formatted(STANDARD_INPUT, text, after)] if after != text else []
    return Done(changes, problems, after if not problems else None)


def format_paths(directory: Path, paths: Sequence[str], *, recursive: bool, write: bool) -> Done:
    """Format files and folders, `directory` when none is named; raise `DiagnosticsError` for what is not there."""
    done = Done()
    for path in dict.fromkeys(_files(directory, paths, recursive)):
        shown = str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
        try:
            _format_file(path, shown, write, done)
        except DiagnosticsError as problem:
            done.diagnostics.extend(problem.diagnostics)
    return done


def _format_file(path: Path, shown: str, write: bool, done: Done) -> None:
    source = read_source(path, shown)
    text, problems = format_text(source)
    done.diagnostics.extend(problems)
    if problems or text == source.text:
        return
    if write:
        _replace(path.resolve(), shown, text)  # a link stays a link
    done.changes.append(Formatted(shown, source.text, text))


def _replace(path: Path, shown: str, text: str) -> None:
    """Put a new file in the place of one, with its mode: whoever reads it finds the old text or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "it is read-only")
        partial.write_bytes(text.encode("utf-8"))
        partial.chmod(path.stat().st_mode & 0o7777)
        partial.replace(path)
    except OSError as problem:
        with suppress(OSError):
            partial.unlink()
        raise failure("File cannot be written", f"{shown}: {problem.strerror}.") from None


def _files(directory: Path, paths: Sequence[str], recursive: bool) -> Iterator[Path]:
    for name in paths or ("",):
        place = directory / name if name else directory
        if place.is_dir():
            yield from _files_in(place, recursive)
        elif place.is_file():
            if place.suffix != ".json":  # JSON has a style of its own
                yield place
        elif name == "-":
            raise failure("Wrong usage", "Standard input stands alone: nothing else can be formatted beside -.")
        else:
            raise failure("No such file", f"There is no file or directory {name}.")


def _files_in(place: Path, recursive: bool) -> Iterator[Path]:
    for path in sorted(place.glob("**/*.hcl" if recursive else "*.hcl")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
        if path.is_file() and not is_hidden:
            yield path
