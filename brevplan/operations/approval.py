"""How an approved plan stands towards what is there now: still the same, begun, carried out, or stale.

The steps that this plan recorded say what it has done; what differs from the approval only by them is expected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from brevplan.diagnostics import DiagnosticsError, error
from brevplan.engine.address import Address
from brevplan.engine.bench import Options
from brevplan.engine.change import Action, Change, Plan
from brevplan.engine.codec import Fingerprint, fingerprint
from brevplan.engine.graph import step_ids
from brevplan.engine.ports import StepRow


@dataclass(slots=True)
class Progress:
    """What runs of one plan have recorded of its steps, by step id: whether it was ever finished."""

    steps: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[StepRow]) -> Progress:
        found: dict[str, bool] = defaultdict(bool)
        for row in rows:
            found[row.step_id] |= row.status == "done"
        return cls(dict(found))

    def is_begun(self, change: Change) -> bool:
        return any(step in self.steps for step in step_ids(change))

    def is_done(self, change: Change) -> bool:
        return all(self.steps.get(step, False) for step in step_ids(change))

    def is_made(self, change: Change) -> bool:
        """Tell whether the create half of a change is done."""
        return change.creates and self.steps.get(f"create {change.address}", False)


def remaining_options(options: Options, approved: Plan, progress: Progress) -> Options:
    """Leave out what was asked for and is done: a machine replaced by this plan is not to be replaced again."""
    made = {change.address for change in approved.effective if progress.is_made(change)}
    ended = {change.ref_id for change in approved.effective if change.deposed and progress.is_done(change)}
    ended |= {change.cloud_id for change in approved.effective if change.deposed and progress.is_done(change)}
    singles = [a for target in options.replaced for a in _instances(target, approved) if a not in made]
    return replace(options, replaced=tuple(singles), reaped=options.reaped - ended)


def _instances(target: Address, approved: Plan) -> Iterator[Address]:
    for change in approved.effective:
        if change.is_replace and target.covers(change.address):
            yield change.address


def key_of(change: Change) -> str:
    """Name a change within its plan."""
    return f"{change.address} {change.deposed} {change.cloud_id if change.deposed else ''}".strip()


def restrict(plan: Plan, approved: Plan, digests: Mapping[str, Fingerprint], salt: str, progress: Progress) -> bool:
    """Leave in a fresh plan only what was approved and is left to do; False when nothing is.

    Raises `DiagnosticsError` when something that was approved is not what it was.
    """
    fresh = {key_of(change): change for change in plan.changes if not change.is_noop or change.blocked}
    # what a plan set aside and could not end stands beside its address, and may be what cannot be judged
    beside = {change.address: change for change in plan.changes if change.blocked and change.deposed}
    problems = [
        text
        for change in approved.effective
        for text in _objections(
            change, fresh.get(key_of(change)) or beside.get(change.address), digests[key_of(change)], salt, progress
        )
    ]
    if problems:
        raise DiagnosticsError([error("Plan is stale", text, hint="Make a new plan.") for text in problems])
    begun = {change.address for change in approved.effective if progress.is_begun(change)}
    wanted = {key_of(change) for change in approved.effective if not progress.is_done(change)}
    plan.changes = [
        change if change.is_noop or key_of(change) in wanted or _is_rest(change, begun) else _left_alone(change)
        for change in plan.changes
    ]
    return bool(wanted) or any(_is_rest(change, begun) for change in plan.effective)


def _is_rest(change: Change, begun: set[Address]) -> bool:
    """Tell whether a change ends a machine that this plan set aside and did not get to end."""
    return change.address in begun and change.action is Action.DELETE and bool(change.deposed)


def _objections(
    change: Change, now: Change | None, approved: Fingerprint, salt: str, progress: Progress
) -> Iterator[str]:
    if progress.is_done(change):
        if now is not None and not now.blocked and now.action is not Action.DELETE:
            yield f"{change.address}: this plan was carried out there, and something has changed it since."
        return
    if now is not None and now.blocked:
        yield f"{change.address}: {now.blocked}."
        return
    begun = progress.is_begun(change)
    if now is None:
        if not begun:
            yield f"{change.address}: what was planned ({change.action.value}) is not needed any more."
        return
    same_row = (now.record_key, now.record_version) == (change.record_key, change.record_version)
    if not begun and not same_row:
        yield f"{change.address}: what is remembered of it has changed since the plan was made."
        return
    found = fingerprint(now, salt)
    if not begun and found.before != approved.before:
        yield f"{change.address}: it has changed since the plan was made."
    elif not now.finish and not approved.leads_to(found):
        yield f"{change.address}: what it would become has changed since the plan was made."
    elif _is_dearer(now, change):
        yield f"{change.address}: the price is now {now.price_after} USD/hr, above the {change.price_after} shown."


def _is_dearer(now: Change, approved: Change) -> bool:
    if not now.creates or approved.price_after is None:
        return False
    return now.price_after is None or now.price_after > approved.price_after


def _left_alone(change: Change) -> Change:
    return replace(
        change,
        action=Action.NOOP,
        after=change.before,
        imports="",
        power=None,
        changed=(),
        finish=False,
        blocked="",
        moved_from=None,
        asked=False,
    )
