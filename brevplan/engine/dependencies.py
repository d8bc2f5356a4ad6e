"""What must be known before what: the values of all modules as one graph, so that a cycle is one of values.

A module may be fed one of its own outputs, as long as no value needs itself. A node stands for a declaration, not for
its instances: `module.a.instance.b` is one node, however often `a` and `b` are repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from brevplan.diagnostics import Diagnostics, Span
from brevplan.engine.address import Address
from brevplan.engine.config import Config, ModuleCall, OutputBlock, of_rules
from brevplan.engine.references import output_of
from brevplan.lang.prepared import Prepared, Reference

Names = tuple[str, ...]
"""The calls that lead to a module, without instance keys."""


class Sort(Enum):
    """What a node stands for."""

    RESOURCE = "resource"
    LOCAL = "local"
    VARIABLE = "var"
    RULES = "validation"
    """The validation rules of a variable: they may need what needs the variable."""
    OUTPUT = "output"
    MODULE = "module"
    """How many instances a call has."""


class Node(NamedTuple):
    path: Names
    sort: Sort
    name: str | Address

    def __str__(self) -> str:
        prefix = "".join(f"module.{name}." for name in self.path)
        return f"{prefix}{self.name}" if self.sort is Sort.RESOURCE else f"{prefix}{self.sort.value}.{self.name}"


class Dependencies:
    """The nodes of a configuration, each with those that it needs directly."""

    def __init__(self, config: Config, kinds: Iterable[str]) -> None:
        self.config, self.kinds = config, frozenset(kinds)
        self.needs: dict[Node, dict[Node, None]] = {}
        for path, module in config.modules():
            for node, needed in self._nodes(path, module):
                self.needs[node] = dict.fromkeys(needed)
        for found in self.needs.values():
            for node in [node for node in found if node not in self.needs]:
                del found[node]  # undeclared: reported where it is named

    def ordered(self, diagnostics: Diagnostics) -> tuple[list[Node], set[Node]]:
        """Give the nodes so that each comes after what it needs; and those in cycles, which are reported."""
        cyclic: set[Node] = set()
        while True:
            try:
                return list(TopologicalSorter(self.needs).static_order()), cyclic
            except CycleError as problem:
                members: list[Node] = problem.args[1][:-1]
                self._report(members, diagnostics)
                cyclic.update(members)
                for node in members:
                    for other in members:
                        self.needs[node].pop(other, None)

    def blocks_read(self) -> dict[Address, list[Address]]:
        """Give for every block the blocks that it needs, directly or through other values, as the root calls them."""
        found: dict[Node, set[Address]] = {}
        order, _ = self.ordered(Diagnostics())
        for node in order:
            found[node] = set()
            for need in self.needs[node]:
                found[node] |= {_block(need)} if need.sort is Sort.RESOURCE else found[need]
        return {_block(node): sorted(found[node]) for node in found if node.sort is Sort.RESOURCE}

    def _report(self, members: list[Node], diagnostics: Diagnostics) -> None:
        if len(members) == 1:
            node = members[0]
            hint = 'Inside of a postcondition, write "self".' if node.sort is Sort.RESOURCE else ""
            diagnostics.error("Self-reference", f"{node} refers to itself.", self._span(node), hint=hint)
            return
        first = members.index(min(members, key=str))
        ring = [*members[first:], *members[:first]]
        path = " → ".join(map(str, [ring[0], *reversed(ring)]))
        for node in sorted(members, key=str):
            diagnostics.error("Cycle", f"These need each other: {path}.", self._span(node))

    def _span(self, node: Node) -> Span:
        module = self.config.at(node.path)
        assert module is not None
        match node.name:
            case Address():
                return module.resources[node.name].span
            case name if node.sort is Sort.LOCAL:
                return module.locals[name].node.span
            case name if node.sort is Sort.OUTPUT:
                return module.outputs[name].value.node.span
            case name if node.sort is Sort.MODULE:
                return module.calls[name].span
            case name:
                return module.variables[name].span

    # the nodes of one module

    def _nodes(self, path: Names, module: Config) -> Iterator[tuple[Node, Iterator[Node]]]:
        for address in module.resources:
            yield Node(path, Sort.RESOURCE, address), self._of_resource(path, module, address)
        for name, local in module.locals.items():
            yield Node(path, Sort.LOCAL, name), self._read((local,), path)
        for name, variable in module.variables.items():
            yield Node(path, Sort.VARIABLE, name), self._of_input(path, name)
            if variable.validations:
                own = Node(path, Sort.VARIABLE, name)
                found = self._read(of_rules(variable.validations), path)
                yield Node(path, Sort.RULES, name), (node for node in (own, *found))
        for name, output in module.outputs.items():
            yield Node(path, Sort.OUTPUT, name), self._of_output(path, output)
        for name, call in module.calls.items():
            yield Node(path, Sort.MODULE, name), self._of_call(path, call)

    def _of_resource(self, path: Names, module: Config, address: Address) -> Iterator[Node]:
        declaration = module.resources[address]
        yield from self._instances(path)
        yield from self._read(declaration.prepared(), path)
        yield from self._awaited(declaration.depends_on, path)
        for depth in range(len(path)):
            outer = self.config.at(path[:depth])
            if outer is not None:
                yield from self._awaited(outer.calls[path[depth]].depends_on, path[:depth])

    def _of_input(self, path: Names, name: str) -> Iterator[Node]:
        """A variable of a module needs what its call says it is."""
        outer = self.config.at(path[:-1]) if path else None
        if outer is not None:
            yield from self._instances(path)
            prepared = outer.calls[path[-1]].inputs.get(name)
            if prepared is not None:
                yield from self._read((prepared,), path[:-1])

    def _of_output(self, path: Names, output: OutputBlock) -> Iterator[Node]:
        yield from self._instances(path)
        yield from self._read((output.value, *of_rules(output.preconditions)), path)
        yield from self._awaited(output.depends_on, path)

    def _of_call(self, path: Names, call: ModuleCall) -> Iterator[Node]:
        yield from self._instances(path)
        yield from self._read([item for item in (call.count, call.for_each) if item is not None], path)

    def _instances(self, path: Names) -> Iterator[Node]:
        """What stands in a module needs to know how many of it there are."""
        if path:
            yield Node(path[:-1], Sort.MODULE, path[-1])

    # what a reference leads to

    def _read(self, expressions: Iterable[Prepared], path: Names) -> Iterator[Node]:
        for prepared in expressions:
            for reference in prepared.references:
                yield from self._targets(reference, path)

    def _targets(self, reference: Reference, path: Names) -> Iterator[Node]:
        names = [step for step in reference.steps[:2] if isinstance(step, str)]
        match reference.root:
            case "local" if names:
                yield Node(path, Sort.LOCAL, names[0])
            case "var" if names:
                yield Node(path, Sort.VARIABLE, names[0])
            case "module" if names:
                yield from self._outputs(reference, path, names[0])
            case "data" if len(names) == 2:
                yield Node(path, Sort.RESOURCE, Address(names[0], names[1], None, True))
            case kind if kind in self.kinds and names:
                yield Node(path, Sort.RESOURCE, Address(kind, names[0]))

    def _outputs(self, reference: Reference, path: Names, name: str) -> Iterator[Node]:
        yield Node(path, Sort.MODULE, name)
        outer, inner = self.config.at(path), self.config.at((*path, name))
        if outer is None or inner is None:
            return
        one = output_of(reference, outer.calls[name])
        for output in [one] if one else inner.outputs:
            yield Node((*path, name), Sort.OUTPUT, output)

    def _awaited(self, references: Iterable[Reference], path: Names) -> Iterator[Node]:
        """What `depends_on` names; of a module, everything in it."""
        for reference in references:
            name = reference.steps[0] if reference.steps else None
            inner = self.config.at((*path, name)) if reference.root == "module" and isinstance(name, str) else None
            if inner is None or not isinstance(name, str):
                yield from self._targets(reference, path)
                continue
            yield Node(path, Sort.MODULE, name)
            for below, module in inner.modules((*path, name)):
                yield from (Node(below, Sort.RESOURCE, address) for address in module.resources)


def _block(node: Node) -> Address:
    assert isinstance(node.name, Address)
    return node.name.inside(tuple((name, None) for name in node.path))
