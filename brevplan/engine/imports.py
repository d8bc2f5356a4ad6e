"""`import` blocks evaluated, beside what a command names: which machine is to be taken in at which address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from brevplan.diagnostics import Diagnostics, Span
from brevplan.engine.address import Address, InstanceKey
from brevplan.engine.config import ImportBlock
from brevplan.engine.expand import expand
from brevplan.engine.scope import InstanceScope, ModuleScope, repetition_names
from brevplan.lang.convert import ConversionError, to_string
from brevplan.lang.prepared import EvaluationError, Prepared
from brevplan.lang.values import Secret, Unknown, Value


@dataclass(frozen=True, slots=True)
class Import:
    """One machine that an `import` block names; `provider` is empty where the resource itself says it.

    `span` is None where no block names it, but the command line.
    """

    address: Address
    cloud_id: str
    provider: str
    span: Span | None


@dataclass(frozen=True, slots=True)
class _Repeated:
    for_each: Prepared
    count: None = None


@dataclass(slots=True)
class Imports:
    """All of them by address, and the addresses that turned out to be declared."""

    wanted: dict[Address, Import] = field(default_factory=dict)
    met: set[Address] = field(default_factory=set)

    def undeclared(self, known: Mapping[Address, object]) -> Iterator[Import]:
        """Give those whose resource nobody declares and nothing records."""
        for address, item in self.wanted.items():
            if address not in self.met and address not in known:
                yield item


def read_imports(scope: ModuleScope, diagnostics: Diagnostics, given: Sequence[Import] = ()) -> Imports:
    """Evaluate the blocks of the root module over what is known before anything is planned.

    What is `given` beside them goes before a block for the same address.
    """
    found = Imports({item.address: item for item in given})
    by_id = {(provider, item.cloud_id): item for item in given for provider in (item.provider, "")}
    told = frozenset(found.wanted)
    for block in scope.config.imports:
        for item in _of_block(block, scope, diagnostics):
            if item.address in told:
                continue
            if item.address in found.wanted:
                diagnostics.error("Duplicate import", f"{item.address} is imported twice.", item.span)
            elif (item.provider, item.cloud_id) in by_id:
                first = by_id[(item.provider, item.cloud_id)].address
                diagnostics.error(
                    "Duplicate import", f"{item.cloud_id} is imported as {first} already.", item.span,
                    hint="One machine can have one address only.",
                )  # fmt: skip
            else:
                found.wanted[item.address] = by_id[(item.provider, item.cloud_id)] = item
    return found


def _of_block(block: ImportBlock, scope: ModuleScope, diagnostics: Diagnostics) -> Iterator[Import]:
    if block.for_each is None:
        contexts = [InstanceScope(scope, {})]
    else:
        expansion = expand(_Repeated(block.for_each), scope, diagnostics)
        pairs = expansion.instances if expansion is not None else ()
        contexts = [InstanceScope(scope, repetition_names(key, value)) for key, value in pairs]
    for context in contexts:
        try:
            cloud_id = _known(block.cloud_id, context, "The id")
            key = _index(block.key, context)
            path = tuple(
                (name, _index(at, context)) for (name, _), at in zip(block.to.module, block.path_keys, strict=True)
            )
        except EvaluationError as problem:
            diagnostics.add(problem.diagnostic)
            continue
        except ValueError as problem:
            diagnostics.error("Invalid import", f"{problem}.", block.span)
            continue
        text = to_string(cloud_id)
        if not text:
            diagnostics.error("Invalid import", "The id is empty.", block.cloud_id.node.span)
            continue
        provider = block.provider.text if block.provider is not None else ""
        yield Import(block.to.instance(key).inside(path), text, provider, block.span)


def _index(prepared: Prepared | None, context: InstanceScope) -> InstanceKey:
    value = _known(prepared, context, "The index") if prepared is not None else None
    return value if isinstance(value, (int, str)) else None


def _known(prepared: Prepared, context: InstanceScope, what: str) -> Value:
    value = prepared.evaluate(context)
    if isinstance(value, Secret):
        raise ValueError(f"{what} is sensitive, and would be shown")
    if isinstance(value, Unknown):
        raise ValueError(f"{what} must be known while planning")
    if value is None:
        raise ValueError(f"{what} is null")
    try:
        to_string(value)
    except ConversionError as problem:
        raise ValueError(f"{what} is no text: {problem}") from None
    return value
