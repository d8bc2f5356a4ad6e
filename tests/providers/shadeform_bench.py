"""A Shadeform to test at: the client in front of the face, each request and answer held against the OpenAPI file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from brevplan.contract.client import Clock, Connection, Urgency
from brevplan.contract.model import Instance
from brevplan.providers.shadeform import ShadeformClient, connect
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.server import Wire
from brevplan.simcloud.faces.shadeform import ShadeformFace
from brevplan.simcloud.model import Behaviour
from tests.providers.spec import SHARED, SpecTransport
from tests.simcloud.build import HandClock, attrs
from tests.world import ChosenFaults

T = TypeVar("T")

KEY = "sf-key-7c1fa2"
SPEC_FILE = SHARED / "specs" / "shadeform.openapi.yaml"
ENDPOINT = "http://cloud.test/shadeform/v1"


class Recorded:
    """A pacer that holds nobody up and remembers why each request was made."""

    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


def transport_to(face: ShadeformFace, clock: Clock) -> SpecTransport:
    return SpecTransport(
        Wire([face], clock),
        SPEC_FILE if SPEC_FILE.exists() else None,
        mount="/shadeform",
        server="https://api.shadeform.ai",
        # nothing is documented but success
        describes=lambda status: status == 200,
    )


class Bench:
    """One account: its simulated cloud, the face of it, and clients that come and go."""

    def __init__(self, folder: Path, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        self.clock = HandClock()
        self.faults = ChosenFaults()
        self.cloud = SimCloud(folder / "cloud.db", self.clock, Behaviour(idempotent=False, fences=False, **(how or {})))
        self.cloud.faults = self.faults
        self.pacer = Recorded()
        self.face = ShadeformFace(self.cloud, KEY, **switches)
        self.wire = transport_to(self.face, self.clock)

    def connection(self, key: str = KEY, **settings: object) -> Connection:
        given = {"api_key": key, "endpoint": ENDPOINT, **settings}
        return Connection(given, {}, ".", self.pacer, self.clock, {"transport": self.wire})

    def run(self, call: Callable[[ShadeformClient], Awaitable[T]], key: str = KEY) -> T:
        return run(self.connection(key), call)

    def make(self, ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> Instance:
        """Launch a machine named `web`."""
        return self.run(lambda client: client.create_instance(attrs(ref_id, **{"name": "web", **fields})))

    def listed(self) -> list[Instance]:
        return self.run(lambda client: client.list_instances())

    def got(self, cloud_id: str) -> Instance:
        return self.run(lambda client: client.get_instance(cloud_id))  # type: ignore[arg-type]  # as the API gives it

    def rows(self) -> list[dict[str, Any]]:
        """Give the machines as the API words them."""
        return list(self.asked("/instances")["instances"])

    def keys(self) -> list[str]:
        return [key["name"] for key in self.asked("/sshkeys")["ssh_keys"]]

    def ask(self, method: str, path: str, body: object = None) -> int:
        """Ask the API past the client, as a person at the console does; give the status."""
        return self._exchange(method, path, body).status_code

    def asked(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._exchange("GET", path, query=query).json()

    def _exchange(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> httpx.Response:
        async def whole() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.wire, headers={"X-API-KEY": KEY}) as client:
                return await client.request(method, f"{ENDPOINT}{path}", json=body, params=query)

        return asyncio.run(whole())


def run(connection: Connection, call: Callable[[ShadeformClient], Awaitable[T]]) -> T:
    async def whole() -> T:
        client = connect(connection)
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(whole())


class Canned:
    """An API that answers what it is told to; `asked` are the requests that it got."""

    def __init__(self, status: int = 200, body: object = None, **by_path: tuple[int, object]) -> None:
        self.status, self.body, self.by_path = status, body, by_path
        self.asked: list[httpx.Request] = []

    def run(self, call: Callable[[ShadeformClient], Awaitable[T]]) -> T:
        transport = httpx.MockTransport(self._answer)
        given = {"api_key": KEY, "endpoint": ENDPOINT}
        return run(Connection(given, {}, ".", Recorded(), HandClock(), {"transport": transport}), call)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        last = request.url.path.rsplit("/", 1)[-1]
        status, body = self.by_path.get(last, (self.status, self.body))
        if isinstance(body, (str, bytes)):
            return httpx.Response(status, content=body)
        return httpx.Response(status, content=json.dumps(body))
