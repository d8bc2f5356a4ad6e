"""Syntax trees in, `Config` out: structure checked, expressions prepared, every mistake told.

Nothing is evaluated here but literals. A block with a mistake is left out, or loaded as far as it makes sense, so that
all mistakes are reported in one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from brevplan.contract.duration import parse_duration
from brevplan.diagnostics import Diagnostics, Span, suggest
from brevplan.engine.address import Address
from brevplan.engine.config import (
    Condition,
    Config,
    Declaration,
    Lifecycle,
    NestedBlock,
    OutputBlock,
    ProviderBlock,
    ProviderRef,
    Settings,
    VariableBlock,
)
from brevplan.engine.kind import AttributeSpec, BlockSpec, Kind, Schema
from brevplan.engine.references import RESERVED_ROOTS, check_references
from brevplan.lang import ast
from brevplan.lang.constraints import read_constraint
from brevplan.lang.evaluate import prepare
from brevplan.lang.prepared import EvaluationError, Prepared, Reference
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import Object, Tuple, Value

_T = TypeVar("_T")

TOP_LEVEL: Final = (
    "brevplan", "provider", "variable", "locals", "resource", "data", "output",
    "module", "moved", "import", "removed", "check", "policy",
)  # fmt: skip
NOT_YET: Final = ("module", "moved", "import", "removed", "check", "policy")
META_ARGUMENTS: Final = frozenset({"count", "for_each", "depends_on", "provider"})
META_BLOCKS: Final = frozenset({"lifecycle", "timeouts", "dynamic"})
PROJECT_PATTERN: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9])*\Z")


def load(
    bodies: Sequence[ast.Body],
    kinds: Mapping[str, Kind],
    data_kinds: Mapping[str, Schema],
    providers: Mapping[str, Iterable[str]],
    diagnostics: Diagnostics,
) -> Config:
    """Load the files of one module. `providers` gives the argument names of every provider there is."""
    loader = _Loader(kinds, data_kinds, providers, diagnostics)
    for body in bodies:
        loader.file(body)
    check_references(loader.config, kinds, data_kinds, diagnostics)
    return loader.config


_Ignored = tuple[frozenset[str], tuple[tuple[str, str], ...], bool, Prepared | None]
"""Names, elements of maps, whether all is ignored, and an expression that says it."""


class _Loader:
    def __init__(
        self,
        kinds: Mapping[str, Kind],
        data_kinds: Mapping[str, Schema],
        providers: Mapping[str, Iterable[str]],
        diagnostics: Diagnostics,
    ) -> None:
        self.kinds = kinds
        self.data_kinds = data_kinds
        self.providers = providers
        self.diagnostics = diagnostics
        self.config = Config()

    # files and top-level blocks

    def file(self, body: ast.Body) -> None:
        self.config.sources.append(body.source)
        for attribute in body.attributes.values():
            self.diagnostics.error(
                "Unexpected argument",
                f'"{attribute.name} = …" stands outside of any block.',
                attribute.name_span,
                hint="Values of variables belong into a file such as brevplan.vars.hcl.",
            )
        for block in body.blocks:
            read = getattr(self, f"_{block.type}", None) if block.type in TOP_LEVEL else None
            if block.type in NOT_YET:
                self.diagnostics.error(
                    "Block not supported yet", f'This version does not read "{block.type}" blocks.', block.header_span
                )
            elif read is None:
                self.diagnostics.error(
                    "Unknown block",
                    f'There is no top-level block "{block.type}".',
                    block.header_span,
                    hint=suggest(block.type, TOP_LEVEL) or f"Blocks are: {', '.join(TOP_LEVEL)}.",
                )
            else:
                read(block)

    def _brevplan(self, block: ast.Block) -> None:
        if not self._labels(block, 0) or self._repeated(block, self.config.settings.span, "brevplan"):
            return
        known = ("project", "required_version", "default_provider")
        self._known_arguments(block.body, known, "the brevplan block")
        texts = {name: self._literal_text(block.body, name) for name in ("project", "required_version")}
        project = texts["project"] or ""
        if "project" in block.body.attributes and texts["project"] is not None:
            self._check_project(project, block.body.attributes["project"])
        default = block.body.attributes.get("default_provider")
        path = "brevplan.db"
        for inner in block.body.blocks:
            if inner.type != "backend":
                self._unknown_block(inner, ("backend",), "the brevplan block")
            elif self._labels(inner, 1) and inner.labels[0].text != "sqlite":
                self.diagnostics.error(
                    "Unknown backend", f'There is no backend "{inner.labels[0].text}".', inner.labels[0].span,
                    hint='Write: backend "sqlite" { path = "brevplan.db" }',
                )  # fmt: skip
            else:
                self._known_arguments(inner.body, ("path",), "the backend block")
                path = self._literal_text(inner.body, "path") or path
        self.config.settings = Settings(
            project,
            texts["required_version"] or "",
            self._provider_ref(default.value) if default is not None else None,
            path,
            block.header_span,
        )

    def _check_project(self, project: str, attribute: ast.Attribute) -> None:
        if not PROJECT_PATTERN.match(project) or len(project) > 20:
            self.diagnostics.error(
                "Invalid project",
                f'"{project}" cannot be part of machine names: 1 to 20 of a-z, 0-9 and single hyphens are needed.',
                attribute.value.span,
                hint='For example: project = "acme-train-x7k2"',
            )

    def _provider(self, block: ast.Block) -> None:
        if not self._labels(block, 1):
            return
        name = block.labels[0].text
        if name not in self.providers:
            self.diagnostics.error(
                "Unknown provider",
                f'There is no provider "{name}" in this version.',
                block.labels[0].span,
                hint=suggest(name, self.providers) or f"Providers are: {', '.join(sorted(self.providers))}.",
            )
            return
        for inner in block.body.blocks:
            self._unknown_block(inner, (), "a provider block")
        self._known_arguments(block.body, ("alias", *self.providers[name]), f'provider "{name}"')
        alias = self._literal_text(block.body, "alias")
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
        arguments = self._prepare_all(block.body, skip={"alias"})
        self.config.providers[key] = ProviderBlock(key, name, arguments, block.header_span)

    def _variable(self, block: ast.Block) -> None:
        if not self._labels(block, 1):
            return
        name, body = block.labels[0].text, block.body
        if not self._unique(self.config.variables, name, block, "variable"):
            return
        known = ("type", "default", "description", "sensitive", "nullable", "ephemeral")
        self._known_arguments(body, known, "a variable block")
        type_: Type = ANY
        if "type" in body.attributes:
            type_ = read_constraint(body.attributes["type"].value, self.diagnostics, self._literal)
        default = self._literal(body.attributes["default"].value) if "default" in body.attributes else None
        for inner in body.blocks:
            if inner.type != "validation":
                self._unknown_block(inner, ("validation",), "a variable block")
        rules = tuple(self._conditions(inner) for inner in body.blocks if inner.type == "validation")
        self.config.variables[name] = VariableBlock(
            name,
            type_,
            "type" in body.attributes,
            default,
            "default" in body.attributes,
            self._literal_bool(body, "sensitive", False),
            self._literal_bool(body, "nullable", True),
            self._literal_text(body, "description") or "",
            tuple(rule for rule in rules if rule is not None),
            block.header_span,
        )

    def _locals(self, block: ast.Block) -> None:
        if not self._labels(block, 0):
            return
        for inner in block.body.blocks:
            self._unknown_block(inner, (), "locals")
        for name, attribute in block.body.attributes.items():
            if name in self.config.locals:
                first = self.config.locals[name].node.span
                self.diagnostics.error(
                    "Duplicate local", f'"{name}" has a value at {first} already.', attribute.name_span
                )
                continue
            prepared = self._prepare(attribute.value)
            if prepared is not None:
                self.config.locals[name] = prepared

    def _output(self, block: ast.Block) -> None:
        if not self._labels(block, 1):
            return
        name, body = block.labels[0].text, block.body
        if not self._unique(self.config.outputs, name, block, "output"):
            return
        self._known_arguments(body, ("value", "description", "sensitive", "depends_on", "ephemeral"), "an output block")
        for inner in body.blocks:
            if inner.type != "precondition":
                self._unknown_block(inner, ("precondition",), "an output block")
        if "value" not in body.attributes:
            self._missing(block, "value")
            return
        value = self._prepare(body.attributes["value"].value)
        if value is None:
            return
        rules = tuple(self._conditions(inner) for inner in body.blocks if inner.type == "precondition")
        self.config.outputs[name] = OutputBlock(
            name,
            value,
            self._literal_text(body, "description") or "",
            self._literal_bool(body, "sensitive", False),
            self._depends_on(body),
            tuple(rule for rule in rules if rule is not None),
            block.header_span,
        )

    def _resource(self, block: ast.Block) -> None:
        if not self._labels(block, 2):
            return
        kind = self._named(block.labels[0], self.kinds, "resource")
        if kind is not None:
            self._declaration(block, Address(block.labels[0].text, block.labels[1].text), kind.schema)

    def _data(self, block: ast.Block) -> None:
        if not self._labels(block, 2):
            return
        schema = self._named(block.labels[0], self.data_kinds, "data source")
        if schema is not None:
            address = Address(block.labels[0].text, block.labels[1].text, None, is_data=True)
            self._declaration(block, address, schema)

    def _named(self, label: ast.Label, known: Mapping[str, _T], what: str) -> _T | None:
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

    # resources

    def _declaration(self, block: ast.Block, address: Address, schema: Schema) -> None:
        if not _is_identifier(address.name):
            self.diagnostics.error(
                "Invalid name", f'"{address.name}" is not a name: a letter or _, then letters, digits, _ and -.',
                block.labels[1].span,
            )  # fmt: skip
            return
        if address in self.config.resources:
            first = self.config.resources[address].span
            self.diagnostics.error(
                "Duplicate resource", f"{address} is declared at {first} already.", block.header_span
            )
            return
        body = block.body
        self._check_arguments(body, schema, address)
        for name, spec in schema.attributes.items():
            if spec.required and name not in body.attributes:
                self._missing(block, name)
        skip = META_ARGUMENTS | {name for name in body.attributes if not _is_argument(schema, name)}
        arguments = self._prepare_all(body, skip=skip)
        blocks = tuple(self._nested_blocks(body, schema, address))
        lifecycle = self._lifecycle(body, schema)
        meta = body.attributes
        if "count" in meta and "for_each" in meta:
            self.diagnostics.error(
                "count and for_each together", "A block is repeated by one of them, not by both.",
                meta["for_each"].name_span,
            )  # fmt: skip
        declaration = Declaration(
            address,
            arguments,
            blocks,
            block.header_span,
            self._prepare(meta["count"].value) if "count" in meta else None,
            self._prepare(meta["for_each"].value) if "for_each" in meta else None,
            self._depends_on(body),
            self._provider_ref(meta["provider"].value) if "provider" in meta else None,
            lifecycle,
            self._timeouts(body),
            {name: attribute.value.span for name, attribute in body.attributes.items()},
            _varies(arguments, blocks, lifecycle),
            tuple(name for name, prepared in arguments.items() if _depends_on_instance(prepared)),
        )
        self.config.resources[address] = declaration

    def _check_arguments(self, body: ast.Body, schema: Schema, address: Address) -> None:
        known = [*schema.argument_names(), *schema.blocks, *META_ARGUMENTS, *META_BLOCKS]
        for attribute in body.attributes.values():
            name = attribute.name
            if name in META_ARGUMENTS or _is_argument(schema, name):
                continue
            if name in schema.attributes:
                self.diagnostics.error(
                    "Argument is computed", f'"{name}" is set by the provider and cannot be chosen.',
                    attribute.name_span, hint="Take the line out.",
                )  # fmt: skip
            elif name in schema.blocks or name in META_BLOCKS:
                self.diagnostics.error(
                    "Block written as an argument", f'"{name}" is a block.', attribute.name_span,
                    hint=f"Write it without the equals sign: {name} {{ … }}",
                )  # fmt: skip
            else:
                self.diagnostics.error(
                    "Unknown argument", f'"{address.kind}" has no argument "{name}".', attribute.name_span,
                    hint=suggest(name, known),
                )  # fmt: skip

    def _nested_blocks(self, body: ast.Body, schema: Schema, address: Address) -> Iterator[NestedBlock]:
        seen: dict[str, ast.Block] = {}
        for block in body.blocks:
            if block.type == "dynamic":
                yield from self._dynamic(block, schema, address)
                continue
            if block.type in META_BLOCKS:
                continue
            spec = schema.blocks.get(block.type)
            if spec is None:
                self._unknown_block(block, (*schema.blocks, *META_BLOCKS), f'resource "{address.kind}"', schema)
                continue
            if spec.single and block.type in seen:
                self.diagnostics.error(
                    "Duplicate block",
                    f'At most one "{block.type}" block is allowed; the first is at {seen[block.type].span}.',
                    block.header_span,
                )  # fmt: skip
                continue
            seen[block.type] = block
            if spec.refusal:
                self.diagnostics.error("Block not supported yet", spec.refusal, block.header_span)
                continue
            if self._labels(block, 0):
                yield NestedBlock(spec, self._block_arguments(block.body, spec, block), block.header_span)

    def _block_arguments(self, body: ast.Body, spec: BlockSpec, block: ast.Block) -> dict[str, Prepared]:
        self._known_arguments(body, tuple(spec.attributes), f'the block "{spec.name}"')
        for inner in body.blocks:
            self._unknown_block(inner, (), f'the block "{spec.name}"')
        for name, attribute in spec.attributes.items():
            if attribute.required and name not in body.attributes:
                self._missing(block, name)
        return self._prepare_all(body, skip={name for name in body.attributes if name not in spec.attributes})

    def _dynamic(self, block: ast.Block, schema: Schema, address: Address) -> Iterator[NestedBlock]:
        if not self._labels(block, 1):
            return
        name, body = block.labels[0].text, block.body
        spec = schema.blocks.get(name)
        if spec is None or spec.single:
            self.diagnostics.error(
                "Unknown block", f'"{address.kind}" has no block "{name}" that can be repeated.', block.labels[0].span,
                hint=suggest(name, [n for n, s in schema.blocks.items() if not s.single]),
            )  # fmt: skip
            return
        self._known_arguments(body, ("for_each", "iterator", "labels"), "a dynamic block")
        contents = [inner for inner in body.blocks if inner.type == "content"]
        for inner in body.blocks:
            if inner.type != "content":
                self._unknown_block(inner, ("content",), "a dynamic block")
        if "for_each" not in body.attributes:
            self._missing(block, "for_each")
            return
        if len(contents) != 1:
            self.diagnostics.error(
                "Missing content", 'A dynamic block needs exactly one "content" block.', block.header_span,
                hint="content { … } holds the arguments of each block that is made.",
            )  # fmt: skip
            return
        each = self._prepare(body.attributes["for_each"].value)
        iterator = name
        if "iterator" in body.attributes:
            node = body.attributes["iterator"].value
            iterator = node.name if isinstance(node, ast.Variable) else self._literal_text(body, "iterator") or name
        if each is not None:
            arguments = self._block_arguments(contents[0].body, spec, contents[0])
            yield NestedBlock(spec, arguments, block.header_span, each, iterator)

    def _lifecycle(self, body: ast.Body, schema: Schema) -> Lifecycle:
        blocks = [block for block in body.blocks if block.type == "lifecycle"]
        for extra in blocks[1:]:
            self.diagnostics.error(
                "Duplicate block", f"lifecycle stands at {blocks[0].span} already.", extra.header_span
            )
        if not blocks:
            return Lifecycle()
        inner = blocks[0].body
        known = ("create_before_destroy", "prevent_destroy", "ignore_changes", "replace_triggered_by")
        self._known_arguments(inner, known, "the lifecycle block")
        rules: dict[str, list[Condition]] = {"precondition": [], "postcondition": []}
        for block in inner.blocks:
            if block.type not in rules:
                self._unknown_block(block, tuple(rules), "the lifecycle block")
                continue
            rule = self._conditions(block)
            if rule is not None:
                rules[block.type].append(rule)
        ignored, ignored_keys, ignores_all, ignore_expression = self._ignore_changes(inner, schema)
        return Lifecycle(
            self._optional(inner, "create_before_destroy"),
            self._optional(inner, "prevent_destroy"),
            ignore_expression,
            ignored,
            ignored_keys,
            ignores_all,
            tuple(self._triggers(inner)),
            tuple(rules["precondition"]),
            tuple(rules["postcondition"]),
        )

    def _ignore_changes(self, body: ast.Body, schema: Schema) -> _Ignored:
        attribute = body.attributes.get("ignore_changes")
        if attribute is None:
            return frozenset(), (), False, None
        node = attribute.value
        if isinstance(node, ast.Variable) and node.name == "all":
            return frozenset(), (), True, None
        if not isinstance(node, ast.TupleCons):
            return frozenset(), (), False, self._prepare(node)
        names: set[str] = set()
        keys: list[tuple[str, str]] = []
        for item in node.items:
            name = _root_name(item)
            if name is None or not _is_argument(schema, name):
                self.diagnostics.error(
                    "Unknown argument", "ignore_changes lists arguments of this block by name.", item.span,
                    hint=suggest(name or "", schema.argument_names()) or "For example: ignore_changes = [tags]",
                )  # fmt: skip
            elif (key := _element_key(item)) is not None:
                keys.append((name, key))
            else:
                names.add(name)
        return frozenset(names), tuple(keys), False, None

    def _triggers(self, body: ast.Body) -> Iterator[Prepared]:
        attribute = body.attributes.get("replace_triggered_by")
        if attribute is None:
            return
        items = attribute.value.items if isinstance(attribute.value, ast.TupleCons) else [attribute.value]
        for item in items:
            prepared = self._prepare(item)
            if prepared is None:
                continue
            if not prepared.references or prepared.references[0].root in RESERVED_ROOTS - {"each", "count"}:
                self.diagnostics.error(
                    "Invalid replace_triggered_by", "A resource or one of its attributes is needed.", item.span,
                    hint="For example: replace_triggered_by = [firewall.web]",
                )  # fmt: skip
            else:
                yield prepared

    def _timeouts(self, body: ast.Body) -> dict[str, float]:
        found: dict[str, float] = {}
        for block in body.blocks:
            if block.type != "timeouts":
                continue
            self._known_arguments(block.body, ("create", "update", "delete"), "the timeouts block")
            for name in block.body.attributes:
                text = self._literal_text(block.body, name)
                if text is None:
                    continue
                try:
                    found[name] = parse_duration(text)
                except ValueError as problem:
                    self.diagnostics.error("Invalid timeout", f"{problem}.", block.body.attributes[name].value.span)
        return found

    # pieces

    def _conditions(self, block: ast.Block) -> Condition | None:
        self._known_arguments(block.body, ("condition", "error_message"), f'the block "{block.type}"')
        condition, message = self._optional(block.body, "condition"), self._optional(block.body, "error_message")
        if condition is None or message is None:
            for name in ("condition", "error_message"):
                if name not in block.body.attributes:
                    self._missing(block, name)
            return None
        return Condition(condition, message, condition.node.span)

    def _depends_on(self, body: ast.Body) -> tuple[Reference, ...]:
        attribute = body.attributes.get("depends_on")
        if attribute is None:
            return ()
        if not isinstance(attribute.value, ast.TupleCons):
            self.diagnostics.error(
                "Invalid depends_on", "A list of resources is needed.", attribute.value.span,
                hint="For example: depends_on = [instance.head]",
            )  # fmt: skip
            return ()
        found: list[Reference] = []
        for item in attribute.value.items:
            prepared = self._prepare(item)
            if prepared is not None and prepared.references:
                found.append(prepared.references[0])
            elif prepared is not None:
                self.diagnostics.error("Invalid depends_on", "This is not a resource.", item.span)
        return tuple(found)

    def _provider_ref(self, node: ast.Expression) -> ProviderRef | None:
        match node:
            case ast.Variable(name=name):
                return ProviderRef(name, node.span)
            case ast.GetAttr(object=ast.Variable(name=name), name=alias):
                return ProviderRef(f"{name}.{alias}", node.span)
            case ast.Template(parts=[str() as text]):
                return ProviderRef(text, node.span)
        self.diagnostics.error(
            "Invalid provider", "A provider is named directly: lambda, or shadeform.burst for an alias.", node.span
        )
        return None

    def _prepare(self, node: ast.Expression) -> Prepared | None:
        try:
            return prepare(node)
        except EvaluationError as problem:
            self.diagnostics.add(problem.diagnostic)
            return None

    def _prepare_all(self, body: ast.Body, skip: Iterable[str] = ()) -> dict[str, Prepared]:
        left_out = set(skip)
        prepared = {
            name: self._prepare(attribute.value) for name, attribute in body.attributes.items() if name not in left_out
        }
        return {name: item for name, item in prepared.items() if item is not None}

    def _optional(self, body: ast.Body, name: str) -> Prepared | None:
        return self._prepare(body.attributes[name].value) if name in body.attributes else None

    def _literal(self, node: ast.Expression) -> Value:
        return literal_value(node, self.diagnostics)

    def _literal_text(self, body: ast.Body, name: str) -> str | None:
        attribute = body.attributes.get(name)
        if attribute is None:
            return None
        known = len(self.diagnostics)
        value = self._literal(attribute.value)
        if isinstance(value, str):
            return value
        if len(self.diagnostics) == known:
            self.diagnostics.error("Unsuitable value", f'"{name}" is a literal text.', attribute.value.span)
        return None

    def _literal_bool(self, body: ast.Body, name: str, default: bool) -> bool:
        attribute = body.attributes.get(name)
        if attribute is None:
            return default
        known = len(self.diagnostics)
        value = self._literal(attribute.value)
        if isinstance(value, bool):
            return value
        if len(self.diagnostics) == known:
            self.diagnostics.error("Unsuitable value", f'"{name}" is true or false.', attribute.value.span)
        return default

    def _labels(self, block: ast.Block, count: int) -> bool:
        if len(block.labels) == count:
            return True
        shapes = {
            "resource": 'resource "instance" "name" { … }', "data": 'data "images" "name" { … }',
            "variable": 'variable "name" { … }', "output": 'output "name" { … }',
            "provider": 'provider "local" { … }', "backend": 'backend "sqlite" { … }',
            "dynamic": 'dynamic "ingress" { … }',
        }  # fmt: skip
        at = block.labels[count].span if len(block.labels) > count else block.header_span
        self.diagnostics.error(
            "Wrong number of labels",
            f'A "{block.type}" block has {count or "no"} label{"s" if count != 1 else ""}, not {len(block.labels)}.',
            at,
            hint=f"Write: {shapes.get(block.type, block.type + ' { … }')}",
        )
        return False

    def _unique(self, known: Mapping[str, VariableBlock | OutputBlock], name: str, block: ast.Block, what: str) -> bool:
        if not _is_identifier(name):
            self.diagnostics.error(
                "Invalid name", f'"{name}" is not a name: a letter or _, then letters, digits, _ and -.',
                block.labels[0].span,
            )  # fmt: skip
            return False
        if name not in known:
            return True
        self.diagnostics.error(
            f"Duplicate {what}", f'"{name}" is declared at {known[name].span} already.', block.header_span
        )
        return False

    def _repeated(self, block: ast.Block, first: Span | None, what: str) -> bool:
        if first is None:
            return False
        self.diagnostics.error("Duplicate block", f'"{what}" stands at {first} already.', block.header_span)
        return True

    def _known_arguments(self, body: ast.Body, known: Sequence[str], where: str) -> None:
        for attribute in body.attributes.values():
            if attribute.name not in known:
                self.diagnostics.error(
                    "Unknown argument",
                    f'There is no argument "{attribute.name}" in {where}.',
                    attribute.name_span,
                    hint=suggest(attribute.name, known) or (f"Arguments are: {', '.join(known)}." if known else ""),
                )

    def _unknown_block(self, block: ast.Block, known: Sequence[str], where: str, schema: Schema | None = None) -> None:
        if schema is not None and block.type in schema.attributes:
            self.diagnostics.error(
                "Argument written as a block", f'"{block.type}" is an argument.', block.header_span,
                hint=f"Write it with an equals sign: {block.type} = …",
            )  # fmt: skip
            return
        self.diagnostics.error(
            "Unknown block",
            f'There is no block "{block.type}" in {where}.',
            block.header_span,
            hint=suggest(block.type, known),
        )

    def _missing(self, block: ast.Block, name: str) -> None:
        self.diagnostics.error(
            "Missing argument",
            f'The argument "{name}" is required, and it is not there.',
            block.header_span,
            hint=f"Add a line to the block: {name} = …",
        )


def literal_value(node: ast.Expression, diagnostics: Diagnostics) -> Value:
    """Give the value of an expression without references and calls; report anything else and give null."""
    match node:
        case ast.Literal(value=value):
            return value
        case ast.Parentheses():
            return literal_value(node.inner, diagnostics)
        case ast.Template(parts=parts) if all(isinstance(part, str) for part in parts):
            return "".join(part for part in parts if isinstance(part, str))
        case ast.Unary(operator="-", operand=ast.Literal(value=value)) if not isinstance(value, (str, type(None))):
            return -value
        case ast.TupleCons():
            return Tuple(literal_value(item, diagnostics) for item in node.items)
        case ast.ObjectCons():
            return Object(
                {
                    str(literal_value(item.key, diagnostics)): literal_value(item.value, diagnostics)
                    for item in node.items
                }
            )
    diagnostics.error("Not a literal value", "Neither references nor function calls are allowed here.", node.span)
    return None


def _is_argument(schema: Schema, name: str) -> bool:
    spec: AttributeSpec | None = schema.attributes.get(name)
    return spec is not None and spec.configurable


def _is_identifier(text: str) -> bool:
    return re.fullmatch(r"[^\W\d][\w-]*", text) is not None


def _element_key(node: ast.Expression) -> str | None:
    """Give the key of `tags["owner"]` or `tags.owner`; None for a name alone."""
    if isinstance(node, ast.GetAttr):
        return node.name
    if isinstance(node, ast.Index) and isinstance(node.key, ast.Template) and len(node.key.parts) == 1:
        part = node.key.parts[0]
        return part if isinstance(part, str) else None
    return None


def _root_name(node: ast.Expression) -> str | None:
    while isinstance(node, (ast.GetAttr, ast.Index)):
        node = node.object
    if isinstance(node, ast.Variable):
        return node.name
    if isinstance(node, ast.Template) and len(node.parts) == 1 and isinstance(node.parts[0], str):
        return node.parts[0]
    return None


def _varies(arguments: Mapping[str, Prepared], blocks: Sequence[NestedBlock], lifecycle: Lifecycle) -> bool:
    expressions = [*arguments.values(), *(item for block in blocks for item in block.arguments.values())]
    expressions += [block.for_each for block in blocks if block.for_each is not None]
    expressions += [
        item for item in (lifecycle.prevent_destroy, lifecycle.create_before_destroy, lifecycle.ignore_changes) if item
    ]
    return any(map(_depends_on_instance, expressions))


def _depends_on_instance(prepared: Prepared) -> bool:
    return any(reference.root in ("each", "count", "self") for reference in prepared.references)
