"""How a provider introduces itself before any client exists: its arguments and traits. Data only, no call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from brevplan.contract.client import CloudClient, Connection, Traits
from brevplan.contract.model import CreateInstanceAttrs

ArgumentType = Literal["string", "number", "bool", "list(string)", "map(string)", "duration", "rate"]
"""`duration` is text such as `60s`, `rate` a number from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a provider block. `environment` is the variable that speaks for it when it is left out."""

    name: str
    type: ArgumentType = "string"
    sensitive: bool = False
    required: bool = False
    environment: str = ""
    default: object = None
    minimum: float | None = None
    description: str = ""
    beside: str = ""
    """The argument that this one goes with: taken from where another value of that stands, it would open nothing."""


COMMON_ARGUMENTS: tuple[Argument, ...] = (
    Argument("endpoint", description="Base URL in place of the documented one."),
    Argument("max_retries", "number", default=5, minimum=0, description="Tries after the first of a failed request."),
    Argument("request_timeout", "duration", default="30s", description="How long one request may take."),
    Argument("requests_per_minute", "number", minimum=1, description="Most requests in a minute."),
    Argument("creates_per_minute", "number", minimum=1, description="Most launches in a minute."),
    Argument("grace_window", "duration", description="How long a launch without an answer is looked for."),
)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One cloud: `connect` makes a client; `options` are the keys that `options = {…}` of an instance may hold.

    `account_free` says that the cloud needs no credential and costs nothing (the embedded one). `check_launch` raises
    `Rejected`, `ARGUMENT: reason`, for a launch that this provider cannot carry out whatever the cloud says; it is pure
    and makes no call. A plan asks it before anything is destroyed, so what is not known yet is left out of the launch.
    """

    name: str
    arguments: tuple[Argument, ...]
    traits: Traits
    connect: Callable[[Connection], CloudClient]
    options: Mapping[str, str] = field(default_factory=dict)
    account_free: bool = False
    check_launch: Callable[[CreateInstanceAttrs], object] | None = None

    def all_arguments(self) -> dict[str, Argument]:
        """Give the provider's own arguments and the common ones; its own win."""
        return {argument.name: argument for argument in (*COMMON_ARGUMENTS, *self.arguments)}
