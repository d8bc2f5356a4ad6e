"""The face of NVIDIA LaunchPad: deployments onto clusters behind a bastion, in pages, answered at once and ready late.

The catalogue is the simulated cloud's, as far as it has GPUs; the types are spread over some clouds. A machine is kept
under its `request_id`. Its tags, which may be anything, are kept as one JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Final

from msgspec.structs import replace

from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
    NotFound,
    OutOfQuota,
    OutOfStock,
    RateLimited,
    Rejected,
    Unavailable,
)
from brevplan.contract.model import (
    CreateInstanceAttrs,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Reply, Request, Route, cloud_id_behind, text_of, uuid_of
from brevplan.simcloud.model import Machine, number_of

_ALREADY_ENDING: Final = "Deployment is already being destroyed"
_PAGE_SIZE: Final = 100
_CLUSTER: Final = "00000000-0000-4000-9000-"
_EXPERIENCE: Final = "43123766-35ec-4eb4-a5ba-3f2945228445"
_LONG_AGO: Final = "2026-01-01T00:00:00Z"

_STATE: Final = {
    LifecycleStatus.PENDING: "waiting",
    LifecycleStatus.RUNNING: "ready",
    LifecycleStatus.STOPPING: "stopping",
    LifecycleStatus.STOPPED: "stopped",
    LifecycleStatus.FAILED: "error",
    LifecycleStatus.TERMINATING: "destroying",
    LifecycleStatus.TERMINATED: "destroyed",
}

_EXPERIENCE_NAMES: Final = ("experience_id", "catalog_id", "catalog_id_alias")
_REQUIRED: Final = ("org_name", "requester_email", "requester_name")
_READ_ONLY: Final = ("region", "gpu_model", "gpu_count", "request_id", "public_key", "provider_name", "lifetime")

_ELSEWHERE: Final = {
    "gpu_8x_a100_80gb_sxm4": ("nebius", ""),
    "gpu_1x_gh200": ("dmz", ""),
    "gpu_1x_l4": ("nebius", "public"),
}
"""The cloud of a type and the workshop that it is set aside for, where it is not of `oci` and free."""

AddressOf = Callable[[str], tuple[str, int] | None]
"""Where a machine of this cloud id really listens for SSH: address and port; None where it is as the model says."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a deployment is asked for by."""

    cloud: str
    gpu: str
    count: int
    workshop: str


class LaunchpadFace:
    """`limit` is how many machines the account may have; `longest_page` cuts pages short.

    `is_bare` leaves clusters as ids, whatever is to be expanded.
    """

    name = "launchpad"
    prefix = ""

    def __init__(
        self,
        cloud: SimCloud,
        key: str,
        *,
        limit: int | None = None,
        longest_page: int = 500,
        is_bare: bool = False,
        address_of: AddressOf | None = None,
    ) -> None:
        self.cloud = cloud
        self._key, self._limit, self._longest_page = key, limit, longest_page
        self._is_bare, self._address_of = is_bare, address_of or (lambda cloud_id: None)
        deployments = "/v1/catalog/deployments/"
        self.routes: Sequence[Route] = (
            Route("GET", "/v1/catalog/instance-types/", "get_instance_types", self.types),
            Route("GET", deployments, "list_instances", self.list),
            Route("POST", deployments, "create_instance", self.create, True, _request_id),
            Route("GET", f"{deployments}{{id}}/", "get_instance", self.get),
            Route("PATCH", f"{deployments}{{id}}/", "update_instance", self.update, True),
            Route("DELETE", f"{deployments}{{id}}/", "terminate_instance", self.delete, True),
        )

    # The door

    def admits(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Token {self._key}"

    def unauthorised(self) -> Reply:
        return Reply({"detail": "Invalid token."}, 401)

    def no_such_path(self) -> Reply:
        return Reply(b"<!doctype html><title>Not Found</title>", 404)

    def refusal(self, error: CloudError, operation: str) -> Reply:
        if isinstance(error, Unavailable):
            return Reply(b"<h1>Server Error (500)</h1>", error.http_status or 500)
        if isinstance(error, RateLimited):
            return Reply({"detail": "Request was throttled."}, 429)
        if isinstance(error, AuthFailed):
            return Reply({"detail": error.message}, 403)
        if isinstance(error, OutOfStock):
            return Reply({"non_field_errors": [f"There is no available capacity: {error.message}"]}, 400)
        if isinstance(error, OutOfQuota):
            return Reply({"non_field_errors": [error.message]}, 400)
        if isinstance(error, InstanceNotFound):
            return Reply({"detail": "No Deployment matches the given query."}, 404)
        if isinstance(error, NotFound):
            return Reply({"detail": error.message}, 404)
        return Reply({error.code or "non_field_errors": [error.message]}, 400)

    # The catalogue

    def types(self, request: Request) -> Reply:
        by_name: dict[str, list[InstanceType]] = {}
        for offer in self.cloud.types(InstanceTypeFilter()):
            if offer.gpus:
                by_name.setdefault(offer.type, []).append(offer)
        # nothing of this cloud has to be delivered slowly
        found = [] if request.query.get("delivery") == "slow" else [_entry(offers) for offers in by_name.values()]
        return self._page(found, request)

    # Deployments

    def list(self, request: Request) -> Reply:
        query = request.query
        shown = [(one, self._row(one, query)) for one in self._everything(request)]
        rows = [row for machine, row in shown if _is_wanted(machine, row, query)]
        if query.get("ordering", "").startswith("-"):
            rows.reverse()
        return self._page(rows, request)

    def _everything(self, request: Request) -> Sequence[Instance]:
        """Give all machines that a list shows, those that are gone too."""
        living = self.cloud.instances(InstanceFilter(), request.fault)
        known, now = {one.cloud_id for one in living}, self.cloud.now().timestamp() - self.cloud.how.list_lag_s
        gone = [
            _destroyed(machine)
            for machine in self.cloud.store.machines(include_gone=True)
            if machine.gone_at is not None and machine.gone_at <= now and machine.body.cloud_id not in known
        ]
        return sorted([*living, *gone], key=lambda one: number_of(one.cloud_id) or 0)

    def create(self, request: Request) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        attrs = self._launched(body)
        with self.cloud.store.read():
            taken = self.cloud.store.by_ref_id(attrs.ref_id)
        if taken is not None:
            raise Rejected("deployment with this request_id already exists.", code="request_id")
        if self._limit is not None and len(self.cloud.present()) >= self._limit:
            raise OutOfQuota(f"The quota of {self._limit} deployments is used up.")
        made = self.cloud.create(attrs, request.fault)
        return Reply(self._row(replace(made, status=LifecycleStatus.PENDING), request.query), 201)

    def get(self, request: Request) -> Reply:
        return Reply(self._row(self._found(request), request.query))

    def update(self, request: Request) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        fixed = [name for name in _READ_ONLY if name in body]
        if fixed:
            raise Rejected("This field is read-only.", code=fixed[0])
        instance = self._found(request)
        if "ip_allowlist" in body:
            allowlist = _addresses(body["ip_allowlist"])
            self.cloud.set_options(instance.cloud_id, {**instance.options, "ip_allowlist": json.dumps(allowlist)})
        if "tags" in body:
            self.cloud.set_tags(instance.cloud_id, _kept(body["tags"]))
        return Reply(self._row(self._found(request), request.query) | _launched_with(instance))

    def delete(self, request: Request) -> Reply:
        instance = self._found(request)
        if instance.status in (LifecycleStatus.TERMINATING, LifecycleStatus.TERMINATED):
            raise Rejected(_ALREADY_ENDING)
        self.cloud.terminate(instance.cloud_id)
        return Reply(self._row(replace(instance, status=LifecycleStatus.TERMINATING), request.query))

    def _found(self, request: Request) -> Instance:
        wanted = cloud_id_behind(request.parts["id"], "no deployment")
        try:
            return self.cloud.get(wanted)
        except InstanceNotFound:
            for machine in self.cloud.store.machines(include_gone=True):
                if machine.body.cloud_id == wanted and machine.gone_at is not None:
                    return _destroyed(machine)
            raise

    def _launched(self, body: Mapping[str, Any]) -> CreateInstanceAttrs:
        for name in _REQUIRED:
            if not text_of(body, name):
                raise Rejected("This field is required.", code=name)
        if sum(bool(text_of(body, name)) for name in _EXPERIENCE_NAMES) != 1:
            raise Rejected("One of experience_id, catalog_id and catalog_id_alias is required.")
        allowlist = _addresses(body.get("ip_allowlist"))
        count, region = body.get("gpu_count"), text_of(body, "region")
        wanted = Kind(
            text_of(body, "provider_name"), text_of(body, "gpu_model"), count if isinstance(count, int) else 0,
            text_of(body, "workshop_id") if body.get("workshop") else "",
        )  # fmt: skip
        sold = _by_kind().get(wanted)
        places = [offer.location for offer in catalogue.offers() if offer.type == sold]
        if sold is None or region not in places:
            # what there is not, and what is not there, are told from each other by nothing
            raise OutOfStock(f"{wanted.gpu} in {region}")
        return CreateInstanceAttrs(
            ref_id=RefId(text_of(body, "request_id")),
            cloud_cred_ref_id="",
            instance_type=sold,
            location=region,
            public_key=text_of(body, "public_key"),
            name=text_of(body, "request_id"),
            tags=_kept(body.get("tags")),
            options={
                "ip_allowlist": json.dumps(allowlist),
                **{field: text_of(body, field) for field in (*_REQUIRED, *_EXPERIENCE_NAMES)},
            },
        )

    def _row(self, instance: Instance, query: Mapping[str, str]) -> dict[str, Any]:
        created = instance.created_at.isoformat() if instance.created_at else _LONG_AGO
        ip, port = self._address(instance)
        shown: dict[str, Any] = {
            "id": uuid_of(instance.cloud_id),
            "state": _STATE.get(instance.status, "waiting"),
            "created": created,
            "modified": created,
            "request_id": instance.name,
            "region": instance.location,
            "org_name": instance.options.get("org_name", ""),
            "requester_email": instance.options.get("requester_email", ""),
            "requester_name": instance.options.get("requester_name", ""),
            "ip_allowlist": json.loads(instance.options.get("ip_allowlist", "[]")),
            "experience": instance.options.get("experience_id") or _EXPERIENCE,
            "ssh_user": "nvidia",
            "ssh_port": port,
            "tags": json.loads(instance.tags.get("tags", "null")),
            "overrides": {},
            "pipelines": [],
            "services": [],
            "retry_count": 0,
            "expires_at": None,
        }
        if instance.status not in (LifecycleStatus.PENDING, LifecycleStatus.TERMINATED):
            # a cluster is found for it only after a while, and is given back
            shown["cluster"] = self._cluster(instance, ip, query)
        return shown

    def _cluster(self, instance: Instance, ip: str, query: Mapping[str, str]) -> str | dict[str, Any]:
        number = number_of(instance.cloud_id) or 0
        bare = f"{_CLUSTER}{number:012d}"
        if self._is_bare or "cluster" not in query.get("expand", ""):
            return bare
        times = {"created": _LONG_AGO, "modified": _LONG_AGO}
        offer = catalogue.find_offer(instance.instance_type, instance.location)
        kind, (gpu,) = _kind(offer), offer.gpus
        plan = f"{kind.cloud}.{kind.gpu}x{kind.count}"
        node = {
            **times, "id": bare, "cpu": offer.vcpu, "memory": _gigabytes(offer), "gpu_count": kind.count,
            "gpu_alias": plan, "gpu_model": _model(offer), "system_arch": _architecture(offer),
            "storage": [{"size": disk.size.value, "type": _disk_type(disk.type)} for disk in offer.storage],
            "gpu": {**times, "id": bare, "model": _model(offer).lower(), "memory": gpu.memory.value,
                    "form_factor": _interconnect(offer)},
            "location": {**times, "id": bare, "name": f"{instance.location}-dc1", "region": instance.location,
                         "provider": {**times, "id": bare, "name": kind.cloud}},
        }  # fmt: skip
        return {
            **times, "id": bare, "available": False, "deployment": uuid_of(instance.cloud_id), "gpus": [],
            "instances": [], "last_provisioning_state_change": None, "last_used": None, "provider_capacity": True,
            "tenant_ids": [], "public_address": ip or None, "provisioning_state": "deployed",
            "workshop_id": kind.workshop or None, "nodes": [node],
        }  # fmt: skip

    def _address(self, instance: Instance) -> tuple[str, int]:
        """Give where a machine is reached: a port of the bastion's. There is none before it is ready."""
        if instance.status == LifecycleStatus.PENDING:
            return "", 0
        port = 20000 + (number_of(instance.cloud_id) or 0) % 10000
        return self._address_of(instance.cloud_id) or (instance.public_ip, port)

    # Pages

    def _page(self, found: Sequence[Mapping[str, Any]], request: Request) -> Reply:
        query = request.query
        size = min(_whole(query.get("page_size", ""), _PAGE_SIZE), self._longest_page)
        number = _whole(query.get("page", ""), 1)
        last = max(1, ceil(len(found) / size))
        if not 1 <= number <= last:
            raise NotFound("Invalid page.")
        around = {"next": number + 1 if number < last else None, "previous": number - 1 if number > 1 else None}
        urls = {name: f"https://launchpad.example/?page={page}" if page else None for name, page in around.items()}
        return Reply({"count": len(found), **urls, "results": found[(number - 1) * size : number * size]})


def _request_id(request: Request) -> str:
    return text_of(request.body, "request_id")


def _destroyed(machine: Machine) -> Instance:
    return replace(machine.body, status=LifecycleStatus.TERMINATED)


def _addresses(given: Any) -> list[str]:
    found = given if isinstance(given, list) else []
    for text in found:
        if not isinstance(text, str) or "/" in text:
            raise Rejected(f"{text} is not a valid IP address.", code="ip_allowlist")
    return found


def _kept(tags: Any) -> dict[str, str]:
    return {"tags": json.dumps(tags)}


def _launched_with(instance: Instance) -> dict[str, Any]:
    """Give what the answer to an update shows beside the deployment."""
    offer = catalogue.find_offer(instance.instance_type, instance.location)
    kind = _kind(offer)
    nothing = ("bastion_operating_system", "garage_id", "gpu_alias", "gpu_os_name", "gpu_os_release", "gpu_os_version",
               "lifetime", "min_gpu_count", "node_count", "oem_name", "public_key", "sales_created_date", "sales_id",
               "workshop_override_password")  # fmt: skip
    return {
        **dict.fromkeys(nothing), "cluster": f"{_CLUSTER}{number_of(instance.cloud_id) or 0:012d}",
        "gpu_count": kind.count, "gpu_model": kind.gpu, "provider_name": kind.cloud, "priority": "p3",
        "workshop": bool(kind.workshop), "workshop_id": kind.workshop or None,
    }  # fmt: skip


def _is_wanted(machine: Instance, row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    states, others = (set(filter(None, query.get(name, "").split(","))) for name in ("state", "state_not"))
    return (
        (not states or row["state"] in states)
        and row["state"] not in others
        and query.get("request_id", machine.name) == machine.name
        and query.get("region", machine.location) == machine.location
    )


def _whole(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else default


# The catalogue


@cache
def _by_kind() -> Mapping[Kind, str]:
    return {_kind(offer): offer.type for offer in catalogue.offers() if offer.gpus}


def _kind(offer: InstanceType) -> Kind:
    cloud, workshop = _ELSEWHERE.get(offer.type, ("oci", ""))
    (gpu,) = offer.gpus
    # the deployment is asked for by the family and no interconnect: PCIe is another cloud's here
    is_second = offer.type.endswith("_pcie")
    return Kind("nebius" if is_second else cloud, gpu.name.lower(), gpu.count, workshop)


def native_type(sim_type: str) -> str:
    """Give the name that a type of the simulated cloud has here."""
    offer = next(offer for offer in catalogue.offers() if offer.type == sim_type)
    kind = _kind(offer)
    workshop = f".{kind.workshop}" if kind.workshop else ""
    return f"{kind.cloud}.{kind.gpu}x{kind.count}.{_interconnect(offer)}{workshop}"


def _entry(offers: Sequence[InstanceType]) -> dict[str, Any]:
    """Give one type with all its regions."""
    first = offers[0]
    kind, (gpu,) = _kind(first), first.gpus
    price = first.base_price.amount if first.base_price else 0
    return {
        "cloud": kind.cloud,
        "cpu": first.vcpu,
        "memory_gb": _gigabytes(first),
        "system_arch": _architecture(first),
        "workshop_id": kind.workshop,
        "gpu": {
            "count": gpu.count,
            "family": gpu.name,
            "model": _model(first),
            "manufacturer": gpu.manufacturer,
            # the total, as it is described, where it cannot be mistaken for that of one GPU
            "memory_gb": gpu.memory.value * gpu.count,
            "interconnection_type": _interconnect(first),
        },
        "storage": [{"size_gb": disk.size.value, "type": _disk_type(disk.type)} for disk in first.storage],
        "regions": [offer.location for offer in offers if offer.is_available],
        "capacity": {offer.location: offer.stock or 0 for offer in offers},
        "price": {"currency": "USD", "on_demand_per_hour": float(price)},
    }


def _model(offer: InstanceType) -> str:
    (gpu,) = offer.gpus
    return f"{gpu.name}-{gpu.memory.value}GB" if gpu.name == "A100" else gpu.name


def _interconnect(offer: InstanceType) -> str:
    (gpu,) = offer.gpus
    return "pcie" if gpu.interconnect == "PCIe" else "sxm"


def _architecture(offer: InstanceType) -> str:
    return "arm64" if "arm64" in offer.architectures else "amd64"


def _disk_type(name: str) -> str:
    return "nvme" if name == "nvme" else "ssd"


def _gigabytes(offer: InstanceType) -> int:
    return round(offer.memory.total / 10**9)


def face(
    cloud: SimCloud,
    key: str,
    *,
    limit: int | None = None,
    longest_page: int = 500,
    is_bare: bool = False,
    address_of: AddressOf | None = None,
) -> LaunchpadFace:
    """Give the face of an account. Its cloud behaves as LaunchPad does where it fences nothing."""
    return LaunchpadFace(cloud, key, limit=limit, longest_page=longest_page, is_bare=is_bare, address_of=address_of)
