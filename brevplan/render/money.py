"""Prices as a person reads them: exact by the hour, whole dollars by the month."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from brevplan.engine.change import HOURS_PER_MONTH, Cost

_CENT = Decimal("0.01")
_FINEST = Decimal("0.000001")


def dollars(amount: Decimal) -> str:
    """Write USD with at least two decimals, and more only where the price has them: `$3.29`, `$0.0125`."""
    exact = abs(amount).quantize(_FINEST, ROUND_HALF_UP)
    cents = exact.quantize(_CENT, ROUND_HALF_UP)
    text = f"{cents:,}" if cents == exact else f"{exact:,}".rstrip("0")
    return f"-${text}" if amount < 0 and exact else f"${text}"


def hourly(price: Decimal | None) -> str:
    """Write a price by the hour, `$3.29/hr`."""
    return f"{dollars(price)}/hr" if price is not None else "unknown price"


def monthly(price: Decimal, *, signed: bool = False) -> str:
    """Write an amount by the month in whole dollars, `$15,060/mo`; `signed` writes the plus as well."""
    whole = price.quantize(Decimal(1), ROUND_HALF_UP)
    sign = "-" if whole < 0 else "+" if signed else ""
    return f"{sign}${abs(whole):,}/mo"


def cost_line(cost: Cost) -> str:
    """Write the last line of a plan."""
    before = hourly(cost.before) + _unknown(cost.unknown_before)
    after = hourly(cost.after) + _unknown(cost.unknown_after)
    return f"Cost: {before} -> {after} ({monthly(cost.monthly_delta, signed=True)} at {HOURS_PER_MONTH} h)"


def price_step(before: Decimal | None, after: Decimal | None) -> str:
    """Write what becomes of one price: `$3.29/hr`, or `$3.29/hr -> $0.00/hr` where it differs."""
    return hourly(after) if before == after else f"{hourly(before)} -> {hourly(after)}"


def _unknown(machines: int) -> str:
    if not machines:
        return ""
    return f" + {machines:,} machine{'s' if machines > 1 else ''} of unknown price"
