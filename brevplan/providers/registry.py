"""Which clouds there are. A module is imported on first use, so an unused cloud costs no start-up time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final

from brevplan.contract.provider import Argument, ProviderSpec

MODULES: Final[Mapping[str, str]] = {
    "aws": "brevplan.providers.aws",
    "lambda": "brevplan.providers.lambda_cloud",
    "local": "brevplan.providers.local",
    "shadeform": "brevplan.providers.shadeform",
}

PLANNED: Final = ("fluidstack", "launchpad", "nebius")
"""Clouds of the mission whose modules are still to come: named so that a message can say so."""


def names() -> list[str]:
    return sorted(MODULES)


def spec(name: str) -> ProviderSpec:
    """Give a provider's introduction; raise `KeyError` for a name that is not in the registry."""
    found = import_module(MODULES[name]).SPEC
    assert isinstance(found, ProviderSpec)
    return found


class Arguments(Mapping[str, Mapping[str, Argument]]):
    """The arguments of every provider block there can be, by provider; a module is imported when it is looked up."""

    def __getitem__(self, name: str) -> Mapping[str, Argument]:
        return spec(name).all_arguments()

    def __contains__(self, name: object) -> bool:
        return name in MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(MODULES)
