"""A plan for a pull request: one line to see, the cost as a table, the whole text folded away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from brevplan.engine.change import Cost, Plan
from brevplan.engine.kind import Schema
from brevplan.render.money import hourly, monthly
from brevplan.render.text import plan_line, render_plan

LIMIT: Final = 60_000
"""Characters of the folded text: the forges refuse comments of more than about 65,000."""

_SIGNED: Final = re.compile(r"( +)([-+~▲▼])( .*)\Z", re.DOTALL)
_REPLACE: Final = ("-/+ ", "+/- ")


def render_markdown(plan: Plan, schemas: Mapping[str, Schema], *, title: str = "", limit: int = LIMIT) -> str:
    """Give the whole text with a line end. What exceeds `limit` is cut, and said to be."""
    heading = title or f"brevplan: {plan.project or 'plan'}, workspace {plan.workspace or 'default'}"
    parts = [f"### {_escaped(heading)}", f"**{summary(plan)}**", *_blocked(plan), _cost_table(plan.cost)]
    lines, left_out = _cut(render_plan(plan, schemas), limit)
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0))
    parts.append("<details><summary>Show the plan</summary>")
    parts.append("\n".join([f"{fence}diff", *map(as_diff, lines), fence]))
    if left_out:
        parts.append(f"{left_out:,} more lines are not shown here: run `brevplan plan` to see them.")
    parts.append("</details>")
    return "\n\n".join(parts) + "\n"


def summary(plan: Plan) -> str:
    """Say in one line what the plan comes to."""
    if plan.counts.any or plan.blocked:
        blocked = f" {len(plan.blocked)} blocked." if plan.blocked else ""
        return plan_line(plan.counts) + blocked
    if plan.has_changes:
        return "Only outputs or recorded values change."
    return "No changes. Your infrastructure matches the configuration."


def _blocked(plan: Plan) -> list[str]:
    if not plan.blocked:
        return []
    return ["\n".join(f"- `{change.address}` is blocked: {_escaped(change.blocked)}" for change in plan.blocked)]


def _cost_table(cost: Cost) -> str:
    rows = [
        "| | before | after | change |",
        "| --- | ---: | ---: | ---: |",
        f"| by the hour | {hourly(cost.before)} | {hourly(cost.after)} | {_signed(cost)} |",
        f"| by the month (730 h) | {monthly(cost.before * 730)} | {monthly(cost.after * 730)} "
        f"| {monthly(cost.monthly_delta, signed=True)} |",
    ]
    if cost.unknown_before or cost.unknown_after:
        rows.append(f"| machines of unknown price | {cost.unknown_before} | {cost.unknown_after} | |")
    return "\n".join(rows)


def _signed(cost: Cost) -> str:
    delta = cost.after - cost.before
    return hourly(delta) if delta < 0 else f"+{hourly(delta)}"


def _cut(lines: Iterable[str], limit: int) -> tuple[list[str], int]:
    kept: list[str] = []
    left_out = 0
    for line in lines:
        limit -= len(line) + 1
        if limit >= 0:
            kept.append(line)
        else:
            left_out += 1
    return kept, left_out


def as_diff(line: str) -> str:
    """Move the sign of a line to the margin, where a diff has it; what changes in place is marked by `!`."""
    found = _SIGNED.match(line)
    if found is not None:
        indent, sign, rest = found.groups()
        return f"{sign}{indent} {rest[1:]}" if sign in "+-" else f"!{indent[1:]}{sign}{rest}"
    # prose must not be taken for a line that changes
    return f" {line}" if line.startswith(("+", "-", "!", "@")) and not line.startswith(_REPLACE) else line


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
