"""`brevplan providers`: which clouds there are, what each can do, and what it needs. Asks no cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from brevplan.contract.client import Capability, Traits
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.engine.config import ProviderBlock
from brevplan.operations.configured import read_configuration
from brevplan.providers import registry


@dataclass(frozen=True, slots=True)
class Need:
    """An argument that a provider cannot do without, and whether it has a value here."""

    argument: str
    environment: str
    is_set: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of the registry, or a block of the configuration."""

    name: str
    provider: str
    is_configured: bool
    traits: Traits
    needs: tuple[Need, ...]

    def has(self, capability: Capability) -> bool:
        return capability in self.traits.capabilities

    @property
    def tags(self) -> str:
        """Say when tags can be given: `changeable` includes the create."""
        if self.traits.mutable_tags and self.has(Capability.TAGS):
            return "changeable"
        return "at create" if "tags" in self.traits.reports else "no"


def providers(directory: Path, environment: Mapping[str, str]) -> list[Provider]:
    """Give every provider of the registry and every block of the configuration; raise `DiagnosticsError`."""
    return sorted(_found(directory, environment), key=lambda found: (found.provider, found.name))


def _found(directory: Path, environment: Mapping[str, str]) -> Iterator[Provider]:
    blocks = read_configuration(directory, environment).providers
    for name in registry.names():
        if name not in blocks:
            yield _provider(name, registry.spec(name), None, environment)
    for key, block in blocks.items():
        yield _provider(key, registry.spec(block.name), block, environment)


def _provider(key: str, spec: ProviderSpec, block: ProviderBlock | None, environment: Mapping[str, str]) -> Provider:
    needs = tuple(
        Need(argument.name, argument.environment, _is_set(argument, block, environment))
        for argument in spec.arguments
        if argument.required
    )
    return Provider(key, spec.name, block is not None, spec.traits, needs)


def _is_set(argument: Argument, block: ProviderBlock | None, environment: Mapping[str, str]) -> bool:
    given = block is not None and argument.name in block.arguments
    return given or bool(argument.environment and environment.get(argument.environment))
