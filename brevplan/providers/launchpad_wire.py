"""What NVIDIA LaunchPad's API says, and what that is in the contract's words. Pure.

A machine is a *deployment* of an *experience* onto a *cluster* of nodes behind a bastion. Its marks are tags. A native
type is `{cloud}.{gpu}x{count}.{interconnect}`, with `.{workshop}` behind it where it is set aside for one: the API has
no name for it, and a deployment none of its type, so the name is kept in a tag, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
    OutOfQuota,
    OutOfStock,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.gpu import canonical_name, interconnect, nominal_gb
from brevplan.contract.model import (
    CloudId,
    CreateInstanceAttrs,
    FirewallRule,
    FirewallRules,
    Gpu,
    Instance,
    InstanceType,
    LifecycleStatus,
    Money,
    PortMapping,
    Storage,
    type_id,
    with_type_id,
)
from brevplan.providers.http import Answer, by_status

PROVIDER: Final = "launchpad"

REF_TAG: Final = "RefID"
CRED_TAG: Final = "CloudCredRefID"
ADDRESS_TAG: Final = "BrevplanAddress"
MARKS: Final = (REF_TAG, CRED_TAG, ADDRESS_TAG)
NAME_TAG: Final = "Name"
TYPE_TAG: Final = "InstanceType"
RESERVED_TAGS: Final = (*MARKS, NAME_TAG, TYPE_TAG)

REF_TAKEN: Final = "request-id-exists"
ALREADY_ENDING: Final = "already-being-destroyed"
"""Our names for two refusals that mean that what was asked for has been done before."""

SSH_PORT_INSIDE: Final = 2022
"""Where the bastion's forwarding ends."""

OPTIONS: Final = {
    "experience_id": "The UUID of the experience that is deployed onto the machine.",
    "catalog_id": "The catalogue id of the experience, in place of its UUID.",
    "catalog_id_alias": "The alias of the experience's catalogue id, in place of its UUID.",
}

_OURS: Final = "bp-"
"""What every ref_id begins with, and so the `request_id` of whatever was launched here."""

_SSH_USER: Final = "nvidia"
_LONGEST_MODEL: Final = 32
_MOST_GPUS: Final = 512

_STATUS: Final = {
    "waiting": LifecycleStatus.PENDING,
    "starting": LifecycleStatus.PENDING,
    "retrying": LifecycleStatus.PENDING,
    "failed": LifecycleStatus.PENDING,
    "paused": LifecycleStatus.PENDING,
    "ready": LifecycleStatus.RUNNING,
    "stopping": LifecycleStatus.STOPPING,
    "stopped": LifecycleStatus.STOPPED,
    "destroying": LifecycleStatus.TERMINATING,
    "destroyed": LifecycleStatus.TERMINATED,
    "error": LifecycleStatus.FAILED,
}

_STATUS_NOTES: Final = {
    "failed": "LaunchPad calls it failed, and may try again by itself",
    "paused": "LaunchPad has paused it, and may go on later",
    "error": "LaunchPad has met an error that it does not recover from",
}

_ARCHITECTURES: Final = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_MANUFACTURERS: Final = {"nvidia": "NVIDIA", "intel": "Intel"}

_MEMORY_OF_ONE: Final[Mapping[str, frozenset[int]]] = {
    name: frozenset(sizes)
    for name, sizes in {
        "A10": (24,), "A100": (40, 80), "A16": (16, 64), "A2": (16,), "A30": (24,), "A40": (48,), "B200": (180, 192),
        "B300": (270, 288), "GB200": (186, 192), "GB300": (288,), "GGL40S": (48,), "GH200": (96, 144),
        "H100": (80, 94, 96), "H200": (141,), "L4": (24,), "L40": (48,), "L40S": (48,), "T4": (16,), "V100": (16, 32),
        "A4000": (16,), "A5000": (24,), "A6000": (48,), "RTX 6000": (24,), "RTX 6000 ADA": (48,), "RTX PRO 6000": (96,),
    }.items()
}  # fmt: skip
"""Nominal GB of one GPU. The API calls its figure the total of a type, and has given that of one GPU, too."""

_MOST_MEMORY_OF_ONE: Final = 300
"""No GPU has more GB than this: a greater figure is the total."""

_DEPLOY_S: Final = {"dmz": 60.0}
_USUAL_DEPLOY_S: Final = 900.0

_ESTIMATES: Final = {
    name: Decimal(price)
    for name, price in {
        "h100": "2.37", "h200": "2.80", "a40": "0.98", "ggl40s": "1.98", "gh200": "2.80", "l40s": "1.58",
        "a30": "0.12", "a100": "2.01",
    }.items()
}  # fmt: skip
"""USD per GPU and hour, for types that come without a price."""
_USUAL_ESTIMATE: Final = Decimal("2.50")
_SXM_SURCHARGE: Final = Decimal("1.25")
_LEAST_PRICE: Final = Decimal("0.000001")
_MOST_PRICE: Final = Decimal(1_000_000)
"""A price an hour outside of these is none."""

_EXPERIENCES: Final = {
    "nebius": "a5d93f56-bbdb-44db-a1ae-6b1ad7d3c6df",
    "dmz-gh200": "d12c37eb-270a-4471-be45-48e4d1fdb764",
    "": "43123766-35ec-4eb4-a5ba-3f2945228445",
}
"""What is deployed where nobody says what: minimal systems, by the cloud behind the type."""


# What the API answers, as far as it is read. What is missing or null is nothing, so that no machine hides another. What
# cannot be, such as a size below nothing, makes an answer that cannot be read: never a shorter list.

Whole = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class Made(Struct, rename={"made_id": "id"}):
    made_id: Annotated[str, Meta(min_length=1)]


class _Named(Struct):
    """A location or a provider, where it is expanded."""

    name: str | None = ""
    region: str | None = ""
    provider: str | _Provider | None = None


class _Provider(Struct):
    name: str | None = ""


class _NodeGpu(Struct):
    model: str | None = ""
    form_factor: str | None = ""


class _NodeStorage(Struct):
    size: Whole | None = 0


class _Node(Struct):
    gpu_count: Whole | None = 0
    gpu: str | _NodeGpu | None = None
    location: str | _Named | None = None
    storage: list[_NodeStorage] | None = None


class _Cluster(Struct):
    public_address: str | None = ""
    workshop_id: str | None = ""
    nodes: list[str | _Node] | None = None


class Deployment(Struct, rename={"deployment_id": "id"}):
    """A machine, in a list and alone. `cluster` is a bare id where it is not expanded.

    Tags that are null are none. Tags that are missing were not told: they bear the marks.
    """

    deployment_id: Annotated[str, Meta(min_length=1)]
    state: str | None = ""
    created: str | None = ""
    region: str | None = ""
    ssh_user: str | None = ""
    ssh_port: Port | None = 0
    request_id: str | None = ""
    ip_allowlist: Any = None
    tags: Any | UnsetType = UNSET
    cluster: str | _Cluster | None = None


Row = TypeVar("Row")


class Page(Struct, Generic[Row]):
    """One page of a list; `count` is how many there are on all of them."""

    count: int
    results: list[Row]
    next: str | None = None


class _TypeGpu(Struct):
    count: Whole | None = 0
    family: str | None = ""
    model: str | None = ""
    manufacturer: str | None = ""
    memory_gb: Whole | None = 0
    interconnection_type: str | None = ""


class _TypeStorage(Struct):
    size_gb: Whole | None = 0
    type: str | None = ""


class _Price(Struct):
    on_demand_per_hour: Decimal | None = None
    currency: str | None = ""


class Offer(Struct):
    """A type. `capacity` is how many more can be had, by region. A price that is odd hides no type."""

    cloud: str
    gpu: _TypeGpu
    cpu: Whole | None = 0
    memory_gb: Whole | None = 0
    system_arch: str | None = ""
    workshop_id: str | None = ""
    storage: list[_TypeStorage] | None = None
    regions: list[str] | None = None
    capacity: dict[str, int | None] | None = None
    price: Raw = Raw(b"null")

    def places(self) -> dict[str, int]:
        """Give how many can be had by region, also where there are none now."""
        found = {region: count or 0 for region, count in (self.capacity or {}).items() if region}
        return {**{region: 0 for region in self.regions or () if region}, **found}


# What it is asked


class Launch(Struct, omit_defaults=True):
    """A request for a deployment. What names the experience is one of three; the rest is always sent."""

    request_id: str
    org_name: str
    requester_email: str
    requester_name: str
    provider_name: str
    gpu_model: str
    gpu_count: int
    region: str
    public_key: str
    ip_allowlist: list[str]
    tags: dict[str, str]
    expires_at: None
    workshop: bool | None
    workshop_id: str | None
    experience_id: str = ""
    catalog_id: str = ""
    catalog_id_alias: str = ""


class TagUpdate(Struct):
    """A list of tags replaces the one before as a whole."""

    tags: dict[str, Any]


class AllowlistUpdate(Struct):
    """A list of addresses replaces the one before as a whole."""

    ip_allowlist: list[str]


# Types


class TypeName(Struct, frozen=True):
    """The parts of a native type's name. The GPU and the interconnect are lower case."""

    cloud: str
    gpu: str
    count: int
    interconnect: str
    workshop: str = ""

    @classmethod
    def parse(cls, text: str) -> TypeName | None:
        """Read a name, its GPU part cut at the last `x`; None for what is none."""
        parts = text.split(".", 3)
        if len(parts) < 3 or not all(parts):
            return None
        gpu, _, count = parts[1].rpartition("x")
        if not gpu or not (count.isascii() and count.isdigit()) or count[0] == "0" or len(count) > 3:
            return None
        return cls(parts[0], gpu, int(count), parts[2], parts[3] if len(parts) == 4 else "")

    def __str__(self) -> str:
        workshop = f".{self.workshop}" if self.workshop else ""
        return f"{self.cloud}.{self.gpu}x{self.count}.{self.interconnect}{workshop}"


def types(offers: Iterable[Offer]) -> list[InstanceType]:
    """Give one type for each region of an entry, in stock or not, so that ids outlive a shortage; in order.

    Two entries may have one name, for the name holds neither the model nor its memory, and which of them is launched is
    LaunchPad's choice: what can be had comes first, then the dearer, then the one with less memory.
    """
    found: dict[str, InstanceType] = {}
    for item in sorted((item for offer in offers for item in _types(offer)), key=_precedence):
        found.setdefault(item.id, item)
    return sorted(found.values(), key=lambda item: (item.type, item.location))


def _precedence(item: InstanceType) -> tuple[bool, Decimal, int, str]:
    price = item.base_price.amount if item.base_price else Decimal(0)
    return not item.is_available, -price, sum(gpu.memory.total for gpu in item.gpus), str(item)


def _types(offer: Offer) -> Iterator[InstanceType]:
    name = _type_name(offer)
    if TypeName.parse(str(name)) != name:
        return  # it could not be taken apart again, so nothing of it can be launched
    for region, count in offer.places().items():
        yield with_type_id(
            InstanceType(
                type=str(name),
                location=region,
                provider=PROVIDER,
                cloud=offer.cloud,
                gpus=(_gpu(offer.gpu),),
                storage=tuple(
                    Storage(type=(disk.type or "").lower(), size=Bytes(disk.size_gb or 0, "GB"))
                    for disk in offer.storage or ()
                ),
                memory=Bytes(offer.memory_gb or 0, "GB"),
                vcpu=offer.cpu or 0,
                architectures=(_ARCHITECTURES.get((offer.system_arch or "").strip().lower(), "unknown"),),
                base_price=_price(offer, name),
                is_available=count > 0,
                stock=max(0, count),
                can_modify_firewall=True,
                deploy_time_s=_DEPLOY_S.get(offer.cloud, _USUAL_DEPLOY_S),
            )
        )


def _type_name(offer: Offer) -> TypeName:
    gpu = offer.gpu
    return TypeName(
        offer.cloud, (gpu.family or gpu.model or "").lower(), gpu.count or 0,
        (gpu.interconnection_type or "").lower(), offer.workshop_id or "",
    )  # fmt: skip


def _gpu(gpu: _TypeGpu) -> Gpu:
    model = gpu.model or gpu.family or ""
    name = canonical_name(_without_size(gpu.family or model)[0])
    return Gpu(
        name=name,
        type=model.upper(),
        count=gpu.count or 0,
        memory=Bytes(nominal_gb(name, memory_of_one(name, model, gpu.memory_gb or 0, gpu.count or 0)), "GB"),
        interconnect=interconnect(gpu.interconnection_type or "", name),
        manufacturer=_MANUFACTURERS.get((gpu.manufacturer or "").lower(), "unknown"),
    )


def memory_of_one(name: str, model: str, given: int, count: int) -> int:
    """Give the GB of one GPU. What is given is the total, as it is described, unless it is what such a GPU has."""
    bare, size = _without_size(model)
    known = frozenset({size}) if size and canonical_name(bare) == name else _MEMORY_OF_ONE.get(name, frozenset())
    if given in known or count < 2 or given % count:
        return given
    each = given // count
    return each if each in known or not known or given > _MOST_MEMORY_OF_ONE else given


def _without_size(model: str) -> tuple[str, int]:
    """Cut the memory off the name of a model: `A100-80GB` is an `A100` of 80 GB, and 0 where the name does not say."""
    bare, _, size = model.rpartition("-")
    number = size[:-2]
    is_size = bare and size[-2:].upper() == "GB" and number.isascii() and number.isdigit() and len(number) < 4
    return (bare, int(number)) if is_size else (model, 0)


def _price(offer: Offer, name: TypeName) -> Money | None:
    """Give the price of the whole type, or an estimate where LaunchPad gives none; None for one in no dollars."""
    try:
        given = msgspec.json.decode(offer.price, type=_Price | None, strict=False) or _Price()
        amount = Decimal(0) if given.on_demand_per_hour is None else given.on_demand_per_hour
        if amount:  # what is no number at all is no lack of a price
            is_price = (given.currency or "USD").strip().upper() == "USD" and _LEAST_PRICE <= amount <= _MOST_PRICE
            return Money(amount) if is_price else None
    except (msgspec.ValidationError, msgspec.DecodeError, InvalidOperation):
        return None
    each = _ESTIMATES.get(name.gpu, _USUAL_ESTIMATE) * name.count
    dear = each * _SXM_SURCHARGE if name.interconnect.startswith("sxm") else each
    return Money(dear.quantize(Decimal("0.01"), ROUND_HALF_UP))


# Machines


def instance(row: Deployment) -> Instance:
    """Read a machine; a list and a single answer are read alike.

    Raise `Unavailable` for one of ours whose tags are not told: it would look like a stranger's, and be bought again.
    """
    if row.tags is UNSET and _is_launched_here(row):
        raise _not_told(row, "the answer leaves its tags out")
    cluster = row.cluster if isinstance(row.cluster, _Cluster) else _Cluster()
    node = next((one for one in cluster.nodes or () if isinstance(one, _Node)), _Node())
    place = node.location if isinstance(node.location, _Named) else _Named()
    location = row.region or place.region or place.name or ""
    tags = texts(row.tags)
    native_type = tags.get(TYPE_TAG) or _type_by_node(cluster, node, place)
    port = row.ssh_port or 22
    return Instance(
        cloud_id=CloudId(row.deployment_id),
        ref_id=tags.get(REF_TAG, ""),
        cloud_cred_ref_id=tags.get(CRED_TAG, ""),
        address=tags.get(ADDRESS_TAG, ""),
        name=tags.get(NAME_TAG, ""),
        # A word that nobody knows says nothing. What is not gone is taken to be there: `pending` would make a machine
        # on its way out look like one on its way in, and a wait for `running` also waits for an address.
        status=_STATUS.get(row.state or "", LifecycleStatus.RUNNING),
        messages=tuple(_messages(row.state or "")),
        instance_type=native_type,
        instance_type_id=type_id(location, "", native_type),
        location=location,
        public_ip=cluster.public_address or "",
        hostname=cluster.public_address or "",
        disk_size=Bytes(sum(disk.size or 0 for disk in node.storage or ()), "GB"),
        ssh_user=row.ssh_user or _SSH_USER,
        ssh_port=port,
        tags={key: value for key, value in tags.items() if key not in RESERVED_TAGS},
        created_at=_moment(row.created or ""),
        port_mappings=(PortMapping(port, SSH_PORT_INSIDE),) if row.ssh_port else (),
        firewall_rules=_let_in(row.ip_allowlist),
    )


def _is_launched_here(row: Deployment) -> bool:
    return (row.request_id or "").startswith(_OURS)


def _let_in(given: Any) -> FirewallRules | None:
    """Read who is let in, at every port; None where that is not told."""
    if not isinstance(given, list):
        return None
    try:
        ranges = sorted({str(ip_network(str(text).strip(), strict=False)) for text in given})
    except ValueError:
        return None
    rule = FirewallRule(from_port=1, to_port=65535, ip_ranges=tuple(ranges), id="ip_allowlist")
    return FirewallRules(ingress=(rule,) if ranges else ())


def _messages(state: str) -> Iterator[str]:
    if state in _STATUS_NOTES:
        yield _STATUS_NOTES[state]
    elif state not in _STATUS:
        yield f'LaunchPad calls its state "{state}", which is not known here'


def _type_by_node(cluster: _Cluster, node: _Node, place: _Named) -> str:
    """Name the type of a machine that somebody else has made, as near as its first node tells."""
    gpu = node.gpu if isinstance(node.gpu, _NodeGpu) else _NodeGpu()
    cloud = place.provider.name if isinstance(place.provider, _Provider) else ""
    if not (cloud and gpu.model and node.gpu_count):
        return ""
    return str(
        TypeName(
            cloud,
            # the node has a model where the catalogue has a family
            _without_size(gpu.model)[0].lower(),
            node.gpu_count,
            (gpu.form_factor or "pcie").lower(),
            cluster.workshop_id or "",
        )
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


# Tags


def texts(tags: Any) -> dict[str, str]:
    """Give tags as texts. They may be anything: what is no object has none, and what is no text is given as JSON."""
    if not isinstance(tags, dict):
        return {}
    return {
        str(key): value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
        for key, value in tags.items()
    }


def present_tags(row: Deployment) -> dict[str, Any]:
    """Give tags as they stand, whatever their values are: what is not ours is written back as it was.

    Raise `Unavailable` where they were not told, or not all: an update replaces all of them, and would wipe the marks.
    What was launched here has its type among them as long as it is there, forgotten or not.
    """
    if row.tags is not None and not isinstance(row.tags, dict):
        raise _not_told(row, "the answer has no tags that can be read")
    tags = row.tags or {}
    if _is_launched_here(row) and not tags.keys() & {REF_TAG, TYPE_TAG}:
        raise _not_told(row, "the answer lacks the tags that it was launched with")
    return tags


def _not_told(row: Deployment, reason: str) -> Unavailable:
    return Unavailable(
        f"deployment {row.deployment_id}: {reason}, so nothing is written over them", provider=PROVIDER, sent=Sent.NO
    )


def checked(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Give a user's tags; raise `Rejected` for those that are ours."""
    for key in tags:
        if key in RESERVED_TAGS:
            raise Rejected(
                f'tags: "{key}" is a name that brevplan keeps for itself: give that tag another one',
                provider=PROVIDER, sent=Sent.NO,
            )  # fmt: skip
    return tags


# Launching


def check_launch(attrs: CreateInstanceAttrs) -> None:
    """Raise `Rejected`, `ARGUMENT: reason`, for a launch that cannot be asked for, whatever the block says."""
    name = TypeName.parse(attrs.instance_type)
    if name is None or len(name.gpu) > _LONGEST_MODEL or name.count > _MOST_GPUS:
        raise impossible(
            f'instance_type: "{attrs.instance_type}" is not CLOUD.GPUxCOUNT.INTERCONNECT, such as oci.h100x8.sxm'
        )
    for field in ("sub_location", "spot", "filesystems", "image_id", "user_data", "disk_size"):
        if getattr(attrs, field):
            raise impossible(f"{field}: LaunchPad cannot be asked for it; leave it out")
    named = sorted(experience(attrs.options))
    if len(named) > 1:
        raise impossible(f"options: {' and '.join(named)} name the experience more than once")
    checked(attrs.tags)
    addresses(attrs.firewall_rules)


def launch(attrs: CreateInstanceAttrs, requester: Mapping[str, str], allowed: Iterable[str]) -> Launch:
    """Write a launch; raise `Rejected` for what cannot be asked for. `allowed` are addresses that are always let in."""
    check_launch(attrs)
    name = TypeName.parse(attrs.instance_type)
    assert name is not None, "it has been checked"
    return Launch(
        request_id=attrs.ref_id,
        **requester,
        provider_name=name.cloud,
        gpu_model=name.gpu,
        gpu_count=name.count,
        region=attrs.location,
        public_key=attrs.public_key.strip(),
        ip_allowlist=allowlist(attrs.firewall_rules, allowed),
        tags={
            REF_TAG: attrs.ref_id,
            CRED_TAG: attrs.cloud_cred_ref_id,
            NAME_TAG: attrs.name,
            TYPE_TAG: attrs.instance_type,
            **({ADDRESS_TAG: attrs.address} if attrs.address else {}),
            **attrs.tags,
        },
        expires_at=None,
        workshop=True if name.workshop else None,
        workshop_id=name.workshop or None,
    )


def experience(options: Mapping[str, str]) -> dict[str, str]:
    """Give what a machine's options say is to be deployed onto it."""
    return {name: options[name] for name in OPTIONS if options.get(name)}


def allowlist(rules: FirewallRules, allowed: Iterable[str]) -> list[str]:
    """Give everybody who is let in; raise `Rejected` for nobody, and for what a list of addresses cannot say."""
    found = sorted({*allowed, *addresses(rules)})
    if not found:
        raise impossible(
            "firewalls: nobody is let in, and an empty list might let everybody in: name your address in ip_allowlist "
            "of the provider block, or in a firewall"
        )
    return found


def usual_experience(instance_type: str) -> str:
    """Give the experience that is deployed onto a type where none is named."""
    name = TypeName.parse(instance_type)
    if name is not None and name.cloud == "nebius":
        return _EXPERIENCES["nebius"]
    is_grace = name is not None and (name.cloud, name.gpu, name.interconnect[:3]) == ("dmz", "gh200", "sxm")
    return _EXPERIENCES["dmz-gh200" if is_grace else ""]


def addresses(rules: FirewallRules) -> list[str]:
    """Give the addresses that rules let in, whatever the ports; what is open to anywhere names none."""
    if rules.egress is not None:
        raise impossible("firewalls: outgoing connections cannot be restricted")
    return [address(text, "firewalls") for rule in rules.ingress for text in rule.ip_ranges]


def address(text: str, argument: str) -> str:
    """Read a single address, with or without its mask; raise `Rejected` for a wider range."""
    try:
        network = ip_network(text.strip(), strict=True)
    except ValueError:
        raise impossible(f'{argument}: "{text}" is not an address such as 203.0.113.7') from None
    if network.num_addresses != 1:
        raise impossible(f"{argument}: only single addresses can be let in, such as 203.0.113.7, and not {text}")
    return str(ip_address(network.network_address))


def impossible(reason: str) -> Rejected:
    return Rejected(reason, provider=PROVIDER, sent=Sent.NO)


# Errors


def explained(answer: Answer) -> CloudError:
    """Read a failure. Bodies are not described, and there are no codes: they are known by their words alone.

    `{"detail": "No Deployment matches the given query."}`, `{"request_id": ["… request_id already exists."]}`
    """
    text, status, launches = reason(answer), answer.status, answer.operation == "create_instance"
    words, is_refusal = answer.text.lower(), 400 <= answer.status < 500
    # a server that has failed may have done it before
    if is_refusal and "no available capacity" in words:
        return OutOfStock(text, http_status=status)
    if launches and is_refusal and "request_id already exist" in words:
        return Rejected(text, http_status=status, code=REF_TAKEN, sent=Sent.MAYBE)
    if status == 400 and "deployment is already being destroyed" in words:
        return Rejected(text, http_status=status, code=ALREADY_ENDING)
    if status == 404:
        return _nothing_there(text, words, launches=launches)
    # no text is documented for it: this is what would be said of a limit that an account has
    if launches and status in (400, 402, 403, 409, 422) and _says_that_a_limit_is_met(words):
        return OutOfQuota(text, http_status=status)
    if status in (401, 403):
        return AuthFailed(f"{text}: check api_token, or $LAUNCHPAD_API_TOKEN", http_status=status)
    error = by_status(answer, text)
    if status in (409, 429):
        error.sent = Sent.MAYBE  # neither is documented: it proves nothing of a launch
    return error


def _says_that_a_limit_is_met(text: str) -> bool:
    """Tell "quota exceeded" from a text that has something of that name in it, such as `quota-lab`."""
    words = set("".join(char if char.isalnum() or char in "-_" else " " for char in text).split())
    return bool(words & {"quota", "quotas", "limit"} and words & {"exceed", "exceeds", "exceeded", "reached", "used"})


def _nothing_there(text: str, words: str, *, launches: bool) -> CloudError:
    """Tell the API's own "not found" from that of a proxy, or of a path that is none of the API's."""
    if not launches and "no deployment matches the given query" in words:
        return InstanceNotFound(text, http_status=404)
    if launches and "matches the given query" in words:
        return Rejected(text, http_status=404)  # an experience, a runtime: what the launch has named
    return Unavailable(f"the API does not answer there: check endpoint and api_url ({text})", http_status=404)


def reason(answer: Answer) -> str:
    """Give the words of a failure: `detail`, or the fields with what is wrong with each."""
    detail = answer.field("detail")
    if detail:
        return detail
    if isinstance(answer.body, dict):
        said = [f"{field}: {'; '.join(items)}" for field, items in answer.body.items() if _are_texts(items)]
        if said:
            return ", ".join(said).replace("non_field_errors: ", "")
    return answer.excerpt or "no reason given"


def _are_texts(items: object) -> bool:
    return isinstance(items, list) and bool(items) and all(isinstance(item, str) for item in items)
