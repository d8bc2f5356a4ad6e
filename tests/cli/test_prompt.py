"""Typing at the console: lines that go on, what is remembered, and what is completed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from brevplan.cli.console_history import MAX_ENTRIES, MAX_LENGTH, History, history_path
from brevplan.cli.prompt import Prompt, completer


def typing(*lines: str | BaseException) -> tuple[Callable[[str], str], list[str]]:
    """Give somebody who types these lines, then Ctrl-D, and the prompts that he was shown."""
    waiting, prompts = list(lines), list[str]()

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        line = waiting.pop(0) if waiting else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line

    return ask, prompts


@pytest.mark.parametrize(
    ("lines", "expressions", "prompts"),
    [
        (["1"], ["1"], "> > "),
        (["", "  ", " 1 "], ["1"], "> > > > "),
        (["(", "1 +", "2)", "3"], ["(\n1 +\n2)", "3"], "> : : > > "),
        (["(", "", "3"], ["(", "3"], "> : > > "),
        (["<<EOT", "a", "", "EOT"], ["<<EOT\na\n\nEOT"], "> : : : > "),
        (["(", KeyboardInterrupt(), "3"], ["3"], "> : > > "),
        ([KeyboardInterrupt(), "3"], ["3"], "> > > "),
        (["("], [], "> : "),
    ],
)
def test_expressions_as_they_are_typed(lines: list[str | BaseException], expressions: list[str], prompts: str) -> None:
    ask, shown = typing(*lines)
    assert list(Prompt(ask, History(None)).expressions()) == expressions
    assert "".join(shown) == prompts


def test_names_are_completed_a_step_at_a_time() -> None:
    complete = completer(["instance.lab", "instance.web", "local.a", "upper(", "var.size", "var.spot"])

    def found(text: str) -> list[str]:
        names = (complete(text, state) for state in range(9))
        return [name for name in names if name is not None]

    assert found("i") == ["instance."]
    assert found("instance.") == ["instance.lab", "instance.web"]
    assert found("var.s") == ["var.size", "var.spot"]
    assert found("u") == ["upper("]
    assert found("nope") == []


def test_history_survives_in_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state" / "brevplan" / "console_history"
    first = History(path)
    for text in ("1", "1", "var.a", "(\n1)", "x" * (MAX_LENGTH + 1), ""):
        first.add(text, is_private=False)
    first.add('sensitive("sesame")', is_private=True)
    first.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["console_history"]
    second = History(path)
    assert second.entries() == ["1", "var.a"]
    second.add("é", is_private=False)
    second.save()
    assert History(path).entries() == ["1", "var.a", "é"]


def test_history_keeps_the_newest(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for number in range(MAX_ENTRIES + 5):
        history.add(str(number), is_private=False)
    history.save()
    assert history.entries()[0] == "5"
    assert len(history.entries()) == MAX_ENTRIES


def test_history_that_cannot_be_kept_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for history in (History(None), History(tmp_path / "file" / "history"), History(tmp_path)):
        history.add("1", is_private=False)
        history.save()
        assert history.entries() == []
    assert not list(tmp_path.parent.glob(f"{tmp_path.name}.*"))


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/brevplan/console_history"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/brevplan/console_history"),
        ({"HOME": "/h"}, "/h/.local/state/brevplan/console_history"),
        ({}, None),
    ],
)
def test_where_the_history_is(environment: dict[str, str], path: str | None) -> None:
    assert history_path(environment) == (Path(path) if path is not None else None)
