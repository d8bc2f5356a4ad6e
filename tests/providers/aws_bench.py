"""An EC2 to test at: a real moto server in a process of its own, and in front of it what it leaves out.

The front, on loopback too, knows the wrong key, honours launch tokens, keeps groups that are in use, answers the price
list and the parameters of images, and lets calls fail in every way there is. All else it hands on.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from brevplan.contract.client import Connection, Urgency
from brevplan.contract.model import CreateInstanceAttrs, Instance, RefId
from brevplan.providers.aws import Ec2Client, connect
from tests.world import KEY as PUBLIC_KEY

T = TypeVar("T")

KEY_ID = "AKIATESTTESTTESTTEST"
SECRET = "test-secret-6a1c/9+x"
REGIONS = ("us-east-1", "us-west-2")
IMAGE = "ami-785db401"
"""An Ubuntu that moto has in every region."""
TYPE = "g4dn.xlarge"
REF = "bp-test-aaaaaaaaaaaa-000001"

_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/")


class QuickClock:
    """Real time in which waiting costs next to nothing: what was slept is added to the monotonic clock."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += max(seconds, 0.0)
        await asyncio.sleep(0.002)


class Recorded:
    """A pacer that holds nobody up and remembers why each request was made."""

    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


@dataclass(frozen=True)
class Refuse:
    """An error of the API's own. EC2 answers with 400, unless told otherwise."""

    code: str
    status: int = 400
    message: str = "as the test wants it"


@dataclass(frozen=True)
class Broken:
    """An answer that is none. `after` lets the request have its effect first."""

    how: str
    """`dropped`, `truncated`, or what comes in the answer's place."""
    after: bool = True
    status: int = 200


Reply = Refuse | Broken
Asked = tuple[str, str, dict[str, str]]
"""Region, action and parameters of a request."""


@dataclass
class Answer:
    status: int
    body: bytes
    kind: str = "text/xml"


@dataclass
class Front:
    """What stands before moto. `choose` gives what befalls a call; each call is remembered."""

    moto: tuple[str, int]
    key_id: str = KEY_ID
    choose: Callable[[str, str, dict[str, str]], Reply | None] = lambda region, action, given: None
    asked: list[Asked] = field(default_factory=list)
    prices: dict[str, str] = field(default_factory=lambda: {TYPE: "0.5260000000"})
    ssm: dict[str, str] = field(default_factory=dict)
    _launched: dict[tuple[str, str], tuple[dict[str, str], bytes]] = field(default_factory=dict)
    _once: list[tuple[str, Reply]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def once(self, action: str, *replies: Reply) -> None:
        """Let the next calls of an action end so."""
        self._once += [(action, reply) for reply in replies]

    def count(self, action: str) -> int:
        return sum(one == action for _, one, _ in self.asked)

    def actions(self) -> list[str]:
        return [action for _, action, _ in self.asked]

    def last(self, action: str) -> dict[str, str]:
        return next(given for _, one, given in reversed(self.asked) if one == action)

    def answer(self, headers: Any, body: bytes) -> Answer | None:
        """Give the answer to a request; None where the connection is lost."""
        found = _SCOPE.search(headers.get("Authorization", ""))
        key_id, region, service = (found[1], found[2], found[3]) if found else ("", "", "")
        target = headers.get("X-Amz-Target", "")
        given = json.loads(body or b"{}") if target else dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = target.rpartition(".")[2] or given.get("Action", "")
        with self._lock:
            self.asked.append((region, action, given))
            reply = next((one for name, one in self._once if name == action), None)
            if reply is not None:
                self._once.remove((action, reply))
            else:
                reply = self.choose(region, action, given)
        if key_id != self.key_id:
            return refused(Refuse("AuthFailure", 401, "AWS was not able to validate the provided access credentials"))
        if isinstance(reply, Refuse):
            return refused(reply, is_json=bool(target))
        if isinstance(reply, Broken) and not reply.after:
            return _broken(reply, b"")
        made = self._real(service, region, action, given, headers, body)
        return _broken(reply, made.body) if isinstance(reply, Broken) else made

    def _real(self, service: str, region: str, action: str, given: Any, headers: Any, body: bytes) -> Answer:
        if action == "GetProducts":
            return self._products(given)
        if action == "GetParameter":
            return self._parameter(given)
        if action == "RunInstances":
            return self._run(region, given, headers, body)
        if action == "DeleteSecurityGroup" and self._is_used(headers, given["GroupId"]):
            return refused(Refuse("DependencyViolation", message=f"resource {given['GroupId']} has a dependent object"))
        return self._ask(headers, body)

    def _run(self, region: str, given: dict[str, str], headers: Any, body: bytes) -> Answer:
        token = given.get("ClientToken", "")
        parameters = {name: value for name, value in given.items() if name not in ("Action", "Version")}
        with self._lock:
            known = self._launched.get((region, token))
            if known is not None:
                if known[0] != parameters:
                    return refused(Refuse("IdempotentParameterMismatch"))
                return Answer(200, known[1])
            if not self._has(headers, "DescribeKeyPairs", {"KeyName.1": given["KeyName"]}):
                return refused(Refuse("InvalidKeyPair.NotFound", message=f"no key pair {given['KeyName']}"))
            if not self._is_offered(headers, given["InstanceType"]):
                return refused(Refuse("Unsupported", message="The requested configuration is not supported"))
            made = self._ask(headers, body)
            if made.status == 200:
                self._launched[region, token] = (parameters, made.body)
            return made

    def _has(self, headers: Any, action: str, given: dict[str, str]) -> bool:
        return self._query(headers, action, given).status == 200

    def _is_used(self, headers: Any, group: str) -> bool:
        filters = {"Filter.1.Name": "instance.group-id", "Filter.1.Value.1": group,
                   "Filter.2.Name": "instance-state-name", "Filter.2.Value.1": "running",
                   "Filter.2.Value.2": "pending", "Filter.2.Value.3": "stopped"}  # fmt: skip
        return b"<instanceId>" in self._query(headers, "DescribeInstances", filters).body

    def _is_offered(self, headers: Any, name: str) -> bool:
        filters = {"LocationType": "availability-zone", "Filter.1.Name": "instance-type", "Filter.1.Value.1": name}
        return b"<instanceType>" in self._query(headers, "DescribeInstanceTypeOfferings", filters).body

    def _query(self, headers: Any, action: str, given: dict[str, str]) -> Answer:
        from urllib.parse import urlencode

        return self._ask(headers, urlencode({"Action": action, "Version": "2016-11-15", **given}).encode())

    def _ask(self, headers: Any, body: bytes) -> Answer:
        connection = HTTPConnection(*self.moto, timeout=30)
        sent = {name: value for name, value in headers.items()
                if name.lower() not in ("content-length", "connection", "accept-encoding")}  # fmt: skip
        try:
            connection.request("POST", "/", body, sent)
            got = connection.getresponse()
            return Answer(got.status, got.read(), got.getheader("Content-Type", "text/xml"))
        finally:
            connection.close()

    def _products(self, given: dict[str, Any]) -> Answer:
        filters = {one["Field"]: one for one in given["Filters"]}
        assert filters["instanceType"]["Type"] == "ANY_OF"
        texts = [product(name, self.prices.get(name, "1.2500000000"))
                 for name in filters["instanceType"]["Value"].split(",") if self.prices.get(name) != ""]  # fmt: skip
        return Answer(200, json.dumps({"FormatVersion": "aws_v1", "PriceList": texts}).encode(), "application/json")

    def _parameter(self, given: dict[str, Any]) -> Answer:
        value = self.ssm.get(given["Name"], IMAGE if "deeplearning" in given["Name"] else "")
        if not value:
            return refused(Refuse("ParameterNotFound"), is_json=True)
        body = {"Parameter": {"Name": given["Name"], "Type": "String", "Value": value}}
        return Answer(200, json.dumps(body).encode(), "application/x-amz-json-1.1")


def product(name: str, price: str) -> str:
    """Give a product as the price list has it: JSON within JSON."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}}
    return json.dumps(
        {
            "product": {"productFamily": "Compute Instance", "attributes": {"instanceType": name}},
            "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}},
        }
    )


def refused(reply: Refuse, *, is_json: bool = False) -> Answer:
    if is_json:
        body = json.dumps({"__type": reply.code, "message": reply.message})
        return Answer(reply.status, body.encode(), "application/x-amz-json-1.1")
    body = (
        f"<Response><Errors><Error><Code>{reply.code}</Code><Message>{reply.message}</Message></Error></Errors>"
        "<RequestID>r</RequestID></Response>"
    )
    return Answer(reply.status, body.encode())


def _broken(reply: Broken, body: bytes) -> Answer | None:
    if reply.how == "dropped":
        return None
    if reply.how == "truncated":
        return Answer(reply.status, body[: len(body) // 2])
    return Answer(reply.status, reply.how.encode(), "text/html")


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = front.answer(self.headers, body)
            if answer is None:
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *given: Any) -> None: ...

    return Handler


@contextmanager
def moto_process() -> Iterator[tuple[str, int]]:
    """Run a moto server until the end of the block, on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, "moto did not start"
            assert time.monotonic() < end, "moto does not answer"
            time.sleep(0.1)
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def front_of(moto: tuple[str, int]) -> Iterator[Front]:
    """Put a front before an emptied moto."""
    request = urllib.request.Request(f"http://{moto[0]}:{moto[1]}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=30):
        pass
    front = Front(moto)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(front))
    server.daemon_threads = True
    front.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def attrs(ref_id: str = REF, **fields: Any) -> CreateInstanceAttrs:
    given = {
        "cloud_cred_ref_id": "bp-test",
        "instance_type": TYPE,
        "location": "us-east-1",
        "public_key": PUBLIC_KEY,
        "name": "web",
        **fields,
    }
    return CreateInstanceAttrs(ref_id=RefId(ref_id), **given)


@dataclass
class Bench:
    """One account, and clients that come and go."""

    front: Front
    pacer: Recorded = field(default_factory=Recorded)
    clock: QuickClock = field(default_factory=QuickClock)
    environment: dict[str, str] = field(default_factory=dict)

    def connection(self, **settings: object) -> Connection:
        given = {
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
            "endpoint": self.front.url,
            "region": "us-east-1",
            "regions": list(REGIONS),
            "request_timeout": 20.0,
            **settings,
        }
        return Connection(given, self.environment, str(Path()), self.pacer, self.clock)

    def run(self, call: Callable[[Ec2Client], Awaitable[T]], **settings: object) -> T:
        async def whole() -> T:
            client = connect(self.connection(**settings))
            try:
                return await call(client)
            finally:
                await client.aclose()

        return asyncio.run(whole())

    def make(self, ref_id: str = REF, **fields: Any) -> Instance:
        return self.run(lambda client: client.create_instance(attrs(ref_id, **fields)))

    def listed(self, **settings: object) -> list[Instance]:
        return self.run(lambda client: client.list_instances(), **settings)

    def got(self, cloud_id: str) -> Instance:
        return self.run(lambda client: client.get_instance(cloud_id))  # type: ignore[arg-type]  # as the API gives it

    def ask(self, method: str, region: str = "us-east-1", service: str = "ec2", **given: Any) -> dict[str, Any]:
        """Ask moto past the client and the front, as a person at the console does."""

        async def whole() -> dict[str, Any]:
            from aiobotocore.session import AioSession

            made = AioSession().create_client(
                service, region_name=region, endpoint_url=f"http://{self.front.moto[0]}:{self.front.moto[1]}",
                aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
            )  # fmt: skip
            async with made as client:
                return dict(await getattr(client, method)(**given))

        return asyncio.run(whole())

    def rows(self, region: str = "us-east-1") -> list[dict[str, Any]]:
        """Give the machines that live, as the API words them."""
        found = [row for one in self.ask("describe_instances", region)["Reservations"] for row in one["Instances"]]
        return [row for row in found if row["State"]["Name"] != "terminated"]

    def groups(self, region: str = "us-east-1") -> list[str]:
        found = self.ask("describe_security_groups", region)["SecurityGroups"]
        return sorted(group["GroupName"] for group in found if group["GroupName"] != "default")

    def keys(self, region: str = "us-east-1") -> list[str]:
        return sorted(key["KeyName"] for key in self.ask("describe_key_pairs", region)["KeyPairs"])
