"""What a face is: a table of routes over the simulated cloud, and how its provider words a refusal. No HTTP in here.

A face keeps nothing in memory: machines are the cloud's, and what stands beside them (keys, rulesets) its objects. So a
server can be ended and started again, and a test can look into the file behind its back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from brevplan.contract.errors import CloudError, InstanceNotFound
from brevplan.contract.model import CloudId
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import NO_FAULT, Fault
from brevplan.simcloud.model import cloud_id_of, number_of


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a handler sees it. `parts` are the named parts of the path, `body` JSON data or None.

    `fault` holds the fate of a machine that a launch makes; what befalls the request itself is the server's.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    fault: Fault = NO_FAULT


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is JSON data, or bytes to be sent as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


_UUID: Final = re.compile(r"00000000-0000-4000-8000-(\d{12})\Z")

Handler = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of an API. `path` is under the face's prefix, its parts in braces: `/instances/{id}`.

    `operation` is the contract's word for it, by which faults are chosen; `target` reads the name that the call is
    about: the ref_id of a launch, else an id.
    """

    method: str
    path: str
    operation: str
    handler: Handler
    changes: bool = False
    target: Callable[[Request], str] = lambda request: request.parts.get("id", "")


class Face(Protocol):
    """One provider's API over one account of the simulated cloud."""

    name: str
    """The provider's name, which is the first part of every path."""
    prefix: str
    """The path prefix that a provider block's `endpoint` has to hold: `/api/v1`."""
    cloud: SimCloud
    routes: Sequence[Route]

    def admits(self, request: Request) -> bool:
        """Tell whether a request bears this account's credential."""
        ...

    def refusal(self, error: CloudError, operation: str) -> Reply:
        """Word an error as the provider does: status, code and text."""
        ...

    def unauthorised(self) -> Reply: ...

    def no_such_path(self) -> Reply: ...


def text_of(body: Any, name: str) -> str:
    """Give a text of a request's body; empty where there is none."""
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def uuid_of(cloud_id: str) -> str:
    """Give the id that a machine of the simulated cloud has at a provider whose ids are UUIDs."""
    return f"00000000-0000-4000-8000-{number_of(cloud_id) or 0:012d}"


def cloud_id_behind(uuid: str, unknown: str = "instance not found") -> CloudId:
    """Give the id that a machine has in the simulated cloud; raise `InstanceNotFound` for what is none."""
    found = _UUID.match(uuid)
    if found is None:
        raise InstanceNotFound(unknown)
    return cloud_id_of(int(found[1]))
