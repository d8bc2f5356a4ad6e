"""Diagnostics in their box, and as data."""

from __future__ import annotations

from textwrap import dedent

import pytest

from brevplan.diagnostics import Diagnostic, Severity, Source, Span, error
from brevplan.render.diagnostics import diagnostic_json, render_diagnostic

FILE = """\
# machines
resource "instance" "web" {
  count = length(var.workers)
\tname = "名前" + "x"
  api_key = "sk-secret" + 1
  user_data = var.script
}

output "a" { value = 1 }
orphan = 2
"""


def at(words: str, *, until: str = "", file: str = FILE) -> Span:
    start = file.index(words)
    end = file.index(until, start) + len(until) if until else start + len(words)
    return Span(Source("main.hcl", file), start, end)


def test_box_shows_place_source_values_reason_and_way_out() -> None:
    shown = Diagnostic(
        Severity.ERROR,
        "Unsuitable value",
        "A list is needed here, and this is a number that somebody gave on the command line.",
        at("length(var.workers)"),
        "Write: workers = []",
        (("var.workers", "0"), ("var.key", "(sensitive value)"), ("instance.a.id", "(known after apply)")),
        "instance.web[0]",
    )

    assert render_diagnostic(shown, width=50) == dedent(
        """\
        ╷
        │ Error: Unsuitable value
        │
        │   with instance.web[0],
        │   on main.hcl line 3, column 11, in resource "instance" "web":
        │    3:   count = length(var.workers)
        │                 ^^^^^^^^^^^^^^^^^^^
        │     ├────────────────
        │     │ var.workers is 0
        │     │ var.key has a sensitive value
        │     │ instance.a.id will be known only after apply
        │
        │ A list is needed here, and this is a number that
        │ somebody gave on the command line.
        │
        │ Write: workers = []
        ╵"""
    )


def test_box_without_a_place_is_summary_and_reason() -> None:
    shown = Diagnostic(Severity.WARNING, "Old", "One.\n\n  laid out   as it is\nTwo.")

    assert render_diagnostic(shown, ascii=True).splitlines() == [
        ",", "| Warning: Old", "|", "| One.", "|", "|   laid out   as it is", "| Two.", "'",
    ]  # fmt: skip


MARKED = [
    ("wide_characters", at('"名前"'), ['   4:     name = "名前" + "x"', "                 ^^^^^^"]),
    ("after_wide_characters", at('"x"'), ['   4:     name = "名前" + "x"', "                          ^^^"]),
    (
        "over_several_lines",
        at("resource", until="}"),
        ['   2: resource "instance" "web" {', "      ^^^^^^^^^^^^^^^^^^^^^^^^^^^"],
    ),
    ("nothing_at_the_end", Span(Source("main.hcl", "a ="), 3, 3), ["   1: a =", "         ^"]),
    (
        "credential_is_masked",
        at('"sk-secret"'),
        ['   5:   api_key = "**************', "                  ^^^^^^^^^^^"],
    ),
    ("reference_is_not", at("var.script"), ["   6:   user_data = var.script", "                    ^^^^^^^^^^"]),
    (
        "escape_sequences_are_not_obeyed",
        at("b", file="a\x1b[2Jb"),
        ["   1: a\ufffd[2Jb", "           ^"],
    ),
]


@pytest.mark.parametrize(("span", "expected"), [case[1:] for case in MARKED], ids=[case[0] for case in MARKED])
def test_underline_meets_its_columns(span: Span, expected: list[str]) -> None:
    lines = render_diagnostic(error("Wrong", "", span)).splitlines()

    assert [line[2:] for line in lines[4:6]] == expected


def test_long_line_is_cut_around_what_is_marked() -> None:
    file = f'x = "{"a" * 500}" + HERE + "{"b" * 500}"'

    code, underline = render_diagnostic(error("Wrong", "", at("HERE", file=file)), width=80).splitlines()[4:6]

    assert len(code) <= 80
    assert code[underline.index("^") : underline.rindex("^") + 1] == "HERE"


@pytest.mark.parametrize(
    ("span", "context"),
    [
        (at("count"), ', in resource "instance" "web":'),
        (at("value = 1"), ', in output "a":'),
        (at("= 2"), ":"),
        (at("# machines"), ":"),
    ],
)
def test_place_names_the_block_around_it(span: Span, context: str) -> None:
    line = render_diagnostic(error("Wrong", "", span)).splitlines()[3]

    assert line.partition("column ")[2].lstrip("0123456789") == context


def test_colour_frames_and_marks() -> None:
    lines = render_diagnostic(error("Wrong", "", at("count")), color=True).splitlines()

    assert lines[0] == "\x1b[31m╷\x1b[0m"
    assert lines[1] == "\x1b[31m│\x1b[0m \x1b[1;31mError: \x1b[0m\x1b[1mWrong\x1b[0m"


def test_data_counts_bytes_and_names_the_snippet() -> None:
    shown = Diagnostic(Severity.ERROR, "Wrong", "Why.", at('"x"'), "Do.", (("var.a", '"b"'),), "instance.web")

    assert diagnostic_json(shown) == {
        "severity": "error",
        "summary": "Wrong",
        "detail": "Why.\n\nDo.",
        "address": "instance.web",
        "range": {
            "filename": "main.hcl",
            "start": {"line": 4, "column": 16, "byte": FILE.encode().index(b'"x"')},
            "end": {"line": 4, "column": 19, "byte": FILE.encode().index(b'"x"') + 3},
        },
        "snippet": {
            "context": 'resource "instance" "web"',
            "code": '\tname = "名前" + "x"',
            "start_line": 4,
            "highlight_start_offset": 19,
            "highlight_end_offset": 22,
            "values": [{"traversal": "var.a", "statement": 'is "b"'}],
        },
    }


def test_data_without_a_place_has_no_range() -> None:
    assert diagnostic_json(error("Wrong")) == {"severity": "error", "summary": "Wrong", "detail": ""}


def test_place_far_into_a_long_line_is_drawn_with_what_is_near_it() -> None:
    text = "x" * 50_000 + " here " + "y" * 50_000
    box = render_diagnostic(error("Wrong", span=Span(Source("main.hcl", text), 50_001, 50_005)), width=80)
    drawn = next(line for line in box.split("\n") if " here " in line)
    assert len(drawn) <= 82
    below = box.split("\n")[box.split("\n").index(drawn) + 1]
    assert below.index("^^^^") == drawn.index("here")
