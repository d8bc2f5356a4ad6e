"""The face of Shadeform: one flat list of machines, tags as free texts, POST for every change, 409 for most refusals.

The catalogue is the simulated cloud's: the part of a type's name before its first `_` is the cloud that sells it. A
machine is kept under its whole name as ref_id, its tags by their place in the list.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from brevplan.contract.errors import (
    CloudError,
    InstanceNotFound,
    NotFound,
    NotReady,
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

KEYS: Final = "shadeform key"
"""The kind of the objects that keep SSH keys."""

MANAGED_KEY: Final = {
    "id": "00000000-0000-4000-a000-000000000000",
    "name": "Shadeform Managed Key",
    "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f managed",
    "is_default": True,
}
"""What every account has; machines that are launched without a key get it."""


_STATUS: Final = {
    LifecycleStatus.PENDING: "pending_provider",
    LifecycleStatus.RUNNING: "active",
    LifecycleStatus.FAILED: "error",
    LifecycleStatus.TERMINATING: "deleting",
    LifecycleStatus.TERMINATED: "deleted",
}

_REQUIRED: Final = ("cloud", "region", "shade_instance_type", "name")

AddressOf = Callable[[str], tuple[str, int] | None]
"""Where a machine of this cloud id really listens for SSH: address and port; None where it is as the model says."""


class ShadeformFace:
    """`limit` is how many machines the account may have. `status_of_unknown` is what an unknown id is answered with."""

    name = "shadeform"
    prefix = "/v1"

    def __init__(
        self,
        cloud: SimCloud,
        key: str,
        *,
        limit: int | None = None,
        status_of_unknown: int = 404,
        address_of: AddressOf | None = None,
    ) -> None:
        self.cloud = cloud
        self._key, self._limit, self._status_of_unknown, self._address_of = key, limit, status_of_unknown, address_of
        self.routes: Sequence[Route] = (
            Route("GET", "/instances/types", "get_instance_types", self.types),
            Route("GET", "/instances", "list_instances", self.list),
            Route("POST", "/instances/create", "create_instance", self.create, True, _named),
            Route("GET", "/instances/{id}/info", "get_instance", self.info),
            Route("POST", "/instances/{id}/update", "update_instance", self.update, True),
            Route("POST", "/instances/{id}/delete", "terminate_instance", self.delete, True),
            Route("POST", "/instances/{id}/restart", "reboot_instance", self.restart, True),
            Route("GET", "/sshkeys", "list_ssh_keys", self.keys),
            Route("POST", "/sshkeys/add", "add_ssh_key", self.add_key, True, _named),
            Route("GET", "/sshkeys/{id}/info", "get_ssh_key", self.key_info),
            Route("POST", "/sshkeys/{id}/setdefault", "set_default_ssh_key", self.set_default_key, True),
            Route("POST", "/sshkeys/{id}/delete", "delete_ssh_key", self.delete_key, True),
        )

    # The door

    def admits(self, request: Request) -> bool:
        return request.headers.get("x-api-key") == self._key

    def unauthorised(self) -> Reply:
        return Reply({"message": "Invalid API key"}, 401)

    def no_such_path(self) -> Reply:
        return Reply({"message": "Not Found"}, 404)

    def refusal(self, error: CloudError, operation: str) -> Reply:
        if isinstance(error, Unavailable):
            return Reply(b"upstream error", error.http_status or 500)
        if isinstance(error, RateLimited):
            return Reply({"message": "Too many requests"}, 429)
        if isinstance(error, OutOfStock):
            return Reply({"error_code": "OUT_OF_STOCK", "error": error.message}, 409)
        if isinstance(error, OutOfQuota):
            return Reply({"error_code": "ACCOUNT_LIMIT", "error": error.message}, 409)
        if isinstance(error, InstanceNotFound):
            return Reply({"message": "instance not found"}, self._status_of_unknown)
        if isinstance(error, NotReady):
            return Reply({"error_code": "CONFLICT", "error": error.message}, 409)
        return Reply({"error_code": "BAD_REQUEST", "error": error.message}, 404 if isinstance(error, NotFound) else 400)

    # Machines

    def types(self, request: Request) -> Reply:
        by_name: dict[str, list[InstanceType]] = {}
        for offer in self.cloud.types(InstanceTypeFilter()):
            by_name.setdefault(offer.type, []).append(offer)
        entries = [_entry(offers) for offers in by_name.values()]
        found = [entry for entry in entries if _is_wanted(entry, request.query)]
        if request.query.get("sort") == "price":
            found.sort(key=lambda entry: entry["hourly_price"])
        return Reply({"instance_types": found})

    def list(self, request: Request) -> Reply:
        return Reply(
            {"instances": [self._listed(one) for one in self.cloud.instances(InstanceFilter(), request.fault)]}
        )

    def info(self, request: Request) -> Reply:
        instance = self.cloud.get(_cloud_id(request))
        shown = self._listed(instance)
        shown |= {"volume_ids": list(instance.filesystems), "ssh_key_id": instance.options["ssh_key_id"]}
        return Reply(shown)

    def create(self, request: Request) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        attrs = self._launched(body)
        if self._limit is not None and len(self.cloud.present()) >= self._limit:
            raise OutOfQuota(f"instance limit of {self._limit} reached")
        return Reply({"id": uuid_of(self.cloud.create(attrs, request.fault).cloud_id)})

    def update(self, request: Request) -> Reply:
        cloud_id, body = _cloud_id(request), request.body if isinstance(request.body, dict) else {}
        self.cloud.get(cloud_id)
        # what is left out stays; what is null goes; a list of tags takes the place of the one before
        if "name" in body:
            self.cloud.rename(cloud_id, text_of(body, "name"))
        if "tags" in body:
            self.cloud.set_tags(cloud_id, _by_place(body["tags"] or []))
        return Reply(b"")

    def delete(self, request: Request) -> Reply:
        cloud_id = _cloud_id(request)
        self.cloud.get(cloud_id)  # unlike others, this API does not take an unknown id for a success
        self.cloud.terminate(cloud_id)
        return Reply(b"")

    def restart(self, request: Request) -> Reply:
        self.cloud.reboot(_cloud_id(request))
        return Reply(b"")

    def _launched(self, body: Mapping[str, Any]) -> CreateInstanceAttrs:
        for name in _REQUIRED:
            if not text_of(body, name):
                raise Rejected(f"{name} is required")
        if not isinstance(body.get("shade_cloud"), bool):
            raise Rejected("shade_cloud is required")
        offer = _offer(text_of(body, "cloud"), text_of(body, "shade_instance_type"), text_of(body, "region"))
        key = self._key_named(text_of(body, "ssh_key_id"))
        volumes = body.get("volume_ids") or []
        if len(volumes) > 1:
            raise Rejected("only 1 volume is supported")
        return CreateInstanceAttrs(
            ref_id=RefId(text_of(body, "name")),
            cloud_cred_ref_id="",
            instance_type=offer.type,
            location=offer.location,
            public_key=key["public_key"],
            name=text_of(body, "name"),
            image_id=text_of(body, "os"),
            user_data=_script(body.get("launch_configuration")),
            filesystems=tuple(volumes),
            tags=_by_place(body.get("tags") or []),
            options={
                "ssh_key_id": key["id"],
                "template_id": text_of(body, "template_id"),
                "launch_configuration": msgspec.json.encode(body.get("launch_configuration")).decode(),
            },
        )

    def _listed(self, instance: Instance) -> dict[str, Any]:
        offer = catalogue.find_offer(instance.instance_type, instance.location)
        cloud, _, shade_type = instance.instance_type.partition("_")
        ip, port = self._address(instance)
        created = instance.created_at.isoformat() if instance.created_at else ""
        shown = {
            "id": uuid_of(instance.cloud_id),
            "cloud": cloud,
            "region": instance.location,
            "shade_instance_type": shade_type,
            "cloud_instance_type": instance.instance_type,
            "cloud_assigned_id": instance.cloud_id,
            "shade_cloud": True,
            "name": instance.name,
            "configuration": {**_hardware(offer), "os": instance.image_id},
            "ip": ip,
            "ssh_user": "shadeform",
            "ssh_port": port,
            "status": _STATUS.get(instance.status, "error"),
            "cost_estimate": "0.0",
            "hourly_price": _cents(instance.hourly_price),
            # what has no value is the tag list of a machine that never had one
            "tags": [instance.tags[place] for place in sorted(instance.tags, key=int)],
            "created_at": created,
            # it is there from the beginning, and says nothing
            "deleted_at": "0001-01-01T00:00:00Z",
        }
        launch = msgspec.json.decode(instance.options["launch_configuration"])
        if launch is not None:
            shown["launch_configuration"] = launch
        if instance.messages:
            shown["status_details"] = "; ".join(instance.messages)
        return shown

    def _address(self, instance: Instance) -> tuple[str, int]:
        """Give where a machine is reached; there is no address before it has its place."""
        if instance.status == LifecycleStatus.PENDING:
            return "", 22
        elsewhere = self._address_of(instance.cloud_id) if self._address_of is not None else None
        return elsewhere or (instance.public_ip, instance.ssh_port)

    # SSH keys

    def keys(self, request: Request) -> Reply:
        return Reply({"ssh_keys": list(self._all_keys().values())})

    def add_key(self, request: Request) -> Reply:
        name, text = text_of(request.body, "name"), text_of(request.body, "public_key")
        if not name or len(text.split()) < 2:
            raise Rejected("name and public_key are required")
        with self.cloud.store.write():
            kept = self.cloud.store.objects(KEYS)
            if any(key["name"] == name for key in (MANAGED_KEY, *kept.values())):
                raise Rejected("name must be unique")
            key_id = f"00000000-0000-4000-a000-{self.cloud.store.next_number('shadeform key'):012d}"
            body = {"id": key_id, "name": name, "public_key": text, "is_default": False}
            self.cloud.store.put_object(KEYS, key_id, body)
        return Reply({"id": key_id})

    def key_info(self, request: Request) -> Reply:
        return Reply(self._key_of(request))

    def set_default_key(self, request: Request) -> Reply:
        chosen = self._key_of(request)["id"]
        with self.cloud.store.write():
            for key_id, key in self.cloud.store.objects(KEYS).items():
                self.cloud.store.put_object(KEYS, key_id, {**key, "is_default": key_id == chosen})
        return Reply(b"")

    def delete_key(self, request: Request) -> Reply:
        key = self._key_of(request)
        if key["id"] == MANAGED_KEY["id"] or key["is_default"]:
            raise Rejected("the managed and the default SSH key cannot be deleted")
        if any(machine.body.options.get("ssh_key_id") == key["id"] for machine in self.cloud.present()):
            raise Rejected("the SSH key is in use")
        with self.cloud.store.write():
            self.cloud.store.drop_object(KEYS, key["id"])
        return Reply(b"")

    def _all_keys(self) -> dict[str, dict[str, Any]]:
        with self.cloud.store.read():
            kept = self.cloud.store.objects(KEYS)
        managed = {**MANAGED_KEY, "is_default": not any(key["is_default"] for key in kept.values())}
        return {str(managed["id"]): managed, **kept}

    def _key_of(self, request: Request) -> dict[str, Any]:
        key = self._all_keys().get(request.parts["id"])
        if key is None:
            raise NotFound("ssh key not found")
        return key

    def _key_named(self, key_id: str) -> dict[str, Any]:
        keys = self._all_keys()
        found = keys.get(key_id) if key_id else next(key for key in keys.values() if key["is_default"])
        if found is None:
            raise Rejected(f"ssh key {key_id} not found")
        return found


def _named(request: Request) -> str:
    return text_of(request.body, "name")


def _cloud_id(request: Request) -> str:
    return cloud_id_behind(request.parts["id"])


def _by_place(tags: Any) -> dict[str, str]:
    return {str(place): str(tag) for place, tag in enumerate(tags)}


def _script(launch: Any) -> str:
    """Read the start-up script; raise `Rejected` for one that is none."""
    if launch is None:
        return ""
    given = launch.get("script_configuration") if isinstance(launch, dict) else None
    if not isinstance(given, dict) or launch.get("type") != "script":
        raise Rejected("launch_configuration holds no script")
    try:
        return b64decode(text_of(given, "base64_script"), validate=True).decode()
    except ValueError:
        raise Rejected("base64_script is not base64") from None


def _offer(cloud: str, shade_type: str, region: str) -> InstanceType:
    if region not in [place.name for place in catalogue.LOCATIONS]:
        # the API tells a region that there is not, from one where nothing is left, by nothing
        raise OutOfStock(f"{shade_type} is not available in {region}")
    return catalogue.find_offer(f"{cloud}_{shade_type}", region)


# The catalogue


def _entry(offers: list[InstanceType]) -> dict[str, Any]:
    """Give one type with all its regions."""
    first = offers[0]
    cloud, _, shade_type = first.type.partition("_")
    boot = round(first.deploy_time_s or 0)
    described = {place.name: place.description for place in catalogue.LOCATIONS}
    return {
        "cloud": cloud,
        "shade_instance_type": shade_type,
        "cloud_instance_type": first.type,
        "configuration": {
            **_hardware(first),
            "os_options": [image.id for image in catalogue.IMAGES if image.architecture in first.architectures],
        },
        "hourly_price": _cents(first.base_price.amount if first.base_price else None),
        "deployment_type": "vm",
        "availability": [
            {"region": offer.location, "available": offer.is_available, "display_name": described[offer.location]}
            for offer in offers
        ],
        "boot_time": {"min_boot_in_sec": boot, "max_boot_in_sec": boot},
    }


def _hardware(offer: InstanceType) -> dict[str, Any]:
    gpu = offer.gpus[0] if offer.gpus else None
    return {
        "memory_in_gb": offer.memory.value,
        "storage_in_gb": offer.storage[0].size.value,
        "vcpus": offer.vcpu,
        "num_gpus": gpu.count if gpu else 0,
        "gpu_type": f"{gpu.name}_{gpu.memory.value}G" if gpu else "",
        "interconnect": gpu.interconnect.lower() if gpu else "",
        "vram_per_gpu_in_gb": gpu.memory.value if gpu else 0,
        "gpu_manufacturer": gpu.manufacturer.lower() if gpu else "",
    }


def _cents(dollars: Decimal | None) -> int:
    return int((dollars or Decimal(0)).scaleb(2))


def _is_wanted(entry: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    asked = {name: query[name] for name in ("cloud", "shade_instance_type") if name in query}
    has = entry["configuration"]
    asked_of_hardware = {name: query[name] for name in ("num_gpus", "gpu_type") if name in query}
    return (
        all(entry[name] == value for name, value in asked.items())
        and all(str(has[name]) == value for name, value in asked_of_hardware.items())
        and ("region" not in query or any(place["region"] == query["region"] for place in entry["availability"]))
        and ("available" not in query or any(place["available"] for place in entry["availability"]))
    )


def face(
    cloud: SimCloud,
    key: str,
    *,
    limit: int | None = None,
    status_of_unknown: int = 404,
    address_of: AddressOf | None = None,
) -> ShadeformFace:
    """Give the face of an account. Its cloud behaves as Shadeform does where it is idempotent and fences nothing."""
    return ShadeformFace(cloud, key, limit=limit, status_of_unknown=status_of_unknown, address_of=address_of)
