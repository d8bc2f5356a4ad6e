"""A whole configuration: the root module with every module that it calls, and what only both together show."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from brevplan.diagnostics import Diagnostics, Span, suggest
from brevplan.engine.address import Address, Target
from brevplan.engine.config import Config, ModuleCall
from brevplan.engine.loading.module import Known, load_module
from brevplan.engine.references import check_references
from brevplan.lang import ast

MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class Folder:
    """The parsed files of one folder; `identity` is the same for two paths to it."""

    identity: str
    bodies: Sequence[ast.Body]


ReadFolder = Callable[[str], Folder]
"""Give the files below a path relative to the root module; raise `ValueError` with a sentence when there are none."""


def load(root_folder: Folder, read: ReadFolder, known: Known, diagnostics: Diagnostics) -> Config:
    """Load the root module and all below it."""
    tree = _Tree(read, known, diagnostics)
    root = load_module(root_folder.bodies, known, diagnostics)
    tree.attach(root, (root_folder.identity,))
    for config in (root, *tree.loaded.values()):
        check_references(config, known.kinds, known.data_kinds, diagnostics)
        _check_kinds(config, known, diagnostics)
    return root


class _Tree:
    def __init__(self, read: ReadFolder, known: Known, diagnostics: Diagnostics) -> None:
        self.read, self.known, self.diagnostics = read, known, diagnostics
        self.loaded: dict[str, Config] = {}
        """By path: a folder that is called twice is loaded once."""

    def attach(self, config: Config, above: tuple[str, ...]) -> None:
        """Load what a module calls, and what that calls. `above` are the folders on the way there."""
        for call in config.calls.values():
            child = self.child(config, call, above) if call.source else None
            if child is not None:
                config.children[call.name] = child
                self.check_inputs(call, child)

    def child(self, config: Config, call: ModuleCall, above: tuple[str, ...]) -> Config | None:
        path = posixpath.normpath(posixpath.join(config.directory, call.source))
        try:
            folder = self.read(path)
        except ValueError as problem:
            self.fail("Module cannot be read", str(problem), call)
            return None
        if folder.identity in above or len(above) > MAX_DEPTH:
            self.fail("Module calls itself", f"{path} is called from within {path}, without an end.", call)
            return None
        if path not in self.loaded:
            found = self.loaded[path] = load_module(folder.bodies, self.known, self.diagnostics, path)
            self.attach(found, (*above, folder.identity))
        return self.loaded[path]

    def check_inputs(self, call: ModuleCall, child: Config) -> None:
        for name in call.inputs:
            if name not in child.variables:
                known = f"Its variables are: {', '.join(sorted(child.variables))}." if child.variables else ""
                self.diagnostics.error(
                    "Unknown argument",
                    f'The module has no variable "{name}".',
                    call.argument_spans[name],
                    hint=suggest(name, child.variables) or known,
                )
        for name, variable in child.variables.items():
            if not variable.has_default and name not in call.inputs:
                self.diagnostics.error(
                    "Missing argument",
                    f'The module needs a value for "{name}" ({variable.span}).',
                    call.span,
                    hint=f"Add a line to the block: {name} = …",
                )

    def fail(self, summary: str, detail: str, call: ModuleCall) -> None:
        self.diagnostics.error(summary, detail, call.source_span or call.span)


def _check_kinds(config: Config, known: Known, diagnostics: Diagnostics) -> None:
    """Report addresses of kinds that do not exist in blocks about what is there."""
    named: list[tuple[Target, Span]] = [(item.to, item.span) for item in config.imports]
    named += [(item.source, item.span) for item in config.removed]
    named += [(address, item.span) for item in config.moved for address in (item.source, item.target)]
    for address, span in named:
        if isinstance(address, Address) and address.kind not in known.kinds:
            hint = suggest(address.kind, known.kinds) or f"Resources are: {', '.join(sorted(known.kinds))}."
            diagnostics.error("Unknown resource", f'There is no resource "{address.kind}".', span, hint=hint)
