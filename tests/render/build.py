"""Builders for the tests of rendering: changes and plans with few words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change, Cost, Mode, Plan
from brevplan.engine.kind import AttributeSpec, BlockSpec, Schema
from brevplan.lang.types import NUMBER, STRING, MapType
from brevplan.lang.values import Map, Unknown, Value

RULE: Final = BlockSpec("ingress", {"from_port": AttributeSpec("from_port", NUMBER)})
SCHEMAS: Final[Mapping[str, Schema]] = {
    "instance": Schema(
        {
            name: AttributeSpec(name)
            for name in ("id", "name", "instance_type", "location", "power_state", "status", "public_ip")
        }
        | {
            "tags": AttributeSpec("tags", MapType(STRING)),
            "hourly_price": AttributeSpec("hourly_price", NUMBER),
            "user_data": AttributeSpec("user_data", sensitive=True),
        }
    ),
    "firewall": Schema({"id": AttributeSpec("id")}, {"ingress": RULE}),
}

MACHINE: Final[Mapping[str, Value]] = {
    "id": "i-0001",
    "name": "web",
    "instance_type": "gpu_1x_a10",
    "location": "us-west-1",
    "power_state": "running",
    "status": "running",
    "public_ip": "192.0.2.1",
    "tags": Map({"team": "ml"}, STRING),
    "hourly_price": Fraction("0.75"),
}

LATER: Final = Unknown(STRING)
PRICE: Final = Decimal("0.75")


def changed(address: str, action: Action, **facts: Any) -> Change:
    """Make a change of a machine as it stands; `after` and the prices follow from the action unless given."""
    before = None if action is Action.CREATE else MACHINE
    after = None if action is Action.DELETE else {**MACHINE, "id": LATER} if before is None else MACHINE
    fields: dict[str, Any] = {
        "before": before,
        "after": after,
        "price_before": PRICE if before is not None else Decimal(0),
        "price_after": PRICE if after is not None else Decimal(0),
        **facts,
    }
    return Change(Address.parse(address), action, **fields)


def plan(*changes: Change, mode: Mode = Mode.NORMAL, cost: Cost | None = None, **facts: Any) -> Plan:
    facts = {"workspace": "default", "project": "acme", "outputs": {}, **facts}
    return Plan(mode=mode, changes=list(changes), cost=cost or Cost(Decimal(0), Decimal(0)), **facts)
