"""The configuration as Terraform's plan representation has it: which expressions are constant, what others refer to.

Nothing is evaluated: an expression is told by its literal value or by the names that it uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from brevplan.diagnostics import Diagnostics
from brevplan.engine.config import Config, Declaration, ModuleCall, NestedBlock
from brevplan.engine.kind import AttributeSpec, Schema
from brevplan.engine.provider_choice import ProviderChoice
from brevplan.lang.literals import literal_value
from brevplan.lang.prepared import Prepared, Reference
from brevplan.lang.printing import print_value
from brevplan.lang.values import has_secret
from brevplan.render.leaves import shown_data

_PLAIN_ROOTS: Final = frozenset({"var", "local", "path", "each", "count", "self", "brevplan"})


def configuration(config: Config | None, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Give the `configuration` of a plan; without one, the empty module."""
    if config is None:
        return {"root_module": {}}
    return {
        "provider_config": {key: _provider(config, key) for key in sorted(config.providers)},
        "root_module": _Module(config, schemas).data(config, ()),
    }


class _Module:
    """Describes the modules of one configuration."""

    def __init__(self, root: Config, schemas: Mapping[str, Schema]) -> None:
        self.schemas, self.choice = schemas, ProviderChoice(root)

    def data(self, config: Config, path: tuple[str, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {
            "outputs": {name: _output(config, name) for name in sorted(config.outputs)},
            "resources": [self.resource(path, config.resources[address]) for address in sorted(config.resources)],
            "variables": {name: _variable(config, name) for name in sorted(config.variables)},
        }
        if config.calls:
            data["module_calls"] = {name: self.call(config, name, path) for name in sorted(config.calls)}
        return data

    def call(self, config: Config, name: str, path: tuple[str, ...]) -> dict[str, Any]:
        call, child = config.calls[name], config.children.get(name)
        data: dict[str, Any] = {"source": call.source, "expressions": _inputs(call, child)}
        data |= _repetition(call)
        if child is not None:
            data["module"] = self.data(child, (*path, name))
        return data

    def resource(self, path: tuple[str, ...], declaration: Declaration) -> dict[str, Any]:
        address = declaration.address
        return {
            "address": str(address),
            "mode": "data" if address.is_data else "managed",
            "type": address.kind,
            "name": address.name,
            "provider_config_key": self.choice.of(path, declaration, Diagnostics()) or "",
            "expressions": _expressions(declaration, self.schemas.get(address.kind) or Schema({})),
            "schema_version": 0,
            **_repetition(declaration),
        }


def _inputs(call: ModuleCall, child: Config | None) -> dict[str, Any]:
    hidden = {name for name, block in child.variables.items() if block.sensitive} if child is not None else set()
    return {name: _expression(call.inputs[name], sensitive=name in hidden) for name in sorted(call.inputs)}


def _repetition(block: Declaration | ModuleCall) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if block.count is not None:
        data["count_expression"] = _expression(block.count)
    if block.for_each is not None:
        data["for_each_expression"] = _expression(block.for_each)
    if block.depends_on:
        data["depends_on"] = _references(block.depends_on)
    return data


def _provider(config: Config, key: str) -> dict[str, Any]:
    block = config.providers[key]
    alias = {"alias": key.split(".", 1)[1]} if "." in key else {}
    # which argument is a credential is not known here: constants stay out
    expressions = {name: _expression(block.arguments[name], sensitive=True) for name in sorted(block.arguments)}
    return {"name": block.name, "full_name": block.name, **alias, "expressions": expressions}


def _output(config: Config, name: str) -> dict[str, Any]:
    block = config.outputs[name]
    data: dict[str, Any] = {"expression": _expression(block.value, sensitive=block.sensitive)}
    if block.sensitive:
        data["sensitive"] = True
    if block.description:
        data["description"] = block.description
    if block.depends_on:
        data["depends_on"] = _references(block.depends_on)
    return data


def _variable(config: Config, name: str) -> dict[str, Any]:
    block = config.variables[name]
    data: dict[str, Any] = {}
    if block.has_default and not block.sensitive and not has_secret(block.default):
        data["default"] = shown_data(block.default)
    if block.description:
        data["description"] = block.description
    if block.sensitive:
        data["sensitive"] = True
    return data


def _expressions(declaration: Declaration, schema: Schema) -> dict[str, Any]:
    data: dict[str, Any] = _arguments(declaration.arguments, schema.attributes)
    for block in declaration.blocks:
        data.setdefault(block.spec.name, []).append(_block(block))
    return dict(sorted(data.items()))


def _block(block: NestedBlock) -> dict[str, Any]:
    data = _arguments(block.arguments, block.spec.attributes)
    return data if block.for_each is None else {"for_each": _expression(block.for_each), "content": data}


def _arguments(arguments: Mapping[str, Prepared], specs: Mapping[str, AttributeSpec]) -> dict[str, Any]:
    return {
        name: _expression(arguments[name], sensitive=name in specs and specs[name].sensitive)
        for name in sorted(arguments)
    }


def _expression(prepared: Prepared, *, sensitive: bool = False) -> dict[str, Any]:
    if prepared.references:
        return {"references": _references(prepared.references)}
    unread = Diagnostics()
    value = literal_value(prepared.node, unread)
    return {} if sensitive or unread.has_errors else {"constant_value": shown_data(value)}


def _references(references: Iterable[Reference]) -> list[str]:
    """Name what is referred to, each also without its last steps down to the whole block, as Terraform does."""
    found: dict[str, None] = {}
    for reference in references:
        shortest = 0 if reference.root in _PLAIN_ROOTS else 2 if reference.root == "data" else 1
        least = min(max(shortest, 1), len(reference.steps))
        for length in range(len(reference.steps), least - 1, -1):
            found.setdefault(_name(reference, length))
    return list(found)


def _name(reference: Reference, length: int) -> str:
    text = reference.root
    for step in reference.steps[:length]:
        text += f".{step}" if isinstance(step, str) else f"[{print_value(step.value)}]"
    return text
