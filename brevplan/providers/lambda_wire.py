"""What goes over the wire between us and Lambda Cloud: the shapes of its answers, and how they and our values meet.

Pure: no request is made here. Answers are read leniently, for the API adds fields and leaves others out.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import DuplicateFirewallRule, Rejected, Sent
from brevplan.contract.gpu import architectures_beside, canonical_name, nominal_gb
from brevplan.contract.model import (
    CloudId,
    FirewallRule,
    FirewallRules,
    Gpu,
    Image,
    Instance,
    InstanceType,
    LifecycleStatus,
    Location,
    Money,
    Storage,
    instance_type_id,
    with_type_id,
)

T = TypeVar("T")

PROVIDER: Final = "lambda"
_LOG: Final = logging.getLogger(__name__)

REGIONS: Final[Mapping[str, tuple[str, str]]] = {
    "asia-northeast-1": ("Osaka, Japan", "JPN"),
    "asia-northeast-2": ("Tokyo, Japan", "JPN"),
    "asia-south-1": ("India", "IND"),
    "australia-east-1": ("Sydney, Australia", "AUS"),
    "australia-southeast-1": ("Australia", "AUS"),
    "europe-central-1": ("Germany", "DEU"),
    "europe-south-1": ("Italy", "ITA"),
    "me-west-1": ("Israel", "ISR"),
    "us-east-1": ("Virginia, USA", "USA"),
    "us-east-2": ("Washington D.C., USA", "USA"),
    "us-east-3": ("Washington D.C., USA", "USA"),
    "us-midwest-1": ("Illinois, USA", "USA"),
    "us-midwest-2": ("Midwest, USA", "USA"),
    "us-south-1": ("Texas, USA", "USA"),
    "us-south-2": ("North Texas, USA", "USA"),
    "us-south-3": ("Central Texas, USA", "USA"),
    "us-west-1": ("California, USA", "USA"),
    "us-west-2": ("Arizona, USA", "USA"),
    "us-west-3": ("Utah, USA", "USA"),
}
"""Every region known so far, for no call gives them; one seen in an answer is added to them."""


# The shapes of answers. What may be absent or null is optional; the tokens of the notebook server are left unread.


class Data(Struct, Generic[T]):
    """The envelope of every success."""

    data: T


class Region(Struct):
    name: str
    description: str | None = None


class Specs(Struct):
    vcpus: int = 0
    memory_gib: int = 0
    storage_gib: int = 0
    gpus: int | None = None


class TypeFacts(Struct):
    name: str
    description: str | None = None
    gpu_description: str | None = None
    price_cents_per_hour: Decimal | None = None
    specs: Specs | None = None


class TypeEntry(Struct):
    instance_type: TypeFacts
    regions_with_capacity_available: list[Region] | None = None


class Tag(Struct):
    key: str
    value: str | None = None


class Reference(Struct):
    id: str


class Mount(Struct):
    file_system_id: str


class Machine(Struct):
    id: str
    status: str
    name: str | None = None
    ip: str | None = None
    private_ip: str | None = None
    hostname: str | None = None
    ssh_key_names: list[str] | None = None
    file_system_mounts: list[Mount] | None = None
    region: Region | None = None
    instance_type: TypeFacts | None = None
    tags: list[Tag] | None = None
    firewall_rulesets: list[Reference] | None = None


class Launched(Struct):
    instance_ids: list[str]


class Terminated(Struct):
    terminated_instances: list[Reference]


class Restarted(Struct):
    restarted_instances: list[Reference]


class SshKey(Struct):
    id: str
    name: str
    public_key: str = ""


class FileSystem(Struct):
    id: str
    name: str
    region: Region | None = None


class ImageEntry(Struct):
    id: str
    name: str | None = None
    family: str | None = None
    version: str | None = None
    description: str | None = None
    architecture: str | None = None
    region: Region | None = None
    created_time: datetime | None = None


class WireRule(Struct):
    protocol: str
    source_network: str
    port_range: list[int] | None = None
    description: str | None = None


class Ruleset(Struct):
    id: str
    name: str = ""
    rules: list[WireRule] = []
    instance_ids: list[str] | None = None


# Types, locations, images


def read_types(entries: Mapping[str, msgspec.Raw]) -> list[InstanceType]:
    """Give every type in every known region, so that ids stay when a region is out of stock.

    An entry that cannot be understood is left out with a warning: it must not hide all the others.
    """
    found = []
    for name, raw in entries.items():
        try:
            entry = msgspec.json.decode(raw, type=TypeEntry, strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError) as problem:
            _LOG.warning("lambda: the type %.80r is left out: %s", name, problem)
            continue
        gpus = read_gpus(entry.instance_type)
        if gpus is None:
            _LOG.warning("lambda: the type %.80r is left out: its GPUs are not understood", name)
            continue
        found.append((entry, gpus))
    regions = known_regions(entry for entry, _ in found)
    types = [_type(entry, gpus, region) for entry, gpus in found for region in regions]
    return sorted(types, key=lambda item: (item.type, item.location))


def read_locations(entries: Mapping[str, msgspec.Raw]) -> list[Location]:
    """Give all regions known or seen in the catalogue; which of them has room is told by type, so all are available."""
    seen = []
    for raw in entries.values():
        try:
            seen.append(msgspec.json.decode(raw, type=TypeEntry, strict=False))
        except (msgspec.ValidationError, msgspec.DecodeError):
            continue  # told of when types are read
    return [
        Location(name=name, description=description, country=country)
        for name, (description, country) in known_regions(seen).items()
    ]


def known_regions(entries: Iterable[TypeEntry]) -> dict[str, tuple[str, str]]:
    """Give description and country of each region by name, those added that only answers name."""
    found = dict(REGIONS)
    for entry in entries:
        for region in entry.regions_with_capacity_available or ():
            found.setdefault(region.name, (region.description or "", ""))
    return dict(sorted(found.items()))


def _type(entry: TypeEntry, gpus: tuple[Gpu, ...], region: str) -> InstanceType:
    facts = entry.instance_type
    specs = facts.specs or Specs()
    price = hourly_price(facts)
    return with_type_id(
        InstanceType(
            type=facts.name,
            location=region,
            provider=PROVIDER,
            cloud=PROVIDER,
            gpus=gpus,
            storage=(Storage(type="ssd", size=Bytes(max(specs.storage_gib, 0), "GiB")),),
            memory=Bytes(max(specs.memory_gib, 0), "GiB"),
            vcpu=specs.vcpus,
            architectures=architectures_beside(*(gpu.name for gpu in gpus)),
            base_price=Money(price) if price is not None else None,
            is_available=any(one.name == region for one in entry.regions_with_capacity_available or ()),
            rebootable=True,
            can_modify_firewall=True,
        )
    )


def hourly_price(facts: TypeFacts | None) -> Decimal | None:
    """Give the price of a whole machine in USD per hour, exactly; None where none is told."""
    cents = facts.price_cents_per_hour if facts is not None else None
    if cents is None or not cents.is_finite() or not 0 <= cents < 10**9:
        return None
    return cents / 100


def read_gpus(facts: TypeFacts) -> tuple[Gpu, ...] | None:
    """Give the GPUs of a type, none for a CPU type; None when what is said of them is not understood."""
    count = facts.specs.gpus if facts.specs is not None else None
    if count == 0:
        return ()
    found = parse_gpu(facts.description or "")
    if found is None and count is not None and count > 0:
        found = parse_gpu(f"{count}x {facts.gpu_description or ''}")
    if found is not None:
        return (found,)
    return () if count is None and "CPU" in (facts.description or "") else None


def parse_gpu(text: str) -> Gpu | None:
    """Read `8x Tesla V100 (16 GB)` or `1x H100 (80 GB SXM5)`; None for anything else.

    Cut at fixed marks instead of matched by a pattern: each mark is looked for once, however long the text is.
    """
    head, _, inside = text.strip().partition(" (")
    count, _, name = head.partition("x ")
    memory, _, interconnect = inside.removesuffix(")").partition(" GB")
    if not inside.endswith(")") or not _is_number(count) or not _is_number(memory):
        return None
    name = canonical_name(_without_maker(name.strip()))
    interconnect = interconnect.strip()
    if not name or any(mark in f"{name}{interconnect}" for mark in "()"):
        return None
    return Gpu(
        name=name,
        count=int(count),
        memory=Bytes(nominal_gb(name, int(memory)), "GB"),
        type=f"{name}.{interconnect}" if interconnect else name,
        interconnect=interconnect,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0


def _without_maker(name: str) -> str:
    for maker in ("nvidia ", "tesla "):
        if name[: len(maker)].lower() == maker:
            name = name[len(maker) :]
    return name


def read_images(entries: Iterable[ImageEntry], architectures: Iterable[str], names: Iterable[str]) -> list[Image]:
    """Give the images that a filter lets through; an id belongs to one region, which the description tells."""
    wanted, patterns = set(architectures), list(names)
    found = [
        image
        for entry in entries
        if not wanted or entry.architecture in wanted
        for image in [_image(entry)]
        if not patterns or any(fnmatchcase(name, p) for p in patterns for name in (image.name, image.id))
    ]
    return sorted(found, key=lambda image: (image.name, image.architecture, image.description, image.id))


def _image(entry: ImageEntry) -> Image:
    place = f"in {entry.region.name}" if entry.region is not None else ""
    family = f"family {entry.family}" if entry.family else ""
    facts = ", ".join(part for part in (place, family, entry.version or "", entry.description or "") if part)
    return Image(
        id=entry.id, name=entry.name or entry.family or entry.id, architecture=entry.architecture or "x86_64",
        description=facts, created_at=entry.created_time,
    )  # fmt: skip


# Marks

REF_TAG: Final = "brev:ref-id"
CRED_TAG: Final = "brev:cred-ref-id"
NAME_TAG: Final = "brev:name"
OUR_TAGS: Final = "brev:"

_TIME: Final = "%Y-%m-%d-%H-%M-%SZ-00"
_TIME_LENGTH: Final = 23


def machine_name(cred_ref_id: str, now: datetime) -> str:
    """Give the name that holds whose a machine is and when it was asked for: nothing else of the API can."""
    return f"{cred_ref_id}--{now.astimezone(UTC).strftime(_TIME)}"


def read_name(name: str) -> tuple[str, datetime] | None:
    """Read `machine_name` back; None for a name that anybody else gave."""
    owner, _, time = name.partition("--")
    if not owner or len(time) != _TIME_LENGTH:
        return None
    try:
        return owner, datetime.strptime(time, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


# Machines

_STATUS: Final[Mapping[str, tuple[LifecycleStatus, str]]] = {
    "active": (LifecycleStatus.RUNNING, ""),
    "booting": (LifecycleStatus.PENDING, ""),
    "error": (LifecycleStatus.FAILED, "Lambda reports an error"),
    "preempted": (LifecycleStatus.TERMINATED, "Lambda took the machine back: it was preempted"),
    "terminated": (LifecycleStatus.TERMINATED, ""),
    "terminating": (LifecycleStatus.TERMINATING, ""),
    "unhealthy": (LifecycleStatus.RUNNING, "Lambda reports the machine as unhealthy"),
}


def read_status(status: str) -> tuple[LifecycleStatus, str]:
    """Give status and message. A word that is not known counts as running: it may cost, and is not on its way up."""
    unknown = f"Lambda reports the status {status[:40]!r}, which this version does not know"
    return _STATUS.get(status, (LifecycleStatus.RUNNING, unknown))


def read_machine(found: Machine, rulesets: Mapping[str, Ruleset]) -> Instance:
    """Give a machine as it is listed and got. One without our tags or our kind of name bears no mark."""
    status, message = read_status(found.status)
    tags = {tag.key: tag.value or "" for tag in found.tags or ()}
    named = read_name(found.name or "")
    ref_id, cred_ref_id = tags.get(REF_TAG, ""), tags.get(CRED_TAG, "")
    if not (ref_id and cred_ref_id):
        ref_id = (found.ssh_key_names or [""])[0] if named else ""
        cred_ref_id = named[0] if named and ref_id else ""
    specs = found.instance_type.specs if found.instance_type is not None else None
    instance = Instance(
        cloud_id=CloudId(found.id),
        ref_id=ref_id,
        cloud_cred_ref_id=cred_ref_id,
        name=tags.get(NAME_TAG) or found.name or "",
        status=status,
        messages=(message,) if message else (),
        instance_type=found.instance_type.name if found.instance_type is not None else "",
        location=found.region.name if found.region is not None else "",
        public_ip=found.ip or "",
        private_ip=found.private_ip or "",
        hostname=found.hostname or "",
        disk_size=Bytes(max(specs.storage_gib, 0), "GiB") if specs is not None else Bytes(),
        filesystems=tuple(mount.file_system_id for mount in found.file_system_mounts or ()),
        ssh_user="ubuntu",
        firewall_rules=_rules_of(found, rulesets),
        tags={key: value for key, value in sorted(tags.items()) if not key.startswith(OUR_TAGS)},
        rebootable=True,
        hourly_price=hourly_price(found.instance_type),
        created_at=named[1] if named else None,
    )
    return msgspec.structs.replace(instance, instance_type_id=instance_type_id(instance))


def _rules_of(found: Machine, rulesets: Mapping[str, Ruleset]) -> FirewallRules | None:
    """Give the rules of a machine's own rulesets; None where it has none, and only the account's rules stand."""
    attached = [rulesets[one.id] for one in found.firewall_rulesets or () if one.id in rulesets]
    return read_rules(rule for ruleset in attached for rule in ruleset.rules) if attached else None


# Firewall rules
#
# A rule of ours becomes one rule for each protocol and source. Its number stands in their descriptions, and what the
# API has no word for: so what was asked for is what is read back, and not only something that means the same.

_ANYWHERE: Final = "0.0.0.0/0"
_EVERYTHING: Final = frozenset({_ANYWHERE, "::/0"})
_PRIVATE: Final = frozenset({"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"})
_PRIVATE_IPV6: Final = "fc00::/7"
_NOTE: Final = re.compile(r"brevplan (\d{1,5})( anywhere| private)?(?:: .*)?", re.DOTALL)
_LONGEST_NOTE: Final = 128


def write_rules(rules: FirewallRules) -> list[dict[str, Any]]:
    """Give rules in the API's form; raise `Rejected` for what its firewall cannot do, before anything is sent."""
    if rules.egress is not None:
        raise _refused("its firewall has rules for what comes in only: leave the egress rules out")
    written: list[dict[str, Any]] = []
    seen = set()
    for number, rule in enumerate(rules.ingress, start=1):
        sources, word = _sources(rule)
        meaning = (rule.from_port, rule.to_port, rule.protocol, tuple(sources), word)
        if meaning in seen:
            raise DuplicateFirewallRule(f"{_ports(rule)}: the same rule is given twice", provider=PROVIDER)
        seen.add(meaning)
        note = f"brevplan {number}{word}" + (f": {rule.description}" if rule.description else "")
        written += [
            {
                "protocol": protocol,
                "port_range": [rule.from_port, rule.to_port],
                "source_network": source,
                "description": note[:_LONGEST_NOTE],
            }
            for protocol in _protocols(rule)
            for source in sources
        ]
    return written


def _protocols(rule: FirewallRule) -> tuple[str, ...]:
    if not 1 <= rule.from_port <= rule.to_port <= 65535:
        raise _refused(f"{_ports(rule)} is not a range of ports: from 1 to 65535, the lower one first")
    if rule.protocol not in ("", "tcp", "udp"):
        raise _refused(f'"{rule.protocol}" is not a protocol: tcp, udp, or none for both')
    return (rule.protocol,) if rule.protocol else ("tcp", "udp")


def _sources(rule: FirewallRule) -> tuple[list[str], str]:
    """Give the IPv4 sources of a rule, and the word that stands for what they do not say."""
    plain = {str(_network(text)) for text in rule.ip_ranges}
    if not plain or plain >= _EVERYTHING:
        return [_ANYWHERE], " anywhere"
    word = ""
    if _PRIVATE_IPV6 in plain and plain >= _PRIVATE:
        # `private` names it too. Nothing reaches a machine from there, so leaving it out closes nothing.
        plain.remove(_PRIVATE_IPV6)
        word = " private"
    for text in sorted(plain):
        if ":" in text:
            raise _refused(f"{_ports(rule)}: its firewall knows IPv4 only, and {text} is IPv6: leave it out")
    return sorted(plain), word


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise _refused(f'"{text[:80]}" is not a range of addresses such as 203.0.113.0/24') from None


def _ports(rule: FirewallRule) -> str:
    return f"port {rule.from_port}" if rule.from_port == rule.to_port else f"ports {rule.from_port}-{rule.to_port}"


def read_rules(rules: Iterable[WireRule]) -> FirewallRules:
    """Give what `write_rules` wrote; rules of others are joined where they differ in source or protocol alone.

    Rules without ports (`icmp`) have no place among ours and are left out.
    """
    groups: dict[tuple[str, int, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for rule in rules:
        source = _readable(rule.source_network)
        if rule.port_range is None or len(rule.port_range) != 2 or source is None:
            continue
        note = _NOTE.fullmatch(rule.description or "")
        ours = f"{note[1]}{note[2] or ''}" if note else ""
        low, high = rule.port_range
        protocols = {"tcp", "udp"} if rule.protocol == "all" else {rule.protocol}
        groups[ours, low, high][source] |= protocols
    found = [rule for (ours, low, high), by_source in groups.items() for rule in _joined(ours, low, high, by_source)]
    return FirewallRules(
        ingress=tuple(sorted(found, key=lambda rule: (rule.from_port, rule.to_port, rule.protocol, rule.ip_ranges)))
    )


def _readable(source: str) -> str | None:
    try:
        return str(ip_network(source, strict=False))
    except ValueError:
        _LOG.warning("lambda: a firewall rule for %.80r is left out: it is no range of addresses", source)
        return None


def _joined(ours: str, low: int, high: int, by_source: Mapping[str, set[str]]) -> Iterable[FirewallRule]:
    by_protocol: dict[str, list[str]] = defaultdict(list)
    for source, protocols in by_source.items():
        if protocols >= {"tcp", "udp"}:
            by_protocol[""].append(source)
        else:
            for protocol in protocols & {"tcp", "udp"}:
                by_protocol[protocol].append(source)
    for protocol, sources in by_protocol.items():
        ranges = _ranges(ours, set(sources))
        text = msgspec.json.encode((low, high, protocol, ranges))
        identity = blake2s(text, digest_size=8).hexdigest()
        yield FirewallRule(from_port=low, to_port=high, protocol=protocol, ip_ranges=ranges, id=identity)


def _ranges(ours: str, sources: set[str]) -> tuple[str, ...]:
    if sources == {_ANYWHERE} and (not ours or ours.endswith(" anywhere")):
        return ()
    if ours.endswith(" private") and sources >= _PRIVATE:
        sources = sources | {_PRIVATE_IPV6}
    return tuple(sorted(sources))


def same_rules(written: Iterable[Mapping[str, Any]], there: Iterable[WireRule]) -> bool:
    """Tell whether a ruleset holds exactly the rules that were written."""
    wanted = {(r["protocol"], *r["port_range"], r["source_network"], r["description"]) for r in written}
    return wanted == {
        (r.protocol, *(r.port_range or ()), _readable(r.source_network), r.description or "") for r in there
    }


def _refused(reason: str) -> Rejected:
    return Rejected(reason, provider=PROVIDER, sent=Sent.NO)
