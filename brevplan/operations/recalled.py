"""What names mean by the state alone: variables and locals as given now, resources as they were recorded."""

from __future__ import annotations

from contextlib import suppress

from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address
from brevplan.engine.dependencies import Dependencies, Node, Sort
from brevplan.engine.expand import expand, mode_of
from brevplan.engine.ports import Record, Role
from brevplan.engine.scope import ModuleScope
from brevplan.engine.secrets import is_sealed, unseal
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import Secret, Unknown, Value, has_secret, rebuild
from brevplan.operations.planning import Request, gather_values
from brevplan.operations.project import KINDS, Project
from brevplan.operations.stored import Stored
from brevplan.operations.world import ProjectFiles, SystemClock


def recalled_scope(
    project: Project, request: Request, stored: Stored, diagnostics: Diagnostics, *, offline: bool = False
) -> ModuleScope:
    """Give a scope over the state. Data is not read: it is unknown, as is what the state does not hold.

    `offline` takes a variable without a value for unknown instead of reporting it.
    """
    files = ProjectFiles(project.directory)
    now = SystemClock().now()
    _, scope = gather_values(project, request, files, now, diagnostics, stored.workspace, offline=offline)
    for record in stored.records:
        block = project.config.declaration(record.address)
        if record.role is Role.CURRENT and block is not None:
            scope.board.publish(record.address.block, mode_of(block), record.address.key, _attributes(record))
    _fill(scope, Dependencies(project.config, KINDS))
    return scope


def _fill(root: ModuleScope, dependencies: Dependencies) -> None:
    """Evaluate everything after what it needs: asked for one by one, a long chain of values would be too deep."""
    quiet = Diagnostics()
    order, _ = dependencies.ordered(quiet)
    for node in order:
        for scope in root.board.instances(node.path):
            match node:
                case Node(sort=Sort.RESOURCE, name=Address() as address) if not address.is_data:
                    scope.board.open_block(address.inside(scope.path), mode_of(scope.config.resources[address]))
                case Node(sort=Sort.MODULE, name=str() as name):
                    expansion = expand(scope.config.calls[name], scope, quiet)
                    if expansion is not None:
                        scope.open_module(name, expansion)
                case Node(path=()) if node.sort is Sort.VARIABLE:
                    continue  # given from outside
                case Node(sort=Sort.LOCAL | Sort.VARIABLE | Sort.OUTPUT, name=str() as name):
                    with suppress(EvaluationError):  # told when somebody asks for it
                        scope.value((node.sort.value, name), None)


def _attributes(record: Record) -> dict[str, Value]:
    schema = KINDS[record.kind].schema
    values: dict[str, Value] = {name: None for name, spec in schema.attributes.items() if spec.stored}
    for name, raw in record.attributes.items():
        type_ = schema.attributes[name].type if name in schema.attributes else ANY
        values[name] = _without_digests(unseal(raw, type_), type_, f"{record.address}.{name}")
    return values


def _without_digests(value: Value, type_: Type, because: str) -> Value:
    """Take a secret of which the state has only a digest for unknown, so that the digest is never shown as it."""
    if is_sealed(value):
        return Secret(Unknown(type_, because, not_null=True))
    return rebuild(value, lambda item: _without_digests(item, ANY, because)) if has_secret(value) else value
