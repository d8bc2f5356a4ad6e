"""The arguments and computed attributes of an `instance`, each with what makes a value of it valid."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.duration import parse_duration
from brevplan.engine.kind import AttributeSpec, BlockSpec, Schema
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, Type
from brevplan.lang.values import Mapping_, Sequence_, Value

_KEY_KINDS: Final = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) ([A-Za-z0-9+/]+={0,2})(?: .*)?\Z"
)
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def _wrong_public_key(value: Value) -> str:
    text = str(value).strip()
    found = _KEY_KINDS.match(text)
    if "PRIVATE KEY" in text:
        return "this is a private key, which must never leave your machine; give the .pub file beside it"
    if found is None:
        return 'an OpenSSH public key on one line is needed, such as file("~/.ssh/id_ed25519.pub")'
    try:
        raw = base64.b64decode(found[4], validate=True)
    except (binascii.Error, ValueError):
        return "the key's base64 text is damaged"
    return (
        "" if raw[4 : 4 + len(found[1])].decode("ascii", "replace") == found[1] else "the key is damaged or cut short"
    )


def _wrong_size(value: Value) -> str:
    try:
        size = Bytes.parse(str(value))
    except ValueError as problem:
        return str(problem)
    return "" if size else "a size above zero is needed"


def _wrong_name(value: Value) -> str:
    return "" if _NAME.match(str(value)) else "1 to 63 letters, digits, '.', '_' and '-' are needed"


def _wrong_power(value: Value) -> str:
    return "" if value in ("running", "stopped") else f'"running" or "stopped" is needed, not "{value}"'


def _wrong_policy(value: Value) -> str:
    return "" if value in ("ignore", "replace", "error") else '"ignore", "replace" or "error" is needed'


def _wrong_text(value: Value) -> str:
    return "" if value else "an empty text is not allowed here"


def _wrong_options(value: Value) -> str:
    return "" if isinstance(value, Mapping_) else "a map is needed"


def _arguments(*specs: AttributeSpec) -> dict[str, AttributeSpec]:
    return {spec.name: spec for spec in specs}


def _computed(name: str, type_: Type = STRING) -> AttributeSpec:
    return AttributeSpec(name, type_, configurable=False, computed=True)


def _wrong_duration(value: Value) -> str:
    try:
        seconds = parse_duration(str(value))
    except ValueError as problem:
        return str(problem)
    return "" if seconds > 0 else "a length of time above zero is needed"


def _wrong_health_policy(value: Value) -> str:
    return "" if value in ("fail", "replace") else f'"fail" or "replace" is needed, not "{value}"'


def _wrong_user(value: Value) -> str:
    return "" if _USER.match(str(value)) else "the name of a user on the machine is needed, such as ubuntu"


def _wrong_port(value: Value) -> str:
    is_port = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    return "" if is_port else "a port is a whole number from 1 to 65535"


def _wrong_keys(value: Value) -> str:
    items = value.items if isinstance(value, Sequence_) else ()
    for position, item in enumerate(items):
        wrong = _wrong_public_key(item) if isinstance(item, str) else "a text is needed"
        if wrong:
            return f"[{position}]: {wrong}"
    return ""


_SSH = {
    "user": AttributeSpec("user", check=_wrong_user),
    "private_key_file": AttributeSpec("private_key_file", check=_wrong_text),
    "port": AttributeSpec("port", NUMBER, check=_wrong_port),
    "timeout": AttributeSpec("timeout", check=_wrong_duration),
    "verify_gpu": AttributeSpec("verify_gpu", BOOL),
    "on_unhealthy": AttributeSpec("on_unhealthy", check=_wrong_health_policy),
}

_POLICIES = {
    name: AttributeSpec(name, STRING, check=_wrong_policy) for name in ("user_data", "tags", "public_key", "firewalls")
}

SCHEMA: Final = Schema(
    _arguments(
        AttributeSpec("instance_type", required=True, check=_wrong_text),
        AttributeSpec("location", required=True, check=_wrong_text),
        AttributeSpec("sub_location", computed=True),
        AttributeSpec("public_key", required=True, check=_wrong_public_key),
        AttributeSpec("authorized_keys", ListType(STRING), check=_wrong_keys),
        AttributeSpec("name", computed=True, kept=True, check=_wrong_name),
        AttributeSpec("image_id", computed=True, check=_wrong_text),
        AttributeSpec("disk_size", computed=True, check=_wrong_size),
        AttributeSpec("filesystems", ListType(STRING)),
        AttributeSpec("user_data", sensitive=True),
        AttributeSpec("firewalls", ListType(ANY)),
        AttributeSpec("tags", MapType(STRING)),
        AttributeSpec("power_state", computed=True, check=_wrong_power),
        AttributeSpec("spot", BOOL),
        AttributeSpec("options", ANY, check=_wrong_options),
        _computed("id"),
        _computed("ref_id"),
        _computed("status"),
        _computed("public_ip"),
        _computed("private_ip"),
        _computed("hostname"),
        _computed("ssh_user"),
        _computed("ssh_port", NUMBER),
        _computed("host_key"),
        _computed("instance_type_id"),
        _computed("hourly_price", NUMBER),
        _computed("created_at"),
        _computed("provider_name"),
        _computed("firewall_rules", ANY),
    ),
    {
        "on_change": BlockSpec("on_change", _POLICIES, single=True, stored=False),
        "placement": BlockSpec(
            "placement", {}, single=True, stored=False,
            refusal="This version does not place machines by itself: name instance_type and location.",
        ),
        "ssh": BlockSpec("ssh", _SSH, single=True, stored=False),
    },
)  # fmt: skip
