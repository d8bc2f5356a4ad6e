"""Plans for pull requests, and plain tables."""

from __future__ import annotations

from decimal import Decimal

import pytest

from brevplan.engine.change import Action, Cost
from brevplan.render.markdown import as_diff, render_markdown
from brevplan.render.tables import render_table

from .build import SCHEMAS, changed, plan

LINES = [
    ("      + id = 1", "+       id = 1"),
    ("      - id = 1 -> null", "-       id = 1 -> null"),
    ("      ~ a = 1 -> 2", "!     ~ a = 1 -> 2"),
    ('  ▼ resource "instance" "a" {', '! ▼ resource "instance" "a" {'),
    ('-/+ resource "instance" "a" {', '-/+ resource "instance" "a" {'),
    ("        id = 1", "        id = 1"),
    ("- prose", " - prose"),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_sign_moves_to_the_margin(line: str, expected: str) -> None:
    assert as_diff(line) == expected


def test_markdown_shows_summary_cost_and_the_folded_plan() -> None:
    shown = plan(
        changed("instance.a", Action.CREATE, after={"name": "a ``` b"}),
        changed("instance.b", Action.CREATE, blocked="no_stock | left"),
        cost=Cost(Decimal("3.29"), Decimal("23.92"), 0, 1),
    )

    assert render_markdown(shown, SCHEMAS) == (
        """\
### brevplan: acme, workspace default

**Plan: 1 to add, 0 to change, 0 to destroy. 1 blocked.**

- `instance.b` is blocked: no\\_stock \\| left

| | before | after | change |
| --- | ---: | ---: | ---: |
| by the hour | $3.29/hr | $23.92/hr | +$20.63/hr |
| by the month (730 h) | $2,402/mo | $17,462/mo | +$15,060/mo |
| machines of unknown price | 0 | 1 | |

<details><summary>Show the plan</summary>

````diff
Resource actions are indicated with the following symbols:
+   create

brevplan will perform the following actions:

  # instance.a will be created
  # $0.75/hr
+   resource "instance" "a" {
+       name = "a ``` b"
    }

Blocked:
  * instance.b: no_stock | left

Plan: 1 to add, 0 to change, 0 to destroy.
Cost: $3.29/hr -> $23.92/hr + 1 machine of unknown price (+$15,060/mo at 730 h)
````

</details>
"""
    )


def test_markdown_too_long_for_a_comment_is_cut_and_says_so() -> None:
    text = render_markdown(plan(*(changed(f"instance.a[{n}]", Action.CREATE) for n in range(500))), SCHEMAS, limit=2000)

    assert len(text) < 3000
    assert "more lines are not shown here" in text
    assert "**Plan: 500 to add, 0 to change, 0 to destroy.**" in text


def test_table_aligns_wide_cells_and_numbers() -> None:
    lines = render_table(
        ["TYPE", "PRICE", "FREE"], [["gpu_1x_a10", "$0.75/hr", True], ["名前", "$13.00/hr", None]], right=["PRICE"]
    )

    assert lines == [
        "TYPE            PRICE  FREE",
        "gpu_1x_a10   $0.75/hr  yes",
        "名前        $13.00/hr",
    ]
