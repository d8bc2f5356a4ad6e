"""From a finished plan to steps and their order. Steps are the nodes: a replace is two of them.

A create or update comes after what it reads. A destroy comes before what it read is destroyed, and after every step
by which a recorded reader leaves it. What an earlier run began to destroy is gone before its address is made anew.
A block read as a whole gets one joining node instead of an edge a pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change

if TYPE_CHECKING:
    import networkx as nx


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    ADOPT = "adopt"
    MOVE = "move"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `deposes` says that the create must first set the address's present machine aside."""

    step_id: str
    verb: Verb
    change: Change
    deposes: bool = False

    @property
    def address(self) -> Address:
        return self.change.address


@dataclass(slots=True)
class StepGraph:
    """`after[x]` are the nodes that come after x; `waits[x]` counts those that x waits for. Joints have no step."""

    steps: dict[str, Step] = field(default_factory=dict)
    after: dict[str, list[str]] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)


class PlanCycle(Exception):
    """The steps wait for each other: these, in a ring."""

    def __init__(self, ring: list[str]) -> None:
        super().__init__(" → ".join(ring))
        self.ring = ring


def build(changes: Iterable[Change], recorded: Mapping[Address, Iterable[Address]]) -> StepGraph:
    """Build the steps of the effective changes. `recorded` gives what each recorded instance read when it was made."""
    changes = list(changes)
    if not changes:
        return StepGraph()
    return _Builder(changes, recorded).build()


def verb_of(change: Change) -> Verb:
    """Give the verb of the step that makes or changes an address's current machine."""
    if change.creates:
        return Verb.CREATE
    if change.is_only_power and change.power is not None:
        return Verb(change.power.value)
    if change.action is Action.NOOP:
        return Verb.ADOPT if change.imports else Verb.MOVE
    if change.action is Action.FORGET:
        return Verb.FORGET
    return Verb.UPDATE


def step_ids(change: Change) -> list[str]:
    """Give the names of the steps that carry a change out, the same in every run of its plan."""
    if change.action is Action.DELETE:
        # several machines may bear one ref_id: only their own ids tell them apart
        beside = f" {change.deposed} {change.cloud_id}" if change.deposed else ""
        return [f"destroy {change.address}{beside}"]
    made = [f"{verb_of(change).value} {change.address}"]
    return [*made, f"destroy {change.address}"] if change.is_replace else made


class _Builder:
    def __init__(self, changes: list[Change], recorded: Mapping[Address, Iterable[Address]]) -> None:
        import networkx as nx  # costs 95 ms, and a plan without changes has no steps

        self.changes = changes
        self.recorded = recorded
        self.graph: nx.DiGraph[str] = nx.DiGraph()
        self.steps: dict[str, Step] = {}
        self.makers: dict[Address, str] = {}
        self.enders: dict[Address, str] = {}
        self.members: dict[Address, list[Address]] = defaultdict(list)
        self.wishes: list[tuple[str, str]] = []
        """Orders that are kept where they can be."""

    def build(self) -> StepGraph:
        for change in self.changes:
            self.add_steps(change)
        for change in self.changes:
            if change.address in self.makers and change.action is not Action.DELETE:
                self.order_after_reads(change)
        for change in self.changes:
            if not change.deposed:
                self.order_destroys(change)
            elif change.unfinished and change.address in self.makers:
                self.edge(step_ids(change)[0], self.makers[change.address])
        self.grant_wishes()
        return self.finish()

    def grant_wishes(self) -> None:
        """Let readers leave what is destroyed before it goes, wherever that does not make steps wait in a ring."""
        import networkx as nx  # paid for already

        self.graph.add_edges_from(wish for wish in self.wishes if wish[0] != wish[1])
        if nx.is_directed_acyclic_graph(self.graph):
            return
        self.graph.remove_edges_from(self.wishes)
        for before, after in self.wishes:
            if before != after and not nx.has_path(self.graph, after, before):
                self.graph.add_edge(before, after)

    def add_steps(self, change: Change) -> None:
        address = change.address
        if change.only_follows:
            return  # done at the end, when everybody is there
        if change.follows:
            change = replace(change, changed=tuple(name for name in change.changed if name not in change.follows))
        if address.key is not None:
            self.members[address.block].append(address)
        else:
            self.members[address].append(address)
        names = step_ids(change)
        if change.action is Action.DELETE:
            name = names[0]
            self.add(Step(name, Verb.DESTROY, change))
            if not change.deposed:
                self.enders[address] = name
            return
        verb = verb_of(change)
        first = change.action is Action.REPLACE_CREATE_FIRST
        maker = self.add(Step(names[0], verb, change, deposes=first))
        self.makers[address] = maker
        if change.is_replace:
            ender = self.add(Step(names[1], Verb.DESTROY, change))
            self.enders[address] = ender
            self.edge(*((maker, ender) if first else (ender, maker)))

    def add(self, step: Step) -> str:
        self.steps[step.step_id] = step
        self.graph.add_node(step.step_id)
        return step.step_id

    def edge(self, before: str, after: str) -> None:
        if before != after:
            self.graph.add_edge(before, after)

    def order_after_reads(self, change: Change) -> None:
        me = self.makers[change.address]
        for read in change.reads:
            if read in self.makers:
                self.edge(self.makers[read], me)
            elif read.key is None and read in self.members:
                joint = f"all of {read}"
                if joint not in self.graph:
                    self.graph.add_node(joint)
                    for member in self.members[read]:
                        if member in self.makers:
                            self.edge(self.makers[member], joint)
                self.edge(joint, me)

    def order_destroys(self, change: Change) -> None:
        """Let this reader leave what it was recorded to read, before that is destroyed."""
        address = change.address
        left = self.enders.get(address) if change.action is not Action.REPLACE_CREATE_FIRST else None
        moved = self.makers.get(address)
        for read in self.recorded.get(address, ()):
            for target in self.targets(read):
                ender = self.enders.get(target)
                if ender is None or target == address:
                    continue
                if left is not None:
                    self.edge(left, ender)
                elif address in self.enders:
                    self.edge(self.enders[address], ender)
                # a reader that is only updated needs the new machine, and that one waits for the old one's end
                if moved is not None and not self.is_destroyed_first(target):
                    self.wishes.append((moved, ender))

    def targets(self, read: Address) -> list[Address]:
        return [read] if read in self.enders else (self.members.get(read, []) if read.key is None else [])

    def is_destroyed_first(self, address: Address) -> bool:
        step = self.steps[self.enders[address]]
        return step.change.action is Action.REPLACE

    def finish(self) -> StepGraph:
        import networkx as nx

        if not nx.is_directed_acyclic_graph(self.graph):
            ring = [edge[0] for edge in nx.find_cycle(self.graph)]
            raise PlanCycle([*ring, ring[0]])
        after = {node: sorted(self.graph.successors(node)) for node in self.graph}
        waits = {node: self.graph.in_degree(node) for node in self.graph}
        return StepGraph(self.steps, after, waits)
