"""A FluidStack to test at: the client in front of the face, each request and answer held against the OpenAPI file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from brevplan.contract.client import Clock, Connection, Urgency
from brevplan.contract.model import Instance
from brevplan.providers.fluidstack import FluidStackClient, connect
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.fluidstack import PROJECT, REGION, FluidStackFace, face
from brevplan.simcloud.faces.server import Wire
from brevplan.simcloud.model import Behaviour
from tests.providers.spec import SHARED, SpecTransport
from tests.simcloud.build import HandClock, attrs
from tests.world import ChosenFaults

T = TypeVar("T")

KEY = "fs-key-9d3be1"
OTHER_PROJECT = "00000000-0000-4000-b000-000000000002"
SPEC_FILE = SHARED / "specs" / "fluidstack.normalized.json"
ENDPOINT = "http://cloud.test/fluidstack/api/v1alpha1"
PRICES = {offer.type: str(offer.base_price.amount) for offer in catalogue.offers() if offer.base_price}
"""What the simulated catalogue's types cost: the API has no prices, so the block has them."""

BARE: Mapping[str, Any] = {"api_key": KEY, "project": PROJECT, "region": REGION, "endpoint": ENDPOINT}


class Recorded:
    """A pacer that holds nobody up and remembers why each request was made."""

    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


def transport_to(served: FluidStackFace, clock: Clock) -> SpecTransport:
    return SpecTransport(
        Wire([served], clock),
        SPEC_FILE if SPEC_FILE.exists() else None,
        mount="/fluidstack/api/v1alpha1",
        server="http://localhost",
        # neither is documented
        describes=lambda status: status < 500 and status not in (401, 429),
    )


class Bench:
    """One account: its simulated cloud, the face of it, and clients that come and go."""

    def __init__(self, folder: Path, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        self.clock = HandClock()
        self.faults = ChosenFaults()
        self.cloud = SimCloud(folder / "cloud.db", self.clock, Behaviour(idempotent=False, fences=False, **(how or {})))
        self.cloud.faults = self.faults
        self.pacer = Recorded()
        self.face = face(self.cloud, KEY, **switches)
        self.wire = transport_to(self.face, self.clock)

    def connection(self, **settings: object) -> Connection:
        return Connection({**BARE, **settings}, {}, ".", self.pacer, self.clock, {"transport": self.wire})

    def run(self, call: Callable[[FluidStackClient], Awaitable[T]], **settings: object) -> T:
        return run(self.connection(**settings), call)

    def make(self, ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> Instance:
        """Launch a machine named `web`."""
        wanted = attrs(ref_id, **{"name": "web", "location": REGION, **fields})
        return self.run(lambda client: client.create_instance(wanted))

    def listed(self) -> list[Instance]:
        return self.run(lambda client: client.list_instances())

    def got(self, cloud_id: str) -> Instance:
        return self.run(lambda client: client.get_instance(cloud_id))  # type: ignore[arg-type]  # as the API gives it

    def rows(self, project: str = PROJECT) -> list[dict[str, Any]]:
        """Give the machines as the API words them."""
        return list(self.ask("GET", "/instances", project=project).json())

    def ask(self, method: str, path: str, body: object = None, *, project: str = PROJECT) -> httpx.Response:
        """Ask the API past the client, as a person with another tool does."""

        async def whole() -> httpx.Response:
            headers = {"Authorization": f"Bearer {KEY}", "X-PROJECT-ID": project}
            async with httpx.AsyncClient(transport=self.wire, headers=headers) as client:
                return await client.request(method, f"{ENDPOINT}{path}", json=body)

        return asyncio.run(whole())


def run(connection: Connection, call: Callable[[FluidStackClient], Awaitable[T]]) -> T:
    async def whole() -> T:
        client = connect(connection)
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(whole())


class Canned:
    """An API that answers what it is told to; `asked` are the requests that it got.

    `by_path` goes by the last part of a path, its dashes written as underscores.
    """

    def __init__(self, status: int = 200, body: object = None, **by_path: tuple[int, object]) -> None:
        self.status, self.body, self.by_path = status, body, by_path
        self.asked: list[httpx.Request] = []

    def run(self, call: Callable[[FluidStackClient], Awaitable[T]], **settings: object) -> T:
        transport = httpx.MockTransport(self._answer)
        given = {**BARE, **settings}
        return run(Connection(given, {}, ".", Recorded(), HandClock(), {"transport": transport}), call)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        last = request.url.path.rsplit("/", 1)[-1].replace("-", "_")
        status, body = self.by_path.get(last, (self.status, self.body))
        if isinstance(body, (str, bytes)):
            return httpx.Response(status, content=body)
        return httpx.Response(status, content=json.dumps(body))
