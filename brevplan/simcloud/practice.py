"""Clouds to practise on: each provider's API over HTTP on this computer, and SSH to each of their machines.

What they hold lies in a folder: one file a cloud, one folder a machine. So they can be ended and started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from errno import EADDRINUSE
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from brevplan.contract.client import Clock
from brevplan.contract.model import Gpu, InstanceFilter, LifecycleStatus
from brevplan.simcloud import catalogue, model
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Face
from brevplan.simcloud.faults import SeededFaults
from brevplan.simcloud.model import Behaviour

if TYPE_CHECKING:
    from brevplan.simcloud.ssh import MachineShells

FACES: Final[Mapping[str, str]] = {
    "fluidstack": "brevplan.simcloud.faces.fluidstack",
    "lambda": "brevplan.simcloud.faces.lambda_cloud",
    "launchpad": "brevplan.simcloud.faces.launchpad",
    "shadeform": "brevplan.simcloud.faces.shadeform",
}
"""The APIs that can be served, by provider."""

Where = tuple[str, int]
"""Host and port."""
ARGUMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "fluidstack": {
        "project": '"00000000-0000-4000-b000-000000000001"',
        "region": '"us-east-1"',
        "private_access": "true",
    },
    "launchpad": {
        "org_name": '"acme"',
        "requester_email": '"ops@example.com"',
        "ip_allowlist": '["127.0.0.1"]',
    },
}
"""What a provider block needs beside its key and endpoint to lead to a simulated cloud, as it is written there."""

KEY_ARGUMENTS: Final = {"launchpad": "api_token"}
"""What the argument of the key is called where it is not `api_key`."""

_ROUND_S: Final = 0.1
"""How often it is looked for machines that have come or gone since."""


def type_names() -> frozenset[str]:
    """Give the names of the types that the simulated clouds sell, before a face gives them names of its own."""
    return frozenset(offer.type for offer in catalogue.offers())


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the clouds are to behave. Rates are shares of calls, times in seconds."""

    folder: Path
    key: str = "simulated"
    port: int = 0
    ssh_port: int | None = 22
    """The port of every machine's SSH, each at an address of its own; None: machines have none."""
    boot_s: float = 0.0
    list_lag_s: float = 0.0
    fail_rate: float = 0.0
    lost_response_rate: float = 0.0
    seed: int = 0
    out_of_stock: frozenset[str] = frozenset()
    requests_per_minute: int | None = None


@dataclass(slots=True)
class _Site:
    face: Face
    where: dict[str, Where] = field(default_factory=dict)
    """Where the SSH of each machine is, by its id at the cloud."""


class Practice:
    """Some clouds, from `start` to `stop`."""

    def __init__(self, names: Sequence[str], wishes: Wishes, clock: Clock) -> None:
        self._wishes, self._clock = wishes, clock
        self._sites = {name: self._site(name) for name in names}
        self._keeping: asyncio.Task[None] | None = None
        self._shells: dict[str, MachineShells] = {}
        self.ssh_port = wishes.ssh_port

    async def start(self) -> dict[str, str]:
        """Begin to serve; give the endpoint of each provider. Raises `OSError` when the port is taken."""
        from brevplan.simcloud.faces.server import Server  # an extra

        self._server = Server([site.face for site in self._sites.values()], self._clock, self._wishes.port)
        port = await self._server.start()
        if self._wishes.ssh_port is not None:
            await self._open_shells()
        return {name: f"http://127.0.0.1:{port}/{name}{site.face.prefix}" for name, site in sorted(self._sites.items())}

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._server.stop()
        for shells in self._shells.values():
            await shells.aclose()
        for site in self._sites.values():
            site.face.cloud.close()

    def _site(self, name: str) -> _Site:
        wishes = self._wishes
        wishes.folder.mkdir(parents=True, exist_ok=True)
        how = Behaviour(
            boot_s=wishes.boot_s, list_lag_s=wishes.list_lag_s, out_of_stock=wishes.out_of_stock,
            requests_per_minute=wishes.requests_per_minute, idempotent=False, fences=False,
        )  # fmt: skip
        cloud = SimCloud(wishes.folder / f"{name}.db", self._clock, how)
        cloud.faults = SeededFaults(wishes.seed, wishes.fail_rate, wishes.lost_response_rate, cloud.next_call)
        where: dict[str, Where] = {}
        # a machine whose SSH is not open yet has no address either: it is still booting
        address_of = None if wishes.ssh_port is None else lambda cloud_id: where.get(cloud_id, ("", 22))
        face = import_module(FACES[name]).face(cloud, wishes.key, address_of=address_of)
        return _Site(face, where)

    # SSH

    async def _open_shells(self) -> None:
        from brevplan.simcloud.ssh import MachineShells

        for number, (name, site) in enumerate(sorted(self._sites.items())):
            self._shells[name] = MachineShells(self._wishes.folder / f"{name}-machines")
            await self._keep(number, name, site)
        self._keeping = asyncio.create_task(self._keep_all())

    async def _keep_all(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            for number, (name, site) in enumerate(sorted(self._sites.items())):
                await self._keep(number, name, site)

    async def _keep(self, number: int, name: str, site: _Site) -> None:
        """Let the shells be those of the machines that run now."""
        living = {
            machine.cloud_id: machine
            for machine in site.face.cloud.instances(InstanceFilter())
            if machine.status is LifecycleStatus.RUNNING
        }
        for cloud_id in site.where.keys() - living.keys():
            site.where.pop(cloud_id)
            await self._shells[name].close(cloud_id)
        for cloud_id, machine in living.items():
            if cloud_id not in site.where:
                offer = catalogue.find_offer(machine.instance_type, machine.location)
                hosts = _loopbacks(number, model.number_of(cloud_id) or 0)
                try:
                    site.where[cloud_id] = await self._open(name, cloud_id, machine.public_key, offer.gpus, hosts)
                except OSError:  # somebody else has the address: the machine is there, and cannot be reached
                    site.where[cloud_id] = (machine.public_ip, machine.ssh_port)

    async def _open(self, name: str, cloud_id: str, key: str, gpus: Sequence[Gpu], hosts: Iterable[str]) -> Where:
        """Open a machine's SSH at the first of these hosts that is free; raise `OSError` where none is."""
        assert self.ssh_port is not None
        taken: OSError | None = None
        for host in hosts:
            try:
                return await self._shells[name].open(cloud_id, key, gpus, host, self.ssh_port)
            except PermissionError:
                if self.ssh_port >= 1024:
                    raise
                self.ssh_port = 2222  # only root may listen below 1024
                return await self._open(name, cloud_id, key, gpus, hosts)
            except OSError as problem:
                if problem.errno != EADDRINUSE:
                    raise
                taken = problem
        raise taken or OSError("no address is left")


def _loopbacks(cloud: int, number: int) -> Iterator[str]:
    """Give addresses of this computer for a machine: its own one, and others while another server has that."""
    low = number % (1 << 16)
    for server in range(12):
        yield f"127.{101 + cloud + 10 * server}.{low >> 8}.{low & 255}"
