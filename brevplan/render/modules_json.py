"""Resources in the modules that they belong to, the way Terraform's representations nest them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from brevplan.engine.address import ModulePath, path_order, path_text


def nested(resources: Iterable[tuple[ModulePath, dict[str, Any]]]) -> dict[str, Any]:
    """Give the root module with its resources, and below `child_modules` every module instance that has some."""
    modules: dict[ModulePath, dict[str, Any]] = {(): {"resources": []}}
    for path, resource in resources:
        for depth in range(1, len(path) + 1):
            inner = path[:depth]
            if inner not in modules:
                modules[inner] = {"resources": [], "address": path_text(inner)}
        modules[path]["resources"].append(resource)
    for path in sorted(modules, key=path_order):
        if path:
            modules[path[:-1]].setdefault("child_modules", []).append(modules[path])
    return modules[()]


def module_address(path: ModulePath) -> dict[str, str]:
    """Give the member that names the module of something; none in the root module."""
    return {"module_address": path_text(path)} if path else {}
