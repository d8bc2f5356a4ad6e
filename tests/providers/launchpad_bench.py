"""A LaunchPad to test at: the client in front of the face, each request and answer held against the OpenAPI files.

The API's own file demands read-only fields of requests, so requests have a file of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from brevplan.contract.client import Clock, Connection, Urgency
from brevplan.contract.model import CloudId, CreateInstanceAttrs, Instance, RefId
from brevplan.providers.launchpad import LaunchpadClient, connect
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.launchpad import LaunchpadFace, native_type
from brevplan.simcloud.faces.server import Wire
from brevplan.simcloud.model import Behaviour, Machine
from tests.providers.spec import SHARED, SpecTransport
from tests.simcloud.build import HandClock, attrs
from tests.world import ChosenFaults

T = TypeVar("T")

TOKEN = "lp-token-7c1fa2"
ENDPOINT = "http://cloud.test/launchpad"
REQUESTS = SHARED / "specs" / "launchpad.requests.json"
ANSWERS = SHARED / "specs" / "launchpad.openapi.yaml"
REF = RefId("bp-test-aaaaaaaaaaaa-000001")
MADE = "5330c898-f3e7-4972-bfd0-1d438e3774d7"
HOME = "198.51.100.7"
SETTINGS: Mapping[str, object] = {
    "api_token": TOKEN, "org_name": "acme", "requester_email": "ops@example.com", "ip_allowlist": [HOME],
    "endpoint": ENDPOINT,
}  # fmt: skip
A10 = native_type("gpu_1x_a10")
SOLD_OUT = native_type("gpu_8x_b200_sxm6")


class Recorded:
    """A pacer that holds nobody up and remembers why each request was made."""

    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


class _Transport(SpecTransport):
    """The file calls `next` and `previous` nullable by a word that its version of OpenAPI does not know."""

    def _response(self, response: httpx.Response, body: bytes) -> Any:
        data = json.loads(body) if body else None
        if isinstance(data, dict) and "results" in data:
            known = {name: value for name, value in data.items() if value is not None or name == "count"}
            return super()._response(response, json.dumps(known).encode())
        return super()._response(response, body)


def transport_to(face: LaunchpadFace, clock: Clock) -> SpecTransport:
    return _Transport(
        Wire([face], clock),
        REQUESTS if REQUESTS.exists() else None,
        answers=ANSWERS if ANSWERS.exists() else None,
        mount="/launchpad",
        server="http://localhost",
        # nothing is documented but success
        describes=lambda status: status < 300,
    )


def wanted(ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> CreateInstanceAttrs:
    return attrs(ref_id, **{"name": "web", "instance_type": A10, **fields})


def tags_of(machine: Machine) -> Any:
    """Give the tags of a machine as they stand at the cloud."""
    return json.loads(machine.body.tags["tags"])


class Bench:
    """One account: its simulated cloud, the face of it, and clients that come and go."""

    def __init__(self, folder: Path, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        self.clock = HandClock()
        self.faults = ChosenFaults()
        self.cloud = SimCloud(folder / "cloud.db", self.clock, Behaviour(idempotent=False, fences=False, **(how or {})))
        self.cloud.faults = self.faults
        self.pacer = Recorded()
        self.face = LaunchpadFace(self.cloud, TOKEN, **switches)
        self.wire = transport_to(self.face, self.clock)

    def connection(self, **settings: object) -> Connection:
        return Connection({**SETTINGS, **settings}, {}, ".", self.pacer, self.clock, {"transport": self.wire})

    def run(self, call: Callable[[LaunchpadClient], Awaitable[T]], **settings: object) -> T:
        return run(self.connection(**settings), call)

    def make(self, ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> Instance:
        """Launch a machine named `web`."""
        return self.run(lambda client: client.create_instance(wanted(ref_id, **fields)))

    def listed(self) -> list[Instance]:
        return self.run(lambda client: client.list_instances())

    def got(self, cloud_id: str) -> Instance:
        return self.run(lambda client: client.get_instance(CloudId(cloud_id)))

    def ask(self, method: str, path: str, body: object = None, **query: str) -> httpx.Response:
        """Ask the API past the client, as a person at the console does."""

        async def whole() -> httpx.Response:
            headers = {"Authorization": f"Token {TOKEN}"}
            async with httpx.AsyncClient(transport=self.wire, headers=headers) as client:
                return await client.request(method, f"{ENDPOINT}{path}", json=body, params=query)

        return asyncio.run(whole())


def run(connection: Connection, call: Callable[[LaunchpadClient], Awaitable[T]]) -> T:
    async def whole() -> T:
        client = connect(connection)
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(whole())


class Canned:
    """An API that answers what it is told to, in turn, the last again and again; `asked` are the requests it got."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def run(self, call: Callable[[LaunchpadClient], Awaitable[T]], **settings: object) -> T:
        given = {**SETTINGS, **settings}
        extra = {"transport": httpx.MockTransport(self._answer)}
        return run(Connection(given, {}, ".", Recorded(), HandClock(), extra), call)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(body, (str, bytes)):
            return httpx.Response(status, content=body)
        return httpx.Response(status, content=json.dumps(body))


def page(*results: object, count: int | None = None, following: str | None = None) -> tuple[int, object]:
    return 200, {"count": len(results) if count is None else count, "next": following, "results": list(results)}


def row(**fields: Any) -> dict[str, Any]:
    """Give a deployment as the API words it, expanded."""
    node = {
        "cpu": 112, "memory": 1000, "gpu_count": 8,
        "storage": [{"size": 2048, "type": "nvme"}, {"size": 1, "type": "ssd"}],
        "gpu": {"model": "h100", "memory": 80, "form_factor": "sxm"},
        "location": {"name": "us-tx-1-dc2", "provider": {"name": "oci"}}, **fields.pop("node", {}),
    }  # fmt: skip
    cluster = {
        "id": "089324a5-708c-4386-9fdc-92dd9aa63d2b", "public_address": "lab.example.net",
        "provisioning_state": "deployed", "workshop_id": None, "nodes": [node, {"storage": [{"size": 9}]}],
        **fields.pop("cluster_fields", {}),
    }  # fmt: skip
    return {
        "id": MADE, "state": "ready", "created": "2026-04-01T06:14:32.602Z", "request_id": REF, "region": "us-tx-1",
        "ssh_user": "nvidia", "ssh_port": 2222, "cluster": cluster,
        "tags": {"RefID": REF, "Name": "web", "CloudCredRefID": "bp-test", "InstanceType": "oci.h100x8.sxm",
                 "team": "x"},
        **fields,
    }  # fmt: skip
