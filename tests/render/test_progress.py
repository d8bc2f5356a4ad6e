"""Progress as lines and as rows."""

from __future__ import annotations

import io

import pytest

from brevplan.engine.address import Address
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepProgress, StepSkipped, StepStarted
from brevplan.engine.graph import Verb
from brevplan.render.progress import LiveProgress, PlainProgress, elapsed_text

WEB = Address.parse("instance.web[0]")


def plain(*events: Event) -> list[str]:
    lines: list[str] = []
    progress = PlainProgress(lines.append)
    for event in events:
        progress(event)
    progress.close()
    return lines


LINES: list[tuple[Event, str]] = [
    (StepStarted(WEB, Verb.CREATE), "instance.web[0]: Creating..."),
    (StepProgress(WEB, Verb.CREATE, "", 10.02), "instance.web[0]: Still creating... [10s elapsed]"),
    (StepFinished(WEB, Verb.CREATE, 12.4, "i-1"), "instance.web[0]: Creation complete after 12s [id=i-1]"),
    (StepStarted(WEB, Verb.UPDATE, "i-1"), "instance.web[0]: Modifying... [id=i-1]"),
    (StepFinished(WEB, Verb.UPDATE, 0.1, "i-1"), "instance.web[0]: Modifications complete after 0s [id=i-1]"),
    (StepStarted(WEB, Verb.DESTROY, "i-1", "bp-1"), "instance.web[0] (deposed bp-1): Destroying... [id=i-1]"),
    (StepFinished(WEB, Verb.DESTROY, 65, "i-1"), "instance.web[0]: Destruction complete after 1m5s"),
    (StepProgress(WEB, Verb.STOP, "", 20), "instance.web[0]: Still stopping... [20s elapsed]"),
    (StepFinished(WEB, Verb.START, 3, "i-1"), "instance.web[0]: Start complete after 3s [id=i-1]"),
    (StepFinished(WEB, Verb.ADOPT, 0, "i-1"), "instance.web[0]: Adoption complete after 0s [id=i-1]"),
    (
        StepFailed(WEB, Verb.CREATE, 2, "no answer", uncertain=True),
        "instance.web[0]: Creation not finished after 2s: no answer",
    ),
    (Notice("bell \x07"), "bell \ufffd"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=[line for _, line in LINES])
def test_event_is_worded_as_terraform_does(event: Event, line: str) -> None:
    assert plain(event) == [line]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m0s"), (125, "2m5s"), (3600, "1h0m0s"), (7384, "2h3m4s")]
)
def test_elapsed_is_whole_seconds(seconds: float, text: str) -> None:
    assert elapsed_text(seconds) == text


def test_phase_is_told_when_it_is_new() -> None:
    lines = plain(
        StepProgress(WEB, Verb.CREATE, "waiting for running", 1),
        StepProgress(WEB, Verb.CREATE, "waiting for running", 2),
        StepProgress(WEB, Verb.CREATE, "", 10),
        StepProgress(WEB, Verb.CREATE, "waiting for an address", 12),
    )

    assert lines == [
        "instance.web[0]: waiting for running",
        "instance.web[0]: Still creating... [10s elapsed]",
        "instance.web[0]: waiting for an address",
    ]


def test_what_was_not_started_is_summed_up_at_the_end() -> None:
    skipped = [StepSkipped(WEB.instance(n), Verb.CREATE, "firewall.a failed") for n in range(14)]

    lines = plain(*skipped, Notice("later"), StepSkipped(WEB, Verb.CREATE, "interrupted"))

    assert lines[0] == "later"
    assert lines[1].startswith("Not started: instance.web[0], instance.web[1]")
    assert lines[1].endswith("instance.web[9] and 4 more: firewall.a failed")
    assert lines[2] == "Not started: instance.web[0]: interrupted"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_live_rows_are_bounded_and_oldest_first() -> None:
    clock = Clock()
    progress = LiveProgress(io.StringIO(), total=40, clock=clock)
    for number in range(38):
        clock.now = float(number)
        progress(StepStarted(WEB.instance(number), Verb.CREATE))
    progress(StepProgress(WEB.instance(1), Verb.CREATE, "waiting for running", 1))
    clock.now = 100.0
    progress(StepFinished(WEB, Verb.CREATE, 100, "i-1"))
    progress(StepFailed(WEB.instance(2), Verb.CREATE, 98, "out of stock"))

    rows, summary = progress.rows(), progress.summary()
    progress.close()

    assert rows[1] == "instance.web[1]: Creating... waiting for running [1m39s]"
    assert rows[2] == "instance.web[3]: Creating... [1m37s]"
    assert (len(rows), rows[-1]) == (17, "and 21 more")
    assert summary == "1/40 done, 36 running, 1 failed"


def test_live_leaves_only_what_ended() -> None:
    stream = io.StringIO()
    progress = LiveProgress(stream, clock=Clock())
    for event in (
        StepStarted(WEB, Verb.CREATE),
        StepFinished(WEB, Verb.CREATE, 1, "[bold]i-1"),
        StepSkipped(WEB, Verb.UPDATE, "interrupted"),
    ):
        progress(event)
    progress.close()
    progress.close()

    # without a terminal rich also writes the rows once, at the end
    lines = [line for line in stream.getvalue().splitlines() if line.strip() and "done" not in line]
    assert lines == [
        "instance.web[0]: Creation complete after 1s [id=[bold]i-1]",
        "Not started: instance.web[0]: interrupted",
    ]
