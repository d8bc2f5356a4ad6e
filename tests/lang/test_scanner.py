"""Tokens: which kinds, which values, which places."""

from __future__ import annotations

import pytest

from brevplan.diagnostics import Diagnostic, Source
from brevplan.lang.scanner import Scanner, Token


def scan(text: str) -> list[Token]:
    return list(Scanner(Source("main.hcl", text), []).tokens())


def kinds(text: str) -> str:
    return " ".join(kind for kind, *_ in scan(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\n", "NAME EQ INT_LITERAL NEWLINE END"),
        ("\n\n a\n \n\nb", "NAME NEWLINE NAME END"),
        ("a = [\n1,\n2\n]\n", "NAME EQ LSQB INT_LITERAL COMMA INT_LITERAL RSQB NEWLINE END"),
        ("a = {\n}\n", "NAME EQ LBRACE RBRACE NEWLINE END"),
        ("a = {\nb = 1\n\nc = 2,\n}", "NAME EQ LBRACE NAME EQ INT_LITERAL COMMA NAME EQ INT_LITERAL COMMA RBRACE END"),
        ("a {\nb = 1\n}", "NAME LBRACE NEWLINE NAME EQ INT_LITERAL NEWLINE RBRACE END"),
        (
            "a = {\nfor x in y :\nx => x\n}",
            "NAME EQ LBRACE FOR NAME IN NAME COLON NAME FOR_OBJECT_ARROW NAME RBRACE END",
        ),
        ("a = { # c\n for_each = 1 }", "NAME EQ LBRACE FOR_EACH EQ INT_LITERAL RBRACE END"),
        ("a.for", "NAME DOT NAME END"),
        ("a.0", "NAME DOT INT_LITERAL END"),
        ("a.*.b", "NAME ATTR_SPLAT DOT NAME END"),
        ("a[ * ]", "NAME FULL_SPLAT_START END"),
        ("a - 1", "NAME MINUS INT_LITERAL END"),
        ("x = (a\n- -1)", "NAME EQ LPAR NAME MINUS MINUS INT_LITERAL RPAR END"),
        ("x = (! /* c */ ! a)", "NAME EQ LPAR NOT NAME RPAR END"),
        ('"a"', "TEXT END"),
        ('"a$"', "DBLQUOTE STRING_CHARS DBLQUOTE END"),
        (
            '"a${b}c"',
            "DBLQUOTE STRING_CHARS INTERP_START NAME RBRACE STRING_CHARS DBLQUOTE END",
        ),
        ('"%{ if a ~}"', "DBLQUOTE DIRECTIVE_START IF NAME RBRACE DBLQUOTE END"),
        ("a = <<E\nx\ny\nE\n", "NAME EQ DBLQUOTE STRING_CHARS STRING_CHARS DBLQUOTE NEWLINE END"),
        ("a /* b\nc */ d", "NAME NAME END"),
        ("a # b\n// c\nd", "NAME NEWLINE NAME END"),
    ],
)
def test_scan_gives_the_terminals_of_the_grammar(text: str, expected: str) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"x"', ("TEXT", "x", 0, 3)),
        ("  name", ("NAME", "name", 2, 6)),
        ("a::b", ("NAME", "a::b", 0, 4)),
        ("a :: b", ("NAME", "a::b", 0, 6)),
        ("e\u0301", ("NAME", "\u00e9", 0, 2)),
        ("!-x", ("NOT", (("!", 0), ("-", 1)), 0, 2)),
        ("1.5e+3", ("FLOAT_LITERAL", "1.5e+3", 0, 6)),
        ("\ufeffa", ("NAME", "a", 1, 2)),
    ],
)
def test_scan_decodes_and_places_tokens(text: str, expected: Token) -> None:
    assert scan(text)[0] == expected


def test_scan_decodes_escapes() -> None:
    assert scan(r'"\n\t\"\\\u00e9\U0001F600 $${x} %%{y}"')[1][1] == '\n\t"\\é😀 ${x} %{y}'


def test_scan_bad_escape_is_reported_and_passed_over() -> None:
    problems: list[Diagnostic] = []
    tokens = list(Scanner(Source("main.hcl", r'"a\qb" c'), problems).tokens())

    assert [kind for kind, *_ in tokens] == ["DBLQUOTE", "STRING_CHARS", "DBLQUOTE", "NAME", "END"]
    assert [(problem.summary, problem.span.start if problem.span else -1) for problem in problems] == [
        ("Invalid escape sequence", 2)
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a = 'x'", "double quotes"),
        ("a = “x”", "straight"),
        ("a = `x`", "heredoc"),
        ("a = 1;", "newlines"),
        ("a = b & c", "&&"),
        ("a = b | c", "||"),
        ("a = b ^ c", "pow"),
        ("a = ~b", "!"),
        ("a = ${b}", "double quotes"),
        ("a = b \\", "( )"),
        ("a = b.0.1", "[0][1]"),
        ("a = 0x1f", "double quotes"),
        ('a = <<"E"\nE\n', "<<EOT"),
        ("a = 1 /* b", "*/"),
    ],
)
def test_scan_stray_character_says_what_to_write(text: str, hint: str) -> None:
    kind, diagnostic, _, _ = scan(text)[-1]

    assert kind == "ERROR"
    assert hint in diagnostic.hint
