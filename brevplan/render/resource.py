"""The body of one resource: `resource "instance" "web" { … }` with the attributes that matter.

Takes what was and what will be, and which names differ; the heading above it belongs to `brevplan.render.text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from brevplan.engine.address import Address
from brevplan.engine.kind import AttributeSpec, Schema
from brevplan.lang.printing import quote
from brevplan.lang.values import Mapping_, Object, Secret, Sequence_, Value
from brevplan.render.body import ADD, CHANGE, NONE, REMOVE, SENSITIVE, Layout, alike, joined, likeness
from brevplan.render.leaves import mark_sensitive
from brevplan.render.paint import clean

_IDENTITY: Final = frozenset({"id", "name"})
"""Shown also when they stay, so that a reader knows which thing this is."""

_EMPTY: Final[Mapping[str, Value]] = {}


@dataclass(frozen=True, slots=True)
class Body:
    """What is to be shown. With `differing` None everything is, each line with `sign` where that is one of a whole."""

    sign: str
    before: Mapping[str, Value] | None
    after: Mapping[str, Value] | None
    differing: frozenset[str] | None = None
    forcing: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    sign: str
    name: str
    lines: list[str]


def resource_lines(layout: Layout, schema: Schema | None, address: Address, body: Body) -> Iterator[str]:
    """Lay out a resource from its opening line to its closing brace."""
    word = "data" if address.is_data else "resource"
    opening = f"{word} {quote(address.kind)} {quote(address.name)} {{"
    yield f"{_sign(layout, body.sign)} {opening}" if body.sign != NONE else f"    {opening}"
    yield from _Resource(layout, schema or Schema({}), body).lines(6)
    yield "    }"


def plain_lines(
    layout: Layout, schema: Schema | None, address: Address, attributes: Mapping[str, Value]
) -> Iterator[str]:
    """Lay out a resource as it is, at the margin."""
    word = "data" if address.is_data else "resource"
    yield f"{word} {quote(address.kind)} {quote(address.name)} {{"
    yield from _Resource(layout, schema or Schema({}), Body(NONE, attributes, attributes)).lines(2)
    yield "}"


def _sign(layout: Layout, sign: str) -> str:
    """Write a sign right-aligned in three columns: `  +`, `-/+`."""
    known = {"-/+": f"{layout.signs[REMOVE]}/{layout.signs[ADD]}", "+/-": f"{layout.signs[ADD]}/{layout.signs[REMOVE]}"}
    return known.get(sign) or "  " + layout.signs.get(sign, layout.paint(sign, "cyan" if sign in "▲^" else "magenta"))


class _Resource:
    def __init__(self, layout: Layout, schema: Schema, body: Body) -> None:
        self.layout, self.body = layout, body
        self.before = mark_sensitive(body.before or _EMPTY, schema.attributes)
        self.after = mark_sensitive(body.after or _EMPTY, schema.attributes)
        present = {*self.before, *self.after}
        self.blocks = [name for name in schema.blocks if name in present]
        self.schema = schema
        self.names = sorted(present.difference(self.blocks))

    def lines(self, column: int) -> Iterator[str]:
        rows, hidden = self.rows(column)
        width = max((len(row.name) for row in rows), default=0)
        for row in rows:
            yield from self.layout.entry(row.sign, column, f"{clean(row.name):<{width}} = ", self.annotated(row))
        yield from self.layout.hidden(hidden, "attribute", column, by=2)
        left = 0
        for name in self.blocks:
            blocks, same = self.block_lines(name, column)
            left += same
            if blocks:
                yield ""
                yield from blocks
        if left:
            yield ""
            yield from self.layout.hidden(left, "block", column, by=2)

    def rows(self, column: int) -> tuple[list[_Row], int]:
        """Give the rows to be shown, and how many attributes stay unshown."""
        rows: list[_Row] = []
        hidden = 0
        for name in self.names:
            row = self.row(name, column)
            if row is not None:
                rows.append(row)
            elif self.before.get(name) is not None:
                hidden += 1
        return rows, hidden

    def row(self, name: str, column: int) -> _Row | None:
        old, new = self.before.get(name), self.after.get(name)
        body, layout = self.body, self.layout
        if body.differing is None:
            value = new if new is not None else old
            if value is None or (body.sign == ADD and _says_nothing(value)):
                return None
            lines = layout.whole(value, column, body.sign)
            return _Row(body.sign, name, joined(lines, ["null"]) if body.sign == REMOVE else lines)
        if name in body.differing or name in body.forcing:
            return self.differing_row(name, old, new, column)
        if name in _IDENTITY and old is not None:
            return _Row(NONE, name, layout.whole(old, column))
        return None

    def differing_row(self, name: str, old: Value, new: Value, column: int) -> _Row | None:
        layout = self.layout
        # both are hidden: that they differ was found where they can be compared
        if isinstance(old, Secret) and isinstance(new, Secret):
            return _Row(CHANGE, name, [SENSITIVE])
        found = layout.row(old, new, column)
        if found is not None:
            return _Row(found[0], name, found[1])
        return _Row(CHANGE, name, layout.whole(old, column)) if old is not None else None

    def annotated(self, row: _Row) -> Sequence[str]:
        """Put `# forces replacement` and the reason behind the first line of a row."""
        words = []
        if row.name in self.body.forcing:
            words.append(self.layout.paint("forces replacement", "red"))
        if self.body.reasons.get(row.name):
            words.append(f"({clean(self.body.reasons[row.name])})")
        if not words:
            return row.lines
        return [f"{row.lines[0]} # {' '.join(words)}", *row.lines[1:]]

    # nested blocks

    def block_lines(self, name: str, column: int) -> tuple[list[str], int]:
        """Lay out the blocks of one name; also give how many stay and are not shown."""
        specs = self.schema.blocks[name].attributes
        old, new = _blocks(self.before.get(name), specs), _blocks(self.after.get(name), specs)
        if self.body.differing is None:
            whole = new or old
            return [line for block in whole for line in self.block(name, self.body.sign, block, block, column)], 0
        lines: list[str] = []
        hidden = 0
        for sign, was, becomes in _paired(old, new):
            if sign == NONE:
                hidden += 1
            else:
                lines += self.block(name, sign, was, becomes, column)
        return lines, hidden

    def block(self, name: str, sign: str, old: Object, new: Object, column: int) -> list[str]:
        before = old.items if sign != ADD else _EMPTY
        after = new.items if sign != REMOVE else _EMPTY
        differing = frozenset((*before, *after)) if sign == CHANGE else None
        inner = _Resource(self.layout, Schema({}), Body(sign, before, after, differing))
        lines = inner.block_rows(column + 4)
        mark = self.layout.signs[sign]
        return [f"{' ' * column}{mark} {name} {{", *lines, " " * (column + 2) + "}"]

    def block_rows(self, column: int) -> list[str]:
        if self.body.differing is None:
            return list(self.lines(column))
        before, after = self.before, self.after
        shown = frozenset(name for name in self.body.differing if not alike(before.get(name), after.get(name)))
        body = Body(self.body.sign, before, after, shown)
        return list(_Resource(self.layout, self.schema, body).lines(column))


def _says_nothing(value: Value) -> bool:
    """Tell whether a new resource is described as well without this value: it is empty."""
    return value == "" or (isinstance(value, (Mapping_, Sequence_)) and not len(value))


def _blocks(value: Value, specs: Mapping[str, AttributeSpec]) -> list[Object]:
    items = value.items if isinstance(value, Sequence_) else (value,)
    return [Object(mark_sensitive(item.items, specs)) for item in items if isinstance(item, Mapping_)]


def _paired(old: Sequence[Object], new: Sequence[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Match blocks that stay first, then the others by their order."""
    here = [likeness(item) for item in old]
    left, entered = list(range(len(old))), []
    for item in new:
        key = likeness(item)
        found = next((position for position in left if here[position] == key), None)
        if found is None:
            entered.append(item)
        else:
            left.remove(found)
            yield NONE, old[found], item
    leaving = [old[position] for position in left]
    for was, becomes in zip(leaving, entered, strict=False):
        yield CHANGE, was, becomes
    for was in leaving[len(entered) :]:
        yield REMOVE, was, was
    for becomes in entered[len(leaving) :]:
        yield ADD, becomes, becomes
