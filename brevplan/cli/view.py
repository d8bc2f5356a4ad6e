"""What a plan or apply shows, as text or as JSON lines: one object that the command hands around."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from brevplan.cli.machine import timestamp
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import Diagnostic, failure
from brevplan.engine.change import Counts
from brevplan.engine.events import Event
from brevplan.engine.kind import Schema
from brevplan.engine.ports import rfc3339
from brevplan.operations.planning import Planned
from brevplan.operations.project import KINDS
from brevplan.render import ui
from brevplan.render.progress import LiveProgress, PlainProgress
from brevplan.render.text import render_counts, render_outputs, render_plan
from brevplan.version import VERSION

if TYPE_CHECKING:
    from brevplan.operations.apply import Applied  # a plan does without it

SCHEMAS: Final[Mapping[str, Schema]] = {name: kind.schema for name, kind in KINDS.items()}


class PlanView:
    """Shows one plan and what becomes of it. `json_into` names a file that gets the JSON lines beside the text."""

    def __init__(
        self, terminal: Terminal, *, concise: bool = False, markdown: bool = False, json_into: str | None = None
    ) -> None:
        self.terminal = terminal
        self.concise, self.markdown = concise, markdown
        self._copy: IO[str] | None = _open_copy(terminal, json_into) if json_into is not None else None
        self._progress: PlainProgress | LiveProgress | None = None
        self._line(ui.version_line(VERSION, timestamp()))

    def __enter__(self) -> PlanView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_progress()
        if self._copy is not None:
            self._copy.close()

    def _line(self, data: dict[str, Any]) -> None:
        if self.terminal.json:
            self.terminal.json_line(data)
        if self._copy is not None:
            self._copy.write(msgspec.json.encode(data).decode() + "\n")

    def diagnostics(self, items: Iterable[Diagnostic]) -> None:
        self.terminal.show(items)

    def plan(self, found: Planned) -> None:
        plan = found.folded.plan
        for line in ui.plan_lines(plan, timestamp()) if self.terminal.json or self._copy is not None else ():
            self._line(line)
        if self.terminal.json:
            return
        if self.markdown:
            from brevplan.render.markdown import render_markdown  # asked for now and then

            self.terminal.line(render_markdown(plan, SCHEMAS))
            return
        color = self.terminal.color(self.terminal.out)
        self.terminal.lines(
            render_plan(plan, SCHEMAS, color=color, ascii=_is_ascii(self.terminal), concise=self.concise)
        )
        self.terminal.out.flush()

    def document(self, found: Planned) -> dict[str, Any]:
        """Give the plan's representation for other tools."""
        from brevplan.render.plan_json import plan_document  # only with -out

        return plan_document(
            found.folded.plan,
            SCHEMAS,
            config=found.project.config,
            variables=found.values,
            version=VERSION,
            timestamp=rfc3339(found.now),
        )

    def saved(self, path: str, *, applyable: bool) -> None:
        if self.terminal.json:
            return
        self.terminal.line(f"\nSaved the plan to: {path}")
        if applyable:
            self.terminal.line(f"To carry out exactly these actions: brevplan apply {path}")

    def end(self) -> None:
        self.terminal.flush()

    def event(self, event: Event) -> None:
        if self.terminal.json:
            self._line(ui.event_line(event, timestamp()))
            return
        if self._progress is None:
            color = self.terminal.color(self.terminal.err)
            self._progress = (
                LiveProgress(self.terminal.err, color=color)
                if self.terminal.is_live
                else PlainProgress(self.terminal.error_line, color=color)
            )
        self._progress(event)

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def result(self, done: Applied, command: str) -> None:
        """Show the last lines of an apply."""
        self._close_progress()
        result = done.result
        if result is None:
            if not self.terminal.json and done.plan.blocked:
                self.terminal.error_line("Nothing could be done: see what is blocked above.")
            self._summary(done, command)
            return
        self.diagnostics(result.warnings)
        for text in result.unexpected:
            self.terminal.show([_unexpected(text)])
        if result.lost:
            self.terminal.show([_lost(result.lost)])
        self._summary(done, command)

    def _summary(self, done: Applied, command: str) -> None:
        counts = done.result.counts if done.result is not None else Counts()
        sensitive = {name: (value, done.plan.outputs[name].sensitive) for name, value in done.outputs.items()}
        if self.terminal.json:
            self._line(ui.change_summary(counts, "destroy" if command == "destroy" else "apply", timestamp()))
            if sensitive:
                self._line(ui.outputs_line(sensitive, timestamp()))
            return
        whole = not done.plan.blocked and (done.result is None or done.result.complete)
        text = render_counts(counts, "destroy" if command == "destroy" else "apply")
        if not whole:
            text = text.replace("complete!", "incomplete.", 1)
        self.terminal.line(f"\n{text}")
        if done.outputs:
            self.terminal.line("\nOutputs:\n")
            self.terminal.lines(render_outputs(done.outputs))
        self.terminal.flush()


def _unexpected(text: str) -> Diagnostic:
    return failure("Unexpected machine", f"{text}.").diagnostics[0]


def _lost(text: str) -> Diagnostic:
    return failure(
        "State could not be written", f"{text}.",
        hint="Nothing is lost: what was begun is found by its marks. Mend the cause and run the same command again.",
    ).diagnostics[0]  # fmt: skip


def _is_ascii(terminal: Terminal) -> bool:
    encoding = (getattr(terminal.out, "encoding", "") or "").lower().replace("-", "")
    return not encoding.startswith("utf")


def _open_copy(terminal: Terminal, name: str) -> IO[str]:
    try:
        return Path(terminal.directory, name).open("w", encoding="utf-8")
    except OSError as problem:
        raise failure("File cannot be written", f"{name}: {problem.strerror}.") from None
