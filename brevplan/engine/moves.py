"""`moved` and `removed`: what an address was called before, and what is let go without an end.

A statement speaks for every instance of the module that holds it. Where neither side of a step names a key, the keys
are carried over; where one does, exactly that instance moves. Beside what is written, a block that gets a `count` or
loses it keeps its first machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from brevplan.diagnostics import Diagnostics, Source, Span
from brevplan.engine.address import Address, InstanceKey, ModuleAddress, ModulePath, Target, path_names
from brevplan.engine.config import Config
from brevplan.engine.expand import mode_of
from brevplan.engine.kind import Kind
from brevplan.engine.ports import Intent, Record, Role, state_key


@dataclass(frozen=True, slots=True)
class Move:
    """One `moved` block with the module that holds it."""

    path: tuple[str, ...]
    source: Target
    target: Target
    span: Span


@dataclass(frozen=True, slots=True)
class Relocated:
    """Rows and intents under their new addresses."""

    records: list[Record]
    intents: list[Intent]
    moved: dict[Address, Address]
    """The old address of each current row that has a new one."""
    rewritten: list[tuple[str, Record]]
    """The rows that differ from what is stored, each with the key that it has there."""


class Moves:
    """All moves that a configuration speaks of."""

    def __init__(self, config: Config, kinds: Mapping[str, Kind]) -> None:
        self.config, self.kinds = config, kinds
        written = (
            Move(path, item.source, item.target, item.span)
            for path, module in config.modules()
            for item in module.moved
        )
        # what is said of one instance goes before what is said of all, in whatever order they are written
        self.written = sorted(written, key=_width)

    def forward(self, address: Address) -> Address:
        """Give the address that something is to have from now on."""
        return self._way(address)[-1]

    def _way(self, address: Address) -> list[Address]:
        """Give an address with all that it becomes one after the other."""
        way = self._told(address)
        implied = self._implied(way[-1])
        return way if implied in way else [*way, implied]

    def _told(self, address: Address) -> list[Address]:
        """Give the part of the way that statements say; each statement is followed once.

        What moves a module into itself would else have no end.
        """
        way, followed = [address], set[int]()
        while True:
            ahead = ((number, _step(move, move.source, move.target, way[-1])) for number, move in self._not(followed))
            found = next(((number, new) for number, new in ahead if new is not None and new not in way), None)
            if found is None:
                return way
            followed.add(found[0])
            way.append(found[1])

    def comes_back(self, move: Move) -> bool:
        """Tell whether what moves by a statement comes to its old name again."""
        assert isinstance(move.source, Address)
        start = move.source.inside((*((name, None) for name in move.path), *move.source.module))
        return any(start in self._ahead(address) for address in self._way(start)[1:])

    def former(self, address: Address) -> list[Address]:
        """Give the addresses that something may have had before, the nearest first."""
        found: list[Address] = []
        pending = [(address, frozenset[int]())]
        while pending:
            now, followed = pending.pop(0)
            earlier = [(self._swapped(now), followed)]
            for number, move in self._not(followed):
                earlier.append((_step(move, move.target, move.source, now), followed | {number}))
            for old, so_far in earlier:
                if old is not None and old != address and old not in found:
                    found.append(old)
                    pending.append((old, so_far))
        return found

    def _not(self, followed: Collection[int]) -> Iterator[tuple[int, Move]]:
        """Give the statements that are still to be followed, by their numbers."""
        return (item for item in enumerate(self.written) if item[0] not in followed)

    def source_of(self, address: Address) -> Move | None:
        """Find the statement that says that nothing has this address any more."""
        for move in self.written:
            new = _step(move, move.source, move.target, address)
            if new is not None and new != address:
                return move
        return None

    def relocate(
        self, records: Sequence[Record], intents: Sequence[Intent], workspace: str, diagnostics: Diagnostics
    ) -> Relocated:
        """Put what is recorded under its new addresses; two things at one address stay where they are."""
        current = [record for record in records if record.role is Role.CURRENT]
        ways = {record.address: self._way(record.address) for record in current}
        taken = {address for address, way in ways.items() if len(way) == 1}
        moved: dict[Address, Address] = {}
        for old in sorted(ways.keys() - taken, key=lambda address: self._rank(ways[address])):
            new = ways[old][-1]
            if new in taken:
                diagnostics.warning(
                    "Move is not possible",
                    f"{old} would become {new}, and there is something of that name: it keeps its own.",
                    self._span(old),
                )
                continue
            taken.add(new)
            moved[new] = old
        names = {old: new for new, old in moved.items()}
        texts = {str(old): str(new) for old, new in names.items()}
        renamed = [self._renamed(record, names, texts) for record in records]
        return Relocated(
            renamed,
            [self._attempt(intent, texts) if intent.workspace == workspace else intent for intent in intents],
            moved,
            [(old.key, new) for old, new in zip(records, renamed, strict=True) if old is not new],
        )

    def _attempt(self, intent: Intent, texts: Mapping[str, str]) -> Intent:
        address = self.forward(intent.address)
        request = self._attributes(intent.address.kind, intent.request, texts)
        return replace(intent, address=address, request=request, reads=self._reads(intent.reads))

    def _reads(self, reads: tuple[str, ...]) -> tuple[str, ...]:
        if not self.written or not reads:
            return reads
        return tuple(str(self._read(Address.parse(text))) for text in reads)

    def _attributes(self, kind: str, attributes: Mapping[str, Any], texts: Mapping[str, str]) -> Mapping[str, Any]:
        found = self.kinds.get(kind) if texts else None
        return found.renamed(attributes, texts) if found is not None else attributes

    def _renamed(self, record: Record, names: Mapping[Address, Address], texts: Mapping[str, str]) -> Record:
        address = names.get(record.address)
        if address is None:
            stays = record.role is Role.CURRENT
            address = record.address if stays else self.forward(record.address)
        reads = self._reads(record.reads)
        attributes = self._attributes(record.kind, record.attributes, texts)
        if address == record.address and reads == record.reads and attributes is record.attributes:
            return record
        lives_here = record.key == state_key(record.workspace, record.address)
        key = state_key(record.workspace, address) if lives_here else record.key
        return replace(record, key=key, address=address, reads=reads, attributes=attributes)

    def _read(self, address: Address) -> Address:
        """Follow the name of what was read: without a key it may be a whole block, which a count does not rename."""
        way = self._told(address) if address.key is None else self._way(address)
        return way[-1]

    def _span(self, address: Address) -> Span | None:
        move = self.source_of(address)
        return move.span if move is not None else None

    def _rank(self, way: list[Address]) -> tuple[bool, int, Address]:
        """Say who comes first of two that would get the same name: who was told to, and who has the shorter way."""
        is_told = self.source_of(way[0]) is not None
        return not is_told, len(way), way[0]

    def _ahead(self, address: Address) -> Iterator[Address]:
        for move in self.written:
            found = _step(move, move.source, move.target, address)
            if found is not None:
                yield found

    def _implied(self, address: Address) -> Address:
        """Follow a block, or a module call, that got a `count` or lost it."""
        return self._rekeyed(address, {("single", 0): None, ("count", None): 0})

    def _swapped(self, address: Address) -> Address | None:
        found = self._rekeyed(address, {("count", 0): None, ("single", None): 0})
        return found if found != address else None

    def _rekeyed(self, address: Address, keys: dict[tuple[str, InstanceKey], InstanceKey]) -> Address:
        path: list[tuple[str, InstanceKey]] = []
        module: Config | None = self.config
        for name, key in address.module:
            call = module.calls.get(name) if module is not None else None
            path.append((name, keys.get((mode_of(call), key), key) if call is not None else key))
            module = module.children.get(name) if module is not None else None
        declaration = module.resources.get(address.declared) if module is not None else None
        key = address.key
        if declaration is not None:
            key = keys.get((mode_of(declaration), key), key)
        if key == address.key and tuple(path) == address.module:
            return address
        return Address(address.kind, address.name, key, address.is_data, tuple(path))


class OneMove(Moves):
    """A single move that a person asks for: made once, with nothing implied beside it."""

    def __init__(self, source: Target, target: Target, kinds: Mapping[str, Kind]) -> None:
        self.config, self.kinds = Config(), kinds
        self.written = [Move((), source, target, Span(Source("state mv", f"{source} {target}"), 0, 0))]

    def touches(self, address: Address) -> bool:
        """Tell whether something of this address gets another one."""
        return len(self._way(address)) > 1

    def _way(self, address: Address) -> list[Address]:
        found = next(self._ahead(address), address)
        return [address] if found == address else [address, found]


def _width(move: Move) -> tuple[bool, int, int, bool]:
    """Say how much a statement is about: the less, the earlier it counts."""
    source = move.source
    keys = sum(key is not None for _, key in source.module)
    own = isinstance(source, Address) and source.key is not None
    return isinstance(source, ModuleAddress), -len(move.path) - len(source.module), -keys, not own


def check_moves(moves: Moves, diagnostics: Diagnostics) -> None:
    """Report statements that contradict each other."""
    for name, ends in (("from", [m.source for m in moves.written]), ("to", [m.target for m in moves.written])):
        first: dict[tuple[tuple[str, ...], Target], Move] = {}
        for move, end in zip(moves.written, ends, strict=True):
            other = first.setdefault((move.path, end), move)
            if other is not move:
                what = "can go to one place only" if name == "from" else "can take one name only"
                where, place = (move, other.span) if str(move.span) > str(other.span) else (other, move.span)
                diagnostics.error(
                    "Ambiguous move", f'"{name} = {end}" stands at {place} too: each thing {what}.', where.span
                )
    for move in moves.written:
        if isinstance(move.source, Address) and moves.comes_back(move):
            diagnostics.error(
                "Moves in a circle", f"{move.source} becomes {move.target}, and is called {move.source} in the end.",
                move.span, hint="Give one of them a name that nothing had.",
            )  # fmt: skip


class Removals:
    """What `removed` blocks say of machines whose block is gone."""

    def __init__(self, config: Config) -> None:
        self._written = [
            (path, item.source, item.destroys) for path, module in config.modules() for item in module.removed
        ]

    def forgets(self, address: Address) -> bool:
        """Tell whether something undeclared is to be let go, and not ended."""
        for path, source, destroys in self._written:
            depth = len(path)
            if destroys or path_names(address.module[:depth]) != path:
                continue
            if _is_of(source, replace(address, module=address.module[depth:])):
                return True
        return False


def check_removals(config: Config, diagnostics: Diagnostics) -> None:
    """Report what is said to be removed, and still stands in the configuration."""
    for _, module in config.modules():
        for item in module.removed:
            names = path_names(item.source.module)
            inner = module.at(names)
            if isinstance(item.source, ModuleAddress):
                holder = module.at(names[:-1])
                still = holder is not None and names[-1] in holder.calls
            else:
                still = inner is not None and item.source.declared in inner.resources
            if still:
                diagnostics.error(
                    "Removed object still exists",
                    f"{item.source} is declared, and a removed block says that it is not.",
                    item.span,
                    hint="Take one of the two out.",
                )


def _is_of(source: Target, address: Address) -> bool:
    names = path_names(source.module)
    if isinstance(source, ModuleAddress):
        return path_names(address.module[: len(names)]) == names
    return path_names(address.module) == names and (source.kind, source.name) == (address.kind, address.name)


def _step(move: Move, source: Target, target: Target, address: Address) -> Address | None:
    """Apply one statement to an address; None when it says nothing about it."""
    depth = len(move.path)
    if path_names(address.module[:depth]) != move.path:
        return None
    base, relative = address.module[:depth], address.module[depth:]
    if isinstance(source, ModuleAddress):
        size = len(source.module)
        prefix = _path_step(source.module, target.module, relative[:size])
        return address.inside((*base, *prefix, *relative[size:])) if prefix is not None else None
    assert isinstance(target, Address), "a resource moves to a resource"
    path = _path_step(source.module, target.module, relative)
    if path is None or address.is_data or (address.kind, address.name) != (source.kind, source.name):
        return None
    if source.key is None and target.key is None:
        key = address.key
    elif address.key == source.key:
        key = target.key
    else:
        return None
    return Address(target.kind, target.name, key, False, (*base, *path))


def _path_step(source: ModulePath, target: ModulePath, path: ModulePath) -> ModulePath | None:
    """Give the new path; keys that neither side names are carried over."""
    if len(path) != len(source):
        return None
    found = list(target)
    for position, ((name, key), (given, given_key)) in enumerate(zip(source, path, strict=True)):
        if name != given:
            return None
        if key is None and position < len(target) and target[position][1] is None:
            found[position] = (target[position][0], given_key)
        elif key != given_key:
            return None
    return tuple(found)


def still_declared(moves: Moves, addresses: Iterable[Address], diagnostics: Diagnostics) -> None:
    """Report what has moved away, and is declared all the same."""
    if not moves.written:
        return
    for address in addresses:
        move = moves.source_of(address)
        if move is not None:
            diagnostics.error(
                "Moved object still exists",
                f"{address} is declared, and a moved block says that it is called otherwise now.",
                move.span,
                hint="Rename the block, or take the moved block out.",
            )
