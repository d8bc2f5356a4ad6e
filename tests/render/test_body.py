"""How two values that differ are laid out."""

from __future__ import annotations

from textwrap import dedent

import pytest

from brevplan.lang.types import STRING
from brevplan.lang.values import List, Map, Object, Secret, Set, Tuple, Unknown, Value
from brevplan.render.body import Layout
from brevplan.render.paint import Paint

LETTERS = tuple("abcdefg")

CASES: list[tuple[str, Value, Value, str]] = [
    ("scalar", "a", "b", '"a" -> "b"'),
    ("number_to_text", 1, "1", '1 -> "1"'),
    ("unknown", "a", Unknown(STRING), '"a" -> (known after apply)'),
    ("secret_after", "a", Secret("b"), "(sensitive value)"),
    ("secret_before", Secret("a"), "b", "(sensitive value)"),
    (
        "map_with_one_of_each",
        Map({"gone": "1", "kept": "2", "turned": "3"}),
        Map({"kept": "2", "new": "4", "turned": "5"}),
        """\
        {
          - "gone"   = "1" -> null
          + "new"    = "4"
          ~ "turned" = "3" -> "5"
            # (1 unchanged element hidden)
        }""",
    ),
    ("map_becomes_unknown", Map({"a": "1"}), Unknown(), '{\n  - "a" = "1"\n} -> (known after apply)'),
    (
        "list_keeps_its_neighbours",
        List(LETTERS),
        List(("a", "b", "c", "X", "e", "f", "g")),
        """\
        [
            # (2 unchanged elements hidden)
            "c",
          - "d",
          + "X",
            "e",
            # (2 unchanged elements hidden)
        ]""",
    ),
    (
        "list_grows_at_its_end",
        Tuple(("a", "b", "c")),
        List(("a", "b", "c", "d")),
        """\
        [
            # (2 unchanged elements hidden)
            "c",
          + "d",
        ]""",
    ),
    (
        "set_has_no_places",
        Set(("a", "b", "c")),
        Set(("b", "c", "d")),
        """\
        [
          - "a",
            # (2 unchanged elements hidden)
          + "d",
        ]""",
    ),
    (
        "object_in_a_list_is_compared_inside",
        Tuple((Object({"port": 1, "to": 2}), Object({"port": 9}))),
        Tuple((Object({"port": 1, "to": 3}), Object({"port": 9}))),
        """\
        [
          ~ {
              ~ to = 2 -> 3
                # (1 unchanged element hidden)
            },
            {
                port = 9
            },
        ]""",
    ),
    ("emptied", List(("a",)), List(()), '[\n  - "a",\n]'),
    ("null_attribute_of_an_object_is_not_set", Object({"a": 1, "b": None}), Object({"a": 2}), "{\n  ~ a = 1 -> 2\n}"),
    (
        "text_line_by_line",
        "one\ntwo\nthree\n",
        "one\n2\nthree\n",
        """\
        <<-EOT
            one
          - two
          + 2
            three
        EOT""",
    ),
    (
        "long_text_shows_what_stands_beside_a_change",
        "\n".join(map(str, range(20))),
        "\n".join(map(str, (*range(10), "new", *range(10, 20)))),
        """\
        <<-EOT
            # (7 unchanged lines hidden)
            7
            8
            9
          + new
            10
            11
            12
            # (7 unchanged lines hidden)
        EOT""",
    ),
    ("control_characters_are_not_obeyed", "a", "\x1b[31m\u202e", '"a" -> "\\u001b[31m\ufffd"'),
]


@pytest.mark.parametrize(("before", "after", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_difference_is_laid_out_as_terraform_does(before: Value, after: Value, expected: str) -> None:
    lines = Layout(Paint(False)).difference(before, after, -2)

    assert "\n".join(lines) == dedent(expected)


def test_difference_of_lists_too_long_to_align_names_what_left_and_entered() -> None:
    before = List(map(str, range(3000)))
    after = List([*map(str, range(1, 3000)), "new"])

    lines = Layout(Paint(False)).difference(before, after, -2)

    assert [line.strip() for line in lines] == ["[", '- "0",', "# (2,999 unchanged elements hidden)", '+ "new",', "]"]
