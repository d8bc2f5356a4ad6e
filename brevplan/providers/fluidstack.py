"""FluidStack: one region's API, one project of it. Translates the contract's calls to its requests, and back.

The marks of a machine are the tags `brev-ref-id` and `brev-cloud-cred-ref-id`; tags are given at the launch and never
changed. There are no keys, rulesets or images beside machines: the SSH key and the firewall travel in the user data.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace as with_fields

from brevplan.contract.bytes import UNITS, Bytes
from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import InstanceNotFound, NotReady, Rejected, Sent
from brevplan.contract.gpu import architectures_beside, canonical_name, interconnect, nominal_gb
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    Gpu,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    Money,
    RefId,
    SideObject,
    matches,
    type_id,
    type_matches,
    with_type_id,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers.fluidstack_errors import LAUNCH, START, STOP, TERMINATE, explained
from brevplan.providers.http import HttpApi, api_key, segment, tuned

NAME: Final = "fluidstack"
BASE_URL: Final = "https://{region}.atlas.fluidstack.io/api/v1alpha1"


REF_TAG: Final = "brev-ref-id"
CRED_TAG: Final = "brev-cloud-cred-ref-id"
MARKS: Final = (REF_TAG, CRED_TAG)

_IMAGE_SCHEME: Final = "image://"
"""What an image's name begins with in a request, and nowhere else."""
_SSH_USER: Final = "ubuntu"

_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_PRICE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,200})?\Z")
"""What a price is written as; a fraction that HCL has worked out has some 150 digits."""
_TAG_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")

ARGUMENTS: Final = (
    Argument(
        "api_key", sensitive=True, required=True, environment="FLUIDSTACK_API_KEY", description="An API key.",
    ),
    Argument(
        "project", required=True, environment="FLUIDSTACK_PROJECT_ID",
        description="The id of the project, a UUID, in which machines are made and looked for.",
    ),
    Argument(
        "region", required=True, environment="FLUIDSTACK_REGION",
        description="The region: the first part of the API's host name.",
    ),
    Argument("prices", "map(string)", description="What a machine of a type costs an hour, in USD, by the type."),
    Argument(
        "private_access", "bool", default=False,
        description="Machines are reached at their private addresses: brevplan runs inside their network.",
    ),
)  # fmt: skip

OPTIONS: Final = {"ephemeral": 'With "true" the machine is one that FluidStack calls ephemeral.'}

TRAITS: Final = Traits(
    provider=NAME,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.TERMINATE,
            Capability.CREATE_TERMINATE,
            Capability.STOP_START,
            Capability.USER_DATA,
        }
    ),
    # Nobody promises the order of file systems. User data are shown with what brevplan has put beside them.
    reports=frozenset({"image_id", "instance_type", "location", "name", "power_state", "spot", "tags"}),
    firewall_pattern=FirewallPattern.USER_DATA,
    takes_cloud_config=True,
    catalogue_poll_s=300.0,
    creates_per_minute=10,
    # none is documented: two a second are modest
    requests_per_minute=120,
    grace_window_s=60.0,
    # the only address that the API knows
    promises=frozenset({"private_ip"}),
    option_names=frozenset(OPTIONS),
)

_NO_STOCK: Final = "out-of-stock"

_STATUS: Final = {
    "creating": LifecycleStatus.PENDING,
    "starting": LifecycleStatus.PENDING,
    "running": LifecycleStatus.RUNNING,
    "stopping": LifecycleStatus.STOPPING,
    "stopped": LifecycleStatus.STOPPED,
    "deleting": LifecycleStatus.TERMINATING,
    "error": LifecycleStatus.FAILED,
    _NO_STOCK: LifecycleStatus.FAILED,
}

# What the API answers, as far as it is read


class _Row(Struct, rename={"instance_id": "id", "native_type": "type"}):
    """A machine, in a list and alone. What is missing or null is nothing, so that no machine hides another."""

    instance_id: Annotated[str, Meta(min_length=1)]
    name: str | None = ""
    native_type: str | None = ""
    image: str | None = ""
    state: str | None = ""
    ip: str | None = ""
    preemptible: bool | None = False
    filesystems: list[str] | None = None
    tags: dict[str, str | None] | None = None


class _Type(Struct, rename="camel"):
    name: str
    cpu: int | None = 0
    memory: str | None = ""
    gpu_model: str | None = ""
    gpu_count: int | None = None


class _Capacity(Struct):
    """How many more of a type can be had: `name` is that of an instance type, not of a region."""

    name: str
    capacity: int | None = 0


# What it is asked


class _Create(Struct, rename={"native_type": "type", "user_data": "userData"}):
    name: str
    native_type: str
    tags: dict[str, str]
    user_data: str
    image: str | UnsetType = UNSET
    filesystems: list[str] | UnsetType = UNSET
    preemptible: bool | UnsetType = UNSET
    ephemeral: bool | UnsetType = UNSET


class FluidStackClient:
    """The client of one project in one region."""

    def __init__(self, connection: Connection) -> None:
        settings = connection.settings
        key = api_key(settings, NAME, "FLUIDSTACK_API_KEY")
        self._project = _project(settings)
        self._region = _region(settings)
        self._prices = _prices(settings)
        self._is_inside = bool(settings.get("private_access"))
        self.traits = tuned(TRAITS, settings)
        if self._is_inside:
            self.traits = replace(self.traits, promises=frozenset({"private_ip", "public_ip"}))
        if self._prices:
            # they are the block's own: a catalogue that was kept may have been read with others
            self.traits = replace(self.traits, catalogue_poll_s=0.0)
        self._api = HttpApi(
            connection, TRAITS, base_url=BASE_URL.format(region=self._region),
            headers={"Authorization": f"Bearer {key}", "X-PROJECT-ID": self._project}, secrets=[key], explain=explained,
        )  # fmt: skip

    # The account

    async def tenant_id(self) -> str:
        """Name the account by its project, which every key of it shares; a wrong key shows at the first list.

        Two projects behind one key are two accounts: the list of one says nothing about the machines of the other.
        """
        return f"{NAME}-{self._region}-{self._project}"

    async def aclose(self) -> None:
        await self._api.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        rows = await self._api.call("GET", "instances", list[_Row], operation="list_instances", urgency=urgency)
        found = (self._instance(row) for row in rows)
        return [instance for instance in found if matches(instance, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        return self._instance(await self._row(cloud_id, "get_instance"))

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        operation = "get_instance_types"
        offers = await self._api.call("GET", "instance-types", list[_Type], operation=operation)
        capacities = await self._api.call("GET", "capacity", list[_Capacity], operation=operation)
        left = {entry.name: max(entry.capacity or 0, 0) for entry in capacities}
        found = {offer.name: self._type(offer, left.get(offer.name, 0)) for offer in offers if offer.name}
        return [found[name] for name in sorted(found) if type_matches(found[name], wanted)]

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        """Give the region of the block: the API lists none, and each has an API of its own."""
        return [Location(name=self._region)]

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        if attrs.location != self._region:
            raise _impossible(
                f'location: this block is of the region "{self._region}"; for "{attrs.location}" add a provider block'
            )
        request = launch_request(attrs)
        row = await self._api.call("POST", "instances", _Row, operation=LAUNCH, urgency=Urgency.CREATE, body=request)
        made = self._instance(row)
        # the marks are what was sent, however little the answer holds
        return _with_marks(made, attrs)

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        try:
            await self._api.call(
                "DELETE", self._path(cloud_id, TERMINATE), type(None), operation=TERMINATE, urgency=Urgency.SETTLE
            )
        except InstanceNotFound:
            return

    async def fence(self, ref_id: RefId) -> bool:
        """Give False: nothing keeps a launch that is under way from landing."""
        return False

    async def release(self, ref_id: RefId) -> None:
        """Do nothing: nothing is made beside a machine."""

    async def side_objects(self) -> list[SideObject]:
        return []

    # Changing

    async def stop_instance(self, cloud_id: CloudId) -> None:
        await self._power(cloud_id, STOP, "stop", {LifecycleStatus.STOPPED, LifecycleStatus.STOPPING})

    async def start_instance(self, cloud_id: CloudId) -> None:
        await self._power(cloud_id, START, "start", {LifecycleStatus.RUNNING, LifecycleStatus.PENDING})

    async def _power(self, cloud_id: CloudId, operation: str, action: str, there: set[LifecycleStatus]) -> None:
        path = f"{self._path(cloud_id, operation)}/actions/{action}"
        try:
            await self._api.call("POST", path, type(None), operation=operation)
        except NotReady as conflict:
            # a conflict has one status and two meanings: nothing to do, or not now; only the machine's state says which
            status = _status_of(await self._row(cloud_id, operation))
            if status in there:
                return
            if status in (LifecycleStatus.FAILED, LifecycleStatus.TERMINATING):
                raise Rejected(
                    f"{conflict.message}: the machine is {status.value}", provider=NAME, operation=operation,
                    http_status=conflict.http_status,
                ) from None  # fmt: skip
            raise

    # Every call

    async def _row(self, cloud_id: CloudId, operation: str) -> _Row:
        return await self._api.call("GET", self._path(cloud_id, operation), _Row, operation=operation)

    def _path(self, cloud_id: CloudId, operation: str) -> str:
        if not _is_uuid(cloud_id):
            # the API takes UUIDs alone, and refuses all else as if the request were wrong
            raise InstanceNotFound(
                f'there is no machine "{cloud_id}": the id of one is a UUID', provider=NAME, operation=operation
            )
        return f"instances/{segment(cloud_id)}"

    # Machines

    def _instance(self, row: _Row) -> Instance:
        """Read a machine; a list, a single answer and that of a launch are read alike."""
        tags = {name: value or "" for name, value in (row.tags or {}).items()}
        native_type = row.native_type or ""
        status = _status_of(row)
        return Instance(
            cloud_id=CloudId(row.instance_id),
            ref_id=tags.pop(REF_TAG, ""),
            cloud_cred_ref_id=tags.pop(CRED_TAG, ""),
            name=row.name or "",
            status=status,
            messages=tuple(_messages(row)),
            instance_type=native_type,
            instance_type_id=type_id(self._region, "", native_type),
            location=self._region,
            # it is the private address: nobody outside reaches it
            public_ip=(row.ip or "") if self._is_inside else "",
            private_ip=row.ip or "",
            image_id=(row.image or "").removeprefix(_IMAGE_SCHEME),
            filesystems=tuple(row.filesystems or ()),
            ssh_user=_SSH_USER,
            spot=bool(row.preemptible),
            tags=tags,
            stoppable=True,
            hourly_price=self._prices.get(native_type),
        )

    # Types

    def _type(self, offer: _Type, left: int) -> InstanceType:
        gpu = read_gpu(offer.gpu_model or "", offer.gpu_count)
        price = self._prices.get(offer.name)
        return with_type_id(
            InstanceType(
                type=offer.name,
                location=self._region,
                provider=NAME,
                cloud=NAME,
                gpus=(gpu,) if gpu is not None else (),
                memory=read_memory(offer.memory or ""),
                vcpu=offer.cpu or 0,
                # the API does not tell it: Grace stands beside a GH200 and a GB200
                architectures=architectures_beside(gpu.name if gpu is not None else ""),
                base_price=Money(price) if price is not None else None,
                is_available=left > 0,
                stock=left,
                stoppable=True,
                spot=True,
            )
        )


# The block


def _project(settings: Mapping[str, object]) -> str:
    """Give the project's id in its usual form; raise `Rejected` for what is no UUID, which the API would not take."""
    text = str(settings.get("project") or "").strip()
    try:
        return str(UUID(text))
    except ValueError:
        raise Rejected(
            f'project "{text}" is not the id of a project, which is a UUID such as'
            " 123e4567-e89b-12d3-a456-426614174003: set it, or $FLUIDSTACK_PROJECT_ID",
            provider=NAME, sent=Sent.NO,
        ) from None  # fmt: skip


def _region(settings: Mapping[str, object]) -> str:
    text = str(settings.get("region") or "").strip()
    if not _REGION.match(text):
        raise Rejected(
            f'region "{text}" is not the name of a region: it is the first part of the host name of the API that'
            " FluidStack gave you, https://REGION.atlas.fluidstack.io",
            provider=NAME, sent=Sent.NO,
        )  # fmt: skip
    return text


def _prices(settings: Mapping[str, object]) -> dict[str, Decimal]:
    """Read what the block says about prices, in USD an hour; the API says nothing."""
    given = settings.get("prices") or {}
    assert isinstance(given, Mapping)
    found = {}
    for name, text in given.items():
        if text is None:
            raise Rejected(
                f"prices: {name} is null, which is no price: leave the type out where its price is not known",
                provider=NAME, sent=Sent.NO,
            )  # fmt: skip
        if not _PRICE.match(str(text)):
            raise Rejected(
                f'prices: "{str(text)[:40]}" for {name} is not a price in USD an hour, such as "23.60"',
                provider=NAME, sent=Sent.NO,
            )  # fmt: skip
        found[str(name)] = Decimal(str(text))
    return found


# Machines


def _status_of(row: _Row) -> LifecycleStatus:
    # What has a word that nobody knows, and is not gone, is taken to be there: `pending` would make a machine on its
    # way out look like one on its way in, and a wait for `running` also waits for an address.
    return _STATUS.get(row.state or "", LifecycleStatus.RUNNING)


def _messages(row: _Row) -> Iterator[str]:
    state = row.state or ""
    if state not in _STATUS:
        yield f'FluidStack calls its state "{state}", which is not known here'
    elif state == _NO_STOCK:
        yield f"out of stock: FluidStack took the order, and has no place for a {row.native_type or 'machine'}"
    elif state == "error":
        yield "FluidStack calls its state an error, and gives no reason"


def _with_marks(made: Instance, attrs: CreateInstanceAttrs) -> Instance:
    return with_fields(
        made,
        ref_id=attrs.ref_id,
        cloud_cred_ref_id=attrs.cloud_cred_ref_id,
        name=made.name or attrs.name,
        instance_type=attrs.instance_type,
        instance_type_id=type_id(attrs.location, "", attrs.instance_type),
        tags=dict(attrs.tags),
    )


def _is_uuid(text: str) -> bool:
    """Tell a UUID in the one form that the API takes; Python's reader takes several."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


# Launching


def launch_request(attrs: CreateInstanceAttrs) -> _Create:
    """Write what asks for a machine; raise `Rejected`, `ARGUMENT: reason`, for what the API has no word for. Pure."""
    _check(attrs)
    return _Create(
        name=attrs.name or attrs.ref_id,
        native_type=attrs.instance_type,
        tags={REF_TAG: attrs.ref_id, CRED_TAG: attrs.cloud_cred_ref_id, **attrs.tags},
        user_data=_user_data(attrs),
        image=f"{_IMAGE_SCHEME}{attrs.image_id}" if attrs.image_id else UNSET,
        filesystems=list(attrs.filesystems) or UNSET,
        preemptible=attrs.spot or UNSET,
        ephemeral=attrs.options.get("ephemeral") == "true" or UNSET,
    )


def _check(attrs: CreateInstanceAttrs) -> None:
    if attrs.sub_location:
        raise _impossible("sub_location: there are no zones here; leave it out")
    if attrs.disk_size is not None:
        raise _impossible("disk_size: a machine has the disk of its type; leave it out")
    if attrs.image_id.startswith(_IMAGE_SCHEME):
        bare = attrs.image_id.removeprefix(_IMAGE_SCHEME)
        raise _impossible(f'image_id: write it as FluidStack shows it, without {_IMAGE_SCHEME}: "{bare}"')
    ephemeral = attrs.options.get("ephemeral", "false")
    if ephemeral not in ("true", "false"):
        raise _impossible(f'options: ephemeral is "{ephemeral}", which is neither "true" nor "false"')
    for wanted in attrs.filesystems:
        if not _is_uuid(wanted):
            raise _impossible(f'filesystems: "{wanted}" is not the id of a file system, which is a UUID')
    for key in attrs.tags:
        if key in MARKS:
            raise _impossible(f'tags: "{key}" is a name that brevplan marks machines with')
        if not _TAG_KEY.match(key):
            raise _impossible(
                f'tags: the key "{key}" is not 1 to 63 letters, digits, "-", "_" and ".", with a letter or a digit'
                " at both ends"
            )


def _user_data(attrs: CreateInstanceAttrs) -> str:
    """Write what the machine starts with, in base64: the SSH key, the firewall, and what the user wants behind it."""
    from brevplan.contract.cloud_init import is_configuration, user_data  # here, because only a launch needs it
    from brevplan.contract.ufw import start_script

    # a script is run by ours, once the firewall stands; configuration stands beside it
    configures = is_configuration(attrs.user_data)
    if attrs.user_data.strip() and not (configures or attrs.user_data.startswith("#!")):
        raise _impossible(
            "user_data: it must be a script that begins with #!, such as #!/bin/sh, or cloud-init configuration with"
            " #cloud-config as its first line"
        )
    try:
        attrs.user_data.encode()
    except UnicodeError:
        raise _impossible("user_data: it holds something that is no text") from None
    try:
        script = start_script(attrs.firewall_rules, user_data="" if configures else attrs.user_data)
    except ValueError as problem:
        raise _impossible(f"firewalls: {problem}") from None
    try:
        whole = user_data(
            public_key=attrs.public_key, script=script, configuration=attrs.user_data if configures else ""
        )
    except ValueError as problem:
        raise _impossible(f"public_key: {problem}") from None
    return b64encode(whole.encode()).decode()


def _impossible(reason: str) -> Rejected:
    return Rejected(reason, provider=NAME, operation=LAUNCH, sent=Sent.NO)


# Types


def read_memory(text: str) -> Bytes:
    """Read `960Gi`, `1.5Ti`, `512GB` or `64G`; nothing for a text that is none of these.

    With an `i` a step is 1024, without it 1000, whether or not a `B` stands behind.
    """
    number = text.strip().rstrip("BbiIKkMGTPE").strip()
    unit = text.strip()[len(number) :].strip()
    whole, dot, part = number.partition(".")
    if not _is_number(whole) or (dot and not _is_number(part)):
        return Bytes()
    prefix = unit.removesuffix("B").removesuffix("b").upper()
    name = f"{prefix[:1]}{'i' if prefix[1:] == 'I' else ''}B"
    if name not in UNITS or prefix[1:] not in ("", "I"):
        return Bytes()
    if not dot:
        return Bytes(int(whole), name)
    total = Decimal(number) * UNITS[name]
    return Bytes(int(total), "B")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def read_gpu(model: str, count: int | None) -> Gpu | None:
    """Read `GH100_H100_SXM5_80GB`: chip, name, form and memory, of which only the name is always there."""
    if not model or (count is not None and count < 1):
        return None
    parts = [part for part in model.split("_") if part]
    told = next((int(part[:-2]) for part in parts if _is_memory(part)), 0)
    form = next((part for part in parts[1:] if _is_form(part)), "")
    words = [part for part in parts if part != form and not _is_memory(part)]
    if len(words) > 1 and _is_chip(words[0]):
        words = words[1:]
    name = canonical_name(" ".join(words))
    if not name:
        return None
    return Gpu(
        name=name,
        count=1 if count is None else count,
        memory=Bytes(nominal_gb(name, told), "GB"),
        type=model,
        interconnect=interconnect(form.upper(), name),
        manufacturer="unknown" if name.startswith("MI") else "NVIDIA",
    )


def _is_memory(part: str) -> bool:
    return part[-2:].upper() == "GB" and _is_number(part[:-2])


def _is_form(part: str) -> bool:
    return part.upper().startswith(("SXM", "PCIE", "NVL", "OAM"))


def _is_chip(part: str) -> bool:
    """Tell the name of a chip, `GH100` or `AD102`, which is not that of the card that it is on."""
    return part[:2].upper() in ("AD", "GA", "GB", "GH", "GP", "GV", "TU") and part[2:5].isdigit()


def connect(connection: Connection) -> FluidStackClient:
    return FluidStackClient(connection)


SPEC: Final = ProviderSpec(
    name=NAME, arguments=ARGUMENTS, traits=TRAITS, connect=connect, options=OPTIONS, check_launch=launch_request
)
