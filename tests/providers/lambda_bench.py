"""A client of Lambda Cloud on a face of the simulated cloud, in one process; and one on answers chosen by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from brevplan.contract.client import Clock, Connection, Urgency
from brevplan.contract.model import CreateInstanceAttrs, Instance, RefId
from brevplan.providers.lambda_cloud import LambdaClient, connect
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.lambda_cloud import LambdaFace, Quirks, face
from brevplan.simcloud.faces.server import ConnectionDropped, Wire
from brevplan.simcloud.faults import Call, Fault
from brevplan.simcloud.model import Behaviour
from tests.providers.spec import SHARED, SpecTransport
from tests.simcloud.build import HandClock
from tests.world import KEY, ChosenFaults

T = TypeVar("T")

API_KEY = "secret_lambda_4f1c9e"
REF = "bp-test-aaaaaaaaaaaa-000001"
ENDPOINT = "http://sim.test/lambda/api/v1"
SPEC_FILE = SHARED / "specs" / "lambda.openapi.json"
LAMBDA = Behaviour(idempotent=False, fences=False)


class InProcess(httpx.AsyncBaseTransport):
    """Carries requests to an application in this process, where there is no API description to check them against."""

    def __init__(self, app: Wire) -> None:
        self._inner = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._inner.handle_async_request(request)
            body = await response.aread()
        except ConnectionDropped:
            raise httpx.ReadError("the connection was lost") from None
        return httpx.Response(response.status_code, headers=response.headers, content=body)


class Recorder(httpx.AsyncBaseTransport):
    """Writes every request down: method and path under the prefix, with its JSON body."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.requests: list[tuple[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        path = request.url.path.removeprefix("/lambda/api/v1")
        self.requests.append((f"{request.method} {path}", json.loads(content) if content else None))
        return await self.inner.handle_async_request(request)

    @property
    def calls(self) -> list[str]:
        return [call for call, _ in self.requests]

    def body(self, call: str) -> Any:
        """Give the body of the last request of this method and path."""
        return [body for name, body in self.requests if name == call][-1]


def checked(app: Wire) -> httpx.AsyncBaseTransport:
    """Give a transport that holds requests and answers against the API's description, where it is at hand."""
    if not SPEC_FILE.exists():
        return InProcess(app)
    return SpecTransport(app, SPEC_FILE, mount="/lambda", server="https://cloud.lambda.ai")


def violations(transport: httpx.AsyncBaseTransport) -> list[str]:
    """Give what did not fit the description.

    Left out is 429, of which it speaks in prose only, and an answer that a fault on demand has made no JSON.
    """
    found = transport.violations if isinstance(transport, SpecTransport) else []
    return [text for text in found if "http status: 429" not in text and "MediaTypeDeserializeError" not in text]


class CountingPacer:
    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


class LambdaBench:
    """A client, the face it talks to, and the clock, the faults and the file behind it."""

    def __init__(self, folder: Path, how: Behaviour = LAMBDA, quirks: Quirks | None = None, key: str = API_KEY) -> None:
        self.clock = HandClock()
        self.faults = ChosenFaults()
        self.cloud = SimCloud(folder / "lambda.db", self.clock, how, self.faults)
        self.face: LambdaFace = face(self.cloud, API_KEY, quirks=quirks)
        self.transport = Recorder(checked(Wire([self.face], self.clock)))
        self.pacer = CountingPacer()
        self.client = client_on(self.transport, self.clock, self.pacer, {"api_key": key})

    def run(self, call: Awaitable[T]) -> T:
        return run(call)

    def create(self, ref_id: str = REF, **fields: Any) -> Instance:
        return run(self.client.create_instance(attrs(ref_id, **fields)))

    def only(self) -> Instance:
        """Give the one machine of the account, as it is listed; a get must say the same."""
        (listed,) = run(self.client.list_instances())
        assert run(self.client.get_instance(listed.cloud_id)) == listed
        return listed

    def fail(self, operation: str, fault: Fault) -> None:
        """Let a fault befall every call of an operation."""

        def choose(call: Call) -> Fault:
            return fault if call.operation == operation else Fault()

        self.faults.choose = choose

    def behave(self, **how: Any) -> None:
        self.cloud.how = replace(self.cloud.how, **how)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Make a request of somebody else, as with the console: give its JSON."""

        async def whole() -> Any:
            async with httpx.AsyncClient(transport=self.transport.inner, base_url=f"{ENDPOINT}/") as http:
                answer = await http.request(method, path, json=body, headers={"Authorization": f"Bearer {API_KEY}"})
                return answer.json()

        return run(whole())

    def objects(self) -> list[tuple[str, str]]:
        """Give kind and name of what stands beside machines."""
        with self.cloud.store.read():
            kinds = ("lambda-key", "lambda-ruleset")
            return [(kind[7:], one["name"]) for kind in kinds for one in self.cloud.store.objects(kind).values()]


def run(call: Awaitable[T]) -> T:
    async def whole() -> T:
        return await asyncio.wait_for(call, 30)

    return asyncio.run(whole())


def attrs(ref_id: str = REF, **fields: Any) -> CreateInstanceAttrs:
    given = {
        "cloud_cred_ref_id": "bp-test",
        "instance_type": "gpu_1x_a10",
        "location": "us-west-1",
        "public_key": KEY,
        "name": "web-0",
        **fields,
    }
    return CreateInstanceAttrs(ref_id=RefId(ref_id), **given)


def client_on(
    transport: httpx.AsyncBaseTransport, clock: Clock, pacer: CountingPacer, settings: Mapping[str, object]
) -> LambdaClient:
    given = {"endpoint": ENDPOINT, **settings}
    return connect(Connection(given, {}, ".", pacer, clock, {"transport": transport}))


Answering = Callable[[str, Any], tuple[int, object]]
"""Gives status and body for a call such as `POST /instance-operations/launch` and its JSON body."""


class Canned:
    """A client whose answers are chosen by hand: for what the API's description does not allow."""

    def __init__(
        self, answers: Mapping[str, tuple[int, object]] | None = None, headers: Mapping[str, str] = {}
    ) -> None:
        self.answers = answers
        self.calls: list[str] = []
        self.client = client_on(
            httpx.MockTransport(self._answer), HandClock(), CountingPacer(), {"api_key": API_KEY}
        )  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.raw_path.decode().removeprefix('/lambda/api/v1')}"
        self.calls.append(call)
        status, body = self.answers.get(call) or _USUAL[call]
        content = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return httpx.Response(status, content=content)


_USUAL: Mapping[str, tuple[int, object]] = {
    "GET /ssh-keys": (200, {"data": []}),
    "POST /ssh-keys": (200, {"data": {"id": "k1", "name": REF, "public_key": KEY, "workspace_id": "w"}}),
    "GET /firewall-rulesets": (200, {"data": []}),
    "POST /firewall-rulesets": (200, {"data": {"id": "r1", "name": REF}}),
    "POST /instance-operations/launch": (200, {"data": {"instance_ids": ["i1"]}}),
}


def failure(code: str, message: str = "It failed.", suggestion: str = "") -> dict[str, object]:
    return {"error": {"code": code, "message": message, "suggestion": suggestion}}
