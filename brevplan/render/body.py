"""Values and their differences laid out over lines, the way Terraform lays them out.

A piece of layout is a list of lines of which the first has no indent (it goes behind `name = `) and the others are
whole. `column` is where the sign of the line that holds the value stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from brevplan.lang.printing import name_of, print_value, quote
from brevplan.lang.values import Map, Mapping_, Secret, Sequence_, Set, Unknown, Value
from brevplan.render.paint import Paint, clean

ADD: Final = "+"
REMOVE: Final = "-"
CHANGE: Final = "~"
NONE: Final = " "
SENSITIVE: Final = "(sensitive value)"
_TONES: Final = {
    ADD: "green", REMOVE: "red", CHANGE: "yellow", "▲": "cyan", "^": "cyan", "▼": "magenta", "v": "magenta",
}  # fmt: skip
_MOST_COMPARED: Final = 4_000_000
"""Pairs of elements up to which two lists are aligned; beyond that they are shown as left and entered."""


def tone(sign: str) -> str:
    return _TONES.get(sign.strip(), "yellow")


class Layout:
    """Lays out values in colour or plain."""

    def __init__(self, paint: Paint) -> None:
        self.paint = paint
        self.signs = {sign: paint(sign, tone(sign)) if sign != NONE else sign for sign in (ADD, REMOVE, CHANGE, NONE)}

    # whole values, every line of them with one sign

    def whole(self, value: Value, column: int, sign: str = NONE) -> list[str]:
        """Lay out a value that is there as a whole."""
        if isinstance(value, Sequence_) and value.items:
            lines = ["["]
            for item in value.items:
                lines += self.entry(sign, column + 4, "", self.whole(item, column + 4, sign), ",")
            return [*lines, " " * (column + 2) + "]"]
        if isinstance(value, Mapping_) and value.items:
            return self.whole_mapping(value, column, sign)
        if isinstance(value, str) and is_text(value):
            body = [" " * (column + 6) + line if line else "" for line in _lines(value)]
            return ["<<-EOT", *body, " " * (column + 2) + "EOT"]
        return [scalar(value)]

    def whole_mapping(self, value: Mapping_, column: int, sign: str) -> list[str]:
        names = {name: _key(value, name) for name, item in value.items.items() if item is not None or sign == NONE}
        width = max(map(len, names.values()), default=0)
        lines = ["{"]
        for name, shown in names.items():
            inner = self.whole(value.items[name], column + 4, sign)
            lines += self.entry(sign, column + 4, f"{shown:<{width}} = ", inner)
        return [*lines, " " * (column + 2) + "}"]

    def entry(self, sign: str, column: int, prefix: str, lines: Sequence[str], tail: str = "") -> list[str]:
        """Put a sign and a name before a piece of layout and `tail` behind it."""
        first = f"{' ' * column}{self.signs.get(sign, sign)} {prefix}{lines[0]}"
        if len(lines) == 1:
            return [first + tail]
        return [first, *lines[1:-1], lines[-1] + tail]

    # differences

    def difference(self, before: Value, after: Value, column: int) -> list[str]:
        """Lay out two values that differ as one: inner signs where both are of a kind, else an arrow."""
        if isinstance(before, Secret) or isinstance(after, Secret):
            return [SENSITIVE]
        if isinstance(before, Mapping_) and isinstance(after, Mapping_) and (before.items or after.items):
            return self.mapping_difference(before, after, column)
        if isinstance(before, Sequence_) and isinstance(after, Sequence_) and (before.items or after.items):
            return self.sequence_difference(before, after, column)
        if isinstance(before, str) and isinstance(after, str) and (is_text(before) or is_text(after)):
            return self.text_difference(before, after, column)
        return joined(self.whole(before, column, REMOVE), self.whole(after, column, ADD))

    def mapping_difference(self, before: Mapping_, after: Mapping_, column: int) -> list[str]:
        shown: list[tuple[str, str, list[str]]] = []
        hidden = 0
        for name in sorted({*before.items, *after.items}):
            label = _key(before if name in before.items else after, name)
            old, new = before.items.get(name), after.items.get(name)
            row = self.row(old, new, column + 4)
            if row is None:
                hidden += old is not None
            else:
                shown.append((row[0], label, row[1]))
        width = max((len(label) for _, label, _ in shown), default=0)
        lines = ["{"]
        for sign, label, inner in shown:
            lines += self.entry(sign, column + 4, f"{label:<{width}} = ", inner)
        return [*lines, *self.hidden(hidden, "element", column), " " * (column + 2) + "}"]

    def row(self, before: Value, after: Value, column: int) -> tuple[str, list[str]] | None:
        """Give sign and layout of a named value; None when it stays as it is."""
        if alike(before, after):
            return None
        if before is None:
            return ADD, self.whole(after, column, ADD)
        if after is None:
            return REMOVE, joined(self.whole(before, column, REMOVE), ["null"])
        return CHANGE, self.difference(before, after, column)

    def sequence_difference(self, before: Sequence_, after: Sequence_, column: int) -> list[str]:
        lines = ["["]
        hidden = 0
        for sign, old, new in self.compared(before, after):
            if sign == NONE and old is _SKIPPED:
                hidden += 1
                continue
            lines += self.hidden(hidden, "element", column)
            hidden = 0
            if sign == CHANGE:
                inner = self.difference(old, new, column + 4)  # type: ignore[arg-type]
            else:
                inner = self.whole(new if sign == ADD else old, column + 4, sign)  # type: ignore[arg-type]
            lines += self.entry(sign, column + 4, "", inner, ",")
        return [*lines, *self.hidden(hidden, "element", column), " " * (column + 2) + "]"]

    def compared(self, before: Sequence_, after: Sequence_) -> Iterator[tuple[str, object, object]]:
        """Give what happens to each element: sign, old, new. Of those that stay only the neighbours are named."""
        if isinstance(before, Set) or isinstance(after, Set):
            yield from _set_changes(before.items, after.items)
        else:
            yield from _list_changes(before.items, after.items)

    def text_difference(self, before: str, after: str, column: int) -> list[str]:
        old, new = _lines(before), _lines(after)
        lines = ["<<-EOT"]
        for operation, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if operation == "equal":
                lines += self.context(old[a:b], column, is_first=a == 0, is_last=b == len(old))
                continue
            lines += [line for text in old[a:b] for line in self.entry(REMOVE, column + 4, "", [text])]
            lines += [line for text in new[c:d] for line in self.entry(ADD, column + 4, "", [text])]
        return [*lines, " " * (column + 2) + "EOT"]

    def context(self, same: Sequence[str], column: int, *, is_first: bool, is_last: bool) -> list[str]:
        """Show the lines that stay, but not more than three beside a change."""
        head, tail = (0 if is_first else 3), (0 if is_last else 3)
        indent = " " * (column + 6)
        if len(same) <= head + tail + 2:
            return [indent + line if line else "" for line in same]
        middle = self.hidden(len(same) - head - tail, "line", column)
        kept = [indent + line if line else "" for line in same]
        return [*kept[:head], *middle, *kept[len(kept) - tail :]]

    def hidden(self, count: int, what: str, column: int, *, by: int = 6) -> list[str]:
        """Say how much is not shown, if anything."""
        if not count:
            return []
        note = f"# ({count:,} unchanged {what}{'s' if count > 1 else ''} hidden)"
        return [" " * (column + by) + self.paint(note, "dim")]


class _Skipped:
    """Stands for an element that stays and is not shown."""


_SKIPPED: Final = _Skipped()


def joined(left: list[str], right: list[str]) -> list[str]:
    """Join two pieces of layout by an arrow."""
    return [*left[:-1], f"{left[-1]} -> {right[0]}", *right[1:]]


def scalar(value: Value) -> str:
    """Write a value without parts; also empty collections."""
    if isinstance(value, str):
        return clean(quote(value))
    if isinstance(value, (Unknown, Secret)) or value is None or isinstance(value, (bool, int)):
        return print_value(value)
    return _printed_number(value) if not isinstance(value, (Sequence_, Mapping_)) else print_value(value)


@lru_cache(maxsize=1024)
def _printed_number(value: Value) -> str:
    """Write a fraction, which takes long to write, and stands in a plan as often as a price does."""
    return print_value(value)


def is_text(value: str) -> bool:
    """Tell whether a text is better read over several lines."""
    return "\n" in value.rstrip("\n")


def _lines(text: str) -> list[str]:
    lines = clean(text).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _key(holder: Mapping_, name: str) -> str:
    return clean(quote(name) if isinstance(holder, Map) else name_of(name))


def alike(left: Value, right: Value) -> bool:
    """Tell whether two values read the same, whatever kind of collection they are held in."""
    return left is right or likeness(left) == likeness(right)


def likeness(value: Value) -> Hashable:
    """Give a stand-in that is equal for values that read the same. Two unknowns never do."""
    if isinstance(value, str):
        return value
    if isinstance(value, Secret):
        return "secret", likeness(value.value)
    if isinstance(value, Sequence_):
        return "list", tuple(map(likeness, value.items))
    if isinstance(value, Mapping_):
        # an attribute that is null is one that is not set
        return "map", tuple((name, likeness(item)) for name, item in value.items.items() if item is not None)
    if isinstance(value, Unknown):
        return "unknown", id(value)
    return (isinstance(value, bool), value)


def _set_changes(before: Sequence[Value], after: Sequence[Value]) -> Iterator[tuple[str, object, object]]:
    old, new = {likeness(item): item for item in before}, {likeness(item): item for item in after}
    for key, item in old.items():
        yield (NONE, _SKIPPED, None) if key in new else (REMOVE, item, None)
    for key, item in new.items():
        if key not in old:
            yield ADD, None, item


def _list_changes(before: Sequence[Value], after: Sequence[Value]) -> Iterator[tuple[str, object, object]]:
    old, new = [likeness(item) for item in before], [likeness(item) for item in after]
    if len(old) * len(new) > _MOST_COMPARED:
        yield from _counted_changes(before, old, after, new)
        return
    for operation, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if operation == "equal":
            yield from _neighbours(before[a:b], is_first=a == 0, is_last=b == len(before) and d == len(after))
        else:
            yield from _replaced(before[a:b], after[c:d])


def _replaced(before: Sequence[Value], after: Sequence[Value]) -> Iterator[tuple[str, object, object]]:
    """Pair what has parts, so that the parts are compared; anything else leaves or enters."""
    pairs = 0
    for old, new in zip(before, after, strict=False):
        if not (isinstance(old, Mapping_) and isinstance(new, Mapping_)):
            break
        pairs += 1
        yield CHANGE, old, new
    for old in before[pairs:]:
        yield REMOVE, old, None
    for new in after[pairs:]:
        yield ADD, None, new


def _neighbours(same: Sequence[Value], *, is_first: bool, is_last: bool) -> Iterator[tuple[str, object, object]]:
    last = len(same) - 1
    for position, item in enumerate(same):
        near = (position == 0 and not is_first) or (position == last and not is_last)
        yield (NONE, item, None) if near else (NONE, _SKIPPED, None)


def _counted_changes(
    before: Sequence[Value], old: Sequence[Hashable], after: Sequence[Value], new: Sequence[Hashable]
) -> Iterator[tuple[str, object, object]]:
    wanted, had = Counter(new), Counter(old)
    for key, item in zip(old, before, strict=True):
        wanted[key] -= 1
        yield (NONE, _SKIPPED, None) if wanted[key] >= 0 else (REMOVE, item, None)
    for key, item in zip(new, after, strict=True):
        had[key] -= 1
        if had[key] < 0:
            yield ADD, None, item
