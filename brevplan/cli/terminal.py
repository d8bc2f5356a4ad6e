"""The terminal as a value: where answers and messages go, and whether there is somebody to ask."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import msgspec

from brevplan.cli.signals import Signals
from brevplan.diagnostics import Diagnostic, Severity, failure


class Terminal:
    """Answers go to stdout, everything else to stderr; with `-json` everything is a line on stdout."""

    def __init__(
        self,
        environment: Mapping[str, str],
        words: Sequence[str],
        out: TextIO | None = None,
        err: TextIO | None = None,
        typed: TextIO | None = None,
    ) -> None:
        self.environment = environment
        self.out: TextIO = out if out is not None else sys.stdout
        self.err: TextIO = err if err is not None else sys.stderr
        self.typed: TextIO = typed if typed is not None else sys.stdin
        self.signals = Signals()
        self.chdir = ""
        self.json = False
        flat = {word.lstrip("-").split("=")[0] for word in words if word.startswith("-")}
        self._no_color = "no-color" in flat
        self.log_level = environment.get("BREVPLAN_LOG", "").lower()

    @property
    def directory(self) -> Path:
        return Path(self.chdir) if self.chdir else Path()

    @property
    def automation(self) -> bool:
        return bool(self.environment.get("BREVPLAN_IN_AUTOMATION"))

    def color(self, stream: TextIO) -> bool:
        """Colour only on a terminal, unless forced."""
        if self._no_color or self.environment.get("NO_COLOR"):
            return False
        if self.environment.get("FORCE_COLOR"):
            return True
        return stream.isatty() and self.environment.get("TERM") != "dumb"

    @property
    def is_live(self) -> bool:
        """Whether moving progress makes sense: a terminal, not a log."""
        return self.err.isatty() and self.environment.get("TERM") != "dumb" and not self.automation

    @property
    def can_ask(self) -> bool:
        return self.typed.isatty() and self.environment.get("BREVPLAN_INPUT", "") not in ("0", "false")

    def line(self, text: str = "") -> None:
        self.out.write(f"{text}\n")

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.out.write(f"{text}\n")

    def error_line(self, text: str) -> None:
        self.err.write(f"{text}\n")
        self.err.flush()

    def json_line(self, data: Any) -> None:
        self.out.write(msgspec.json.encode(data).decode() + "\n")
        self.out.flush()

    def show(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Show messages, errors last, each once."""
        items = sorted(dict.fromkeys(diagnostics), key=lambda item: item.severity is Severity.ERROR)
        if self.json:
            from brevplan.cli.machine import diagnostic_line  # only with -json

            for item in items:
                self.json_line(diagnostic_line(item))
            return
        from brevplan.render.diagnostics import render_diagnostic  # most runs have none

        for item in items:
            self.err.write(render_diagnostic(item, color=self.color(self.err)) + "\n")
        self.err.flush()

    def ask(self, question: str, explanation: str) -> bool:
        """Ask for the word "yes" on the terminal."""
        self.flush()
        self.err.write(f"\n{question}\n  {explanation}\n\n  Enter a value: ")
        self.err.flush()
        answer = self.typed.readline()
        return answer.strip() == "yes"

    def read_all(self) -> str:
        """Give all of standard input, its line ends as they are; raise `DiagnosticsError` when it is not UTF-8."""
        buffer: BinaryIO | None = getattr(self.typed, "buffer", None)
        if buffer is None:
            return self.typed.read()
        try:
            return buffer.read().decode("utf-8")
        except UnicodeDecodeError as problem:
            raise failure(
                "Input is not UTF-8", f"The byte at offset {problem.start} of standard input is not part of UTF-8 text."
            ) from None

    def flush(self) -> None:
        self.out.flush()
        self.err.flush()
