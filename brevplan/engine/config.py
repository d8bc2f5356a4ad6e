"""What is declared: the blocks of a configuration as values, their expressions prepared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from brevplan.diagnostics import Source, Span
from brevplan.engine.address import Address
from brevplan.engine.kind import BlockSpec
from brevplan.lang.prepared import Prepared, Reference
from brevplan.lang.types import Type
from brevplan.lang.values import Value


@dataclass(frozen=True, slots=True)
class ProviderRef:
    """`lambda` or `shadeform.burst`, as written at a resource."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Settings:
    """The `brevplan` block."""

    project: str = ""
    required_version: str = ""
    default_provider: ProviderRef | None = None
    backend_path: str = "brevplan.db"
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class ProviderBlock:
    """`provider "name" { alias = … }`; `key` is `name` or `name.alias`."""

    key: str
    name: str
    arguments: Mapping[str, Prepared]
    span: Span


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule of `validation`, `precondition` or `postcondition`."""

    condition: Prepared
    message: Prepared
    span: Span


@dataclass(frozen=True, slots=True)
class VariableBlock:
    name: str
    type: Type
    has_type: bool
    default: Value
    has_default: bool
    sensitive: bool
    nullable: bool
    description: str
    validations: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class OutputBlock:
    name: str
    value: Prepared
    description: str
    sensitive: bool
    depends_on: tuple[Reference, ...]
    preconditions: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Lifecycle:
    create_before_destroy: Prepared | None = None
    prevent_destroy: Prepared | None = None
    ignore_changes: Prepared | None = None
    ignored: frozenset[str] = frozenset()
    ignored_keys: tuple[tuple[str, str], ...] = ()
    """`tags["owner"]` is ("tags", "owner"): one element of a map."""
    ignores_all: bool = False
    replace_triggered_by: tuple[Prepared, ...] = ()
    preconditions: tuple[Condition, ...] = ()
    postconditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class NestedBlock:
    """One block inside a resource; with `for_each` it is a `dynamic` one, repeated for every element."""

    spec: BlockSpec
    arguments: Mapping[str, Prepared]
    span: Span
    for_each: Prepared | None = None
    iterator: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One `resource` or `data` block."""

    address: Address
    arguments: Mapping[str, Prepared]
    blocks: tuple[NestedBlock, ...]
    span: Span
    count: Prepared | None = None
    for_each: Prepared | None = None
    depends_on: tuple[Reference, ...] = ()
    provider: ProviderRef | None = None
    lifecycle: Lifecycle = Lifecycle()
    timeouts: Mapping[str, float] = field(default_factory=dict)
    argument_spans: Mapping[str, Span] = field(default_factory=dict)
    varies: bool = False
    """Something in the block depends on `each` or `count`; else one evaluation serves all instances."""
    varying: tuple[str, ...] = ()
    """The arguments that do, as written."""

    def span_of(self, attribute: str) -> Span:
        """Give the place of an argument, or of the nth block of a name written `ingress[1]`; else of the block."""
        name, bracket, rest = attribute.partition("[")
        if bracket:
            mine = [block for block in self.blocks if block.spec.name == name]
            position = int(rest.rstrip("]"))
            return mine[min(position, len(mine) - 1)].span if mine else self.span
        return self.argument_spans.get(attribute, self.span)

    def prepared(self) -> Iterator[Prepared]:
        """Give every expression of the block."""
        yield from self.arguments.values()
        for block in self.blocks:
            yield from block.arguments.values()
            if block.for_each is not None:
                yield block.for_each
        life = self.lifecycle
        for single in (
            self.count, self.for_each, life.create_before_destroy, life.prevent_destroy, life.ignore_changes
        ):  # fmt: skip
            if single is not None:
                yield single
        yield from life.replace_triggered_by
        for rule in (*life.preconditions, *life.postconditions):
            yield rule.condition
            yield rule.message


@dataclass(slots=True)
class Config:
    settings: Settings = field(default_factory=Settings)
    providers: dict[str, ProviderBlock] = field(default_factory=dict)
    variables: dict[str, VariableBlock] = field(default_factory=dict)
    locals: dict[str, Prepared] = field(default_factory=dict)
    resources: dict[Address, Declaration] = field(default_factory=dict)
    outputs: dict[str, OutputBlock] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)

    def expressions(self) -> Iterator[tuple[Prepared, Declaration | None]]:
        for provider in self.providers.values():
            for prepared in provider.arguments.values():
                yield prepared, None
        for local in self.locals.values():
            yield local, None
        for declaration in self.resources.values():
            for prepared in declaration.prepared():
                yield prepared, declaration
        for output in self.outputs.values():
            yield output.value, None
            for rule in output.preconditions:
                yield rule.condition, None
                yield rule.message, None
        for variable in self.variables.values():
            for rule in variable.validations:
                yield rule.condition, None
                yield rule.message, None


def blocks_read(config: Config, declaration: Declaration, kinds: Iterable[str]) -> set[Address]:
    """Give the blocks that a block refers to, directly or through locals; itself too when it does that."""
    references = [reference for prepared in declaration.prepared() for reference in prepared.references]
    return _blocks_of(config, [*references, *declaration.depends_on], frozenset(kinds), set())


def _blocks_of(config: Config, references: list[Reference], kinds: frozenset[str], seen: set[str]) -> set[Address]:
    found: set[Address] = set()
    for reference in references:
        names = [step for step in reference.steps[:2] if isinstance(step, str)]
        if reference.root == "local" and names and names[0] in config.locals and names[0] not in seen:
            seen.add(names[0])
            found |= _blocks_of(config, list(config.locals[names[0]].references), kinds, seen)
        elif reference.root == "data" and len(names) == 2:
            found.add(Address(names[0], names[1], None, True))
        elif reference.root in kinds and names:
            found.add(Address(reference.root, names[0]))
    return found & config.resources.keys()
