"""The simulated cloud as Lambda Cloud's API: its envelopes, its keys by name, its map of types, its rulesets.

A machine's ref_id is the name of its SSH key, for that is what a launch that is under way is called off by. What the
API keeps with a machine and the model has no field for is among the model's options.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2s
from hmac import compare_digest
from typing import Any, Final

from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
    OutOfQuota,
    OutOfStock,
    RateLimited,
    Unavailable,
)
from brevplan.contract.model import (
    CreateInstanceAttrs,
    Gpu,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Reply, Request, Route, text_of

REGIONS: Final[Mapping[str, str]] = {
    "asia-northeast-1": "Osaka, Japan",
    "asia-northeast-2": "Tokyo, Japan",
    "asia-south-1": "India",
    "australia-east-1": "Sydney, Australia",
    "europe-central-1": "Germany",
    "me-west-1": "Israel",
    "us-east-1": "Virginia, USA",
    "us-east-2": "Washington D.C., USA",
    "us-east-3": "Washington D.C., USA",
    "us-midwest-1": "Illinois, USA",
    "us-midwest-2": "Midwest, USA",
    "us-south-1": "Texas, USA",
    "us-south-2": "North Texas, USA",
    "us-south-3": "Central Texas, USA",
    "us-west-1": "California, USA",
    "us-west-2": "Arizona, USA",
    "us-west-3": "Utah, USA",
}
"""The regions that the API's description names; those of the simulated cloud that are not among them are not here."""

AddressOf = Callable[[str], "tuple[str, int] | None"]

_RULESET: Final = "lambda-ruleset"
_KEY: Final = "lambda-key"
_FILE_SYSTEM: Final = "lambda-file-system"
_ACCOUNT: Final = "lambda-account"

_TAG_KEY: Final = re.compile(r"[a-z][a-z0-9:-]{1,54}")
_HOSTNAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOUNT_POINT: Final = re.compile(r"(?:/home|/lambda/nfs|/data)[/a-zA-Z0-9-]*")
_LONGEST_USER_DATA: Final = 1_000_000

_STATUS: Final = {
    LifecycleStatus.PENDING: "booting",
    LifecycleStatus.RUNNING: "active",
    LifecycleStatus.TERMINATING: "terminating",
    LifecycleStatus.TERMINATED: "terminated",
    # a machine that could not be started is ended by the cloud itself
    LifecycleStatus.FAILED: "terminated",
}


@dataclass(frozen=True, slots=True)
class Quirks:
    """What this API does in some places or at some times, and what it is not certain that it does."""

    old_codes: bool = False
    """Whether a key in use is refused with a code of its own, as an older description of the API has it."""
    silent_while_booting: bool = False
    """Whether a machine that boots cannot be terminated yet: the answer is a success that leaves it out."""
    prices_as_text: bool = False
    extra_fields: bool = False
    """Whether answers have fields that the description does not know."""


class _Refused(Exception):
    """A request is answered with an error of the API."""

    def __init__(self, code: str, message: str, suggestion: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.suggestion, self.status = code, message, suggestion, status


class LambdaFace:
    name = "lambda"
    prefix = "/api/v1"

    def __init__(self, cloud: SimCloud, key: str, quirks: Quirks, address_of: AddressOf | None) -> None:
        self.cloud = cloud
        self._store = cloud.store
        self._quirks = quirks
        self._address_of = address_of
        basic = b64encode(f"{key}:".encode()).decode()
        self._credentials = (f"Bearer {key}", f"Basic {basic}", f"Basic {key}")
        self.routes = (
            *self._of_machines(),
            Route("GET", "/instance-types", "get_instance_types", self._answer(self._types)),
            Route("GET", "/images", "get_images", self._answer(self._images)),
            *self._of_keys(),
            *self._of_file_systems(),
            *self._of_rules(),
        )

    # Every request

    def admits(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return any([compare_digest(given, known.encode()) for known in self._credentials])

    def refusal(self, error: CloudError, operation: str) -> Reply:
        status = error.http_status
        suggestion = "Try again later."
        match error:
            case RateLimited():
                return _failure(429, "global/unknown", "Too many requests.", "Send one request a second.")
            case OutOfStock():
                message = "Not enough capacity to fulfill launch request."
                return _failure(400, "instance-operations/launch/insufficient-capacity", message, suggestion)
            case OutOfQuota():
                return _failure(400, "global/quota-exceeded", "Quota exceeded.", "Contact Support.")
            case InstanceNotFound():
                return _failure(404, "global/object-does-not-exist", "Specified instance does not exist.", "")
            case ImageNotFound() | NotFound():
                return _failure(404, "global/object-does-not-exist", error.message, "Check the id.")
            case AuthFailed():
                return self.unauthorised()
            case Unavailable():
                return _failure(
                    status or 503, "global/internal-error", "An internal server error occurred.", suggestion
                )
        return _failure(status or 400, "global/invalid-parameters", error.message, "")

    def unauthorised(self) -> Reply:
        return _failure(
            401, "global/invalid-api-key", "API key was invalid, expired, or deleted.", "Check your API key."
        )

    def no_such_path(self) -> Reply:
        return _failure(404, "global/object-does-not-exist", "There is no such path.", "Check the URL.")

    def _answer(self, handler: Callable[[Request], Any]) -> Callable[[Request], Reply]:
        def handle(request: Request) -> Reply:
            try:
                return Reply({"data": handler(request)})
            except _Refused as problem:
                return _failure(problem.status, problem.code, problem.message, problem.suggestion)

        return handle

    # Machines

    def _of_machines(self) -> Iterable[Route]:
        return (
            Route("GET", "/instances", "list_instances", self._answer(self._list)),
            Route("GET", "/instances/{id}", "get_instance", self._answer(self._get)),
            Route("POST", "/instances/{id}", "rename_instance", self._answer(self._rename), changes=True),
            Route(
                "POST", "/instance-operations/launch", "create_instance", self._answer(self._launch), changes=True,
                target=lambda request: _first(request.body, "ssh_key_names"),
            ),
            Route(
                "POST", "/instance-operations/terminate", "terminate_instance", self._answer(self._terminate),
                changes=True, target=lambda request: _first(request.body, "instance_ids"),
            ),
            Route(
                "POST", "/instance-operations/restart", "reboot_instance", self._answer(self._restart), changes=True,
                target=lambda request: _first(request.body, "instance_ids"),
            ),
        )  # fmt: skip

    def _list(self, request: Request) -> list[Any]:
        """Give the machines, those that are gone or failed left out: the list is one of running instances."""
        machines = self.cloud.instances(InstanceFilter(), request.fault)
        return [self._machine(one) for one in machines if _STATUS.get(one.status) != "terminated"]

    def _get(self, request: Request) -> Any:
        return self._machine(self.cloud.get(request.parts["id"]))

    def _rename(self, request: Request) -> Any:
        name = text_of(request.body, "name")
        if len(name) > 64:
            raise _invalid("name must have at most 64 characters.")
        self.cloud.rename(request.parts["id"], name)
        return self._get(request)

    def _machine(self, one: Instance) -> dict[str, Any]:
        address, private = self._addresses(one)
        names = self._file_system_names(one.filesystems)
        mounts = one.options.get("mount_points", "").split(",")
        found: dict[str, Any] = {
            "id": one.cloud_id,
            "name": one.name,
            "status": _STATUS.get(one.status, "unhealthy"),
            "ssh_key_names": [one.ref_id] if one.ref_id else [],
            "file_system_names": names,
            "region": _region(one.location),
            "instance_type": self._type(catalogue.find_offer(one.instance_type, one.location)),
            "actions": _actions(one.status),
            "tags": [{"key": key, "value": value} for key, value in one.tags.items()],
            "firewall_rulesets": [{"id": id_} for id_ in _split(one.options.get("firewall_rulesets", ""))],
            "jupyter_token": _hashed("token", one.cloud_id),
            "jupyter_url": f"https://jupyter.example.com/?token={_hashed('token', one.cloud_id)}",
        }
        if names:
            found["file_system_mounts"] = [
                {"mount_point": place, "file_system_id": id_}
                for id_, place in zip(one.filesystems, mounts, strict=True)
            ]
        if address:
            found |= {"ip": address, "private_ip": private, "hostname": one.options.get("hostname") or address}
        if self._quirks.extra_fields:
            found |= {"workspace_id": "ws-1", "is_reserved": False}
        return found

    def _addresses(self, one: Instance) -> tuple[str, str]:
        """Give the addresses of a machine that has booted; the API has no field for a port, it is always 22."""
        if not one.public_ip:
            return "", ""
        elsewhere = self._address_of(one.cloud_id) if self._address_of is not None else None
        return (elsewhere[0] if elsewhere is not None else one.public_ip), one.private_ip

    def _terminate(self, request: Request) -> Any:
        ended = []
        for cloud_id in _texts(request.body, "instance_ids"):
            before = self.cloud.get(cloud_id)
            if self._quirks.silent_while_booting and before.status is LifecycleStatus.PENDING:
                continue
            self.cloud.terminate(cloud_id)
            ended.append({**self._machine(before), "status": "terminating"})
        return {"terminated_instances": ended}

    def _restart(self, request: Request) -> Any:
        found = []
        for cloud_id in _texts(request.body, "instance_ids"):
            if self.cloud.get(cloud_id).status is LifecycleStatus.RUNNING:
                self.cloud.reboot(cloud_id)
                found.append(self._machine(self.cloud.get(cloud_id)))
        return {"restarted_instances": found}

    # Launching

    def _launch(self, request: Request) -> Any:
        body = request.body if isinstance(request.body, dict) else {}
        region, type_name = text_of(body, "region_name"), text_of(body, "instance_type_name")
        offer = _offer(region, type_name)
        keys = _texts(body, "ssh_key_names")
        if len(keys) != 1:
            raise _invalid("Exactly one SSH key must be specified.")
        key = next((one for one in self._objects(_KEY).values() if one["name"] == keys[0]), None)
        if key is None:
            raise _missing("The specified SSH key does not exist.")
        self._check_texts(body)
        mounts = self._mounts(body, region)
        options = {
            "firewall_rulesets": ",".join(self._rulesets_of(body, region)),
            "mount_points": ",".join(mounts.values()),
            "hostname": text_of(body, "hostname"),
        }
        if offer is None:
            raise OutOfStock(f"no {type_name} is sold in {region}")
        attrs = CreateInstanceAttrs(
            ref_id=RefId(keys[0]),
            cloud_cred_ref_id="",
            instance_type=type_name,
            location=region,
            public_key=key["public_key"],
            name=text_of(body, "name"),
            image_id=_image_of(body.get("image"), offer),
            user_data=text_of(body, "user_data"),
            filesystems=tuple(mounts),
            tags={text_of(tag, "key"): text_of(tag, "value") for tag in body.get("tags") or ()},
            options={name: value for name, value in options.items() if value},
        )
        return {"instance_ids": [self.cloud.create(attrs, request.fault).cloud_id]}

    def _check_texts(self, body: Mapping[str, Any]) -> None:
        if len(text_of(body, "name")) > 64:
            raise _invalid("name must have at most 64 characters.")
        if "hostname" in body and not _HOSTNAME.fullmatch(text_of(body, "hostname")):
            raise _invalid("hostname is not valid.")
        if len(text_of(body, "user_data").encode()) > _LONGEST_USER_DATA:
            raise _invalid("user_data cannot exceed 1MB.")
        tags = body.get("tags") or []
        if tags and not self.cloud.how.tags:
            raise _invalid("tags: not enabled for this account.")
        for tag in tags:
            if not _TAG_KEY.fullmatch(text_of(tag, "key")) or len(text_of(tag, "value")) > 128:
                raise _invalid(f"tags: {text_of(tag, 'key')} is not valid.")

    def _mounts(self, body: Mapping[str, Any], region: str) -> dict[str, str]:
        """Give where each file system is mounted, by id."""
        there = self._objects(_FILE_SYSTEM)
        by_name = {one["name"]: id_ for id_, one in there.items()}
        found: dict[str, str] = {}
        for name in _texts(body, "file_system_names"):
            if name not in by_name:
                raise _missing("The specified filesystem does not exist.")
            found[by_name[name]] = f"/lambda/nfs/{name}"
        for mount in body.get("file_system_mounts") or ():
            place = text_of(mount, "mount_point")
            if len(place) > 256 or not _MOUNT_POINT.fullmatch(place):
                raise _invalid("mount_point must start with /home, /lambda/nfs or /data.")
            found[text_of(mount, "file_system_id")] = place
        for id_ in found:
            if id_ not in there:
                raise _missing("The specified filesystem does not exist.")
            if there[id_]["region"] != region:
                code = "instance-operations/launch/file-system-in-wrong-region"
                raise _Refused(code, "The filesystem is in another region than the instance.")
        return found

    def _rulesets_of(self, body: Mapping[str, Any], region: str) -> list[str]:
        there = self._objects(_RULESET)
        ids = [text_of(one, "id") for one in body.get("firewall_rulesets") or ()]
        for id_ in ids:
            if id_ not in there:
                raise _missing("The specified firewall ruleset does not exist.")
            if there[id_]["region"] != region:
                raise _invalid("The firewall ruleset is in another region than the instance.")
        return ids

    # The catalogue

    def _types(self, request: Request) -> Any:
        """Give the map of types, those last sold first: its order means nothing."""
        here = [offer for offer in self.cloud.types(InstanceTypeFilter()) if offer.location in REGIONS]
        found: dict[str, Any] = {}
        for offer in reversed(here):
            entry = found.setdefault(
                offer.type, {"instance_type": self._type(offer), "regions_with_capacity_available": []}
            )
            if offer.is_available:
                entry["regions_with_capacity_available"].append(_region(offer.location))
        return found

    def _type(self, offer: InstanceType) -> dict[str, Any]:
        gpu = offer.gpus[0] if offer.gpus else None
        price = offer.base_price.amount if offer.base_price is not None else Decimal(0)
        cents = int(price * 100)
        return {
            "name": offer.type,
            "description": f"{gpu.count}x {_gpu_text(gpu)}" if gpu else f"{offer.vcpu}x CPU General ({offer.memory})",
            "gpu_description": _gpu_text(gpu) if gpu else "N/A",
            "price_cents_per_hour": str(cents) if self._quirks.prices_as_text else cents,
            "specs": {
                "vcpus": offer.vcpu,
                "memory_gib": offer.memory.value,
                "storage_gib": offer.storage[0].size.value,
                "gpus": gpu.count if gpu else 0,
            },
        }

    def _images(self, request: Request) -> Any:
        regions = sorted({place.name for place in catalogue.LOCATIONS} & REGIONS.keys())
        return [
            {
                "id": _image_id(image, region),
                "created_time": _moment(image),
                "updated_time": _moment(image),
                "name": image.name,
                "description": image.description,
                "family": _family(image),
                "version": "1",
                "architecture": image.architecture,
                "region": _region(region),
            }
            for region in regions
            for image in catalogue.IMAGES
        ]

    # Keys

    def _of_keys(self) -> Iterable[Route]:
        return (
            Route("GET", "/ssh-keys", "list_ssh_keys", self._answer(self._list_keys)),
            Route(
                "POST", "/ssh-keys", "add_ssh_key", self._answer(self._add_key), changes=True,
                target=lambda request: text_of(request.body, "name"),
            ),
            Route(
                "DELETE", "/ssh-keys/{id}", "delete_ssh_key", self._answer(self._delete_key), changes=True,
                target=lambda request: self._name_of(_KEY, request),
            ),
        )  # fmt: skip

    def _list_keys(self, request: Request) -> Any:
        more = {"workspace_id": "ws-1"} if self._quirks.extra_fields else {}
        return [{"id": id_, **one, **more} for id_, one in self._objects(_KEY).items()]

    def _add_key(self, request: Request) -> Any:
        name = text_of(request.body, "name")
        if not 1 <= len(name) <= 64:
            raise _invalid("name must have 1 to 64 characters.")
        if any(one["name"] == name for one in self._objects(_KEY).values()):
            raise _invalid("SSH key name must be unique.")
        made: dict[str, Any] = {"name": name, "public_key": text_of(request.body, "public_key")}
        private = {}
        if not made["public_key"]:
            made["public_key"], private["private_key"] = _new_pair()
        return {"id": self._put(_KEY, made), **made, **private}

    def _delete_key(self, request: Request) -> Any:
        """Delete a key that no machine has; what was to be launched with it and is not there yet is called off."""
        key = self._objects(_KEY).get(request.parts["id"])
        if key is None:
            raise _invalid("SSH key does not exist.")
        now = self.cloud.now().timestamp()
        if any(one.body.ref_id == key["name"] and one.born_at <= now for one in self._store.machines()):
            code = "ssh-keys/key-in-use" if self._quirks.old_codes else "global/invalid-parameters"
            raise _Refused(code, "SSH key is in use by one or more instances.")
        self._drop(_KEY, request.parts["id"])
        self.cloud.call_off(key["name"])
        return {}

    # File systems

    def _of_file_systems(self) -> Iterable[Route]:
        return (
            Route("GET", "/file-systems", "list_file_systems", self._answer(self._list_file_systems)),
            Route("POST", "/filesystems", "add_file_system", self._answer(self._add_file_system), changes=True),
            Route(
                "DELETE", "/filesystems/{id}", "delete_file_system", self._answer(self._delete_file_system),
                changes=True,
            ),
        )  # fmt: skip

    def _list_file_systems(self, request: Request) -> Any:
        used = {id_ for machine in self._store.machines() for id_ in machine.body.filesystems}
        return [_file_system(id_, one, id_ in used) for id_, one in self._objects(_FILE_SYSTEM).items()]

    def _add_file_system(self, request: Request) -> Any:
        name, region = text_of(request.body, "name"), text_of(request.body, "region")
        _check_region(region)
        if any(one["name"] == name for one in self._objects(_FILE_SYSTEM).values()):
            raise _Refused("global/duplicate", "A filesystem of this name exists.")
        made = {"name": name, "region": region, "created": self._time()}
        return _file_system(self._put(_FILE_SYSTEM, made), made, False)

    def _delete_file_system(self, request: Request) -> Any:
        id_ = request.parts["id"]
        if id_ not in self._objects(_FILE_SYSTEM):
            raise _missing("Filesystem was not found.", 404)
        if any(id_ in machine.body.filesystems for machine in self._store.machines()):
            raise _Refused("filesystems/filesystem-in-use", "The filesystem is in use.")
        self._drop(_FILE_SYSTEM, id_)
        return {"deleted_ids": [id_]}

    def _file_system_names(self, ids: Iterable[str]) -> list[str]:
        there = self._objects(_FILE_SYSTEM) if ids else {}
        return [there[id_]["name"] for id_ in ids if id_ in there]

    # Firewall rules

    def _of_rules(self) -> Iterable[Route]:
        return (
            Route("GET", "/firewall-rules", "list_account_rules", self._answer(lambda _: self._account_rules())),
            Route("PUT", "/firewall-rules", "put_account_rules", self._answer(self._put_account_rules), changes=True),
            Route("GET", "/firewall-rulesets/global", "get_global_ruleset", self._answer(lambda _: self._global())),
            Route(
                "PATCH", "/firewall-rulesets/global", "patch_global_ruleset", self._answer(self._patch_global),
                changes=True,
            ),
            Route("GET", "/firewall-rulesets", "list_rulesets", self._answer(self._list_rulesets)),
            Route(
                "POST", "/firewall-rulesets", "add_ruleset", self._answer(self._add_ruleset), changes=True,
                target=lambda request: text_of(request.body, "name"),
            ),
            Route("GET", "/firewall-rulesets/{id}", "get_ruleset", self._answer(self._get_ruleset)),
            Route(
                "PATCH", "/firewall-rulesets/{id}", "patch_ruleset", self._answer(self._patch_ruleset), changes=True,
                target=lambda request: self._name_of(_RULESET, request),
            ),
            Route(
                "DELETE", "/firewall-rulesets/{id}", "delete_ruleset", self._answer(self._delete_ruleset),
                changes=True, target=lambda request: self._name_of(_RULESET, request),
            ),
        )  # fmt: skip

    def _account_rules(self) -> Any:
        known = self._objects(_ACCOUNT).get("rules")
        ssh = {"protocol": "tcp", "port_range": [22, 22], "source_network": "0.0.0.0/0", "description": "SSH"}
        return known["rules"] if known is not None else [ssh]

    def _put_account_rules(self, request: Request) -> Any:
        rules = _rules(request.body, "data")
        with self._store.write():
            self._store.put_object(_ACCOUNT, "rules", {"rules": rules})
        return rules

    def _global(self) -> Any:
        return {"id": "global", "name": "Global Firewall Rules", "rules": self._account_rules()}

    def _patch_global(self, request: Request) -> Any:
        rules = _rules(request.body, "rules")
        with self._store.write():
            self._store.put_object(_ACCOUNT, "rules", {"rules": rules})
        return self._global()

    def _list_rulesets(self, request: Request) -> Any:
        users = self._users()
        return [_ruleset(id_, one, users.get(id_, [])) for id_, one in self._objects(_RULESET).items()]

    def _add_ruleset(self, request: Request) -> Any:
        name, region = text_of(request.body, "name"), text_of(request.body, "region")
        if not 1 <= len(name) <= 64:
            raise _invalid("name must have 1 to 64 characters.")
        _check_region(region)
        made = {"name": name, "region": region, "rules": _rules(request.body, "rules"), "created": self._time()}
        return _ruleset(self._put(_RULESET, made), made, [])

    def _get_ruleset(self, request: Request) -> Any:
        id_ = request.parts["id"]
        return _ruleset(id_, self._known_ruleset(id_), self._users().get(id_, []))

    def _patch_ruleset(self, request: Request) -> Any:
        id_ = request.parts["id"]
        changed = dict(self._known_ruleset(id_))
        if isinstance(request.body, dict) and "rules" in request.body:
            changed["rules"] = _rules(request.body, "rules")
        changed["name"] = text_of(request.body, "name") or changed["name"]
        with self._store.write():
            self._store.put_object(_RULESET, id_, changed)
        return self._get_ruleset(request)

    def _delete_ruleset(self, request: Request) -> Any:
        id_ = request.parts["id"]
        self._known_ruleset(id_)
        if id_ in self._users():
            code = "firewall-rulesets/firewall-ruleset-in-use"
            text = "Firewall ruleset is in use by one or more instances."
            raise _Refused(code, text, "Terminate all instances that are using it first.")
        self._drop(_RULESET, id_)
        return {}

    def _known_ruleset(self, id_: str) -> dict[str, Any]:
        found = self._objects(_RULESET).get(id_)
        if found is None:
            raise _missing("Firewall ruleset does not exist.", 404)
        return found

    def _users(self) -> dict[str, list[str]]:
        """Give the machines of each ruleset that has any, those under way too."""
        found: dict[str, list[str]] = {}
        for machine in self._store.machines():
            for id_ in _split(machine.body.options.get("firewall_rulesets", "")):
                found.setdefault(id_, []).append(machine.body.cloud_id)
        return found

    # What stands beside machines

    def _objects(self, kind: str) -> dict[str, dict[str, Any]]:
        with self._store.read():
            return self._store.objects(kind)

    def _put(self, kind: str, body: Mapping[str, Any]) -> str:
        with self._store.write():
            id_ = _hashed(kind, str(self._store.next_number("lambda-object")))
            self._store.put_object(kind, id_, body)
        return id_

    def _drop(self, kind: str, id_: str) -> None:
        with self._store.write():
            self._store.drop_object(kind, id_)

    def _name_of(self, kind: str, request: Request) -> str:
        found = self._objects(kind).get(request.parts["id"])
        return str(found["name"]) if found is not None else request.parts["id"]

    def _time(self) -> str:
        return f"{self.cloud.now().isoformat()[:19]}Z"


def face(cloud: SimCloud, key: str, *, quirks: Quirks | None = None, address_of: AddressOf | None = None) -> LambdaFace:
    """Give the API of one account, whose key is `key`.

    `address_of` gives address and port where a machine can really be reached, None where it is not.
    """
    return LambdaFace(cloud, key, quirks or Quirks(), address_of)


# How the API words things


def _failure(status: int, code: str, message: str, suggestion: str) -> Reply:
    return Reply({"error": {"code": code, "message": message, "suggestion": suggestion}}, status)


def _invalid(message: str) -> _Refused:
    return _Refused("global/invalid-parameters", message)


def _missing(message: str, status: int = 404) -> _Refused:
    return _Refused("global/object-does-not-exist", message, "Check that it exists.", status)


def _check_region(region: str) -> None:
    if region not in REGIONS:
        raise _invalid(f"Region {region} does not exist.")


def _region(name: str) -> dict[str, str]:
    return {"name": name, "description": REGIONS[name]}


def _offer(region: str, type_name: str) -> InstanceType | None:
    """Give a type in a region, None where the region sells none of it."""
    _check_region(region)
    sold = {offer.location: offer for offer in catalogue.offers() if offer.type == type_name}
    if not sold:
        raise _missing("The specified instance type does not exist.")
    return sold.get(region)


def _gpu_text(gpu: Gpu) -> str:
    maker = "Tesla " if gpu.name == "V100" else ""
    inside = f"{gpu.memory} {gpu.interconnect}".rstrip()
    return f"{maker}{gpu.name} ({inside})"


def _actions(status: LifecycleStatus) -> dict[str, Any]:
    reason = {
        LifecycleStatus.PENDING: ("vm-has-not-launched", "The instance has not launched yet."),
        LifecycleStatus.TERMINATING: ("vm-is-terminating", "The instance is terminating."),
    }.get(status)
    state: dict[str, Any] = {"available": reason is None}
    if reason is not None:
        state |= {"reason_code": reason[0], "reason_description": reason[1]}
    return dict.fromkeys(("migrate", "rebuild", "restart", "cold_reboot", "terminate"), state)


def _family(image: Image) -> str:
    return image.id.removesuffix("-x86-64").removesuffix("-arm64")


def _image_id(image: Image, region: str) -> str:
    return _hashed(region, image.id)


def _moment(image: Image) -> str:
    return f"{image.created_at.isoformat()[:19]}Z" if image.created_at is not None else "2025-01-01T00:00:00Z"


def _image_of(wanted: Any, offer: InstanceType) -> str:
    """Give the simulated cloud's id of the image that a launch names; empty for the default."""
    id_, family = text_of(wanted, "id"), text_of(wanted, "family")
    if not id_ and not family:
        return ""
    for image in catalogue.IMAGES:
        fits = image.architecture in offer.architectures
        if id_ == _image_id(image, offer.location) or (not id_ and family == _family(image) and fits):
            return image.id
    raise _missing("The specified image does not exist.")


def _ruleset(id_: str, one: Mapping[str, Any], users: list[str]) -> dict[str, Any]:
    return {
        "id": id_, "name": one["name"], "region": _region(one["region"]), "rules": one["rules"],
        "created": one["created"], "instance_ids": users,
    }  # fmt: skip


def _file_system(id_: str, one: Mapping[str, Any], is_in_use: bool) -> dict[str, Any]:
    return {
        "id": id_, "name": one["name"], "mount_point": f"/lambda/nfs/{one['name']}", "created": one["created"],
        "created_by": {"id": "user-1", "email": "ann@example.com", "status": "active"}, "is_in_use": is_in_use,
        "region": _region(one["region"]),
    }  # fmt: skip


def _rules(body: Any, name: str) -> list[dict[str, Any]]:
    """Give the rules of a request as they are kept; a source without a mask is one address."""
    given = body.get(name) if isinstance(body, dict) else None
    if not isinstance(given, list):
        raise _invalid(f"{name} must be a list of rules.")
    return [_rule(one) for one in given]


def _rule(one: Any) -> dict[str, Any]:
    from ipaddress import IPv4Network

    protocol, source = text_of(one, "protocol"), text_of(one, "source_network")
    ports = one.get("port_range") if isinstance(one, dict) else None
    if protocol not in ("tcp", "udp", "icmp", "all"):
        raise _invalid("protocol must be one of tcp, udp, icmp and all.")
    if (ports is None) != (protocol == "icmp"):
        raise _invalid("port_range is not allowed for icmp and required for every other protocol.")
    if ports is not None and not _is_range(ports):
        raise _invalid("port_range must be two ports from 1 to 65535.")
    if len(text_of(one, "description")) > 128:
        raise _invalid("description must have at most 128 characters.")
    try:
        network = IPv4Network(source)
    except ValueError:
        raise _invalid("source_network must be an IPv4 network.") from None
    found = {"protocol": protocol, "source_network": str(network), "description": text_of(one, "description")}
    return found if ports is None else {**found, "port_range": ports}


def _is_range(ports: Any) -> bool:
    if not isinstance(ports, list) or len(ports) != 2 or not all(isinstance(port, int) for port in ports):
        return False
    return bool(1 <= ports[0] <= ports[1] <= 65535)


def _new_pair() -> tuple[str, str]:
    """Give a public and a private key, as the API does when it is given none."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    secret = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    return public.decode(), secret.decode()


def _hashed(*parts: str) -> str:
    return blake2s("/".join(parts).encode(), digest_size=16).hexdigest()


def _texts(body: Any, name: str) -> list[str]:
    found = body.get(name) if isinstance(body, dict) else None
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def _first(body: Any, name: str) -> str:
    return (_texts(body, name) or [""])[0]


def _split(text: str) -> list[str]:
    return text.split(",") if text else []
