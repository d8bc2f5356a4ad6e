"""One instance of a block evaluated: its arguments as values of the types that the schema asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brevplan.diagnostics import Diagnostics
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
    has_ephemeral,
    has_secret,
    has_unknown,
    reveal,
)


@dataclass(slots=True)
class Desired:
    """What the configuration asks for: every argument (null when it is left out), blocks, and what was read."""

    attributes: dict[str, Value]
    reads: frozenset[Address]
    has_mistakes: bool = False
    secret_names: tuple[str, ...] = ()
    """The arguments in which something is secret."""
    recorded_reads: tuple[str, ...] = ()
    """The reads as a row keeps them."""


@dataclass(slots=True)
class Shared:
    """What is the same for all instances of a block, evaluated with the first one.

    `template` holds every argument in the schema's order, those that vary as null; None until there is a first one.
    """

    template: dict[str, Value] | None = None
    reads: frozenset[Address] = frozenset()
    secret_names: tuple[str, ...] = ()
    recorded_reads: tuple[str, ...] = ()


def evaluate(
    declaration: Declaration,
    schema: Schema,
    scope: InstanceScope,
    address: Address,
    diagnostics: Diagnostics,
    shared: Shared | None = None,
) -> Desired:
    """Evaluate one instance and report every mistake; what has one is unknown in a result that `has_mistakes`."""
    if shared is not None and shared.template is None:
        _share(shared, declaration, schema, scope, address, diagnostics)
    known = shared if shared is not None else Shared()
    attributes = dict(known.template) if known.template is not None else dict.fromkeys(schema.argument_order)
    pending = declaration.varying if known.template is not None else tuple(declaration.arguments)
    good = True
    with scope.module.board.recording() as reads:
        for name in pending:
            spec = schema.attributes.get(name)
            if spec is not None and spec.configurable:
                attributes[name], right = _known_argument(declaration, spec, scope, address, diagnostics)
                good = good and right
        if declaration.blocks or known.template is None:
            good = _all_blocks(declaration, schema, scope, address, diagnostics, attributes) and good
        _await_declared(declaration, scope.module)
    secret = (*known.secret_names, *(name for name in pending if has_secret(attributes.get(name))))
    if not reads - known.reads:
        return Desired(attributes, known.reads, not good, secret, known.recorded_reads)
    everything = known.reads | reads
    return Desired(attributes, everything, not good, secret, _recorded(everything))


def _share(
    shared: Shared,
    declaration: Declaration,
    schema: Schema,
    scope: InstanceScope,
    address: Address,
    diagnostics: Diagnostics,
) -> None:
    """Evaluate what does not vary. With a mistake in it nothing is shared: every instance tells of its own."""
    quiet = Diagnostics()
    template: dict[str, Value] = dict.fromkeys(schema.argument_order)
    with scope.module.board.recording() as reads:
        for name in declaration.arguments:
            if name in declaration.varying:
                continue
            spec = schema.attributes.get(name)
            if spec is not None and spec.configurable:
                template[name], good = _known_argument(declaration, spec, scope, address, quiet)
                if not good:
                    return
        if not declaration.blocks:
            _all_blocks(declaration, schema, scope, address, quiet, template)
    shared.template = template
    shared.reads = frozenset(reads)
    shared.secret_names = tuple(name for name, value in template.items() if has_secret(value))
    shared.recorded_reads = _recorded(shared.reads)
    diagnostics.extend(quiet)


def _recorded(reads: Iterable[Address]) -> tuple[str, ...]:
    return tuple(sorted(map(str, reads)))


def _known_argument(
    declaration: Declaration, spec: AttributeSpec, scope: InstanceScope, address: Address, diagnostics: Diagnostics
) -> tuple[Value, bool]:
    value, good = _argument(declaration.arguments[spec.name], spec, scope, address, diagnostics)
    return (value, True) if good else (Unknown(spec.type, "a mistake"), False)


def _all_blocks(
    declaration: Declaration,
    schema: Schema,
    scope: InstanceScope,
    address: Address,
    diagnostics: Diagnostics,
    attributes: dict[str, Value],
) -> bool:
    """Put the nested blocks among the attributes; False when one has a mistake."""
    good = True
    for name, spec in schema.blocks.items():
        mine = [block for block in declaration.blocks if block.spec.name == name]
        items, right = _blocks(mine, scope, address, diagnostics)
        if spec.single and len(items) > 1:
            diagnostics.error(
                "Duplicate block", f'At most one "{name}" block is allowed, and there would be {len(items)}.',
                mine[0].span, address=str(address),
            )  # fmt: skip
            right = False
        good = good and right
        attributes[name] = (items.items[0] if len(items) else None) if spec.single else items
    return good


def _await_declared(declaration: Declaration, module: ModuleScope) -> None:
    """Record what `depends_on` names: of the block, and of the calls of the modules around it."""
    for reference in declaration.depends_on:
        module.await_reference(reference)
    while module.outer is not None and module.call is not None:
        outer = module.outer.module
        for reference in module.call.depends_on:
            outer.await_reference(reference)
        module = outer


def _argument(
    prepared: Prepared, spec: AttributeSpec, scope: InstanceScope, address: Address, diagnostics: Diagnostics
) -> tuple[Value, bool]:
    span = prepared.node.span
    try:
        value = prepared.evaluate(scope)
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return None, False
    if has_ephemeral(value):
        diagnostics.error(
            "Ephemeral value cannot be kept",
            f'"{spec.name}" is part of what is remembered, and an ephemeral value never is.',
            span,
            address=str(address),
            hint="Ephemeral values may stand in locals, provider blocks, conditions, and inputs declared ephemeral.",
        )
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
                text = message_of(rule, scope)
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


def message_of(rule: Condition, scope: InstanceScope | ModuleScope) -> str:
    """Give what a rule says when it does not hold; raise `EvaluationError`."""
    message = rule.message.evaluate(scope)
    if isinstance(message, Secret):
        return "The message is made of something sensitive, and is not shown."
    return message if isinstance(message, str) else "The condition is false."


def known_bool(
    prepared: Prepared | None, scope: InstanceScope, name: str, diagnostics: Diagnostics, default: bool | None = False
) -> bool | None:
    """Give a lifecycle flag; it must be known while planning."""
    if prepared is None:
        return default
    secret = False
    try:
        found = prepared.evaluate(scope)
        secret = isinstance(found, Secret)
        value = to_bool(reveal(found), f'"{name}"')
    except EvaluationError as problem:
        diagnostics.add(problem.diagnostic)
        return default
    except OperationError as problem:
        text = problem.message if not secret else f'"{name}" is true or false; its value is sensitive and not shown.'
        diagnostics.error(problem.summary, text, prepared.node.span)
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
