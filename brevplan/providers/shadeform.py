"""Shadeform: one API over many clouds. Translates the contract's calls to its requests, and its answers back.

A native type is `{cloud}_{shade type}`, cut at the first `_`: a shade type may hold more of them, a cloud none. The
marks of a machine are tags, `refID=…`, `cloudCredRefID=…` and `brevplanAddress=…`; its name at Shadeform begins with
the ref_id. The SSH key of a machine is named after its ref_id, too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
    NotFound,
    NotReady,
    OutOfQuota,
    OutOfStock,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.gpu import architectures_beside, canonical_name, interconnect, nominal_gb
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    Gpu,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    Money,
    PortMapping,
    RefId,
    SideObject,
    Storage,
    matches,
    type_matches,
    wants_all,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers.http import Answer, HttpApi, api_key, by_status, segment, tuned

NAME: Final = "shadeform"
BASE_URL: Final = "https://api.shadeform.ai/v1"


REF_TAG: Final = "refID"
CRED_TAG: Final = "cloudCredRefID"
ADDRESS_TAG: Final = "brevplanAddress"
MARKS: Final = (REF_TAG, CRED_TAG, ADDRESS_TAG)

SSH_PORTS: Final = (22, 2222)
"""Where SSH may listen: which of them it is, is known only once the machine has its place."""

_OURS: Final = "bp-"
_HOSTNAME: Final = "shadecloud"
_SSH_USER: Final = "shadeform"

ARGUMENTS: Final = (
    Argument(
        "api_key", sensitive=True, required=True, environment="SHADEFORM_API_KEY",
        description="An API key of the workspace.",
    ),
)  # fmt: skip

OPTIONS: Final = {"template_id": "The id of a Shadeform template that the machine starts from."}

TRAITS: Final = Traits(
    provider=NAME,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.TERMINATE,
            Capability.CREATE_TERMINATE,
            Capability.USER_DATA,
            Capability.TAGS,
            Capability.REBOOT,
            Capability.IMAGES,
        }
    ),
    reports=frozenset({"disk_size", "image_id", "instance_type", "location", "name", "power_state", "tags"}),
    firewall_pattern=FirewallPattern.USER_DATA,
    mutable_tags=True,
    in_place=frozenset({"name"}),
    instance_poll_s=5.0,
    catalogue_poll_s=60.0,
    creates_per_minute=10,
    # none is documented: two a second have not been refused
    requests_per_minute=120,
    grace_window_s=60.0,
    promises=frozenset({"public_ip"}),
    option_names=frozenset(OPTIONS),
)

_STATUS: Final = {
    "creating": LifecycleStatus.PENDING,
    "pending_provider": LifecycleStatus.PENDING,
    "pending": LifecycleStatus.PENDING,
    "active": LifecycleStatus.RUNNING,
    "error": LifecycleStatus.FAILED,
    "deleting": LifecycleStatus.TERMINATING,
    "deleted": LifecycleStatus.TERMINATED,
}

_MANUFACTURERS: Final = {"nvidia": "NVIDIA", "intel": "Intel"}


# What the API answers, as far as it is read


class _Row(Struct, rename={"instance_id": "id"}):
    """A machine, in a list and alone. What is missing or null is nothing, so that no machine hides another."""

    instance_id: Annotated[str, Meta(min_length=1)]
    name: str | None = ""
    cloud: str | None = ""
    region: str | None = ""
    shade_instance_type: str | None = ""
    configuration: _InstanceConfiguration | None = None
    ip: str | None = ""
    ssh_user: str | None = ""
    ssh_port: int | None = 0
    status: str | None = ""
    status_details: str | None = ""
    hourly_price: Decimal | None = None
    tags: list[str] | None = None
    port_mappings: list[_Ports] | None = None
    created_at: str | None = ""
    volume_ids: list[str] | None = None


class _InstanceConfiguration(Struct):
    os: str | None = ""
    storage_in_gb: int | None = 0


class _Ports(Struct):
    internal_port: int | None = None
    external_port: int | None = None


class _Rows(Struct):
    instances: list[_Row]


class _Made(Struct, rename={"made_id": "id"}):
    made_id: Annotated[str, Meta(min_length=1)]


class _Key(Struct, rename={"key_id": "id"}):
    key_id: str
    name: str | None = ""
    public_key: str | None = ""
    is_default: bool | None = False


class _Keys(Struct):
    ssh_keys: list[_Key]


class _TypeConfiguration(Struct):
    memory_in_gb: int | None = 0
    storage_in_gb: int | None = 0
    vcpus: int | None = 0
    num_gpus: int | None = 0
    gpu_type: str | None = ""
    interconnect: str | None = ""
    vram_per_gpu_in_gb: int | None = 0
    gpu_manufacturer: str | None = ""
    os_options: list[str] | None = None


class _Availability(Struct):
    region: str
    available: bool | None = False
    display_name: str | None = ""


class _BootTime(Struct):
    min_boot_in_sec: int | None = None
    max_boot_in_sec: int | None = None


class _Offer(Struct):
    cloud: str
    shade_instance_type: str
    configuration: _TypeConfiguration
    hourly_price: Decimal
    """Cents."""
    availability: list[_Availability] | None = None
    deployment_type: str | None = ""
    boot_time: _BootTime | None = None


class _Offers(Struct):
    instance_types: list[_Offer]


# What it is asked


class _Script(Struct):
    base64_script: str


class _Launch(Struct):
    script_configuration: _Script
    type: str = "script"


class _Create(Struct):
    cloud: str
    region: str
    shade_instance_type: str
    name: str
    tags: list[str]
    launch_configuration: _Launch
    shade_cloud: bool = True
    ssh_key_id: str | UnsetType = UNSET
    os: str | UnsetType = UNSET
    template_id: str | UnsetType = UNSET
    volume_ids: list[str] | UnsetType = UNSET


class _AddKey(Struct):
    name: str
    public_key: str


class _Update(Struct):
    """A field that is left out keeps its value; a list of tags replaces the one before."""

    tags: list[str] = field(default_factory=list)
    name: str | UnsetType = UNSET


class ShadeformClient:
    """The client of one workspace."""

    def __init__(self, connection: Connection) -> None:
        self.traits = tuned(TRAITS, connection.settings)
        key = api_key(connection.settings, NAME, "SHADEFORM_API_KEY")
        self._tenant = f"{NAME}-{sha256(key.encode()).hexdigest()}"
        self._api = HttpApi(
            connection, TRAITS, base_url=BASE_URL, headers={"X-API-KEY": key}, secrets=[key], explain=explained
        )

    # The account

    async def tenant_id(self) -> str:
        """Give what follows from the key alone: that the key is wrong shows at the first list."""
        return self._tenant

    async def aclose(self) -> None:
        await self._api.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        rows = await self._api.call("GET", "instances", _Rows, operation="list_instances", urgency=urgency)
        found = (_instance(row) for row in rows.instances)
        return [instance for instance in found if matches(instance, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        return _instance(await self._row(cloud_id, "get_instance"))

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        # the API takes one region at most: more of them are chosen here
        region = wanted.locations[0] if len(wanted.locations) == 1 and not wants_all(wanted.locations) else ""
        found: dict[str, InstanceType] = {}
        for offer in await self._offers("get_instance_types", region):
            for item in _types(offer):
                if item.id not in found or (item.is_available and not found[item.id].is_available):
                    found[item.id] = item
        kept = (item for item in found.values() if type_matches(item, wanted))
        return sorted(kept, key=lambda item: (item.type, item.location))

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        found: dict[str, Location] = {}
        for offer in await self._offers("get_locations"):
            for place in offer.availability or ():
                known = found.get(place.region)
                # one region may stand under several clouds, and is open as soon as one type can be had there
                found[place.region] = Location(
                    name=place.region,
                    description=(known.description if known else "") or place.display_name or "",
                    available=bool(place.available) or (known is not None and known.available),
                )
        return [found[name] for name in sorted(found) if include_unavailable or found[name].available]

    async def get_images(self, *, architectures: Sequence[str] = (), names: Sequence[str] = ()) -> list[Image]:
        built_for: dict[str, set[str]] = {}
        for offer in await self._offers("get_images"):
            for name in offer.configuration.os_options or ():
                built_for.setdefault(name, set()).update(architectures_beside(_gpu_name(offer.configuration)))
        return [
            # one name may stand for an image of each architecture
            Image(id=name, name=name, architecture=next(iter(kinds)) if len(kinds) == 1 else "")
            for name, kinds in sorted(built_for.items())
            if (not architectures or kinds & set(architectures))
            and (not names or any(fnmatchcase(name, pattern) for pattern in names))
        ]

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        request = _create(attrs)
        try:
            request.ssh_key_id = await self._key_for(attrs)
        except CloudError as problem:
            # nothing was launched, whatever became of the key: release() removes it
            problem.sent = Sent.NO
            raise
        made = await self._api.call(
            "POST", "instances/create", _Made, operation="create_instance", urgency=Urgency.CREATE, body=request
        )
        return Instance(
            cloud_id=CloudId(made.made_id),
            ref_id=attrs.ref_id,
            cloud_cred_ref_id=attrs.cloud_cred_ref_id,
            address=attrs.address,
            name=attrs.name,
            status=LifecycleStatus.PENDING,
            instance_type=attrs.instance_type,
            instance_type_id=_type_id(request.cloud, request.shade_instance_type, request.region),
            location=attrs.location,
            image_id=attrs.image_id,
            tags=dict(attrs.tags),
            hostname=_HOSTNAME,
            ssh_user=_SSH_USER,
            rebootable=True,
        )

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        try:
            await self._ask(cloud_id, "delete", "terminate_instance", Urgency.SETTLE)
        except NotFound:
            return

    async def fence(self, ref_id: RefId) -> bool:
        """Delete the key of an attempt that is given up, and give False: a launch under way may land all the same.

        A key that is in use says that a machine has it, whatever the lists show: `NotReady`, and nothing is given up.
        """
        await self._release(ref_id, "fence")
        return False

    async def release(self, ref_id: RefId) -> None:
        """Delete the key named after an attempt."""
        await self._release(ref_id, "release")

    async def side_objects(self) -> list[SideObject]:
        keys = await self._keys("side_objects", Urgency.POLL)
        named = sorted((key.name or "", key.key_id) for key in keys)
        return [SideObject(kind="ssh key", id=key_id, ref_id=name) for name, key_id in named if name.startswith(_OURS)]

    # Changing

    async def reboot_instance(self, cloud_id: CloudId) -> None:
        """Restart. The machine is reported as running all along."""
        await self._ask(cloud_id, "restart", "reboot_instance", Urgency.POLL)

    # An update replaces the list of tags, and a list without the marks would orphan the machine. So each of the three
    # reads what is there first: the one place where a change needs a read.

    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        written = _written(tags)
        row = await self._row(cloud_id, "update_tags")
        marks = [tag for tag in row.tags or () if _key_of(tag) in MARKS]
        await self._update(cloud_id, "update_tags", _Update([*marks, *written]))

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        row = await self._row(cloud_id, "update_mark")
        present = row.tags or []
        if address is not None:
            kept = [tag for tag in present if _key_of(tag) != ADDRESS_TAG]
            await self._update(cloud_id, "update_mark", _Update([*kept, f"{ADDRESS_TAG}={address}"]))
            return
        change = _Update([tag for tag in present if _key_of(tag) not in MARKS])
        bare = _bare_name(row)
        if bare and bare != row.name:
            change.name = bare
        await self._update(cloud_id, "update_mark", change)

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        row = await self._row(cloud_id, "rename_instance")
        await self._update(
            cloud_id, "rename_instance", _Update(list(row.tags or ()), _full_name(_marks(row.tags)[REF_TAG], name))
        )

    # Every call

    async def _row(self, cloud_id: CloudId, operation: str) -> _Row:
        return await self._api.call("GET", f"instances/{segment(cloud_id)}/info", _Row, operation=operation)

    async def _ask(self, cloud_id: CloudId, verb: str, operation: str, urgency: Urgency) -> None:
        path = f"instances/{segment(cloud_id)}/{verb}"
        await self._api.call("POST", path, type(None), operation=operation, urgency=urgency)

    async def _update(self, cloud_id: CloudId, operation: str, change: _Update) -> None:
        path = f"instances/{segment(cloud_id)}/update"
        await self._api.call("POST", path, type(None), operation=operation, body=change)

    async def _offers(self, operation: str, region: str = "") -> list[_Offer]:
        query = {"region": region} if region else None
        found = await self._api.call("GET", "instances/types", _Offers, operation=operation, query=query)
        # a cloud with a `_` in its name could not be told from its types again, so nothing of it can be launched
        return [offer for offer in found.instance_types if "_" not in offer.cloud]

    # Keys

    async def _keys(self, operation: str, urgency: Urgency) -> list[_Key]:
        return (await self._api.call("GET", "sshkeys", _Keys, operation=operation, urgency=urgency)).ssh_keys

    async def _key_for(self, attrs: CreateInstanceAttrs) -> str | UnsetType:
        """Register the key under the name of the attempt; give its id, or nothing where there is no key to register."""
        text = attrs.public_key.strip()
        if not text:
            return UNSET
        try:
            added = await self._api.call(
                # not as a launch: one is counted where the machine is asked for
                "POST", "sshkeys/add", _Made, operation="add_ssh_key", urgency=Urgency.SETTLE,
                body=_AddKey(attrs.ref_id, text),
            )  # fmt: skip
        except Rejected as problem:
            # `{"error": "name must be unique"}`, under whichever status: it is there already
            if "unique" not in problem.message.lower() and "already" not in problem.message.lower():
                raise
            return self._same_key(await self._keys("add_ssh_key", Urgency.SETTLE), attrs.ref_id, text, problem)
        return added.made_id

    def _same_key(self, keys: Sequence[_Key], name: str, text: str, problem: CloudError) -> str:
        same = [key for key in keys if _material(key.public_key or "") == _material(text)]
        for key in sorted(same, key=lambda key: (key.name != name, key.key_id)):
            return key.key_id
        raise problem

    async def _release(self, ref_id: RefId, operation: str) -> None:
        for key in await self._keys(operation, Urgency.SETTLE):
            if key.name == ref_id:
                await self._delete_key(key, operation)

    async def _delete_key(self, key: _Key, operation: str) -> None:
        path = f"sshkeys/{segment(key.key_id)}/delete"
        try:
            await self._api.call("POST", path, type(None), operation=operation, urgency=Urgency.SETTLE)
        except NotFound:
            return
        except Rejected as problem:
            # only three kinds of keys are kept from going: the managed one, which is never ours, and these
            if key.is_default:
                raise Rejected(
                    f"the SSH key {key.name} is the default of the account: make another one the default",
                    provider=NAME, operation=operation, http_status=problem.http_status, code=problem.code,
                ) from None  # fmt: skip
            raise NotReady(
                f"the SSH key {key.name} is still in use: {problem.message}",
                provider=NAME, operation=operation, http_status=problem.http_status, code=problem.code,
            ) from None  # fmt: skip


# Errors


def explained(answer: Answer) -> CloudError:
    """Read a failure. Three shapes of bodies exist: `error_code` and `error`, `message` alone, and plain text.

    Of a launch only what proves that nothing was made is `refused`; 429 and the other reasons behind 409 are not
    documented.
    """
    code = answer.field("error_code")
    text = answer.field("error") or answer.field("message") or answer.excerpt or "no reason given"
    status, launches = answer.status, answer.operation == "create_instance"
    lowered = text.lower()
    if status == 409 and code == "OUT_OF_STOCK":
        return OutOfStock(text, http_status=status, code=code)
    if status in (400, 404, 409) and not launches and _says_gone(answer, lowered):
        kind = NotFound if answer.operation in ("add_ssh_key", "release", "fence") else InstanceNotFound
        return kind(text, http_status=status, code=code)
    # no code is documented for it: `{"error": "instance limit reached"}`, `{"error": "quota exceeded"}`
    if launches and status in (400, 402, 403, 409, 422) and ("quota" in lowered or "limit" in lowered):
        return OutOfQuota(text, http_status=status, code=code)
    if status == 409 and code == "INTERNAL_SERVER_ERROR":
        return Unavailable(text, http_status=status, code=code)
    if status in (401, 403):
        return AuthFailed(f"{text}: check api_key, or $SHADEFORM_API_KEY", http_status=status, code=code)
    error = by_status(answer, text, code)
    if status in (409, 429):
        error.sent = Sent.MAYBE
    return error


def _says_gone(answer: Answer, text: str) -> bool:
    return answer.status == 404 or "not found" in text or "does not exist" in text


# Types


def _types(offer: _Offer) -> Iterator[InstanceType]:
    """Give one type for each region of an entry, open or not, so that ids outlive a shortage."""
    has = offer.configuration
    name = _gpu_name(has)
    gpus = (_gpu(has, name),) if has.num_gpus and name else ()
    size = Bytes(has.storage_in_gb or 0, "GB")
    for place in offer.availability or ():
        yield InstanceType(
            id=_type_id(offer.cloud, offer.shade_instance_type, place.region),
            type=f"{offer.cloud}_{offer.shade_instance_type}",
            location=place.region,
            provider=NAME,
            # Shadeform's own machines
            cloud=NAME if offer.cloud == "excesssupply" else offer.cloud,
            gpus=gpus,
            storage=(Storage(type="ssd", size=size),),
            memory=Bytes(has.memory_in_gb or 0, "GB"),
            vcpu=has.vcpus or 0,
            architectures=architectures_beside(name),
            base_price=Money(_dollars(offer.hourly_price)),
            is_available=bool(place.available),
            rebootable=True,
            is_container=(offer.deployment_type or "").lower() == "container",
            deploy_time_s=_deploy_time(offer.boot_time),
        )


def _type_id(cloud: str, shade_type: str, region: str) -> str:
    return f"{cloud}_{shade_type}_{region}"


def _gpu_name(has: _TypeConfiguration) -> str:
    # what follows the name is the memory, `A100_80G`, unless the name itself has pieces, `RTX_A6000`
    parts = (has.gpu_type or "").split("_")
    while len(parts) > 1 and (_is_memory(parts[-1]) or parts[0].upper() not in ("RTX", "RTXPRO")):
        parts.pop()
    return canonical_name(" ".join(parts)) if has.num_gpus else ""


def _is_memory(part: str) -> bool:
    """Tell `80G` and `80GB`."""
    return part[:1].isdigit() and part.upper().endswith(("G", "GB"))


def _gpu(has: _TypeConfiguration, name: str) -> Gpu:
    return Gpu(
        name=name,
        type=has.gpu_type or "",
        count=has.num_gpus or 0,
        memory=Bytes(nominal_gb(name, has.vram_per_gpu_in_gb or 0), "GB"),
        interconnect=interconnect(has.interconnect or "", name),
        manufacturer=_MANUFACTURERS.get((has.gpu_manufacturer or "").lower(), "unknown"),
    )


def _dollars(cents: Decimal) -> Decimal:
    return cents.scaleb(-2)


def _deploy_time(boot: _BootTime | None) -> float | None:
    if boot is None:
        return None
    bounds = [bound for bound in (boot.min_boot_in_sec, boot.max_boot_in_sec) if bound is not None]
    return float(sum(bounds) // len(bounds)) if bounds else None


# Instances


def _instance(row: _Row) -> Instance:
    """Read a machine; a list and a single answer are read alike."""
    cloud, shade_type, region = row.cloud or "", row.shade_instance_type or "", row.region or ""
    has = row.configuration or _InstanceConfiguration()
    marks = _marks(row.tags)
    return Instance(
        cloud_id=CloudId(row.instance_id),
        ref_id=marks[REF_TAG],
        cloud_cred_ref_id=marks[CRED_TAG],
        address=marks[ADDRESS_TAG],
        name=_bare_name(row),
        status=_status(row),
        messages=tuple(_messages(row)),
        instance_type=f"{cloud}_{shade_type}" if cloud else shade_type,
        instance_type_id=_type_id(cloud, shade_type, region),
        location=region,
        public_ip=row.ip or "",
        hostname=_HOSTNAME,
        image_id=has.os or "",
        disk_size=Bytes(has.storage_in_gb, "GB") if has.storage_in_gb else Bytes(),
        filesystems=tuple(row.volume_ids or ()),
        ssh_user=row.ssh_user or _SSH_USER,
        ssh_port=row.ssh_port or 22,
        tags={key: value for key, value in _pairs(row.tags) if key not in MARKS},
        rebootable=True,
        hourly_price=None if row.hourly_price is None else _dollars(row.hourly_price),
        created_at=_moment(row.created_at or ""),
        port_mappings=tuple(
            PortMapping(ports.external_port, ports.internal_port)
            for ports in row.port_mappings or ()
            if ports.external_port and ports.internal_port
        ),
    )


def _status(row: _Row) -> LifecycleStatus:
    # A word that nobody knows says nothing. What is not gone is taken to be there: `pending` would make a machine on
    # its way out look like one on its way in, and a wait for `running` also waits for an address.
    return _STATUS.get(row.status or "", LifecycleStatus.RUNNING)


def _messages(row: _Row) -> Iterator[str]:
    if (row.status or "") not in _STATUS:
        yield f'Shadeform calls its status "{row.status or ""}", which is not known here'
    if row.status_details:
        yield row.status_details


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


# Tags and names


def _key_of(tag: str) -> str:
    return tag.partition("=")[0] if "=" in tag else ""


def _pairs(tags: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    """Give the tags that are key and value; one that a person wrote without a `=` says nothing to us."""
    for tag in tags or ():
        key, equals, value = tag.partition("=")
        if equals and key:
            yield key, value


def _marks(tags: Iterable[str] | None) -> dict[str, str]:
    found = dict(_pairs(tags))
    return {name: found.get(name, "") for name in MARKS}


def _written(tags: Mapping[str, str]) -> list[str]:
    """Write a user's tags; raise `Rejected` for those that could not be read back."""
    for key in tags:
        if not key or "=" in key:
            raise Rejected(f'tags: the key "{key}" is empty or holds a "="', provider=NAME, sent=Sent.NO)
        if key in MARKS:
            raise Rejected(f'tags: "{key}" is a name that brevplan marks machines with', provider=NAME, sent=Sent.NO)
    return [f"{key}={value}" for key, value in tags.items()]


def _full_name(ref_id: str, name: str) -> str:
    return f"{ref_id}_{name}" if ref_id else name


def _bare_name(row: _Row) -> str:
    ref_id = _marks(row.tags)[REF_TAG]
    return (row.name or "").removeprefix(f"{ref_id}_") if ref_id else row.name or ""


def _material(key: str) -> list[str]:
    """Give what makes a public key: its kind and its body, not the comment behind them."""
    return key.split()[:2]


# Launching


def _create(attrs: CreateInstanceAttrs) -> _Create:
    from brevplan.contract.ufw import start_script  # here, because only a launch needs it

    cloud, cut, shade_type = attrs.instance_type.partition("_")
    if not (cloud and cut and shade_type):
        raise _impossible(f'instance_type: "{attrs.instance_type}" is not CLOUD_TYPE, such as hyperstack_A100_80G')
    if attrs.sub_location:
        raise _impossible("sub_location: there are no zones here; leave it out")
    if attrs.spot:
        raise _impossible("spot: there are no spot machines here; leave it out")
    if len(attrs.filesystems) > 1:
        raise _impossible("filesystems: a machine can have one volume at most")
    # one script is all that a machine starts with: what the user wants comes behind the firewall
    try:
        script = start_script(attrs.firewall_rules, ssh_ports=SSH_PORTS, user_data=attrs.user_data)
    except ValueError as problem:
        raise _impossible(f"firewalls: {problem}") from None
    return _Create(
        cloud=cloud,
        region=attrs.location,
        shade_instance_type=shade_type,
        name=_full_name(attrs.ref_id, attrs.name),
        tags=[
            f"{REF_TAG}={attrs.ref_id}",
            f"{CRED_TAG}={attrs.cloud_cred_ref_id}",
            *([f"{ADDRESS_TAG}={attrs.address}"] if attrs.address else ()),
            *_written(attrs.tags),
        ],
        launch_configuration=_Launch(_Script(b64encode(script.encode()).decode())),
        os=attrs.image_id or UNSET,
        template_id=attrs.options.get("template_id") or UNSET,
        volume_ids=list(attrs.filesystems) or UNSET,
    )


def _impossible(reason: str) -> Rejected:
    return Rejected(reason, provider=NAME, operation="create_instance", sent=Sent.NO)


def connect(connection: Connection) -> ShadeformClient:
    return ShadeformClient(connection)


SPEC: Final = ProviderSpec(NAME, ARGUMENTS, TRAITS, connect, OPTIONS, check_launch=_create)
