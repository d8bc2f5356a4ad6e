"""Which clouds there are. A module is imported on first use, so an unused cloud costs no start-up time.

An installed package may bring a cloud of its own, by an entry point of the group `brevplan.providers`: its name is the
provider's, its value the module. It never takes the place of a cloud that is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Final

from brevplan.contract.provider import Argument, ProviderSpec

MODULES: Final[Mapping[str, str]] = {
    "aws": "brevplan.providers.aws",
    "fluidstack": "brevplan.providers.fluidstack",
    "lambda": "brevplan.providers.lambda_cloud",
    "launchpad": "brevplan.providers.launchpad",
    "local": "brevplan.providers.local",
    "nebius": "brevplan.providers.nebius",
    "shadeform": "brevplan.providers.shadeform",
}

GROUP: Final = "brevplan.providers"


def names() -> list[str]:
    return sorted({*MODULES, *_installed()})


def is_known(name: str) -> bool:
    # what is installed is looked through only for a name that is not here: that takes its time
    return name in MODULES or name in _installed()


def spec(name: str) -> ProviderSpec:
    """Give a provider's introduction; raise `KeyError` for a name that is not in the registry."""
    found = import_module(MODULES.get(name) or _installed()[name]).SPEC
    assert isinstance(found, ProviderSpec)
    return found


@cache
def _installed() -> Mapping[str, str]:
    from importlib.metadata import entry_points  # most runs know their clouds without it

    return {point.name: point.value for point in entry_points(group=GROUP)}


class Arguments(Mapping[str, Mapping[str, Argument]]):
    """The arguments of every provider block there can be, by provider; a module is imported when it is looked up."""

    def __getitem__(self, name: str) -> Mapping[str, Argument]:
        return spec(name).all_arguments()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and is_known(name)

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())
