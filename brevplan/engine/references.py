"""Whether every name that a configuration mentions is declared: checked for the whole module, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brevplan.diagnostics import Diagnostics, suggest
from brevplan.engine.address import Address
from brevplan.engine.config import Config, Declaration
from brevplan.lang.prepared import Prepared, Reference

RESERVED_ROOTS: Final = frozenset({"var", "local", "data", "each", "count", "self", "path", "brevplan", "module"})


def check_references(config: Config, kinds: Iterable[str], data_kinds: Iterable[str], diagnostics: Diagnostics) -> None:
    """Report every reference to something that is not declared."""
    _Checker(config, frozenset(kinds), frozenset(data_kinds), diagnostics).check()


def check_expression(
    prepared: Prepared, config: Config, kinds: Iterable[str], data_kinds: Iterable[str], diagnostics: Diagnostics
) -> None:
    """Report the same of one expression that stands outside of every block."""
    checker = _Checker(config, frozenset(kinds), frozenset(data_kinds), diagnostics)
    for reference in prepared.references:
        checker.check_reference(reference, None)


class _Checker:
    def __init__(
        self, config: Config, kinds: frozenset[str], data_kinds: frozenset[str], diagnostics: Diagnostics
    ) -> None:
        self.config, self.kinds, self.data_kinds, self.diagnostics = config, kinds, data_kinds, diagnostics

    def check(self) -> None:
        for prepared, declaration in self.config.expressions():
            for reference in prepared.references:
                self.check_reference(reference, declaration)
        for declaration in self.config.resources.values():
            for reference in declaration.depends_on:
                self.check_reference(reference, declaration)
        for output in self.config.outputs.values():
            for reference in output.depends_on:
                self.check_reference(reference, None)

    def check_reference(self, reference: Reference, declaration: Declaration | None) -> None:
        root, steps = reference.root, reference.steps
        first = steps[0] if steps and isinstance(steps[0], str) else None
        config = self.config
        match root:
            case "var":
                self._declared(reference, first, config.variables, "variable", 'variable "{}" {{ … }}')
            case "local":
                self._declared(reference, first, config.locals, "local value", "locals {{ {} = … }}")
            case "each" | "count":
                self._check_repetition(reference, declaration)
            case "path":
                self._declared(reference, first, ("module", "root", "cwd"), "path", "path.module")
            case "brevplan":
                self._declared(reference, first, ("workspace", "project"), "fact", "brevplan.workspace")
            case "self":
                if declaration is None:
                    self._undeclared(reference, '"self" has a meaning inside of a postcondition only.')
            case "module":
                self._undeclared(reference, "This version does not read modules.")
            case "data":
                self._check_resource(reference, steps[1:], first, is_data=True)
            case _:
                if declaration is not None and any(root == block.iterator for block in declaration.blocks):
                    return
                self._check_resource(reference, steps, root, is_data=False)

    def _check_repetition(self, reference: Reference, declaration: Declaration | None) -> None:
        root = reference.root
        names = ("key", "value") if root == "each" else ("index",)
        first = reference.steps[0] if reference.steps else None
        meta = "for_each" if root == "each" else "count"
        has = declaration is not None and (declaration.for_each if root == "each" else declaration.count) is not None
        if not has:
            self._undeclared(
                reference,
                f'"{root}" has a meaning only in a block with "{meta}".',
                hint=f"Add {meta} = … to the block.",
            )
        elif not isinstance(first, str) or first not in names:
            self._undeclared(reference, f'"{root}" has {" and ".join(names)}.', hint=f"Write: {root}.{names[0]}")

    def _check_resource(
        self, reference: Reference, steps: tuple[object, ...], kind: str | None, *, is_data: bool
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
        if address not in self.config.resources:
            names = [item.name for item in self.config.resources if (item.kind, item.is_data) == (kind, is_data)]
            self._undeclared(
                reference, f"No {shown} {address} is declared.",
                hint=suggest(name, names) or (f"Declared are: {', '.join(sorted(names)[:10])}." if names else ""),
            )  # fmt: skip

    def _guess(self, reference: Reference) -> str:
        name = reference.root
        if name in self.config.variables:
            return f"Did you mean var.{name}?"
        if name in self.config.locals:
            return f"Did you mean local.{name}?"
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
