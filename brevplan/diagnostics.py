"""What is wrong, where, and what to do: the form of every message about a user's input.

Mistakes are data. A stage that finds one adds a `Diagnostic` to the collector it was given and goes on, so
that one run reports every independent mistake. Nothing here prints: `brevplan.render` does.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Source:
    """One text that spans point into: a file, a `-var` value, a line typed at the console.

    Offsets are counted in characters of `text`; line and column are 1-based and worked out only when asked for,
    so that parsing pays nothing for positions that nobody looks at.
    """

    __slots__ = ("_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            starts = [0]
            position = self.text.find("\n")
            while position != -1:
                starts.append(position + 1)
                position = self.text.find("\n", position + 1)
            self._starts = starts
        return self._starts

    def position(self, offset: int) -> tuple[int, int]:
        """Give the 1-based line and column of a character offset."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Give the text of a 1-based line, without its line end."""
        starts = self._line_starts()
        if not 1 <= number <= len(starts):
            return ""
        begin = starts[number - 1]
        end = self.text.find("\n", begin)
        return self.text[begin : end if end != -1 else len(self.text)].rstrip("\r")

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source: characters `start` up to, not including, `end`."""

    source: Source
    start: int
    end: int

    @property
    def file(self) -> str:
        return self.source.name

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message: what is wrong (`summary`), why (`detail`), where (`span`), and what to do next (`hint`).

    `values` are the references of the failing expression with their values as text, secrets already hidden.
    `address` names the resource instance that the message is about, where there is one.
    """

    severity: Severity
    summary: str
    detail: str = ""
    span: Span | None = None
    hint: str = ""
    values: tuple[tuple[str, str], ...] = ()
    address: str = ""


Values = tuple[tuple[str, str], ...]


def error(
    summary: str,
    detail: str = "",
    span: Span | None = None,
    *,
    hint: str = "",
    address: str = "",
    values: Values = (),
) -> Diagnostic:
    return Diagnostic(Severity.ERROR, summary, detail, span, hint, values, address)


def warning(
    summary: str, detail: str = "", span: Span | None = None, *, hint: str = "", address: str = ""
) -> Diagnostic:
    return Diagnostic(Severity.WARNING, summary, detail, span, hint, (), address)


def as_warning(diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, severity=Severity.WARNING)


@dataclass(slots=True)
class Diagnostics:
    """A collector: stages add to it and go on; the operation decides when to stop."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        """Add one message; the same message at the same place is kept once."""
        if diagnostic not in self.items[-50:]:
            self.items.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def error(
        self,
        summary: str,
        detail: str = "",
        span: Span | None = None,
        *,
        hint: str = "",
        address: str = "",
        values: Values = (),
    ) -> None:
        self.add(error(summary, detail, span, hint=hint, address=address, values=values))

    def warning(
        self, summary: str, detail: str = "", span: Span | None = None, *, hint: str = "", address: str = ""
    ) -> None:
        self.add(warning(summary, detail, span, hint=hint, address=address))

    @property
    def has_errors(self) -> bool:
        return any(item.severity is Severity.ERROR for item in self.items)

    def raise_if_errors(self) -> None:
        """Raise `DiagnosticsError` when there is at least one error among the messages."""
        if self.has_errors:
            raise DiagnosticsError(self.items)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class DiagnosticsError(Exception):
    """Messages that end an operation, carried from the stage that cannot go on to the command that shows them."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("; ".join(item.summary for item in diagnostics))
        self.diagnostics = list(diagnostics)


def failure(summary: str, detail: str = "", span: Span | None = None, *, hint: str = "") -> DiagnosticsError:
    """Make the exception for a single error, to be raised by the caller."""
    return DiagnosticsError([error(summary, detail, span, hint=hint)])


def suggest(name: str, known: Iterable[str]) -> str:
    """Give `Did you mean "x"?` for the nearest known name, or an empty text."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'Did you mean "{nearest[0]}"?' if nearest else ""
