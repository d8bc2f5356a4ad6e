"""The face of FluidStack: one region, projects by a header, bare lists, errors without a code.

The catalogue is the simulated cloud's, as far as it is sold in the face's region. A machine is kept under the ref_id
among its tags; the SSH key that lets somebody in is read out of its user data, as cloud-init does.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from brevplan.contract.errors import (
    CloudError,
    InstanceNotFound,
    NotFound,
    NotReady,
    OutOfStock,
    RateLimited,
    Rejected,
    Unavailable,
)
from brevplan.contract.model import (
    CreateInstanceAttrs,
    Gpu,
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

PROJECT: Final = "00000000-0000-4000-b000-000000000001"
"""The project that there is unless others are named."""
REGION: Final = "us-east-1"

NOBODY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f nobody"
"""The key of a machine whose user data hold none: nobody gets in."""

_REF_TAG: Final = "brev-ref-id"
_SCHEME: Final = "image://"
_DEFAULT_IMAGE: Final = "image://ubuntu22.04"
_IMAGES: Final = {"ubuntu22.04": "", "ubuntu24.04": "ubuntu-24.04-x86-64"}
"""What an image is called in the simulated cloud's catalogue; empty for the default of the type."""

_TAG_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")

_CHIPS: Final = {
    "A10": "GA102", "A100": "GA100", "A6000": "GA102", "B200": "GB100", "GH200": "GH100", "H100": "GH100",
    "H200": "GH100", "L4": "AD104", "L40S": "AD102", "V100": "GV100",
}  # fmt: skip

_STATE: Final = {
    LifecycleStatus.PENDING: "creating",
    LifecycleStatus.RUNNING: "running",
    LifecycleStatus.STOPPING: "stopping",
    LifecycleStatus.STOPPED: "stopped",
    LifecycleStatus.TERMINATING: "deleting",
    # the one way in which a machine of the model fails
    LifecycleStatus.FAILED: "out-of-stock",
}

AddressOf = Callable[[str], tuple[str, int] | None]
"""Where a machine of this cloud id really listens for SSH: address and port; None where it is as the model says."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What differs between accounts and days. `limit` is how many machines the account may have."""

    limit: int | None = None
    extra_fields: bool = False


class FluidStackFace:
    name = "fluidstack"
    prefix = "/api/v1alpha1"

    def __init__(
        self, cloud: SimCloud, key: str, *, projects: Sequence[str], region: str, quirks: Quirks,
        address_of: AddressOf | None,
    ) -> None:  # fmt: skip
        self.cloud = cloud
        self._key, self._projects, self._region = key, tuple(projects), region
        self._quirks, self._address_of = quirks, address_of
        self.routes: Sequence[Route] = (
            Route("GET", "/projects", "list_projects", self.projects),
            Route("GET", "/instances", "list_instances", self.list),
            Route("POST", "/instances", "create_instance", self.create, True, _marked),
            Route("GET", "/instances/{id}", "get_instance", self.get),
            Route("DELETE", "/instances/{id}", "terminate_instance", self.delete, True),
            Route("POST", "/instances/{id}/actions/start", "start_instance", self.start, True),
            Route("POST", "/instances/{id}/actions/stop", "stop_instance", self.stop, True),
            Route("GET", "/instance-types", "get_instance_types", self.types),
            Route("GET", "/capacity", "get_capacity", self.capacity),
            Route("GET", "/capabilities", "get_capabilities", self.capabilities),
        )

    # The door

    def admits(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._key}"

    def unauthorised(self) -> Reply:
        return Reply({"message": "forbidden"}, 403)

    def no_such_path(self) -> Reply:
        # what stands before the API answers, and not the API
        return Reply(b"404 page not found", 404)

    def refusal(self, error: CloudError, operation: str) -> Reply:
        if isinstance(error, Unavailable):
            return Reply(b"upstream error", error.http_status or 500)
        if isinstance(error, OutOfStock):
            return Reply({"message": f"out of stock: {error.message}"}, 400)
        return Reply({"message": error.message}, _status_of(error))

    def _project(self, request: Request) -> str:
        """Give the project that a request names; raise for one that is none or not there."""
        text = request.headers.get("x-project-id", "")
        if not _is_uuid(text):
            raise Rejected("header X-PROJECT-ID has to be a UUID")
        if text not in self._projects:
            raise NotFound("project not found")
        return text

    # Machines

    def projects(self, request: Request) -> Reply:
        shown = [{"id": id_, "name": f"project-{number}"} for number, id_ in enumerate(self._projects, 1)]
        return Reply([{**one, "state": "active", "tags": {}} for one in shown])

    def list(self, request: Request) -> Reply:
        project = self._project(request)
        found = self.cloud.instances(InstanceFilter(), request.fault)
        return Reply([self._shown(one) for one in found if one.options["project"] == project])

    def get(self, request: Request) -> Reply:
        return Reply(self._shown(self._found(request)))

    def create(self, request: Request) -> Reply:
        project = self._project(request)
        body = request.body if isinstance(request.body, dict) else {}
        attrs = self._launched(body, project)
        if self._quirks.limit is not None and len(self.cloud.present()) >= self._quirks.limit:
            raise Rejected(f"quota of {self._quirks.limit} instances exceeded")
        return Reply(self._shown(self.cloud.create(attrs, request.fault)), 201)

    def delete(self, request: Request) -> Reply:
        self.cloud.terminate(self._found(request).cloud_id)  # unlike others, an unknown id is no success
        return Reply(b"", 204)

    def start(self, request: Request) -> Reply:
        self._change_power(request, LifecycleStatus.STOPPED, "started", self.cloud.start)
        return Reply(b"", 202)

    def stop(self, request: Request) -> Reply:
        self._change_power(request, LifecycleStatus.RUNNING, "stopped", self.cloud.stop)
        return Reply(b"", 202)

    def _change_power(
        self, request: Request, needed: LifecycleStatus, what: str, change: Callable[[str], None]
    ) -> None:
        machine = self._found(request)
        if machine.status is not needed:
            raise NotReady(f"instance is {_STATE[machine.status]} and cannot be {what}")
        change(machine.cloud_id)

    def _found(self, request: Request) -> Instance:
        """Give the machine that a path names, if it is one of the project."""
        project = self._project(request)
        if not _is_uuid(request.parts["id"]):
            raise Rejected("id has to be a UUID")
        machine = self.cloud.get(cloud_id_behind(request.parts["id"]))
        if machine.options["project"] != project:
            raise InstanceNotFound("instance not found")
        return machine

    def _launched(self, body: Mapping[str, Any], project: str) -> CreateInstanceAttrs:
        name, image = text_of(body, "name"), text_of(body, "image") or _DEFAULT_IMAGE
        if not name or not text_of(body, "type"):
            raise Rejected("name and type are required")
        if not image.startswith(_SCHEME):
            raise Rejected(f"image has to begin with {_SCHEME}")
        tags = body.get("tags") or {}
        wrong = [key for key, value in tags.items() if not _TAG_KEY.match(key) or not isinstance(value, str)]
        if wrong:
            raise Rejected(f"invalid tag {wrong[0]}")
        bare, text = image.removeprefix(_SCHEME), text_of(body, "userData")
        keys = list(authorized_keys(_decoded(text)))
        if text_of(body, "type") not in [offer.type for offer in catalogue.offers() if offer.location == self._region]:
            raise NotFound(f"instance type {text_of(body, 'type')} not found")
        return CreateInstanceAttrs(
            ref_id=RefId(tags.get(_REF_TAG) or name),
            cloud_cred_ref_id="",
            instance_type=text_of(body, "type"),
            location=self._region,
            public_key=keys[0] if keys else NOBODY,
            name=name,
            image_id=_IMAGES.get(bare, bare),
            user_data=_decoded(text),
            filesystems=tuple(body.get("filesystems") or ()),
            tags=dict(tags),
            # of what the model has no word for, the API gives back what it was given
            options={
                "project": project,
                "image": bare,
                "user_data": text,
                "preemptible": json.dumps(body.get("preemptible") is True),
                "ephemeral": json.dumps(body.get("ephemeral") is True),
            },
        )

    def _shown(self, one: Instance) -> dict[str, Any]:
        found = {
            "id": uuid_of(one.cloud_id),
            "name": one.name,
            "type": one.instance_type,
            "image": one.options["image"],
            "state": _STATE[one.status],
            "ip": self._address(one),
            "tags": one.tags,
            "filesystems": list(one.filesystems),
            "preemptible": one.options["preemptible"] == "true",
            "ephemeral": one.options["ephemeral"] == "true",
            "userData": one.options["user_data"] or None,
        }
        return {**found, "hostGroup": "hg-1"} if self._quirks.extra_fields else found

    def _address(self, one: Instance) -> str | None:
        """Give the private address of a machine that has booted; the API has no field for a port, it is always 22."""
        if self._address_of is None:
            return one.private_ip or None
        # a machine that does not run listens nowhere, whatever is remembered of it
        elsewhere = self._address_of(one.cloud_id) if one.status is LifecycleStatus.RUNNING else None
        return (elsewhere[0] if elsewhere is not None else "") or None

    # Types

    def _offers(self) -> Sequence[InstanceType]:
        return self.cloud.types(InstanceTypeFilter(locations=(self._region,)))

    def types(self, request: Request) -> Reply:
        return Reply([_entry(offer) for offer in self._offers()])

    def capacity(self, request: Request) -> Reply:
        self._project(request)
        return Reply([{"name": offer.type, "capacity": offer.stock} for offer in self._offers()])

    def capabilities(self, request: Request) -> Reply:
        actions = ("create", "delete", "read", "list", "start", "stop")
        return Reply(["projects:list", *(f"instances:{action}" for action in actions)])


def _marked(request: Request) -> str:
    tags = request.body.get("tags") if isinstance(request.body, dict) else None
    return text_of(tags, _REF_TAG)


def _status_of(error: CloudError) -> int:
    if isinstance(error, RateLimited):
        return 429
    if isinstance(error, NotFound):
        return 404
    return 409 if isinstance(error, NotReady) else error.http_status or 400


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


# User data


def _decoded(text: str) -> str:
    try:
        return b64decode(text, validate=True).decode()
    except ValueError:
        raise Rejected("userData is not base64") from None


def authorized_keys(user_data: str) -> Iterator[str]:
    """Give the SSH keys that user data let in, read as cloud-init reads them: alone, or in the parts of a message."""
    if user_data.startswith("#cloud-config"):
        yield from _keys_of(user_data)
    elif user_data[:13].lower() == "content-type:":
        from email import message_from_string  # here, because only a launch needs it

        for part in message_from_string(user_data).walk():
            if part.get_content_type() == "text/cloud-config":
                payload = part.get_payload(decode=True)
                assert isinstance(payload, bytes)
                yield from _keys_of(payload.decode())


def _keys_of(configuration: str) -> Iterator[str]:
    """Give the keys of one part: a JSON object, or the lines of a list."""
    lines = configuration.splitlines()[1:]
    try:
        data = json.loads("\n".join(lines))
    except ValueError:
        yield from (line.strip()[2:] for line in lines if line.strip().startswith(("- ssh-", "- ecdsa-")))
        return
    if isinstance(data, dict):
        yield from map(str, data.get("ssh_authorized_keys") or ())


# The catalogue


def _entry(offer: InstanceType) -> dict[str, Any]:
    unit = offer.memory.unit.removesuffix("B")
    found: dict[str, Any] = {"name": offer.type, "cpu": offer.vcpu, "memory": f"{offer.memory.value}{unit}"}
    if offer.gpus:
        found |= {"gpuCount": offer.gpus[0].count, "gpuModel": _model(offer.gpus[0])}
    return found


def _model(gpu: Gpu) -> str:
    form = gpu.interconnect.upper()
    parts = (_CHIPS[gpu.name], gpu.name, form, f"{gpu.memory.value}GB")
    return "_".join(part for part in parts if part)


def face(
    cloud: SimCloud,
    key: str,
    *,
    projects: Sequence[str] = (PROJECT,),
    region: str = REGION,
    quirks: Quirks | None = None,
    address_of: AddressOf | None = None,
) -> FluidStackFace:
    """Give the face of one region. Its cloud behaves as FluidStack does where it is not idempotent and fences nothing.

    `address_of` gives address and port where a machine that runs can really be reached, None where it cannot be.
    """
    return FluidStackFace(
        cloud, key, projects=projects, region=region, quirks=quirks or Quirks(), address_of=address_of
    )
