"""The files of one folder into one `Config`. Nothing is evaluated here but literals.

A block with a mistake is left out, or loaded as far as it makes sense, so that all mistakes are reported in one run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from brevplan.diagnostics import Diagnostics, suggest
from brevplan.engine.address import Address
from brevplan.engine.config import Config, ProviderBlock, Settings
from brevplan.engine.kind import Kind, Schema
from brevplan.engine.loading.calls import load_call
from brevplan.engine.loading.overrides import merged
from brevplan.engine.loading.pieces import Pieces
from brevplan.engine.loading.refactoring import load_check, load_import, load_moved, load_removed
from brevplan.engine.loading.resources import load_resource
from brevplan.engine.loading.values import load_locals, load_output, load_variable
from brevplan.lang import ast

_T = TypeVar("_T")

TOP_LEVEL: Final = (
    "brevplan", "provider", "variable", "locals", "resource", "data", "output",
    "module", "moved", "import", "removed", "check", "policy",
)  # fmt: skip
ROOT_ONLY: Final = {
    "brevplan": "settings of the project belong into the root module",
    "provider": "providers are configured in the root module, and handed on with providers = { … }",
    "import": "what is taken in is said in the root module: to = module.NAME.KIND.NAME",
    "policy": "what is allowed is said in the root module",
}
PROJECT_PATTERN: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9])*\Z")


@dataclass(frozen=True, slots=True)
class Known:
    """What a configuration can name. `providers` gives the argument names of every provider there is."""

    kinds: Mapping[str, Kind]
    data_kinds: Mapping[str, Schema]
    providers: Mapping[str, Iterable[str]]


def load_module(bodies: Sequence[ast.Body], known: Known, diagnostics: Diagnostics, directory: str = ".") -> Config:
    """Load the files of one folder; `directory` is `.` for the root module."""
    loader = _Loader(known, diagnostics, Config(directory=directory))
    for body in merged(bodies, diagnostics):
        loader.file(body)
    return loader.config


class _Loader:
    def __init__(self, known: Known, diagnostics: Diagnostics, config: Config) -> None:
        self.known, self.diagnostics, self.config = known, diagnostics, config
        self.is_root = config.directory == "."
        self.pieces = Pieces(diagnostics)

    def file(self, body: ast.Body) -> None:
        for attribute in body.attributes.values():
            self.diagnostics.error(
                "Unexpected argument",
                f'"{attribute.name} = …" stands outside of any block.',
                attribute.name_span,
                hint="Values of variables belong into a file such as brevplan.vars.hcl.",
            )
        for block in body.blocks:
            self.block(block)

    def block(self, block: ast.Block) -> None:
        read = self.reader(block.type)
        if block.type == "policy":
            self.diagnostics.error(
                "Block not supported yet", 'This version does not read "policy" blocks.', block.header_span
            )
        elif read is None:
            self.diagnostics.error(
                "Unknown block",
                f'There is no top-level block "{block.type}".',
                block.header_span,
                hint=suggest(block.type, TOP_LEVEL) or f"Blocks are: {', '.join(TOP_LEVEL)}.",
            )
        elif block.type in ROOT_ONLY and not self.is_root:
            why = ROOT_ONLY[block.type]
            self.diagnostics.error("Block of the root module", f"{why[0].upper()}{why[1:]}.", block.header_span)
        else:
            read(block)

    def reader(self, type_: str) -> Callable[[ast.Block], None] | None:
        simple = {
            "variable": load_variable, "locals": load_locals, "module": load_call, "moved": load_moved,
            "import": load_import, "removed": load_removed,
        }  # fmt: skip
        if type_ in simple:
            return lambda block: simple[type_](self.pieces, self.config, block)
        own = {
            "brevplan": self.settings, "provider": self.provider, "resource": self.resource, "data": self.data,
            "output": self.output, "check": self.check, "policy": self.block,
        }  # fmt: skip
        return own.get(type_)

    # blocks of the root module

    def settings(self, block: ast.Block) -> None:
        pieces = self.pieces
        if not pieces.labels(block, 0) or pieces.repeated(block, self.config.settings.span, "brevplan"):
            return
        known = ("project", "required_version", "default_provider")
        pieces.known_arguments(block.body, known, "the brevplan block")
        texts = {name: pieces.literal_text(block.body, name) for name in ("project", "required_version")}
        project = texts["project"] or ""
        if "project" in block.body.attributes and texts["project"] is not None:
            self.check_project(project, block.body.attributes["project"])
        default = block.body.attributes.get("default_provider")
        self.config.settings = Settings(
            project,
            texts["required_version"] or "",
            pieces.provider_ref(default.value) if default is not None else None,
            self.backend_path(block),
            block.header_span,
        )

    def backend_path(self, block: ast.Block) -> str:
        pieces, path = self.pieces, "brevplan.db"
        for inner in block.body.blocks:
            if inner.type != "backend":
                pieces.unknown_block(inner, ("backend",), "the brevplan block")
            elif pieces.labels(inner, 1) and inner.labels[0].text != "sqlite":
                self.diagnostics.error(
                    "Unknown backend", f'There is no backend "{inner.labels[0].text}".', inner.labels[0].span,
                    hint='Write: backend "sqlite" { path = "brevplan.db" }',
                )  # fmt: skip
            else:
                pieces.known_arguments(inner.body, ("path",), "the backend block")
                path = pieces.literal_text(inner.body, "path") or path
        return path

    def check_project(self, project: str, attribute: ast.Attribute) -> None:
        if not PROJECT_PATTERN.match(project) or len(project) > 20:
            self.diagnostics.error(
                "Invalid project",
                f'"{project}" cannot be part of machine names: 1 to 20 of a-z, 0-9 and single hyphens are needed.',
                attribute.value.span,
                hint='For example: project = "acme-train-x7k2"',
            )

    def provider(self, block: ast.Block) -> None:
        if not self.pieces.labels(block, 1):
            return
        name, known = block.labels[0].text, self.known.providers
        if name not in known:
            self.diagnostics.error(
                "Unknown provider",
                f'There is no provider "{name}" in this version.',
                block.labels[0].span,
                hint=suggest(name, known) or f"Providers are: {', '.join(sorted(known))}.",
            )
            return
        self.pieces.no_blocks(block, "a provider block")
        self.pieces.known_arguments(block.body, ("alias", *known[name]), f'provider "{name}"')
        alias = self.pieces.literal_text(block.body, "alias")
        key = f"{name}.{alias}" if alias else name
        if key in self.config.providers:
            first = self.config.providers[key].span
            self.diagnostics.error(
                "Duplicate provider",
                f'"{key}" is configured at {first} already.',
                block.header_span,
                hint='Give one of them an alias: alias = "other"',
            )
            return
        arguments = self.pieces.prepare_all(block.body, skip={"alias"})
        self.config.providers[key] = ProviderBlock(key, name, arguments, block.header_span)

    # blocks of every module

    def output(self, block: ast.Block) -> None:
        load_output(self.pieces, self.config, block, is_root=self.is_root)

    def resource(self, block: ast.Block) -> None:
        if not self.pieces.labels(block, 2):
            return
        kind = self.named(block.labels[0], self.known.kinds, "resource")
        if kind is not None:
            self.declare(block, Address(block.labels[0].text, block.labels[1].text), kind.schema)

    def data(self, block: ast.Block, check: str = "") -> None:
        if not self.pieces.labels(block, 2):
            return
        schema = self.named(block.labels[0], self.known.data_kinds, "data source")
        if schema is not None:
            address = Address(block.labels[0].text, block.labels[1].text, None, is_data=True)
            self.declare(block, address, schema, check)

    def check(self, block: ast.Block) -> None:
        load_check(self.pieces, self.config, block)
        sources = [inner for inner in block.body.blocks if inner.type == "data"]
        for extra in sources[1:]:
            self.diagnostics.error("Duplicate block", "A check reads at most one data source.", extra.header_span)
        for inner in sources[:1]:
            self.data(inner, block.labels[0].text if block.labels else "")

    def declare(self, block: ast.Block, address: Address, schema: Schema, check: str = "") -> None:
        known = self.config.resources
        if address in known:
            self.diagnostics.error(
                "Duplicate resource", f"{address} is declared at {known[address].span} already.", block.header_span
            )
            return
        found = load_resource(self.pieces, block, address, schema)
        if found is not None:
            known[address] = replace(found, check=check) if check else found

    def named(self, label: ast.Label, known: Mapping[str, _T], what: str) -> _T | None:
        """Find what the first label of a block names; tell what there is when it names nothing."""
        found = known.get(label.text)
        if found is None:
            self.diagnostics.error(
                f"Unknown {what}",
                f'There is no {what} "{label.text}".',
                label.span,
                hint=suggest(label.text, known) or f"{what.capitalize()}s are: {', '.join(sorted(known))}.",
            )
        return found
