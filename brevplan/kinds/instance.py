"""The `instance` kind: one machine at one cloud. Planning is pure; `request` and `update` carry it out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Capability, ModifyFirewall, Traits
from brevplan.contract.cloud_init import CONFIGURATION, is_configuration
from brevplan.contract.duration import parse_duration
from brevplan.contract.errors import CloudError
from brevplan.contract.model import (
    HALTED,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    Image,
    Instance,
    InstanceType,
    LifecycleStatus,
    RefId,
    instance_type_id,
)
from brevplan.diagnostics import suggest
from brevplan.engine.access import Access, Shell
from brevplan.engine.address import Address
from brevplan.engine.kind import (
    Ability,
    AttributeChange,
    Attributes,
    Effect,
    Finding,
    Mark,
    NeedsCatalogue,
    Outcome,
)
from brevplan.engine.secrets import unchanged
from brevplan.kinds.instance_schema import SCHEMA
from brevplan.kinds.rules import (
    effective,
    followed,
    from_contract,
    has_peers,
    inexact_rules,
    names_somebody,
    to_contract,
)
from brevplan.lang.convert import to_string
from brevplan.lang.numbers import round512
from brevplan.lang.types import NUMBER, STRING
from brevplan.lang.values import (
    List,
    Map,
    Mapping_,
    Object,
    Sequence_,
    Unknown,
    Value,
    from_python,
    has_unknown,
    reveal,
    reveal_deep,
)

_DEFAULT_POLICY: Final = {"user_data": "ignore", "tags": "ignore", "public_key": "ignore", "firewalls": "error"}

_FORCING: Final = ("instance_type", "location", "sub_location", "image_id", "filesystems", "spot", "options")
"""Arguments whose change makes a new machine."""

_IDENTITY: Final = (
    "id", "ref_id", "status", "public_ip", "private_ip", "hostname", "ssh_user", "ssh_port", "host_key", "created_at",
)  # fmt: skip
"""What only the provider knows once the machine is there."""

_NEVER_EMPTY: Final = ("instance_type", "location")
"""What every machine has: where a cloud does not tell it of one, it is not known to differ."""

_EMPTY: Final[Mapping[str, Value]] = {
    "authorized_keys": List((), STRING),
    "filesystems": List((), STRING),
    "tags": Map({}, STRING),
    "spot": False,
    "options": Object({}),
    "sub_location": "",
}
"""What stands for an argument that is left out and has no default of the provider's."""

_COLLECTIONS: Final = (Sequence_, Mapping_)

_ANY_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody"
"""Stands for a public key that is not known yet."""
_NOBODY: Final = Mark(RefId("bp-nobody-aaaaaaaaaaaa-aaaaaa"), "bp-nobody", "instance.nobody")


class InstanceKind:
    name = "instance"
    needs_provider = True
    schema = SCHEMA

    # judging

    def check(self, desired: Attributes, address: Address, ability: Ability | None) -> list[Finding]:
        findings: list[Finding] = []
        if len(_elements(desired.get("authorized_keys"))) and desired.get("ssh") is None:
            findings.append(
                Finding(
                    "authorized_keys", "No way to the machine",
                    "Further keys are written over SSH, and there is no ssh block.",
                    "Add: ssh {}",
                )
            )  # fmt: skip
        for firewall in _elements(desired.get("firewalls")):
            value = reveal(firewall)
            if not isinstance(value, Unknown) and not (isinstance(value, Mapping_) and "ingress" in value.items):
                findings.append(
                    Finding("firewalls", "Unsuitable value", "A list of firewalls is needed.", "Write: [firewall.web]")
                )
        if ability is not None:
            findings.extend(_check_ability(desired, ability))
            findings.extend(_check_firewalls(desired, ability))
            findings.extend(_check_way_in(desired, ability))
        return findings

    # reading

    def observe(self, instance: Instance, traits: Traits | None) -> dict[str, Value]:
        reports = traits.reports if traits is not None else frozenset()
        found: dict[str, Value] = {
            "id": instance.cloud_id,
            "ref_id": instance.ref_id,
            "status": instance.status.value,
            "public_ip": instance.public_ip,
            "private_ip": instance.private_ip,
            "hostname": instance.hostname,
            "ssh_user": instance.ssh_user,
            "ssh_port": instance.ssh_port,
            "instance_type_id": instance_type_id(instance),
            "power_state": _power_of(instance.status),
        }
        if instance.host_key:
            found["host_key"] = instance.host_key
        if instance.hourly_price is not None:
            found["hourly_price"] = _price(instance.hourly_price)
        if instance.created_at is not None:
            found["created_at"] = f"{instance.created_at.isoformat()[:19]}Z"
        for name in reports:
            reader = _REPORTED.get(name)
            is_told = name not in _NEVER_EMPTY or getattr(instance, name)
            if reader is not None and is_told:
                found[name] = reader(instance)
        if traits is not None:
            found["provider_name"] = traits.provider
        return found

    # planning

    def plan_create(self, desired: Attributes, address: Address, ability: Ability | None) -> Outcome:
        assert ability is not None
        after = _declared(desired, address, ability)
        for name in _IDENTITY:
            after[name] = Unknown(self.schema.attributes[name].type, f"{address}.{name}", not_null=True)
        after["provider_name"] = ability.traits.provider
        if after["firewalls"] is None:
            after["firewalls"] = List((), STRING)
            after["firewall_rules"] = effective((), ability.traits.firewall)
        for name in ("image_id", "disk_size"):
            if after[name] is None:
                after[name] = Unknown(STRING, f"{address}.{name}")
        if after["power_state"] is None:
            after["power_state"] = "running"
        outcome = Outcome(after, notes=_firewall_notes(desired, ability))
        outcome.findings.extend(self._check_launch(after, ability))
        self._from_catalogue(outcome, ability, address)
        return outcome

    def _check_launch(self, after: Attributes, ability: Ability) -> list[Finding]:
        """Ask the provider whether it can carry this out at all, as far as it is known: not only once it is tried."""
        check = ability.provider.check_launch
        if check is None:
            return []
        asked = {name: value for name, value in after.items() if not has_unknown(value)}
        if not {"instance_type", "location"} <= asked.keys():
            return []
        try:
            check(self.request({"public_key": _ANY_KEY, **asked}, _NOBODY))
        except CloudError as problem:
            argument, _, reason = problem.message.partition(": ")
            if not reason or argument not in self.schema.argument_order:
                argument, reason = "instance_type", problem.message
            detail = f"{ability.traits.provider}: {reason}"
            return [Finding(argument, "Not possible here", detail, tells_value=argument != "user_data")]
        return []

    def _from_catalogue(self, outcome: Outcome, ability: Ability, address: Address) -> None:
        after = outcome.after
        type_name, location = reveal(after["instance_type"]), reveal(after["location"])
        after["hourly_price"] = Unknown(NUMBER, f"{address}.hourly_price")
        after["instance_type_id"] = Unknown(STRING, f"{address}.instance_type_id")
        if not isinstance(type_name, str) or not isinstance(location, str):
            return
        if ability.types is None:
            raise NeedsCatalogue(ability.alias)
        found = ability.types.get((type_name, location))
        if found is None:
            outcome.findings.append(_not_in_catalogue(type_name, location, ability.types))
            return
        after["instance_type_id"] = found.id
        after["hourly_price"] = _price_of(found)
        outcome.launches = (type_name, location, found.stock)
        outcome.unstocked = not found.is_available
        outcome.findings.extend(_check_type(after, found, ability))

    def plan_update(
        self,
        desired: Attributes,
        current: Attributes,
        address: Address,
        ability: Ability | None,
        machine: Instance | None = None,
        salt: str = "",
    ) -> Outcome:
        assert ability is not None
        wanted = _declared(desired, address, ability, _addresses(current))
        after = dict(current)
        outcome = Outcome(after, notes=_firewall_notes(desired, ability))
        becomes = _other_type(wanted, current, ability)
        for name, value in wanted.items():
            if name not in current:
                # the cloud does not report it and nothing is recorded: taken for what is declared
                after[name] = value if value is not None else _EMPTY.get(name)
                continue
            if self._is_unchanged(name, value, desired.get(name), current, ability):
                continue
            if name == "instance_type" and becomes is not None:
                self._become(becomes, wanted, outcome, ability)
                continue
            if name == "disk_size" and becomes is None and wanted.get("instance_type") != current.get("instance_type"):
                continue  # a new machine of another type has a disk of its own
            outcome.changes.append(self._effect(name, value, desired, current, ability, outcome))
        self._settle(outcome, wanted, current, ability, address, machine)
        return outcome

    def _become(self, becomes: InstanceType, wanted: Attributes, outcome: Outcome, ability: Ability) -> None:
        """Turn a stopped machine into one of another type."""
        outcome.findings.extend(_check_type(wanted, becomes, ability))
        outcome.changes.append(AttributeChange("instance_type", Effect.UPDATE))
        outcome.after["instance_type_id"] = becomes.id
        outcome.after["hourly_price"] = _price_of(becomes)

    def _is_unchanged(self, name: str, value: Value, declared: Value, current: Attributes, ability: Ability) -> bool:
        now = current[name]
        if value is now:
            return True
        if declared is None and name not in _EMPTY and name != "firewall_rules":
            return True  # left to the provider, or computed once and kept
        if value is None and name in ("firewalls", "firewall_rules"):
            return True
        if value.__class__ is str and now.__class__ is str:
            return value == now or (name == "disk_size" and _same_size(value, now))
        if now is None and name in _EMPTY:
            now = _EMPTY[name]
        return unchanged(value, now, ability.salt)

    def _effect(
        self, name: str, value: Value, desired: Attributes, current: Attributes, ability: Ability, outcome: Outcome
    ) -> AttributeChange:
        traits = ability.traits
        if name in _FORCING:
            keeps = name == "instance_type" and name in traits.in_place and current.get("power_state") == "running"
            return AttributeChange(name, Effect.REPLACE, "it can be kept when it is stopped first" if keeps else "")
        if name == "power_state":
            return AttributeChange(name, Effect.POWER)
        if name == "name":
            if "name" in traits.in_place:
                return AttributeChange(name, Effect.UPDATE)
            outcome.notes.append(f"name: {traits.provider} cannot rename; it takes effect at the next replacement")
            return AttributeChange(name, Effect.NOTHING)
        if name == "disk_size":
            outcome.findings.extend(self._findings_of_disk(value, current, ability))
            grows = not isinstance(value, Unknown) and _total(value) > _total(current[name])
            if grows and Capability.RESIZE_VOLUME in traits.capabilities:
                return AttributeChange(name, Effect.UPDATE)
            return AttributeChange(name, Effect.REPLACE, "" if grows else "a disk cannot shrink")
        if name == "tags" and Capability.TAGS in traits.capabilities:
            return AttributeChange(name, Effect.UPDATE)
        if name in ("firewalls", "firewall_rules") and Capability.MODIFY_FIREWALL in traits.capabilities:
            return AttributeChange(name, Effect.UPDATE)
        if name in ("authorized_keys", "firewalls", "firewall_rules"):
            return self._over_ssh(name, desired, current, outcome)
        if name in _DEFAULT_POLICY:
            return self._by_policy(name, name, desired, outcome)
        return AttributeChange(name, Effect.UPDATE)

    def _over_ssh(self, name: str, desired: Attributes, current: Attributes, outcome: Outcome) -> AttributeChange:
        if desired.get("ssh") is None and name != "authorized_keys":
            return self._by_policy("firewalls", name, desired, outcome)
        if current.get("power_state") == "stopped" and desired.get("power_state") != "running":
            outcome.notes.append(f"{name}: changed on the machine when it is started")
            return AttributeChange(name, Effect.NOTHING)
        return AttributeChange(name, Effect.UPDATE)

    def _findings_of_disk(self, value: Value, current: Attributes, ability: Ability) -> list[Finding]:
        if ability.types is None:
            raise NeedsCatalogue(ability.alias)
        key = (str(reveal(current.get("instance_type"))), str(reveal(current.get("location"))))
        found = ability.types.get(key)
        return _check_disk(reveal(value), found) if found is not None else []

    def _by_policy(self, policy: str, name: str, desired: Attributes, outcome: Outcome) -> AttributeChange:
        block = desired.get("on_change")
        chosen = block.items.get(policy) if isinstance(block, Mapping_) else None
        match chosen or _DEFAULT_POLICY[policy]:
            case "replace":
                return AttributeChange(name, Effect.REPLACE, f'on_change.{policy} = "replace"')
            case "error":
                reason = f'it changed and cannot be changed on a living machine (on_change.{policy} = "error")'
                return AttributeChange(name, Effect.ERROR, reason)
        outcome.notes.append(
            f'{name} changed; the machine keeps the old one until it is replaced (on_change.{policy} = "ignore")'
        )
        return AttributeChange(name, Effect.NOTHING)

    def _settle(
        self, outcome: Outcome, wanted: Attributes, current: Attributes, ability: Ability, address: Address,
        machine: Instance | None,
    ) -> None:  # fmt: skip
        after = outcome.after
        for change in outcome.changes:
            if change.effect in (Effect.UPDATE, Effect.POWER):
                after[change.name] = wanted[change.name]
            if change.effect is Effect.POWER:
                self._disturb(after, address)
                self._check_power(outcome, current, ability, machine)
        if wanted.get("power_state") is None and current.get("power_state") == "stopped":
            outcome.notes.append(
                f"it is stopped, and power_state is not declared: left as it is; {_shown_price(current)} when running"
            )
        if current.get("status") == LifecycleStatus.FAILED.value:
            outcome.notes.append(f"it has failed; -replace={address} makes a new one")

    def _disturb(self, after: dict[str, Value], address: Address) -> None:
        stopping = after.get("power_state") == "stopped"
        after["status"] = "stopped" if stopping else "running"
        for name in ("public_ip", "private_ip", "hostname"):
            after[name] = Unknown(STRING, f"{address}.{name}")

    def _check_power(self, outcome: Outcome, current: Attributes, ability: Ability, machine: Instance | None) -> None:
        if Capability.STOP_START not in ability.traits.capabilities:
            outcome.blocked = f"{ability.traits.provider} cannot stop and start machines"
            return
        if ability.types is None:
            raise NeedsCatalogue(ability.alias)
        key = (str(reveal(current.get("instance_type"))), str(reveal(current.get("location"))))
        found = ability.types.get(key)
        if found is not None and not found.stoppable:
            outcome.blocked = f"{found.type} cannot be stopped and started"
        elif machine is not None and not machine.stoppable:
            outcome.blocked = "this machine cannot be stopped and started now"
        elif found is not None:
            outcome.stop_loses_data = found.stop_loses_data

    def written(self, observed: Attributes) -> Mapping[str, Value]:
        usual = {"power_state": "running", "spot": False}
        found = {name: observed.get(name) for name in self.schema.argument_names() if name != "firewalls"}
        return {
            name: value
            for name, value in found.items()
            if value not in (None, "", usual.get(name)) and not (isinstance(value, _COLLECTIONS) and not len(value))
        }

    def renamed(self, attributes: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
        listed = attributes.get("firewalls")
        if not isinstance(listed, list) or not any(item in names for item in listed if isinstance(item, str)):
            return attributes
        return {**attributes, "firewalls": [names.get(item, item) for item in listed]}

    def follows(self, desired: Attributes) -> frozenset[str]:
        firewalls = desired.get("firewalls")
        return followed(_elements(firewalls)) if firewalls is not None else frozenset()

    def hourly_price(self, attributes: Attributes) -> Value:
        status = attributes.get("status")
        if attributes.get("power_state") == "stopped" or status in HALTED:
            return 0
        return attributes.get("hourly_price")

    # carrying out

    def request(self, attributes: Attributes, mark: Mark) -> CreateInstanceAttrs:
        """Give the launch request for attributes that are all known; secrets are revealed here and only here."""
        plain = {name: reveal_deep(value) for name, value in attributes.items() if not has_unknown(value)}
        disk = plain.get("disk_size")
        return CreateInstanceAttrs(
            ref_id=mark.ref_id,
            cloud_cred_ref_id=mark.cred_ref_id,
            address=mark.address_tag,
            instance_type=str(plain["instance_type"]),
            location=str(plain["location"]),
            sub_location=str(plain.get("sub_location") or ""),
            public_key=str(plain["public_key"]).strip(),
            name=str(plain.get("name") or ""),
            image_id=str(plain.get("image_id") or ""),
            user_data=str(plain.get("user_data") or ""),
            disk_size=Bytes.parse(str(disk)) if disk else None,
            filesystems=tuple(map(str, _elements(plain.get("filesystems")))),
            tags=_texts(plain.get("tags")),
            firewall_rules=to_contract(plain.get("firewall_rules")),
            spot=plain.get("spot") is True,
            options=_texts(plain.get("options")),
        )

    async def update(
        self, client: Any, cloud_id: CloudId, name: str, attributes: Attributes, shell: Shell | None
    ) -> None:
        """Make one changed attribute true, at the provider or over SSH. Repeating it changes nothing."""
        value = reveal_deep(attributes[name])
        match name:
            case "tags":
                await client.update_tags(cloud_id, _texts(value))
            case "name":
                await client.rename_instance(cloud_id, str(value))
            case "disk_size":
                await client.resize_volume(cloud_id, Bytes.parse(str(value)))
            case "instance_type":
                await client.change_instance_type(cloud_id, str(value))
            case "firewall_rules" if isinstance(client, ModifyFirewall):
                await client.replace_firewall_rules(cloud_id, to_contract(value))
            case "firewall_rules" if shell is not None:
                await shell.set_firewall(to_contract(value))
            case "authorized_keys" if shell is not None:
                await shell.set_authorized_keys([str(key) for key in _elements(value)])
            case _:
                return  # recorded only

    def following(self, desired: Attributes, attributes: Attributes, ability: Ability) -> Mapping[str, Value]:
        members = _elements(desired.get("firewalls"))
        return {"firewall_rules": effective(members, ability.traits.firewall, ability.peers, _addresses(attributes))}

    def access(self, desired: Attributes) -> Access | None:
        block = reveal_deep(desired.get("ssh"))
        if not isinstance(block, Mapping_):
            return None
        given = {name: value for name, value in block.items.items() if value is not None}
        port = given.get("port")
        return Access(
            str(given.get("user", "")),
            port if isinstance(port, int) else 0,
            str(given.get("private_key_file", "")),
            parse_duration(str(given.get("timeout", "10m"))),
            given.get("verify_gpu") is True,
            given.get("on_unhealthy") == "replace",
        )

    def is_over_ssh(self, name: str, traits: Traits) -> bool:
        return name == "authorized_keys" or (
            name == "firewall_rules" and Capability.MODIFY_FIREWALL not in traits.capabilities
        )

    def is_while_stopped(self, name: str) -> bool:
        return name == "instance_type"

    def first_over_ssh(self, attributes: Attributes) -> Sequence[str]:
        return ("authorized_keys",) if len(_elements(attributes.get("authorized_keys"))) else ()

    def wants_stopped(self, attributes: Attributes) -> bool:
        return attributes.get("power_state") == "stopped"


def _declared(
    desired: Attributes, address: Address, ability: Ability, own: frozenset[str] = frozenset()
) -> dict[str, Value]:
    """Give the arguments as they are compared and stored: defaults filled in, firewalls resolved into rules."""
    wanted = {name: value for name, value in desired.items() if name != "on_change" and name in SCHEMA.attributes}
    for name, empty in _EMPTY.items():
        if wanted.get(name) is None:
            wanted[name] = empty
    tags = wanted["tags"]
    if isinstance(tags, Map) and None in tags.items.values():
        wanted["tags"] = Map({name: value for name, value in tags.items.items() if value is not None}, STRING)
    options = wanted["options"]
    if isinstance(options, Mapping_) and len(options):
        # they are sent as texts: true and "true" are the same
        wanted["options"] = Object({name: _option_text(value) for name, value in options.items.items()})
    if wanted.get("name") is None:
        wanted["name"] = default_name(address)
    key = wanted.get("public_key")
    if isinstance(key, str):
        wanted["public_key"] = key.strip()
    firewalls = wanted.get("firewalls")
    if firewalls is None:
        wanted["firewall_rules"] = None
    elif isinstance(firewalls, Unknown):
        wanted["firewall_rules"] = Unknown(because="firewalls")
    else:
        members = _elements(firewalls)
        wanted["firewall_rules"] = effective(members, ability.traits.firewall, ability.peers, own)
        wanted["firewalls"] = List([_firewall_id(member) for member in members], STRING)
    return wanted


def _option_text(value: Value) -> Value:
    is_plain = (
        value is None or isinstance(value, (str, *_COLLECTIONS)) or has_unknown(value) or reveal(value) is not value
    )
    return value if is_plain else to_string(value)


def _other_type(wanted: Attributes, current: Attributes, ability: Ability) -> InstanceType | None:
    """Give the type that a machine can be turned into as it stands; None where it stays, or another one is needed."""
    name, now = reveal(wanted.get("instance_type")), current.get("instance_type")
    if (
        name == now
        or not isinstance(name, str)
        or "instance_type" not in ability.traits.in_place
        or current.get("status") != LifecycleStatus.STOPPED.value
    ):
        return None
    if ability.types is None:
        raise NeedsCatalogue(ability.alias)
    location = str(current.get("location"))
    there, here = ability.types.get((name, location)), ability.types.get((str(now), location))
    # what is on the disk was made for the processors of the type that it has
    if there is None or (here is not None and not set(here.architectures) & set(there.architectures)):
        return None
    return there


def _addresses(attributes: Attributes) -> frozenset[str]:
    """Give the machine's own addresses, as far as they are known."""
    found = (reveal(attributes.get(name)) for name in ("public_ip", "private_ip"))
    return frozenset(item for item in found if isinstance(item, str) and item)


def _firewall_notes(desired: Attributes, ability: Ability) -> list[str]:
    """Say which rules are let pass although the provider cannot enforce them exactly."""
    return [
        f"{name}: {where} is not enforced exactly at {ability.traits.provider}: {reason}"
        for firewall, name in _named_firewalls(desired)
        if _lets_inexact_pass(firewall)
        for where, reason in inexact_rules(firewall, ability.traits.firewall)
    ]


def _check_firewalls(desired: Attributes, ability: Ability) -> list[Finding]:
    findings = [
        Finding(
            "firewalls", "Rule cannot be enforced exactly",
            f"{name}, {where}: at {ability.traits.provider} {reason}.",
            'Change the rule, or let it pass with on_inexact = "warn" in the firewall.',
        )
        for firewall, name in _named_firewalls(desired)
        if not _lets_inexact_pass(firewall)
        for where, reason in inexact_rules(firewall, ability.traits.firewall)
    ]  # fmt: skip
    is_fixed = Capability.MODIFY_FIREWALL not in ability.traits.capabilities and desired.get("ssh") is None
    if is_fixed and has_peers(_elements(desired.get("firewalls"))):
        findings.append(
            Finding(
                "firewalls", "Peers cannot be kept current",
                f"{ability.traits.provider} cannot change the rules of a living machine, and there is no ssh block.",
                "Add: ssh {}",
            )
        )  # fmt: skip
    return findings


def _check_way_in(desired: Attributes, ability: Ability) -> list[Finding]:
    """Where nothing is open by itself, somebody has to be named; what is not known yet may name somebody."""
    members = _elements(desired.get("firewalls"))
    if (
        ability.traits.firewall.ssh_from_anywhere
        or isinstance(reveal(desired.get("firewalls")), Unknown)
        or has_peers(members)
        or names_somebody(effective(members, ability.traits.firewall))
    ):
        return []
    return [
        Finding(
            "firewalls", "Nobody is let in",
            f"At {ability.traits.provider} only addresses that are named are let in, for SSH too.",
            "Name yours in ip_allowlist of the provider block, or in a rule of a firewall.",
        )
    ]  # fmt: skip


def _named_firewalls(desired: Attributes) -> list[tuple[Value, str]]:
    found: list[tuple[Value, str]] = []
    for member in _elements(desired.get("firewalls")):
        value = reveal(member)
        if isinstance(value, Mapping_) and isinstance(value.items.get("id"), str):
            found.append((member, str(value.items["id"])))
    return found


def _lets_inexact_pass(firewall: Value) -> bool:
    value = reveal(firewall)
    return isinstance(value, Mapping_) and reveal(value.items.get("on_inexact")) == "warn"


def _firewall_id(value: Value) -> Value:
    value = reveal(value)
    if isinstance(value, Mapping_) and "id" in value.items:
        return value.items["id"]
    return value if isinstance(value, str) else Unknown(STRING, "firewalls")


def default_name(address: Address) -> str:
    """Give the address made safe for a machine's name: `web`, `web-0`, `web-alice`."""
    text = address.name if address.key is None else f"{address.name}-{address.key}"
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return safe[:63].rstrip("-._") or "instance"


def _elements(value: Value) -> tuple[Value, ...]:
    value = reveal(value)
    return value.items if isinstance(value, Sequence_) else ()


def _texts(value: Value) -> dict[str, str]:
    if not isinstance(value, Mapping_):
        return {}
    return {name: to_string(item) for name, item in value.items.items() if item is not None}


@lru_cache(maxsize=1024)
def _price(amount: Decimal) -> Value:
    return round512(Fraction(amount))


def _price_of(offer: InstanceType) -> Value:
    return _price(offer.base_price.amount) if offer.base_price is not None else None


def _power_of(status: LifecycleStatus) -> str:
    halted = status in HALTED or status in (LifecycleStatus.STOPPING, LifecycleStatus.SUSPENDING)
    return "stopped" if halted else "running"


def _same_size(wanted: Value, there: Value) -> bool:
    """Compare what is declared with what is there. A cloud of whole GiB, or GB, rounds up to them."""
    try:
        size, present = Bytes.parse(str(wanted)), Bytes.parse(str(there))
    except ValueError:
        return False
    if present.unit not in ("GiB", "GB"):
        return size == present
    unit = Bytes(1, present.unit).total
    return -(-size.total // unit) * unit == present.total


def _total(value: Value) -> int:
    try:
        return Bytes.parse(str(reveal(value))).total
    except ValueError:
        return 0


def _size_text(size: Bytes) -> Value:
    return f"{size.value}{size.unit}" if size else None


def _shown_price(current: Attributes) -> str:
    price = current.get("hourly_price")
    return f"${float(price):.2f}/hr" if isinstance(price, (int, Fraction)) else "an unknown price"


_REPORTED: Final[Mapping[str, Callable[[Instance], Value]]] = {
    "instance_type": lambda machine: machine.instance_type,
    "location": lambda machine: machine.location,
    "sub_location": lambda machine: machine.sub_location,
    "name": lambda machine: machine.name,
    "image_id": lambda machine: machine.image_id or None,
    "disk_size": lambda machine: _size_text(machine.disk_size),
    "filesystems": lambda machine: List(machine.filesystems, STRING),
    "tags": lambda machine: Map(machine.tags, STRING),
    "spot": lambda machine: machine.spot,
    "public_key": lambda machine: machine.public_key,
    "options": lambda machine: from_python(machine.options),
    "firewall_rules": lambda machine: from_contract(machine.firewall_rules) if machine.firewall_rules else None,
}


def _not_in_catalogue(type_name: str, location: str, types: Mapping[tuple[str, str], InstanceType]) -> Finding:
    names = sorted({name for name, _ in types})
    places = sorted({place for _, place in types})
    if type_name not in names:
        return Finding(
            "instance_type", "Unknown instance type", f'There is no type "{type_name}".',
            suggest(type_name, names) or "brevplan offers lists them.",
        )  # fmt: skip
    here = sorted(place for name, place in types if name == type_name)
    if location not in places:
        hint = suggest(location, places) or f"{type_name} is offered in: {', '.join(here)}."
        return Finding("location", "Unknown location", f'There is no location "{location}".', hint)
    return Finding(
        "location", "Type not offered there", f"{type_name} is not offered in {location}.",
        f"It is offered in: {', '.join(here)}.",
    )  # fmt: skip


def _check_ability(desired: Attributes, ability: Ability) -> list[Finding]:
    findings: list[Finding] = []
    options = reveal(desired.get("options"))
    known = ability.provider.options
    for name, value in options.items.items() if isinstance(options, Mapping_) else ():
        if isinstance(reveal(value), _COLLECTIONS):
            findings.append(
                Finding("options", "Unsuitable value", f'"{name}": a string, a number or a bool is needed.')
            )
        if name not in known:
            shown = f"Options of {ability.traits.provider}: {', '.join(sorted(known))}." if known else ""
            findings.append(
                Finding(
                    "options", "Unknown option", f'{ability.traits.provider} has no option "{name}".',
                    suggest(name, known) or shown,
                )
            )  # fmt: skip
    script = reveal(desired.get("user_data"))
    has_data = script not in (None, "")
    is_ours = ability.traits.firewall_pattern is FirewallPattern.USER_DATA
    may_configure = ability.traits.takes_cloud_config
    is_joined = isinstance(script, str) and (script.startswith("#!") or (may_configure and is_configuration(script)))
    if is_ours and isinstance(script, str) and script and not is_joined:
        configuration = f", or as configuration with {CONFIGURATION} as its first line" if may_configure else ""
        findings.append(
            Finding(
                "user_data", "Not possible here",
                f"At {ability.traits.provider} it goes into the start-up script that sets the firewall up.",
                f"Write it as a script of its own that begins with #!, such as #!/bin/sh{configuration}.",
                tells_value=False,
            )
        )  # fmt: skip
    if has_data and Capability.USER_DATA not in ability.traits.capabilities:
        findings.append(
            Finding(
                "user_data",
                "Not possible here",
                f"{ability.traits.provider} takes no user data at creation.",
                tells_value=False,
            )
        )
    return findings


def _check_type(after: Attributes, found: InstanceType, ability: Ability) -> list[Finding]:
    findings: list[Finding] = []
    provider = ability.traits.provider
    if after.get("power_state") == "stopped" and not (
        found.stoppable and Capability.STOP_START in ability.traits.capabilities
    ):
        findings.append(
            Finding("power_state", "Cannot be stopped", f"{found.type} cannot be stopped and started at {provider}.")
        )
    if after.get("spot") is True and not found.spot:
        findings.append(
            Finding("spot", "No spot machines", f"{found.type} is not offered as spot in {found.location}.")
        )
    image = reveal(after.get("image_id"))
    if isinstance(image, str) and ability.images is not None:
        findings.extend(_check_image(image, found, ability.images))
    return [*findings, *_check_disk(reveal(after.get("disk_size")), found)]


def _check_image(name: str, found: InstanceType, images: Mapping[str, Image]) -> list[Finding]:
    image = images.get(name)
    if image is None:
        return [Finding("image_id", "Unknown image", f'There is no image "{name}".', suggest(name, images))]
    if image.architecture and image.architecture not in found.architectures:
        suitable = sorted(item.id for item in images.values() if item.architecture in ("", *found.architectures))
        return [
            Finding(
                "image_id",
                "Image of another architecture",
                f'"{name}" is for {image.architecture}, and {found.type} is {" or ".join(found.architectures)}.',
                f"Suitable are: {', '.join(suitable)}." if suitable else "",
            )
        ]
    return []


def _check_disk(size: Value, found: InstanceType) -> list[Finding]:
    """Compare a declared disk with what the type has: fixed, or between two sizes."""
    if not isinstance(size, str) or not found.storage:
        return []
    wanted, disk = Bytes.parse(size), found.storage[0]
    if not (disk.is_elastic or found.elastic_root_volume):
        if disk.size and wanted != disk.size:
            return [Finding("disk_size", "Disk of a fixed size", f"The disk of {found.type} is always {disk.size}.")]
        return []
    smallest, largest = disk.min_size, disk.max_size
    if (smallest is not None and wanted < smallest) or (largest is not None and wanted > largest):
        bounds = f"from {smallest or 'any size'} to {largest or 'any size'}"
        return [Finding("disk_size", "Disk size out of bounds", f"The disk of {found.type} can be {bounds}.")]
    return []
