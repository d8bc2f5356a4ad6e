"""What is declared: the blocks of a configuration as values, their expressions prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from brevplan.diagnostics import Span
from brevplan.engine.address import Address, Target
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
    ephemeral: bool
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
    ephemeral: bool
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
    check: str = ""
    """The `check` block that a data source stands in; nothing else may refer to it, and its failure is a warning."""

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
        yield from of_rules((*life.preconditions, *life.postconditions))


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """`module "name" { source = … }`: another folder's declarations, with inputs of its own."""

    name: str
    source: str
    inputs: Mapping[str, Prepared]
    span: Span
    count: Prepared | None = None
    for_each: Prepared | None = None
    depends_on: tuple[Reference, ...] = ()
    providers: Mapping[str, ProviderRef] = field(default_factory=dict)
    """Provider keys as the module calls them, with what they are called here."""
    source_span: Span | None = None
    argument_spans: Mapping[str, Span] = field(default_factory=dict)

    def prepared(self) -> Iterator[Prepared]:
        """Give every expression of the block."""
        yield from self.inputs.values()
        for single in (self.count, self.for_each):
            if single is not None:
                yield single


@dataclass(frozen=True, slots=True)
class MovedBlock:
    """`moved { from = …  to = … }`, in the words of the module that holds it."""

    source: Target
    target: Target
    span: Span


@dataclass(frozen=True, slots=True)
class ImportBlock:
    """`import { to = instance.a  id = "…" }`; `to` is the block, without the keys on the way to it and of its own."""

    to: Address
    path_keys: tuple[Prepared | None, ...]
    """The keys of the modules in `to`, None where there is none."""
    key: Prepared | None
    cloud_id: Prepared
    for_each: Prepared | None
    provider: ProviderRef | None
    span: Span

    def prepared(self) -> Iterator[Prepared]:
        for single in (*self.path_keys, self.key, self.cloud_id, self.for_each):
            if single is not None:
                yield single


@dataclass(frozen=True, slots=True)
class RemovedBlock:
    """`removed { from = … }`: the block is gone; without `destroys`, its machines are let go and stay."""

    source: Target
    destroys: bool
    span: Span


@dataclass(frozen=True, slots=True)
class CheckBlock:
    """`check "name" { assert { … } }`: what should hold; if it does not, a warning says so."""

    name: str
    asserts: tuple[Condition, ...]
    span: Span


@dataclass(slots=True)
class Config:
    """One module: what its folder declares, and below `children` the modules that it calls."""

    settings: Settings = field(default_factory=Settings)
    providers: dict[str, ProviderBlock] = field(default_factory=dict)
    variables: dict[str, VariableBlock] = field(default_factory=dict)
    locals: dict[str, Prepared] = field(default_factory=dict)
    resources: dict[Address, Declaration] = field(default_factory=dict)
    outputs: dict[str, OutputBlock] = field(default_factory=dict)
    calls: dict[str, ModuleCall] = field(default_factory=dict)
    children: dict[str, Config] = field(default_factory=dict)
    """The modules that were found and read, by the name of their call."""
    moved: list[MovedBlock] = field(default_factory=list)
    imports: list[ImportBlock] = field(default_factory=list)
    removed: list[RemovedBlock] = field(default_factory=list)
    checks: dict[str, CheckBlock] = field(default_factory=dict)
    directory: str = "."
    """The folder as `path.module` gives it."""

    def at(self, names: tuple[str, ...]) -> Config | None:
        """Find the module that calls of these names lead to."""
        found: Config | None = self
        for name in names:
            found = found.children.get(name) if found is not None else None
        return found

    def declaration(self, address: Address) -> Declaration | None:
        """Find the block of an instance, wherever it stands."""
        if not address.module:
            return self.resources.get(address.block)
        module = self.at(tuple(name for name, _ in address.module))
        return module.resources.get(address.declared) if module is not None else None

    def modules(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Config]]:
        """Give this module and all below it, with the names of the calls that lead to each."""
        yield path, self
        for name, child in self.children.items():
            yield from child.modules((*path, name))


def of_rules(rules: tuple[Condition, ...]) -> Iterator[Prepared]:
    """Give the expressions of conditions."""
    for rule in rules:
        yield rule.condition
        yield rule.message
