"""Canonical style: what it looks like, and that it changes neither itself nor the meaning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Source
from brevplan.lang.formatter import format_text
from brevplan.lang.parser import parse
from brevplan.lang.scanner import Scanner
from tests.meaning import meaning

CASES = Path(__file__).parent / "cases" / "syntax"


def read_cases(name: str) -> dict[str, str]:
    parts = (CASES / name).read_text(encoding="utf-8").split("\n=== ")[1:]
    return {title: text.rstrip("\n") + "\n" for title, text in (part.split("\n", 1) for part in parts)}


OLD_TYPE = re.compile(r'type *= *("(string|list|map)"|(list|map|set)$)', re.MULTILINE)
OWN_WAY = {
    "numbers_stay_apart",
    "comments_between_labels_stay",
    "templates_of_templates_are_unwrapped_at_once",
    "comments_and_heredocs_stay_in_their_template",
}
"""Cases in which Terraform loses something, or needs a second run."""


def read_formats(name: str) -> dict[str, tuple[str, str]]:
    found = {}
    for title, text in read_cases(name).items():
        before, after = text.split("-->\n")
        found[title] = (before, after)
    return found


FORMATS = {**read_formats("format.txt"), **read_formats("format_corpus.txt")}
ACCEPTED = read_cases("accepts.txt")


def formatted(text: str) -> str:
    result, problems = format_text(Source("main.hcl", text))
    assert problems == []
    return result


def check_laws(text: str) -> None:
    """Formatting twice is formatting once, and the tree stays what it was."""
    result = formatted(text)
    assert formatted(result) == result
    if OLD_TYPE.search(text):
        return  # `type = "list"` has no meaning to keep
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
        ("\ufeffa=1\n", "a = 1\n"),
        ("a = 1\n  ", "a = 1\n"),
        ("日本=1\nabc=2\n", "日本  = 1\nabc = 2\n"),
        ("e\u0301=1\nabc=2\n", "e\u0301   = 1\nabc = 2\n"),
    ],
)
def test_format_ends_of_text_and_wide_letters(text: str, expected: str) -> None:
    assert formatted(text) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('type = "string"', "type = string"),
        ('type = "list"', "type = list(string)"),
        ('type = "map"', "type = map(string)"),
        ("type = list", "type = list(any)"),
        ("type = set", "type = set(any)"),
        ("type = map", "type = map(any)"),
        ('type = "number"', 'type = "number"'),
        ('type = "${list}"', 'type = "${list}"'),
    ],
)
def test_format_writes_types_of_variables_without_quotes(before: str, after: str) -> None:
    assert formatted(f'variable "v" {{\n  {before}\n}}\n') == f'variable "v" {{\n  {after}\n}}\n'
    elsewhere = f'resource "x" "v" {{\n  {before}\n}}\n'
    assert "${" in before or formatted(elsewhere) == elsewhere


def comments_of(text: str) -> list[str]:
    """Find the comments of a text: what stands between tokens and is not blank."""
    scanner = Scanner(Source("main.hcl", text), [])
    found, position = [], 0
    for kind, _, start, end in scanner.tokens():
        if kind not in ("STRING_CHARS", "NEWLINE"):
            found += re.findall(r"#[^\n]*|//[^\n]*|/\*.*?\*/", text[position:start], re.DOTALL)
        position = end if kind != "NEWLINE" else position
    return found


@pytest.mark.parametrize("text", [*ACCEPTED.values(), *(before for before, _ in FORMATS.values())])
def test_format_keeps_every_comment_in_order(text: str) -> None:
    assert comments_of(formatted(text)) == comments_of(text)


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
def test_format_agrees_with_terraform(tmp_path: Path) -> None:
    texts = {title: before for title, (before, _) in FORMATS.items() if title not in OWN_WAY}
    for number, text in enumerate(texts.values()):
        (tmp_path / f"{number}.tf").write_text(text, encoding="utf-8", newline="")
    subprocess.run(["terraform", "fmt", "-list=false", str(tmp_path)], capture_output=True, check=True)
    for number, (title, text) in enumerate(texts.items()):
        assert formatted(text) == (tmp_path / f"{number}.tf").read_bytes().decode(), title
