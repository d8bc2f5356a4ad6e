"""Canonical style: what it looks like, and that it changes neither itself nor the meaning."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Source
from brevplan.lang import ast
from brevplan.lang.formatter import format_text
from brevplan.lang.parser import parse

CASES = Path(__file__).parent / "cases" / "syntax"
PLACES = {"source", "start", "end", "name_end", "header_end"}


def read_cases(name: str) -> dict[str, str]:
    parts = (CASES / name).read_text(encoding="utf-8").split("\n=== ")[1:]
    return {title: text.rstrip("\n") + "\n" for title, text in (part.split("\n", 1) for part in parts)}


FORMATS = {
    title: (before, after)
    for title, text in read_cases("format.txt").items()
    for before, after in [text.split("-->\n")]
}
ACCEPTED = read_cases("accepts.txt")


def formatted(text: str) -> str:
    result, problems = format_text(Source("main.hcl", text))
    assert problems == []
    return result


def meaning(value: Any) -> Any:
    """Give a tree without its places."""
    if isinstance(value, ast.Node):
        fields = [field.name for field in dataclasses.fields(value) if field.name not in PLACES]
        return type(value), [meaning(getattr(value, name)) for name in fields]
    if isinstance(value, list):
        return [meaning(item) for item in value]
    return {name: meaning(item) for name, item in value.items()} if isinstance(value, dict) else value


def check_laws(text: str) -> None:
    """Formatting twice is formatting once, and the tree stays what it was."""
    result = formatted(text)
    assert formatted(result) == result
    assert meaning(parse(Source("after", result))[0]) == meaning(parse(Source("before", text))[0])


@pytest.mark.parametrize(("before", "after"), FORMATS.values(), ids=FORMATS.keys())
def test_format_gives_canonical_style(before: str, after: str) -> None:
    assert formatted(before) == after


@pytest.mark.parametrize("text", [*ACCEPTED.values(), *(before for before, _ in FORMATS.values())])
def test_format_keeps_the_laws(text: str) -> None:
    check_laws(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a=1", "a = 1\n"),
        ("a=1 # x", "a = 1 # x\n"),
        ("a=1\r\nbb=2\r\n", "a  = 1\r\nbb = 2\r\n"),
        ("\ufeffa=1\n", "\ufeffa = 1\n"),
        ("a = 1\n  ", "a = 1\n"),
        ("日本=1\nabc=2\n", "日本  = 1\nabc = 2\n"),
        ("e\u0301=1\nabc=2\n", "e\u0301   = 1\nabc = 2\n"),
    ],
)
def test_format_ends_of_text_and_wide_letters(text: str, expected: str) -> None:
    assert formatted(text) == expected


def test_format_leaves_a_text_with_errors_alone() -> None:
    text = "a   = = 1\n"
    result, problems = format_text(Source("main.hcl", text))

    assert result == text
    assert [problem.summary for problem in problems] == ["Invalid expression"]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(ACCEPTED.values())), max_size=3).map("".join), st.randoms(use_true_random=False))
def test_format_keeps_the_laws_whatever_the_blanks(text: str, random: Any) -> None:
    shaken = re.sub(
        r'("(?:[^"\\\n]|\\.)*"|<<-?\w+\n.*?\n\s*\w+\n)|[ \t]+',
        lambda match: match[1] or random.choice([" ", "  ", "\t", "     "]),
        text,
        flags=re.DOTALL,
    )
    if parse(Source("shaken", shaken))[1]:
        return
    check_laws(shaken)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="compares with the terraform command, which is not here")
def test_format_agrees_with_terraform() -> None:
    # Terraform also formats inside heredocs and ends no file with a newline it did not have; the rest is the same.
    texts = [before for title, (before, _) in FORMATS.items() if title not in ("heredocs_stay", "numbers_stay_apart")]
    for text in texts:
        run = subprocess.run(["terraform", "fmt", "-"], input=text, capture_output=True, text=True, check=True)
        assert formatted(text) == run.stdout
