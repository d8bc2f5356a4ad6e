"""Two consoles that answer the same expressions: Terraform's, run as a command, and ours.

Terraform's prints only the last answer of what is piped into it, and nothing after an error. So expressions are put
to it many at a time as the elements of one tuple, with a mark between each two, and a tuple that fails is halved until
the one to blame stands alone.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brevplan.diagnostics import DiagnosticsError
from brevplan.lang.values import Tuple, reveal_deep, type_of
from brevplan.operations.console import Session, open_session
from brevplan.operations.planning import Request
from brevplan.render.text import render_value

MOST_EXPRESSIONS = 60
LONGEST_LINE = 40_000
"""Terraform's console reads lines of up to 64 KiB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expression comes to: as printed, and of which type; the printed text is None when it fails.

    `json` tells apart what the printed form does not, such as a newline at the end; it is None where JSON has no form.
    """

    printed: str | None
    type: str = ""
    reason: str = ""
    json: str | None = None

    def __str__(self) -> str:
        text = f"fails: {self.reason}" if self.printed is None else f"{self.printed.strip()} of type {self.type}"
        return text if len(text) < 600 else f"{text[:600]}..."


@dataclass(frozen=True, slots=True)
class OurConsole:
    """`brevplan console`, without the process around it."""

    session: Session

    @classmethod
    def open(cls, folder: Path) -> OurConsole:
        return cls(open_session(folder, Request()))

    def answer(self, expression: str) -> Answer:
        try:
            value = self.session.evaluate(expression)
        except DiagnosticsError as problem:
            first = problem.diagnostics[0]
            return Answer(None, reason=f"{first.summary}: {first.detail}")
        printed = render_value(Tuple([value]), typed=True).split("\n")[1:-1]
        type_ = plain_type(str(type_of(reveal_deep(value))))
        return Answer("\n".join(printed).removesuffix(","), type_, json=self._json(expression))

    def _json(self, expression: str) -> str | None:
        try:
            value = self.session.evaluate(f"[jsonencode({expression}\n)]")
        except DiagnosticsError:
            return None
        return render_value(value).split("\n")[1].strip(" ,")


@dataclass(slots=True)
class TerraformConsole:
    """`terraform console` in a folder whose configuration it reads."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path) -> TerraformConsole:
        settings = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"}
        return cls(folder, {**os.environ, **settings})

    def answers(self, expressions: Sequence[str]) -> dict[str, Answer]:
        """Give the answer to each; expressions that fail are found first, for they would spoil their neighbours."""
        lines = [expression for expression in expressions if "\n" not in expression]
        found: dict[str, Answer] = {}
        good = []
        for expression, (verdict, reason) in self._told(lines, lambda e: f"can({e})", self._printed).items():
            if verdict is not None and verdict.strip() == "true":
                good.append(expression)
            else:
                found[expression] = Answer(None, reason=reason or "an evaluation error")
        printed = self._told(good, lambda e: e, self._printed)
        types = self._told(good, lambda e: e, self._types)
        texts = self._told(good, lambda e: f"jsonencode({e})", self._printed)
        for expression in good:
            text, reason = printed[expression]
            json = texts[expression][0]
            found[expression] = Answer(text, plain_type(types[expression][0] or ""), reason, json and json.strip())
        found.update({e: self._of_several_lines(e) for e in expressions if "\n" in e})
        return found

    def _told(
        self,
        expressions: Sequence[str],
        form: Callable[[str], str],
        ask: Callable[[Sequence[str]], tuple[list[str], str]],
    ) -> dict[str, tuple[str | None, str]]:
        told: dict[str, tuple[str | None, str]] = {}
        pending = [list(batch) for batch in _batches(expressions)]
        while pending:
            batch = pending.pop()
            texts, reason = ask([form(expression) for expression in batch])
            if len(texts) == len(batch):
                told.update({e: (text, "") for e, text in zip(batch, texts, strict=True)})
            elif len(batch) == 1:
                told[batch[0]] = (None, reason)
            else:
                middle = len(batch) // 2
                pending += [batch[:middle], batch[middle:]]
        return told

    def _printed(self, expressions: Sequence[str]) -> tuple[list[str], str]:
        output, reason = self._run(f"[{', '.join(_marked(expressions))}]")
        return _split(output, r' {2}"@@@[0-9]+",'), reason

    def _types(self, expressions: Sequence[str]) -> tuple[list[str], str]:
        output, reason = self._run(f"type([{', '.join(_marked(expressions, '{{at_{} = 1}}'))}])")
        return _split(output, r" +object\(\{\s+at_[0-9]+: number,\s+\}\),"), reason

    def _of_several_lines(self, expression: str) -> Answer:
        """Let a local value hold what cannot be typed on one line."""
        place = self.folder / "lines.tf"
        place.write_text(f"locals {{\n  lines = ({expression}\n)\n}}\n", encoding="utf-8")
        try:
            return self.answers(["local.lines"])["local.lines"]
        finally:
            place.unlink()

    def _run(self, line: str) -> tuple[str, str]:
        done = subprocess.run(
            ["terraform", "console", "-no-color"], input=line + "\n", cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        # A mistake in a local value is told, and what is made of it printed as if it had succeeded.
        _, is_wrong, said = done.stderr.partition("Error: ")
        return ("", " ".join(said.split())) if is_wrong or done.returncode else (done.stdout, "")


def _batches(expressions: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for expression in expressions:
        if len(batch) == MOST_EXPRESSIONS or sum(map(len, batch)) + len(expression) > LONGEST_LINE:
            yield batch
            batch = []
        batch.append(expression)
    if batch:
        yield batch


def _marked(expressions: Sequence[str], mark: str = '"@@@{}"') -> Iterator[str]:
    for number, expression in enumerate(expressions):
        yield mark.format(number)
        yield expression


def _split(output: str, mark: str) -> list[str]:
    """Give the texts behind the marks; the last one ends before the closing bracket of the tuple."""
    parts = re.split(rf"(?m)^{mark}\n", output)[1:]
    if parts:
        parts[-1] = parts[-1].rstrip("\n").rpartition("\n")[0] + "\n"
    return [part.removesuffix("\n").removesuffix(",") for part in parts]


def plain_type(text: str) -> str:
    """Bring the two ways of writing a type together: blanks, quotes and commas at the end do not count."""
    text = re.sub(r'[\s"]', "", text).replace("=", ":")
    text = re.sub(r",(?=[\])}])", "", text.removesuffix(","))
    return re.sub(r"\bdynamic\b", "any", text)
