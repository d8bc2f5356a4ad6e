"""Whether every name that a configuration mentions is declared: checked for each module, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from brevplan.diagnostics import Diagnostics, suggest
from brevplan.engine.address import Address
from brevplan.engine.config import Config, Declaration, ModuleCall, of_rules
from brevplan.lang.prepared import Key, Prepared, Reference

RESERVED_ROOTS: Final = frozenset({"var", "local", "data", "each", "count", "self", "path", "brevplan", "module"})


_HABITS: Final = {
    "True": "true", "False": "false", "None": "null", "nil": "null", "undefined": "null", "variable": "var.NAME",
    "variables": "var.NAME", "vars": "var.NAME", "locals": "local.NAME", "terraform": "brevplan.workspace",
    "resource": "KIND.NAME, as in instance.web", "modules": "module.NAME",
}  # fmt: skip
"""What other languages say, and what is said here."""


class Repeated(Protocol):
    """A block that may have `count` or `for_each`."""

    @property
    def for_each(self) -> Prepared | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: what may be said there beside the names of the module."""

    repeated: Repeated | None = None
    iterators: frozenset[str] = frozenset()
    """Of dynamic blocks."""
    has_self: bool = False
    check: str = ""
    """The `check` block around it."""


NOWHERE: Final = Place()


def check_references(config: Config, kinds: Iterable[str], data_kinds: Iterable[str], diagnostics: Diagnostics) -> None:
    """Report every reference of one module to something that is not declared."""
    checker = _Checker(config, frozenset(kinds), frozenset(data_kinds), diagnostics)
    for reference, place in _references(config):
        checker.check_reference(reference, place)


def check_expression(
    prepared: Prepared, config: Config, kinds: Iterable[str], data_kinds: Iterable[str], diagnostics: Diagnostics
) -> None:
    """Report the same of one expression that stands outside of every block."""
    checker = _Checker(config, frozenset(kinds), frozenset(data_kinds), diagnostics)
    for reference in prepared.references:
        checker.check_reference(reference, NOWHERE)


def _references(config: Config) -> Iterator[tuple[Reference, Place]]:
    for prepared, place in _expressions(config):
        for reference in prepared.references:
            yield reference, place
    for declaration in config.resources.values():
        yield from ((reference, _place(declaration)) for reference in declaration.depends_on)
    for output in config.outputs.values():
        yield from ((reference, NOWHERE) for reference in output.depends_on)
    for call in config.calls.values():
        yield from ((reference, Place(call)) for reference in call.depends_on)


def _expressions(config: Config) -> Iterator[tuple[Prepared, Place]]:
    for provider in config.providers.values():
        yield from ((prepared, NOWHERE) for prepared in provider.arguments.values())
    yield from ((local, NOWHERE) for local in config.locals.values())
    for declaration in config.resources.values():
        place = _place(declaration)
        yield from ((prepared, place) for prepared in declaration.prepared())
    for output in config.outputs.values():
        yield output.value, NOWHERE
        yield from ((prepared, NOWHERE) for prepared in of_rules(output.preconditions))
    for variable in config.variables.values():
        yield from ((prepared, NOWHERE) for prepared in of_rules(variable.validations))
    for call in config.calls.values():
        yield from ((prepared, Place(call)) for prepared in call.prepared())
    for item in config.imports:
        yield from ((prepared, Place(_Loop(item.for_each))) for prepared in item.prepared())
    for check in config.checks.values():
        yield from ((prepared, Place(check=check.name)) for prepared in of_rules(check.asserts))


@dataclass(frozen=True, slots=True)
class _Loop:
    """An `import` block, which has no `count`."""

    for_each: Prepared | None
    count: Prepared | None = None


def _place(declaration: Declaration) -> Place:
    iterators = frozenset(block.iterator for block in declaration.blocks if block.iterator)
    return Place(declaration, iterators, True, declaration.check)


class _Checker:
    def __init__(
        self, config: Config, kinds: frozenset[str], data_kinds: frozenset[str], diagnostics: Diagnostics
    ) -> None:
        self.config, self.kinds, self.data_kinds, self.diagnostics = config, kinds, data_kinds, diagnostics

    def check_reference(self, reference: Reference, place: Place) -> None:
        root, steps = reference.root, reference.steps
        first = steps[0] if steps and isinstance(steps[0], str) else None
        config = self.config
        match root:
            case "var":
                self._declared(reference, first, config.variables, "variable", 'variable "{}" {{ … }}')
            case "local":
                self._declared(reference, first, config.locals, "local value", "locals {{ {} = … }}")
            case "each" | "count":
                self._check_repetition(reference, place)
            case "path":
                self._declared(reference, first, ("module", "root", "cwd"), "path", "path.module")
            case "brevplan":
                self._declared(reference, first, ("workspace", "project"), "fact", "brevplan.workspace")
            case "self":
                if not place.has_self:
                    self._undeclared(reference, '"self" has a meaning inside of a postcondition only.')
            case "module":
                self._check_module(reference, first)
            case "data":
                self._check_resource(reference, steps[1:], first, place, is_data=True)
            case _:
                if root not in place.iterators:
                    self._check_resource(reference, steps, root, place, is_data=False)

    def _check_repetition(self, reference: Reference, place: Place) -> None:
        root = reference.root
        names = ("key", "value") if root == "each" else ("index",)
        first = reference.steps[0] if reference.steps else None
        meta = "for_each" if root == "each" else "count"
        if place.repeated is None or getattr(place.repeated, meta) is None:
            self._undeclared(
                reference,
                f'"{root}" has a meaning only in a block with "{meta}".',
                hint=f"Add {meta} = … to the block.",
            )
        elif not isinstance(first, str) or first not in names:
            self._undeclared(reference, f'"{root}" has {" and ".join(names)}.', hint=f"Write: {root}.{names[0]}")

    def _check_module(self, reference: Reference, name: str | None) -> None:
        calls = self.config.calls
        self._declared(reference, name, calls, "module", 'module "{}" {{ source = … }}')
        child = self.config.children.get(name or "")
        output = output_of(reference, calls[name]) if name in calls else ""
        if child is None or not output or output in child.outputs:
            return
        known = f"Outputs are: {', '.join(sorted(child.outputs))}." if child.outputs else ""
        self._undeclared(
            reference, f'module.{name} has no output "{output}".', hint=suggest(output, child.outputs) or known
        )

    def _check_resource(
        self, reference: Reference, steps: tuple[object, ...], kind: str | None, place: Place, *, is_data: bool
    ) -> None:
        kinds: Iterable[str] = self.data_kinds if is_data else self.kinds
        shown = "data source" if is_data else "resource"
        if kind is None or kind not in kinds:
            roots = sorted({*RESERVED_ROOTS, *self.kinds})
            guess = self._guess(reference) if not is_data else suggest(kind or "", self.data_kinds)
            self._undeclared(
                reference,
                f'Nothing is named "{reference.root}" here.' if not is_data else f'There is no data source "{kind}".',
                hint=guess or suggest(reference.root, roots),
            )
            return
        name = steps[0] if steps else None
        if not isinstance(name, str):
            self._undeclared(reference, f"A {shown} is named by two words, as in {kind}.name.")
            return
        address = Address(kind, name, None, is_data)
        declaration = self.config.resources.get(address)
        if declaration is None:
            names = [item.name for item in self.config.resources if (item.kind, item.is_data) == (kind, is_data)]
            self._undeclared(
                reference, f"No {shown} {address} is declared.",
                hint=suggest(name, names) or (f"Declared are: {', '.join(sorted(names)[:10])}." if names else ""),
            )  # fmt: skip
        elif declaration.check and declaration.check != place.check:
            self._undeclared(
                reference, f'{address} belongs to the check "{declaration.check}", and has a meaning only there.',
                hint="Move the data block out of the check.",
            )  # fmt: skip

    def _guess(self, reference: Reference) -> str:
        name = reference.root
        if name in self.config.variables:
            return f"Did you mean var.{name}?"
        if name in self.config.locals:
            return f"Did you mean local.{name}?"
        if name in self.config.calls:
            return f"Did you mean module.{name}?"
        if name in _HABITS:
            return f"Write: {_HABITS[name]}"
        if not reference.steps:
            return f'A text is written in quotes: "{name}".' if not suggest(name, RESERVED_ROOTS) else ""
        return ""

    def _declared(self, reference: Reference, name: str | None, known: Iterable[str], what: str, shape: str) -> None:
        names = list(known)
        if name in names:
            return
        if name is None:
            self._undeclared(reference, f'"{reference.root}" alone has no value: name a {what} behind it.')
            return
        self._undeclared(
            reference, f'There is no {what} "{name}".', hint=suggest(name, names) or f"Declare it: {shape.format(name)}"
        )

    def _undeclared(self, reference: Reference, detail: str, hint: str = "") -> None:
        self.diagnostics.error("Reference to something undeclared", detail, reference.span, hint=hint)


def output_of(reference: Reference, call: ModuleCall) -> str:
    """Give the output that a reference to a module reads; empty when it reads the module as a whole."""
    steps = reference.steps[1:]
    if call.count is not None or call.for_each is not None:
        if not steps:
            return reference.beyond
        if not isinstance(steps[0], Key) and call.count is not None:
            return ""
        steps = steps[1:]
    if steps:
        return steps[0] if isinstance(steps[0], str) else ""
    return reference.beyond if len(reference.steps) == 1 else ""
