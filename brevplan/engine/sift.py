"""From the whole fold to what will be done: targets and exclusions, and what a blocked change takes with it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from brevplan.engine.address import Address, Target
from brevplan.engine.change import Action, Change


class Selection(Protocol):
    """The part of the options that chooses."""

    @property
    def targets(self) -> tuple[Target, ...]: ...

    @property
    def excludes(self) -> tuple[Target, ...]: ...


def sift(changes: Sequence[Change], options: Selection) -> list[Change]:
    """Give the changes in the order of their addresses, those left out turned into no-ops."""
    ordered = sorted(changes, key=lambda change: (change.address.order(), change.deposed))
    if options.targets:
        ordered = _only_targets(ordered, options.targets)
    if options.excludes:
        ordered = _without(ordered, options.excludes)
    return _spread_blocks(ordered)


def _only_targets(changes: list[Change], targets: tuple[Target, ...]) -> list[Change]:
    """Keep the targets with everything that they need."""
    index = _Index(changes)
    kept: set[int] = set()
    pending = [n for n, change in enumerate(changes) if any(target.covers(change.address) for target in targets)]
    while pending:
        position = pending.pop()
        if position in kept:
            continue
        kept.add(position)
        change = changes[position]
        if change.action is not Action.DELETE:
            pending.extend(n for read in change.reads for n in index.at(read) if n not in kept)
        if change.destroys:
            # what leaves a destroyed machine must leave it first
            pending.extend(n for n in index.readers(change.address) if changes[n].destroys and n not in kept)
    return [change if n in kept else _left_out(change) for n, change in enumerate(changes)]


def _without(changes: list[Change], excludes: tuple[Target, ...]) -> list[Change]:
    """Leave out the excluded with everything that needs them."""
    index = _Index(changes)
    out: set[int] = set()
    pending = [n for n, change in enumerate(changes) if any(item.covers(change.address) for item in excludes)]
    while pending:
        position = pending.pop()
        if position in out:
            continue
        out.add(position)
        pending.extend(n for n in index.readers(changes[position].address) if n not in out)
    return [_left_out(change) if n in out else change for n, change in enumerate(changes)]


def _left_out(change: Change) -> Change:
    if change.is_noop and not change.blocked:
        return change
    return dataclasses.replace(
        change, action=Action.NOOP, after=change.before, imports="", power=None, changed=(), finish=False, notes=(),
        blocked="", price_after=change.price_before, moved_from=None, asked=False,
    )  # fmt: skip


def _spread_blocks(changes: list[Change]) -> list[Change]:
    """Block what needs something blocked: its readers, and what a blocked destroy still reads."""
    index = _Index(changes)
    result = list(changes)
    pending = [n for n, change in enumerate(result) if change.blocked]
    while pending:
        cause = result[pending.pop()]
        for n, relation in _affected(cause, result, index):
            if not result[n].blocked and not result[n].is_noop:
                result[n] = dataclasses.replace(result[n], blocked=f"{relation} {cause.address}, which is blocked")
                pending.append(n)
    return result


def _affected(cause: Change, changes: list[Change], index: _Index) -> Iterable[tuple[int, str]]:
    if cause.action is not Action.DELETE:
        for n in index.readers(cause.address):
            if changes[n].action is not Action.DELETE:
                yield n, "it needs"
    if cause.unfinished:
        for n in index.at(cause.address):
            if changes[n].creates and changes[n].address == cause.address:
                yield n, "it comes after the end of"
    if cause.destroys:
        for read in cause.reads:
            for n in index.at(read):
                if changes[n].destroys and not changes[n].deposed:  # who reads an address reads its current machine
                    yield n, "it is needed by"


class _Index:
    """Which changes stand at an address, and which read it."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._at: dict[Address, list[int]] = defaultdict(list)
        self._readers: dict[Address, list[int]] = defaultdict(list)
        for position, change in enumerate(changes):
            self._at[change.address].append(position)
            if change.address.key is not None:
                self._at[change.address.block].append(position)
            for read in change.reads:
                self._readers[read].append(position)

    def at(self, address: Address) -> list[int]:
        return self._at.get(address, [])

    def readers(self, address: Address) -> list[int]:
        found = list(self._readers.get(address, ()))
        if address.key is not None:
            found.extend(self._readers.get(address.block, ()))
        return found
