"""One instance of a block evaluated: its arguments as values of the types that the schema asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from brevplan.diagnostics import Diagnostics, Span
from brevplan.engine.address import Address
from brevplan.engine.config import Condition, Declaration, NestedBlock
from brevplan.engine.kind import AttributeSpec, Schema
from brevplan.engine.scope import InstanceScope, ModuleScope
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.operators import OperationError, to_bool
from brevplan.lang.prepared import EvaluationError, Prepared
from brevplan.lang.printing import print_value
from brevplan.lang.values import (
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Tuple,
    Unknown,
    Value,
    has_secret,
    has_unknown,
    reveal,
)


@dataclass
class Desired:
    """What the configuration asks for: every argument (null when it is left out), blocks, and what was read."""

    attributes: dict[str, Value]
    reads: frozenset[Address]
    has_mistakes: bool = False

    @cached_property
    def secret_names(self) -> tuple[str, ...]:
        """Give the arguments in which something is secret."""
        return tuple(name for name, value in self.attributes.items() if has_secret(value))

    @cached_property
    def recorded_reads(self) -> tuple[str, ...]:
        """Give the reads as a row keeps them."""
        return tuple(sorted(map(str, self.reads)))


@dataclass(slots=True)
class Shared:
    """Arguments of a block that are the same for all its instances, evaluated with the first one."""

    attributes: dict[str, Value] = field(default_factory=dict)
    reads: set[Address] = field(default_factory=set)


def evaluate(
    declaration: Declaration,
    schema: Schema,
    scope: InstanceScope,
    address: Address,
    diagnostics: Diagnostics,
    shared: Shared | None = None,
) -> Desired:
    """Evaluate one instance and report every mistake; what has one is unknown in a result that `has_mistakes`."""
    failed = False
    attributes: dict[str, Value] = {}
    same = shared.attributes if shared is not None else {}
    with scope.module.recording() as reads:
        for name, spec in schema.attributes.items():
            if not spec.configurable:
                continue
            if name in same:
                attributes[name] = same[name]
                continue
            prepared = declaration.arguments.get(name)
            if prepared is None:
                attributes[name] = None
                continue
            with scope.module.recording() as read_here:
                value, good = _argument(prepared, spec, scope, address, diagnostics)
            attributes[name] = value if good else Unknown(spec.type, "a mistake")
            failed = failed or not good
            if shared is not None and good and name not in declaration.varying:
                same[name] = value
                shared.reads |= read_here
        for name, block_spec in schema.blocks.items():
            mine = [block for block in declaration.blocks if block.spec.name == name]
            items, good = _blocks(mine, scope, address, diagnostics)
            failed = failed or not good
            attributes[name] = (items.items[0] if len(items) else None) if block_spec.single else items
        for reference in declaration.depends_on:
            _depend(reference.root, reference.steps, reference.span, scope)
    if shared is not None:
        reads |= shared.reads
    return Desired(attributes, frozenset(reads), failed)


def _depend(root: str, steps: tuple[object, ...], span: Span, scope: InstanceScope) -> None:
    try:
        scope.resolve(root, steps, span)  # type: ignore[arg-type]
    except EvaluationError:
        scope.module.reads.add(Address(root, str(steps[0])))


def _argument(
    prepared: Prepared, spec: AttributeSpec, scope: InstanceScope, address: Address, diagnostics: Diagnostics
) -> tuple[Value, bool]:
    span = prepared.node.span
    try:
        value = prepared.evaluate(scope)
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return None, False
    try:
        value = convert(value, spec.type)
    except ConversionError as problem:
        shown = "" if isinstance(value, Secret) else f", not {print_value(value, short=True)}"
        diagnostics.error(
            "Unsuitable value",
            f'"{spec.name}": {problem}{shown}.',
            span,
            address=str(address),
            values=prepared.named_values(scope),
        )
        return None, False
    if spec.sensitive and value is not None and not isinstance(value, Secret):
        value = Secret(value)
    bare = reveal(value)
    if bare is None:
        if spec.required:
            diagnostics.error(
                "Missing value", f'"{spec.name}" is required, and its value is null.', span, address=str(address)
            )
            return None, False
        return None, True
    if spec.check is not None and not has_unknown(bare):
        wrong = spec.check(bare)
        if wrong:
            detail = f'"{spec.name}": {wrong}' if not isinstance(value, Secret) else f'"{spec.name}" is not valid.'
            values = prepared.named_values(scope)
            diagnostics.error("Invalid value", detail, span, address=str(address), values=values)
            return None, False
    return value, True


def _blocks(
    blocks: list[NestedBlock], scope: InstanceScope, address: Address, diagnostics: Diagnostics
) -> tuple[Tuple, bool]:
    items: list[Value] = []
    good = True
    for block in blocks:
        for inner in _repeated(block, scope, diagnostics):
            if inner is None:
                good = False
                continue
            values: dict[str, Value] = {}
            for name, spec in block.spec.attributes.items():
                prepared = block.arguments.get(name)
                values[name] = None
                if prepared is not None:
                    value, right = _argument(prepared, spec, inner, address, diagnostics)
                    values[name] = value if right else Unknown(spec.type, "a mistake")
                    good = good and right
            items.append(Object(values))
    return Tuple(items), good


def _repeated(block: NestedBlock, scope: InstanceScope, diagnostics: Diagnostics) -> list[InstanceScope | None]:
    if block.for_each is None:
        return [scope]
    try:
        value = reveal(block.for_each.evaluate(scope))
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return [None]
    match value:
        case Unknown():
            pairs: list[tuple[Value, Value]] = [(Unknown(because=value.because), Unknown(because=value.because))]
        case Mapping_():
            pairs = list(value.items.items())
        case Sequence_():
            pairs = list(enumerate(value.items))
        case _:
            diagnostics.error("Invalid for_each", "A list, set, map or object is needed.", block.for_each.node.span)
            return [None]
    return [scope.with_names({block.iterator: Object({"key": key, "value": item})}) for key, item in pairs]


def check_rules(
    rules: tuple[Condition, ...], scope: InstanceScope | ModuleScope, what: str, address: str, diagnostics: Diagnostics
) -> bool:
    """Check conditions; report each that is false with its message. One that is not known yet passes for now."""
    good = True
    for rule in rules:
        try:
            truth = to_bool(reveal(rule.condition.evaluate(scope)), "The condition")
            if truth is False:
                message = reveal(rule.message.evaluate(scope))
                text = message if isinstance(message, str) else "The condition is false."
                values = rule.condition.named_values(scope)
                diagnostics.error(f"{what} failed", text, rule.span, address=address, values=values)
                good = False
        except EvaluationError as problem:
            diagnostics.add(problem.diagnostic)
            good = False
        except OperationError as problem:
            diagnostics.error(problem.summary, problem.message, rule.span, address=address)
            good = False
    return good


def known_bool(
    prepared: Prepared | None, scope: InstanceScope, name: str, diagnostics: Diagnostics, default: bool | None = False
) -> bool | None:
    """Give a lifecycle flag; it must be known while planning."""
    if prepared is None:
        return default
    try:
        value = to_bool(reveal(prepared.evaluate(scope)), f'"{name}"')
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return default
    except OperationError as problem:
        diagnostics.error(problem.summary, problem.message, prepared.node.span)
        return default
    if isinstance(value, Unknown):
        diagnostics.error("Not known yet", f'"{name}" must be known while planning.', prepared.node.span)
        return default
    return value


def ignored_names(declaration: Declaration, scope: InstanceScope, diagnostics: Diagnostics) -> frozenset[str] | None:
    """Give the arguments whose changes are ignored; None stands for all."""
    life = declaration.lifecycle
    if life.ignores_all:
        return None
    if life.ignore_changes is None:
        return life.ignored
    try:
        value = reveal(life.ignore_changes.evaluate(scope))
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return frozenset()
    if isinstance(value, Sequence_) and all(isinstance(item, str) for item in value.items):
        return frozenset(str(item) for item in value.items)
    diagnostics.error(
        "Invalid ignore_changes", "A list of argument names, known while planning, is needed.",
        life.ignore_changes.node.span,
    )  # fmt: skip
    return frozenset()
