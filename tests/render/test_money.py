"""Prices as plans and tables show them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from brevplan.engine.change import Cost
from brevplan.render.money import cost_line, hourly, monthly


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (Decimal("3.29"), "$3.29/hr"),
        (Decimal("23.9"), "$23.90/hr"),
        (Decimal("0"), "$0.00/hr"),
        (Decimal("0.0125"), "$0.0125/hr"),
        (Decimal("0.52600"), "$0.526/hr"),
        (Decimal("1234.5"), "$1,234.50/hr"),
        (Decimal(1) / Decimal(3), "$0.333333/hr"),
        (Decimal("-1.5"), "-$1.50/hr"),
        (Decimal("1E+1"), "$10.00/hr"),
        (None, "unknown price"),
    ],
)
def test_hourly_shows_every_cent_that_is_there(price: Decimal | None, text: str) -> None:
    assert hourly(price) == text


def test_monthly_rounds_half_a_dollar_up() -> None:
    assert [monthly(Decimal(text)) for text in ("1999.5", "-2400.49", "0.2")] == ["$2,000/mo", "-$2,400/mo", "$0/mo"]


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        (Cost(Decimal("3.29"), Decimal("23.92")), "Cost: $3.29/hr -> $23.92/hr (+$15,060/mo at 730 h)"),
        (Cost(Decimal("23.92"), Decimal(0)), "Cost: $23.92/hr -> $0.00/hr (-$17,462/mo at 730 h)"),
        (Cost(Decimal(1), Decimal(1)), "Cost: $1.00/hr -> $1.00/hr (+$0/mo at 730 h)"),
        (
            Cost(Decimal(0), Decimal(1), 1, 1200),
            "Cost: $0.00/hr + 1 machine of unknown price -> $1.00/hr + 1,200 machines of unknown price "
            "(+$730/mo at 730 h)",
        ),
    ],
)
def test_cost_line_says_both_sides_and_the_month(cost: Cost, line: str) -> None:
    assert cost_line(cost) == line
