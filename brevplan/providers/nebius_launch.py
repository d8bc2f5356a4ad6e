"""What Nebius can be asked for, decided without a request and without the vendor's library.

A plan asks here whether a launch can be carried out at all, and the launch itself goes through the same function.

The marks of a machine are labels. What a label may hold is not documented: the address is written in letters, digits,
`.`, `-` and `_`, in pieces of at most 63. The user's tags and name are written as they are.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2s
from string import ascii_letters, digits
from typing import Any, Final, TypeVar

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import Rejected, Sent
from brevplan.contract.model import CreateInstanceAttrs, FirewallRules
from brevplan.contract.openings import Opening, openings

T = TypeVar("T")

NAME: Final = "nebius"

OPTIONS: Final = {
    "hostname": "The machine's own host name in its network.",
    "subnet_id": "The subnet of the machine, in place of the first one of its project.",
}

OURS: Final = "bp-"
DISK_SUFFIX: Final = "-boot-disk"

REF_LABEL: Final = "environment-id"
USER_LABEL: Final = "brev-user"
"""Where Brev's SDK looks for the ref_id of a machine."""
CRED_LABEL: Final = "cloud-cred-ref-id"
MAKER_LABEL: Final = "created-by"
TYPE_LABEL: Final = "instance-type-id"
NAME_LABEL: Final = "brevplan-name"
ADDRESS_LABEL: Final = "brevplan-address"
DISK_LABEL: Final = "brevplan-disk-size"

MARKS: Final = frozenset({REF_LABEL, USER_LABEL, CRED_LABEL, MAKER_LABEL})
INTERNAL: Final = MARKS | {TYPE_LABEL, NAME_LABEL, DISK_LABEL}

GIB: Final = 2**30
DEFAULT_DISK: Final = Bytes(1280, "GiB")
SMALLEST_DISK: Final = Bytes(50, "GiB")
LARGEST_DISK: Final = Bytes(2560, "GiB")

MOST_PORTS: Final = 64
"""How many ports one declared rule may open: the API knows no ranges, and takes eight ports a rule."""

_MOST_IN_A_RULE: Final = 8
"""How many ports, and how many address ranges, one rule of a security group takes."""

_LABEL_LENGTH: Final = 63
_HOSTNAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
_PLAIN: Final = (ascii_letters + digits + ".-").encode()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one rule of a security group holds: no ports are all of them, no ranges anywhere, no protocol any."""

    is_inward: bool
    protocol: str
    ranges: tuple[str, ...]
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that can be asked for. `image` is the id of an image or the name of a family, `disk_gib` its size."""

    ref_id: str
    platform: str
    preset: str
    labels: Mapping[str, str]
    rules: Mapping[str, Piece]
    disk_gib: int
    image: str
    user_data: str
    filesystems: Sequence[str]
    hostname: str
    subnet_id: str
    spot: bool


def check_launch(attrs: CreateInstanceAttrs) -> Launch:
    """Give what is asked for; raise `Rejected`, `ARGUMENT: reason`, for what nobody can carry out. Makes no call."""
    try:
        return _launch(attrs)
    except ValueError as problem:
        raise Rejected(str(problem), provider=NAME, operation="create_instance", sent=Sent.NO) from None


def _launch(attrs: CreateInstanceAttrs) -> Launch:
    platform, _, preset = attrs.instance_type.partition(".")
    if not (platform and preset):
        raise ValueError(
            f'instance_type: "{attrs.instance_type}" is not PLATFORM.PRESET, such as gpu-h100-sxm.1gpu-16vcpu-200gb'
        )
    if attrs.sub_location:
        raise ValueError("sub_location: there are no zones here; leave it out")
    size = attrs.disk_size or DEFAULT_DISK
    if not SMALLEST_DISK.total <= size.total <= LARGEST_DISK.total:
        raise ValueError(f"disk_size: a disk can be {SMALLEST_DISK} to {LARGEST_DISK}, not {size}")
    for option in attrs.options:
        if option not in OPTIONS:
            raise ValueError(f'options: there is no "{option}"; there are: {", ".join(sorted(OPTIONS))}')
    hostname = attrs.options.get("hostname", "")
    if hostname and not _HOSTNAME.match(hostname):
        raise ValueError(f'options: hostname "{hostname}" is not a host name of letters, digits, "-" and "."')
    return Launch(
        ref_id=attrs.ref_id,
        platform=platform,
        preset=preset,
        labels=labels_of(attrs),
        rules=rule_pieces(attrs.firewall_rules),
        disk_gib=whole_gib(size),
        image=attrs.image_id or default_family(attrs.instance_type),
        user_data=start_data(attrs.public_key, attrs.user_data),
        filesystems=attrs.filesystems,
        hostname=hostname,
        subnet_id=attrs.options.get("subnet_id", ""),
        spot=attrs.spot,
    )


def whole_gib(size: Bytes) -> int:
    """Give the GiB of a disk that holds so much."""
    return -(-size.total // GIB)


def default_family(instance_type: str) -> str:
    return "ubuntu24.04-cuda13.0" if instance_type.startswith("gpu-") else "ubuntu24.04-driverless"


# Labels


def labels_of(attrs: CreateInstanceAttrs) -> dict[str, str]:
    """Write the labels of a new machine; raise `ValueError` for tags that could not be told from marks."""
    return {
        **checked_tags(attrs.tags),
        **marks_of(attrs.ref_id),
        USER_LABEL: attrs.ref_id,
        CRED_LABEL: attrs.cloud_cred_ref_id,
        TYPE_LABEL: attrs.instance_type,
        **({NAME_LABEL: attrs.name} if attrs.name else {}),
        **address_labels(attrs.address),
        **disk_label(attrs.disk_size),
    }


def marks_of(ref_id: str) -> dict[str, str]:
    """Give the labels of everything that is made for an attempt."""
    return {MAKER_LABEL: "brevplan", REF_LABEL: ref_id}


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for tag in tags:
        if not tag:
            raise ValueError("tags: one has no name")
        if is_internal(tag):
            raise ValueError(f'tags: "{tag}" is a name that brevplan marks machines with: choose another one')
    return dict(tags)


def is_internal(label: str) -> bool:
    return label in INTERNAL or label.startswith(ADDRESS_LABEL)


def address_labels(address: str) -> dict[str, str]:
    """Write an address in pieces: `instance.m[0]` is `instance.m_5b0_5d`."""
    text = "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in address.encode())
    pieces = [text[start : start + _LABEL_LENGTH] for start in range(0, len(text), _LABEL_LENGTH)]
    return {ADDRESS_LABEL + (f"-{number}" if number else ""): piece for number, piece in enumerate(pieces)}


def read_address(labels: Mapping[str, str]) -> str:
    pieces: list[str] = []
    while (piece := labels.get(ADDRESS_LABEL + (f"-{len(pieces)}" if pieces else ""))) is not None:
        pieces.append(piece)
    text = re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), "".join(pieces))
    # each byte stands as one character until here
    return text.encode("latin-1", "replace").decode(errors="replace")


def disk_label(size: Bytes | None) -> dict[str, str]:
    """Keep a size that is not whole GiB as it was asked for: the disk is larger by less than one."""
    return {DISK_LABEL: f"{size.value}{size.unit}"} if size is not None and size.total % GIB else {}


# What a machine does at its first start


def start_data(public_key: str, user_data: str) -> str:
    """Write cloud-init's configuration as JSON, which is YAML too: nothing in a user's text can break out of it.

    Raises `ValueError`, which never quotes the text: there may be secrets in it.
    """
    config: dict[str, Any] = {}
    text = user_data.lstrip()
    if text.startswith("#cloud-config"):
        config = _configuration(text)
    elif text.startswith("#!"):
        path = "/var/lib/brevplan/user-data"
        script = b64encode(text.encode()).decode()
        config["write_files"] = [{"path": path, "permissions": "0700", "encoding": "b64", "content": script}]
        config["runcmd"] = [[path]]
    elif text:
        raise ValueError(
            "user_data: it has to be a script that begins with #!, such as #!/bin/sh, or to begin with #cloud-config"
        )
    keys = config.get("ssh_authorized_keys") or []
    if not isinstance(keys, list):
        raise ValueError("user_data: ssh_authorized_keys is not a list")
    config["ssh_authorized_keys"] = [public_key.strip(), *keys]
    return f"#cloud-config\n{_json(config)}\n"


def _configuration(text: str) -> dict[str, Any]:
    import yaml  # only a start-up text of this form needs it

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("user_data: it begins with #cloud-config and is not YAML that can be read") from None
    if found is not None and not isinstance(found, dict):
        raise ValueError("user_data: it begins with #cloud-config and is no mapping of names to values")
    return found or {}


def _json(config: Mapping[str, Any]) -> str:
    try:
        return json.dumps(config, default=_as_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(
            "user_data: it begins with #cloud-config and holds what has no form in JSON, such as .inf, !!binary, "
            "!!set, a key that is no text or number, or a part that holds itself: write it in another way"
        ) from None


def _as_text(value: object) -> str:
    """Give a date as YAML writes it: what reads it takes a date and its text for the same."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError


# Firewall rules


def rule_pieces(rules: FirewallRules) -> dict[str, Piece]:
    """Write rules by name; raise `ValueError` for what a security group cannot hold. A name says what its rule is."""
    try:
        return {_rule_name(piece): piece for piece in _pieces(rules)}
    except ValueError as problem:
        raise ValueError(f"firewalls: {problem}") from None


def _pieces(rules: FirewallRules) -> Iterator[Piece]:
    wanted = openings(rules, (22,))
    for opening in (*wanted.ssh, *wanted.ingress):
        yield from _cut(opening, opening.protocols, is_inward=True)
    if wanted.egress is None:
        yield from _cut(Opening(1, 65535), ("",), is_inward=False)
        return
    # a name can be looked up wherever else the way out is closed
    for opening in (Opening(53, 53), *wanted.egress):
        yield from _cut(opening, opening.protocols, is_inward=False)


def _cut(opening: Opening, protocols: Sequence[str], *, is_inward: bool) -> Iterator[Piece]:
    """Cut an opening into what one rule takes."""
    if any(":" in text for text in opening.ranges):
        raise ValueError("Nebius' security groups have no rules for IPv6")
    everything = (opening.low, opening.high) == (1, 65535)
    if not everything and opening.high - opening.low >= MOST_PORTS:
        raise ValueError(
            f"ports {opening.low} to {opening.high} are more than {MOST_PORTS}, and Nebius' security groups know no "
            "ranges: name fewer, or all from 1 to 65535"
        )
    ports = () if everything else range(opening.low, opening.high + 1)
    for protocol in protocols:
        for some_ranges in _parts(opening.ranges):
            for some_ports in _parts(ports):
                yield Piece(is_inward, protocol, some_ranges, some_ports)


def _parts(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Cut a list into parts that one rule takes; an empty list is one part, and means everything."""
    for start in range(0, max(len(items), 1), _MOST_IN_A_RULE):
        yield tuple(items[start : start + _MOST_IN_A_RULE])


def _rule_name(piece: Piece) -> str:
    direction = "ingress" if piece.is_inward else "egress"
    text = json.dumps([direction, piece.protocol.upper() or "ANY", sorted(piece.ranges), sorted(piece.ports)])
    return f"{OURS}{direction}-{blake2s(text.encode(), digest_size=8).hexdigest()}"
