"""A plan as a person reads it: Terraform's signs and words, then notes, then what it counts and costs.

Takes finished values and gives lines, one after the other, so that a plan of many thousands is not held twice.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from brevplan.engine.change import Action, Change, Counts, Mode, OrphanNote, OutputChange, Plan, Power
from brevplan.engine.kind import Schema
from brevplan.engine.ports import Record, Role
from brevplan.engine.secrets import unseal
from brevplan.lang.types import ANY
from brevplan.lang.values import Secret, Value
from brevplan.render.body import ADD, CHANGE, NONE, REMOVE, Layout, alike, joined, tone
from brevplan.render.money import cost_line, hourly
from brevplan.render.paint import Paint, clean
from brevplan.render.resource import Body, plain_lines, resource_lines
from brevplan.render.values import render_value
from brevplan.render.words import address_of, circumstances, differing, drift_note, heading, price_of, some

_START: Final = {False: "▲", True: "^"}
_STOP: Final = {False: "▼", True: "v"}


def render_plan(
    plan: Plan,
    schemas: Mapping[str, Schema],
    *,
    color: bool = False,
    ascii: bool = False,
    concise: bool = False,
) -> Iterator[str]:
    """Give the lines of a plan, without line ends. `concise` names the changes and leaves their attributes out."""
    return _PlanText(plan, schemas, Paint(color), ascii, concise).lines()


class _PlanText:
    def __init__(self, plan: Plan, schemas: Mapping[str, Schema], paint: Paint, ascii: bool, concise: bool) -> None:
        self.plan, self.schemas, self.paint = plan, schemas, paint
        self.ascii, self.concise = ascii, concise
        self.layout = Layout(paint)
        self.changes = plan.effective
        self.outputs = [output for output in plan.outputs.values() if output.action is not Action.NOOP]

    def lines(self) -> Iterator[str]:
        if self.plan.workspace not in ("", "default"):
            yield f"Project {clean(self.plan.project)}, workspace {clean(self.plan.workspace)}"
            yield ""
        refresh_only = self.plan.mode is Mode.REFRESH_ONLY
        if refresh_only and self.plan.drift:
            yield from self.drift()
        if self.changes:
            yield from self.legend()
            for change in self.changes:
                yield from self.change(change)
        elif not self.outputs and not self.plan.blocked and not (refresh_only and self.plan.drift):
            yield self.paint(_nothing_to_do(self.plan.mode), "bold")
            yield ""
        if self.outputs:
            yield from self.output_section()
        yield from self.blocked()
        yield from self.orphans()
        yield from self.notes()
        yield from self.ending()

    def ending(self) -> Iterator[str]:
        if self.plan.mode is Mode.REFRESH_ONLY:
            if self.plan.drift:
                yield "This is a refresh-only plan, so brevplan will not take any actions to undo these. If you were"
                yield "expecting these changes then you can apply this plan to record the updated values in the"
                yield "brevplan state without changing any remote objects."
        elif self.changes or self.plan.blocked:
            yield plan_line(self.plan.counts)
            yield cost_line(self.plan.cost)
        elif self.outputs:
            yield "You can apply this plan to save these new output values to the brevplan state, without changing"
            yield "any real infrastructure."

    # changes

    def legend(self) -> Iterator[str]:
        used = {self.sign(change) for change in self.changes}
        words = {
            ADD: "create", CHANGE: "update in-place", REMOVE: "destroy",
            "-/+": "destroy and then create replacement", "+/-": "create replacement and then destroy",
            _START[self.ascii]: "start", _STOP[self.ascii]: "stop",
        }  # fmt: skip
        if used - {NONE}:
            yield "Resource actions are indicated with the following symbols:"
            for sign, word in words.items():
                if sign in used:
                    yield f"{self.painted(sign)} {word}"
            yield ""
        yield "brevplan will perform the following actions:"
        yield ""

    def sign(self, change: Change) -> str:
        match change.action:
            case Action.CREATE:
                return ADD
            case Action.DELETE:
                return REMOVE
            case Action.REPLACE:
                return "-/+"
            case Action.REPLACE_CREATE_FIRST:
                return "+/-"
            case Action.NOOP | Action.FORGET:
                return NONE
        if change.is_only_power:
            return (_START if change.power is Power.START else _STOP)[self.ascii]
        return CHANGE

    def painted(self, sign: str) -> str:
        painted = "/".join(self.paint(part, tone(part)) for part in sign.split("/"))
        return " " * (3 - len(sign)) + painted

    def change(self, change: Change) -> Iterator[str]:
        if self.concise:
            yield self.one_line(change)
            if change is self.changes[-1]:
                yield ""
            return
        yield f"  # {self.paint(address_of(change), 'bold')} {self.heading(change)}"
        for reason in circumstances(change):
            yield f"  # ({reason})"
        price = price_of(change)
        if price:
            yield f"  # {price}"
        yield from resource_lines(self.layout, self.schemas.get(change.address.kind), change.address, self.body(change))
        yield ""

    def one_line(self, change: Change) -> str:
        reasons = [*circumstances(change), *(f"{name} forces replacement" for name in change.replace_paths)]
        price = price_of(change)
        behind = ", ".join([*reasons, *([price] if price else [])])
        sign = self.painted(self.sign(change))
        return f"{sign} {address_of(change)} {self.heading(change)}" + (f" ({behind})" if behind else "")

    def heading(self, change: Change) -> str:
        words = heading(change)
        bright = {"destroyed": "red", "replaced": "red", "stopped": "magenta"}
        for word, colour in bright.items():
            words = words.replace(word, self.paint(word, "bold", colour))
        return words

    def body(self, change: Change) -> Body:
        sign = self.sign(change)
        if change.action is Action.FORGET or (sign == NONE and not change.imports):
            return Body(sign, change.before, change.before, frozenset())
        if sign in (ADD, REMOVE, NONE):
            return Body(sign, change.before, change.after)
        return Body(
            sign, change.before, change.after, differing(change), frozenset(change.replace_paths), change.reasons
        )

    # outputs

    def output_section(self) -> Iterator[str]:
        yield "Changes to Outputs:"
        width = max(len(output.name) for output in self.outputs)
        for output in self.outputs:
            sign, lines = self.output(output)
            yield from self.layout.entry(sign, 2, f"{output.name:<{width}} = ", lines)
        yield ""

    def output(self, output: OutputChange) -> tuple[str, list[str]]:
        before = Secret(output.before) if output.sensitive else output.before
        after = Secret(output.after) if output.sensitive else output.after
        match output.action:
            case Action.CREATE:
                return ADD, self.layout.whole(after, 2, ADD)
            case Action.DELETE:
                return REMOVE, joined(self.layout.whole(before, 2, REMOVE), ["null"])
        if alike(before, after):
            return CHANGE, self.layout.whole(after, 2)
        return CHANGE, self.layout.difference(before, after, 2)

    # what others did

    def drift(self) -> Iterator[str]:
        yield f"{self.paint('Note:', 'bold', 'cyan')} {self.paint('Objects have changed outside of brevplan', 'bold')}"
        yield ""
        yield "brevplan detected the following changes made outside of brevplan since the last apply:"
        yield ""
        for change in self.plan.drift:
            word = "been deleted" if change.after is None else "changed"
            yield f"  # {self.paint(address_of(change), 'bold')} has {word}"
            sign = REMOVE if change.after is None else CHANGE
            body = Body(sign, change.before, change.after, frozenset(change.changed) if change.after else None)
            yield from resource_lines(self.layout, self.schemas.get(change.address.kind), change.address, body)
            yield ""

    # what stands beside the changes

    def blocked(self) -> Iterator[str]:
        blocked = self.plan.blocked
        if not blocked:
            return
        yield self.paint("Blocked:", "bold", "red")
        for change in blocked:
            yield f"  * {address_of(change)}: {clean(change.blocked)}"
        yield ""

    def orphans(self) -> Iterator[str]:
        if not self.plan.orphans:
            return
        yield self.paint("Machines of this project that nothing accounts for:", "bold", "yellow")
        bearers = Counter(orphan.ref_id for orphan in self.plan.orphans)
        for orphan in self.plan.orphans:
            yield from _orphan_lines(orphan, orphan.ref_id if bearers[orphan.ref_id] == 1 else orphan.cloud_id)
        yield ""

    def notes(self) -> Iterator[str]:
        lines = list(self.note_lines())
        if lines:
            yield self.paint("Notes:", "bold")
            yield from lines
            yield ""

    def note_lines(self) -> Iterator[str]:
        notes: dict[str, list[str]] = {}
        for change in self.plan.changes:
            for note in change.notes:
                notes.setdefault(note, []).append(address_of(change))
        if self.plan.mode is not Mode.REFRESH_ONLY:
            for change in self.plan.drift:
                note = drift_note(change, self.schemas.get(change.address.kind))
                notes.setdefault(note, []).append(address_of(change))
        for note, addresses in notes.items():
            yield f"  * {some(addresses)}: {clean(note)}"
        for note in self.plan.notes:
            yield f"  * {clean(note)}"


def _nothing_to_do(mode: Mode) -> str:
    match mode:
        case Mode.DESTROY:
            return "No changes. No objects need to be destroyed."
        case Mode.REFRESH_ONLY:
            return "No changes. Your infrastructure still matches the configuration."
    return "No changes. Your infrastructure matches the configuration."


def _orphan_lines(orphan: OrphanNote, name: str) -> Iterator[str]:
    """Show an orphan and the ways out. `name` is what -reap takes: two machines of one launch share their ref_id."""
    facts = ", ".join(
        clean(fact) for fact in (orphan.ref_id, orphan.alias, orphan.instance_type, orphan.location) if fact
    )
    marked = f", marked as {clean(orphan.address)}" if orphan.address else ""
    yield f"  * {clean(orphan.cloud_id)} ({facts}): {hourly(orphan.hourly)}{marked}"
    # these are made to be pasted, and what a cloud reports must not be a command of its own
    target, reaped, cloud_id = (
        shlex.quote(clean(text)) for text in (orphan.address or "ADDRESS", name, orphan.cloud_id)
    )
    ways = [f"-reap={reaped} destroys it"] if orphan.ref_id else []
    ways.append(f"brevplan import {target} {cloud_id} keeps it")
    yield f"    {'; '.join(ways)}; -ignore-orphans goes on beside it"


# counts


def plan_line(counts: Counts) -> str:
    """Write the line that counts what a plan would do."""
    text = f"{counts.imports} to import, " if counts.imports else ""
    text += f"{counts.add} to add, {counts.change} to change, {counts.destroy} to destroy"
    extra = {"start": counts.start, "stop": counts.stop, "forget": counts.forget}
    text += "".join(f", {number} to {word}" for word, number in extra.items() if number)
    return f"Plan: {text}."


def render_counts(counts: Counts, verb: Literal["apply", "destroy"] = "apply") -> str:
    """Write the line that counts what was done."""
    if verb == "destroy":
        return f"Destroy complete! Resources: {counts.destroy} destroyed."
    text = f"{counts.imports} imported, " if counts.imports else ""
    text += f"{counts.add} added, {counts.change} changed, {counts.destroy} destroyed"
    extra = {"started": counts.start, "stopped": counts.stop, "forgotten": counts.forget}
    text += "".join(f", {number} {word}" for word, number in extra.items() if number)
    return f"Apply complete! Resources: {text}."


# outputs and state


def render_outputs(outputs: Mapping[str, Value]) -> Iterator[str]:
    """Give the lines of `name = value` for every output; a secret is `<sensitive>`."""
    for name in sorted(outputs):
        value = outputs[name]
        yield f"{name} = {'<sensitive>' if isinstance(value, Secret) else render_value(value)}"


def render_state(records: Iterable[Record], schemas: Mapping[str, Schema], *, color: bool = False) -> Iterator[str]:
    """Give the lines of recorded machines, in order of address, each as a block of configuration."""
    layout = Layout(Paint(color))
    is_first = True
    for record in sorted(records, key=lambda record: (record.address, record.role != Role.CURRENT, record.key)):
        if not is_first:
            yield ""
        is_first = False
        schema = schemas.get(record.kind)
        beside = f" (deposed {record.ref_id or record.cloud_id})" if record.role is not Role.CURRENT else ""
        yield f"# {record.address}{beside}:"
        yield from plain_lines(layout, schema, record.address, recorded_values(record, schema))


def recorded_values(record: Record, schema: Schema | None) -> dict[str, Value]:
    """Give the recorded attributes as values; what stands for a secret becomes one."""
    specs = schema.attributes if schema is not None else {}
    return {name: unseal(data, specs[name].type if name in specs else ANY) for name, data in record.attributes.items()}
