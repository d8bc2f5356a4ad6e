"""The `firewall` kind: rules with a name. It makes nothing by itself; the machines that list it carry its rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brevplan.contract.client import Traits
from brevplan.contract.model import Instance
from brevplan.engine.address import Address
from brevplan.engine.kind import (
    Ability,
    AttributeChange,
    Attributes,
    AttributeSpec,
    BlockSpec,
    Check,
    Effect,
    Finding,
    Outcome,
    Schema,
)
from brevplan.engine.secrets import unchanged
from brevplan.kinds.rules import wrong_port, wrong_ranges
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING
from brevplan.lang.values import EMPTY_TUPLE, Mapping_, Sequence_, Value


def _one_of(*words: str) -> Check:
    def check(value: Value) -> str:
        return "" if value in words else f"one of {', '.join(words)} is needed"

    return check


_RULE: Mapping[str, AttributeSpec] = {
    "from_port": AttributeSpec("from_port", NUMBER, check=wrong_port),
    "to_port": AttributeSpec("to_port", NUMBER, check=wrong_port),
    "ip_ranges": AttributeSpec("ip_ranges", ANY, check=wrong_ranges),
    "peers": AttributeSpec("peers", BOOL),
    "protocol": AttributeSpec("protocol", STRING, check=_one_of("tcp", "udp")),
    "description": AttributeSpec("description", STRING),
}


class FirewallKind:
    name = "firewall"
    needs_provider = False
    schema = Schema(
        {
            "on_inexact": AttributeSpec("on_inexact", STRING, check=_one_of("error", "warn")),
            "id": AttributeSpec("id", STRING, configurable=False, computed=True),
        },
        {
            "ingress": BlockSpec("ingress", _RULE),
            "egress": BlockSpec("egress", _RULE),
        },
    )

    def check(self, desired: Attributes, address: Address, ability: Ability | None) -> list[Finding]:
        findings: list[Finding] = []
        for name in ("ingress", "egress"):
            rules = desired.get(name)
            for position, rule in enumerate(rules.items if isinstance(rules, Sequence_) else ()):
                if isinstance(rule, Mapping_):
                    findings.extend(_check_rule(rule.items, f"{name}[{position}]"))
        return findings

    def observe(self, instance: Instance, traits: Traits | None) -> dict[str, Value]:
        return {}

    def plan_create(self, desired: Attributes, address: Address, ability: Ability | None) -> Outcome:
        return Outcome(_attributes(desired, address))

    def plan_update(
        self,
        desired: Attributes,
        current: Attributes,
        address: Address,
        ability: Ability | None,
        machine: Instance | None = None,
        salt: str = "",
    ) -> Outcome:
        after = _attributes(desired, address)
        changes = [
            AttributeChange(name, Effect.UPDATE)
            for name, value in after.items()
            if not unchanged(value, current.get(name), salt)
            and not (value == EMPTY_TUPLE and current.get(name) is None)
        ]
        return Outcome(after, changes)

    def follows(self, desired: Attributes) -> frozenset[str]:
        return frozenset()

    def hourly_price(self, attributes: Attributes) -> Value:
        return 0

    def written(self, observed: Attributes) -> Mapping[str, Value]:
        return {}  # nothing of it is seen at a cloud

    def renamed(self, attributes: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
        now = names.get(str(attributes.get("id")))
        return {**attributes, "id": now} if now is not None else attributes


def _attributes(desired: Attributes, address: Address) -> dict[str, Value]:
    return {
        "id": str(address),
        "ingress": desired.get("ingress") or EMPTY_TUPLE,
        "egress": desired.get("egress") or EMPTY_TUPLE,
        "on_inexact": desired.get("on_inexact"),
    }


def _check_rule(rule: Mapping[str, Value], where: str) -> list[Finding]:
    low, high = rule.get("from_port"), rule.get("to_port")
    if rule.get("peers") is True:
        if where.startswith("egress"):
            return [Finding(where, "Peers are let in", "A rule for peers stands in an ingress block.")]
        if rule.get("ip_ranges") is not None:
            return [Finding(where, "Two senders", "A rule is either for peers or for ip_ranges.", "Make it two rules.")]
        if low is None and high is not None:
            return [Finding(where, "Missing argument", "to_port needs from_port.", "Leave both out for every port.")]
    elif low is None:
        return [Finding(where, "Missing argument", "A rule needs from_port.", "For example: from_port = 443")]
    if isinstance(low, int) and isinstance(high, int) and high < low:
        return [
            Finding(
                where, "Invalid port range", f"to_port {high} is below from_port {low}.", "Exchange the two numbers."
            )
        ]
    return []
