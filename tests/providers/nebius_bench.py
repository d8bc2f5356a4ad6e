"""A Nebius to test at: its gRPC services over the simulated cloud, on a real port, in a thread of their own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from nebius.api.nebius.common.v1 import ResourceMetadata
from nebius.api.nebius.compute.v1 import (
    AttachedDiskSpec,
    CreateDiskRequest,
    CreateInstanceRequest,
    DiskSpec,
    ExistingDisk,
    InstanceSpec,
)

from brevplan.contract.client import Clock, Connection, Urgency
from brevplan.contract.model import CloudId, Instance
from brevplan.providers.nebius_client import NebiusClient
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.grpc_server import GrpcServer
from brevplan.simcloud.faces.nebius import TENANT, NebiusFace, project_id, type_name
from brevplan.simcloud.faults import Faults
from brevplan.simcloud.model import Behaviour
from brevplan.simcloud.store import Store
from tests.providers.shadeform_bench import Recorded
from tests.simcloud.build import HandClock, attrs
from tests.world import ChosenFaults

T = TypeVar("T")

LIMIT_S = 60.0


@cache
def pem(name: str) -> tuple[str, str]:
    """Give the private and the public key of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def credentials(name: str = "ours", **changes: object) -> str:
    """Give the text of a credentials file."""
    subject = {"type": "JWT", "alg": "RS256", "private-key": pem(name)[0], "kid": "publickey-e00", "iss": "sa-e00"}
    return json.dumps({"subject-credentials": {**subject, "sub": "sa-e00", **changes}})


def native(local: str, location: str = "us-west-1") -> str:
    """Give the name that a type of the simulated catalogue has here."""
    return type_name(catalogue.find_offer(local, location))


A10 = native("gpu_1x_a10")


class Served:
    """A face that is served, from `start` to `stop`; `headers` are those of each call, by method."""

    def __init__(self, path: Path, clock: Clock, faults: Faults, how: Behaviour, **switches: Any) -> None:
        self._path, self._clock, self._faults, self._how, self._switches = path, clock, faults, how, switches
        self._loop = asyncio.new_event_loop()
        self._ready: Any = None
        self.port = 0
        self.calls: list[str] = []
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.port = self._do(self._begin())

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    async def _begin(self) -> int:
        # in the thread that serves: the file of a cloud belongs to one
        self._cloud = SimCloud(self._path, self._clock, self._how, self._faults)
        self.face = NebiusFace(self._cloud, pem("ours")[1], **self._switches)
        self._note_calls()
        self._server = GrpcServer(self.face, self._clock)
        return await self._server.start()

    async def _end(self) -> None:
        await self._server.stop()
        self._cloud.close()

    def _note_calls(self) -> None:
        admits = self.face.admits

        def noting(asked: Any, operation: str) -> bool:
            self.calls.append(operation)
            self.asked.append((operation, asked.headers, asked.message))
            return admits(asked, operation)

        self.face.admits = noting  # type: ignore[method-assign]  # a look at what comes in


class Bench:
    """One tenant: its simulated cloud, the face of it, and clients that come and go."""

    def __init__(self, folder: Path, *, how: Mapping[str, Any] | None = None, **switches: Any) -> None:
        self.clock = HandClock()
        self.faults = ChosenFaults()
        self.path = folder / "cloud.db"
        self.pacer = Recorded()
        self.served = Served(self.path, self.clock, self.faults, Behaviour(fences=False, **(how or {})), **switches)
        self.served.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.served.port}"

    def connection(self, key: str = "", **settings: object) -> Connection:
        given = {
            "service_account_key": key or credentials(), "tenant_id": TENANT, "endpoint": self.endpoint,
            "request_timeout": 20.0, **settings,
        }  # fmt: skip
        return Connection(given, {}, ".", self.pacer, self.clock)

    def run(self, call: Callable[[NebiusClient], Awaitable[T]], key: str = "", **settings: object) -> T:
        async def whole() -> T:
            client = NebiusClient(self.connection(key, **settings))
            try:
                return await asyncio.wait_for(call(client), LIMIT_S)
            finally:
                await client.aclose()

        return asyncio.run(whole())

    def make(self, ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> Instance:
        """Launch a machine named `web`."""
        return self.run(lambda client: client.create_instance(wanted(ref_id, **fields)))

    def listed(self) -> list[Instance]:
        return self.run(lambda client: client.list_instances())

    def got(self, cloud_id: CloudId) -> Instance:
        return self.run(lambda client: client.get_instance(cloud_id))

    def headers(self, operation: str) -> list[Mapping[str, str]]:
        return [headers for name, headers, _ in self.served.asked if name == operation]

    def messages(self, operation: str) -> list[Any]:
        return [message for name, _, message in self.served.asked if name == operation]

    def forget_keys(self) -> None:
        """Let the cloud forget the keys of launches, as it does after a while."""
        store = Store(self.path)
        for machine in store.machines():
            store.alter_machine(machine.body.cloud_id, options={**machine.body.options, "key": ""})
        store.close()

    def run_beside(self, call: Callable[[NebiusClient], Awaitable[object]]) -> None:
        """Do something while a client is at work, in a client of somebody else's."""
        work = threading.Thread(target=lambda: self.run(call))
        work.start()
        work.join(LIMIT_S)

    def adopt(self, name: str, *, shares_group: bool = False) -> None:
        """Make a machine as somebody else does: with a disk that has a life of its own, and no group of its own."""
        self.leave_disk("theirs")
        spec = InstanceSpec.FromString(self.messages("create_instance")[0].spec.SerializeToString())
        spec.boot_disk = AttachedDiskSpec(existing_disk=ExistingDisk(id="computedisk-e00000001"))
        if not shares_group:
            spec.network_interfaces[0].security_groups = []
        metadata = ResourceMetadata(parent_id=project_id("us-west-1"), name=name)

        async def make(client: NebiusClient) -> None:
            await client._api.call(
                client._instances.create, CreateInstanceRequest(metadata=metadata, spec=spec), "adopt"
            )

        self.run(make)

    def leave_disk(self, name: str) -> None:
        """Make a disk of its own, with no machine."""
        spec = DiskSpec(size_gibibytes=50, source_image_id="computeimage-e00ubuntu24.04-cuda13.0")
        metadata = ResourceMetadata(parent_id=project_id("us-west-1"), name=name)

        async def make(client: NebiusClient) -> None:
            await client._api.call(client._disks.create, CreateDiskRequest(metadata=metadata, spec=spec), "leave_disk")

        self.run(make)

    def stop(self) -> None:
        self.served.stop()


def wanted(ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> Any:
    return attrs(ref_id, **{"name": "web", "instance_type": A10, **fields})


class Unhurried:
    """A pacer that lets everything through."""

    async def admit(self, urgency: Urgency) -> None: ...
