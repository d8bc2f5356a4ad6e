"""Builders for the tests of the engine: configurations from text, changes and records in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brevplan.diagnostics import Diagnostic, Diagnostics, Source
from brevplan.engine.address import Address
from brevplan.engine.board import Context
from brevplan.engine.change import Action, Change
from brevplan.engine.config import Config
from brevplan.engine.loading.tree import Folder, load
from brevplan.engine.ports import Record, Role
from brevplan.engine.scope import ModuleScope
from brevplan.lang import ast
from brevplan.lang.gate import Environment
from brevplan.lang.parser import parse
from brevplan.lang.values import Value
from brevplan.operations.project import known
from brevplan.operations.world import ProjectFiles


def loaded(*texts: str, modules: Mapping[str, str] | None = None) -> tuple[Config, list[Diagnostic]]:
    """Load texts as one configuration, with modules by their folders; every one must parse."""

    def read(path: str) -> Folder:
        if path not in (modules or {}):
            raise ValueError(f"There is no folder {path}.")
        return Folder(path, [_body(f"{path}/main.hcl", (modules or {})[path])])

    diagnostics = Diagnostics()
    bodies = [_body(f"f{number}.hcl", text) for number, text in enumerate(texts)]
    config = load(Folder("", bodies), read, known(), diagnostics)
    return config, diagnostics.items


def _body(name: str, text: str) -> ast.Body:
    body, problems = parse(Source(name, text))
    assert not problems, problems
    return body


def scope_of(config: Config, **variables: Value) -> ModuleScope:
    environment = Environment(ProjectFiles(Path()), datetime(2026, 1, 1, tzinfo=UTC), False)
    return ModuleScope.of_root(config, variables, environment, Context("default", "lab"))


def at(text: str) -> Address:
    return Address.parse(text)


def change(address: str, action: Action = Action.CREATE, reads: Iterable[str] = (), **fields: Any) -> Change:
    """Give a change; what is there before and after follows from the action."""
    before = None if action is Action.CREATE else {"id": "i"}
    after = None if action is Action.DELETE else {"id": "i"}
    return Change(at(address), action, before, after, reads=frozenset(map(at, reads)), **fields)


def record(address: str, **fields: Any) -> Record:
    base: dict[str, Any] = {
        "key": f"bp-lab-{address}", "workspace": "default", "address": at(address), "role": Role.CURRENT,
        "kind": address.split(".")[0], "attributes": {}, "alias": "local", "account": "print", "cloud_id": "i-1",
    }  # fmt: skip
    return Record(**{**base, **fields})
