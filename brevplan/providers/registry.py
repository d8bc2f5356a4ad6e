"""Which clouds there are. A module is imported on first use, so an unused cloud costs no start-up time."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from brevplan.contract.provider import ProviderSpec

MODULES: Final[Mapping[str, str]] = {
    "lambda": "brevplan.providers.lambda_cloud",
    "local": "brevplan.providers.local",
}

PLANNED: Final = ("aws", "fluidstack", "launchpad", "nebius", "shadeform")
"""Clouds of the mission whose modules are still to come: named so that a message can say so."""


def names() -> list[str]:
    return sorted(MODULES)


def spec(name: str) -> ProviderSpec:
    """Give a provider's introduction; raise `KeyError` for a name that is not in the registry."""
    found = import_module(MODULES[name]).SPEC
    assert isinstance(found, ProviderSpec)
    return found
