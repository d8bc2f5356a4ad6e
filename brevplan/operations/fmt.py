"""`brevplan fmt`: files in the canonical style, written whole or not at all."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brevplan.diagnostics import Diagnostic, DiagnosticsError, Source, failure
from brevplan.lang.formatter import format_text
from brevplan.operations.project import read_source


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file whose text changes."""

    name: str
    before: str
    after: str

    def diff(self) -> Iterator[str]:
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), f"old/{self.name}", f"new/{self.name}", lineterm=""
        )
        return iter(lines)


@dataclass(slots=True)
class Done:
    changes: list[Formatted] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    standard_output: str | None = None


def format_paths(directory: Path, paths: Sequence[str], *, recursive: bool, write: bool) -> Done:
    """Format files and folders (the folder itself when none is named); `-` is standard input to standard output."""
    done = Done()
    if list(paths) == ["-"]:
        source = Source("<stdin>", sys.stdin.read())
        text, problems = format_text(source)
        done.diagnostics.extend(problems)
        done.standard_output = text if not problems else None
        if text != source.text:
            done.changes.append(Formatted("-", source.text, text))
        return done
    for path in _files(directory, paths, recursive):
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
    done.changes.append(Formatted(shown, source.text, text))
    if write:
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_bytes(text.encode("utf-8"))
            partial.chmod(path.stat().st_mode & 0o7777)
            partial.replace(path)
        except OSError as problem:
            partial.unlink(missing_ok=True)
            raise failure("File cannot be written", f"{shown}: {problem.strerror}.") from None


def _files(directory: Path, paths: Sequence[str], recursive: bool) -> Iterator[Path]:
    for name in paths or ("",):
        place = directory / name if name else directory
        if place.is_dir():
            pattern = "**/*.hcl" if recursive else "*.hcl"
            hidden = (p for p in sorted(place.glob(pattern)) if p.is_file())
            yield from (p for p in hidden if not any(part.startswith(".") for part in p.relative_to(place).parts))
        elif place.is_file():
            if place.suffix != ".json":  # JSON has a style of its own
                yield place
        else:
            raise failure("No such file", f"There is no file or directory {name}.")
