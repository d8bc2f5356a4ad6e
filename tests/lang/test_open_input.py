"""Which lines wait for more of them."""

from __future__ import annotations

import pytest

from brevplan.lang.open_input import Open, what_is_open


@pytest.mark.parametrize(
    ("text", "open_"),
    [
        ("", Open.NOTHING),
        ("1 + 2", Open.NOTHING),
        ("1 +", Open.NOTHING),
        ("1 2", Open.NOTHING),
        ("}", Open.NOTHING),
        ('"a', Open.NOTHING),
        ('("a', Open.NOTHING),
        ('<<"EOT"', Open.NOTHING),
        ("/*", Open.NOTHING),
        ("(", Open.BRACKET),
        ("(1 # )", Open.BRACKET),
        ("[1,\n2", Open.BRACKET),
        ("{", Open.BRACKET),
        ("{\na = 1", Open.BRACKET),
        ("{\na = 1\n}", Open.NOTHING),
        ('"${', Open.BRACKET),
        ('"${(1)', Open.BRACKET),
        ("[for x in", Open.BRACKET),
        ("f(<<EOT", Open.HEREDOC),
        ("<<-EOT\na\n", Open.HEREDOC),
        ("<<EOT\na\nEOT", Open.NOTHING),
        ("f(<<EOT\na\nEOT", Open.BRACKET),
        ("f(<<EOT\na\nEOT\n)", Open.NOTHING),
    ],
)
def test_what_waits_for_another_line(text: str, open_: Open) -> None:
    assert what_is_open(text) is open_
