"""What happens while steps are carried out, as lines; on a terminal also as rows that live as long as their step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from brevplan.engine.address import Address
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepProgress, StepSkipped, StepStarted
from brevplan.engine.graph import Verb
from brevplan.render.paint import Paint, clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.spinner import Spinner

WORDS: Final[dict[Verb, tuple[str, str]]] = {
    Verb.CREATE: ("Creating", "Creation"),
    Verb.UPDATE: ("Modifying", "Modifications"),
    Verb.START: ("Starting", "Start"),
    Verb.STOP: ("Stopping", "Stop"),
    Verb.DESTROY: ("Destroying", "Destruction"),
    Verb.ADOPT: ("Adopting", "Adoption"),
    Verb.MOVE: ("Moving", "Move"),
    Verb.FORGET: ("Forgetting", "Removal from the state"),
}
"""What a verb is called while it is under way, and as a thing that is complete or failed."""

_NAMED: Final = 10
_ROWS: Final = 15
_LATEST: Final = 5
_FLUSH_S: Final = 0.25
"""How often finished lines move above the rows: each time costs a drawing of all rows."""


def elapsed_text(seconds: float) -> str:
    """Write a span of time with whole seconds: `10s`, `1m5s`, `1h0m3s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def event_text(event: Event) -> str:
    """Write one event as a line, the way Terraform words it."""
    match event:
        case Notice():
            return clean(event.text)
        case StepStarted():
            beside = f" (deposed {event.deposed})" if event.deposed else ""
            shown = f" [id={event.cloud_id}]" if event.cloud_id else ""
            return clean(f"{event.address}{beside}: {WORDS[event.verb][0]}...{shown}")
        case StepProgress(phase=""):
            return f"{event.address}: Still {WORDS[event.verb][0].lower()}... [{elapsed_text(event.elapsed)} elapsed]"
        case StepProgress():
            return clean(f"{event.address}: {event.phase}")
        case StepFinished():
            shown = f" [id={event.cloud_id}]" if event.cloud_id and event.verb is not Verb.DESTROY else ""
            return clean(f"{event.address}: {WORDS[event.verb][1]} complete after {elapsed_text(event.elapsed)}{shown}")
        case StepFailed():
            word = "not finished" if event.uncertain else "failed"
            after = elapsed_text(event.elapsed)
            return clean(f"{event.address}: {WORDS[event.verb][1]} {word} after {after}: {event.error}")
        case StepSkipped():
            return clean(f"{event.address}: Not started: {event.reason}")


class PlainProgress:
    """Writes a line for every event that has news; what was not started is summed up at the end."""

    def __init__(self, write: Callable[[str], None], *, color: bool = False) -> None:
        self._write = write
        self._paint = Paint(color)
        self._phases: dict[tuple[Address, Verb], str] = {}
        self._skipped: dict[str, list[Address]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case StepSkipped():
                self._skipped.setdefault(event.reason, []).append(event.address)
                return
            case StepProgress() if event.phase:
                if self._phases.get((event.address, event.verb)) == event.phase:
                    return
                self._phases[event.address, event.verb] = event.phase
            case StepFinished() | StepFailed():
                self._phases.pop((event.address, event.verb), None)
        self._write(self._painted(event))

    def _painted(self, event: Event) -> str:
        text = event_text(event)
        return self._paint(text, "red") if isinstance(event, StepFailed) else self._paint(text, "bold")

    def close(self) -> None:
        """Say what was not started, each reason once."""
        for reason, addresses in self._skipped.items():
            named = ", ".join(map(str, addresses[:_NAMED]))
            more = f" and {len(addresses) - _NAMED:,} more" if len(addresses) > _NAMED else ""
            self._write(clean(f"Not started: {named}{more}: {reason}"))
        self._skipped.clear()


@dataclass(slots=True)
class _Running:
    verb: Verb
    began: float
    phase: str = ""


class LiveProgress:
    """Rows for the running steps, a summary below, finished steps as plain lines above.

    `total` is how many steps there are, where that is known. `stream` is a terminal.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        total: int | None = None,
        color: bool = True,
        ascii: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.console import Console  # plain output must not pay for it
        from rich.live import Live

        self._console = Console(file=stream, no_color=not color, highlight=False, soft_wrap=True)
        self._spinner = "line" if ascii else "dots"
        self._clock = clock
        self._running: dict[tuple[Address, Verb], _Running] = {}
        self._total, self._done, self._failed = total, 0, 0
        self._finished: list[str] = []
        self._flushed = clock()
        self._plain = PlainProgress(self._finished.append)
        self._turning: Spinner | None = None
        self._live: Live | None = Live(
            console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._is_started = False

    def __call__(self, event: Event) -> None:
        if self._live is not None and not self._is_started:
            self._is_started = True
            self._live.start()
        self._note(event)
        # what runs has a row; only what ends stays on the screen
        if not isinstance(event, (StepStarted, StepProgress)):
            self._plain(event)
        if self._finished and self._clock() - self._flushed >= _FLUSH_S:
            self._flush()

    def close(self) -> None:
        """Take the rows off the screen and leave the lines; a second call does nothing."""
        self._flush()
        if self._live is not None and self._is_started:
            self._live.stop()
        self._live = None
        self._plain.close()
        self._flush()

    def _note(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._running[event.address, event.verb] = _Running(event.verb, self._clock())
            case StepProgress():
                row = self._running.get((event.address, event.verb))
                if row is not None and event.phase:
                    row.phase = event.phase
            case StepFinished() | StepFailed():
                self._running.pop((event.address, event.verb), None)
                self._done += isinstance(event, StepFinished)
                self._failed += isinstance(event, StepFailed)

    def _flush(self) -> None:
        from rich.text import Text

        if self._finished:
            self._console.print(Text("\n".join(self._finished)), soft_wrap=True)
            self._finished.clear()
        self._flushed = self._clock()

    def rows(self) -> list[str]:
        """Give what is on the screen at this moment: what just ended, then what runs, the longest first."""
        now = self._clock()
        oldest = sorted(self._running.items(), key=lambda item: (item[1].began, item[0][0]))
        rows = self._finished[-_LATEST:]
        for (address, _), step in oldest[:_ROWS]:
            phase = f" {step.phase}" if step.phase else ""
            rows.append(clean(f"{address}: {WORDS[step.verb][0]}...{phase} [{elapsed_text(now - step.began)}]"))
        if len(oldest) > _ROWS:
            rows.append(f"and {len(oldest) - _ROWS:,} more")
        return rows

    def summary(self) -> str:
        total = f"/{self._total:,}" if self._total is not None else ""
        failed = f", {self._failed:,} failed" if self._failed else ""
        return f"{self._done:,}{total} done, {len(self._running):,} running{failed}"

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        # made once, so that it turns
        self._turning = self._turning or Spinner(self._spinner)
        self._turning.update(text=Text(self.summary()))
        return Group(*(Text("  " + row, no_wrap=True, overflow="ellipsis") for row in self.rows()), self._turning)
