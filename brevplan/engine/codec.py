"""Values, changes and plans as plain data and back: what a plan file holds. A secret leaves nothing but its mark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change, Cost, Mode, OrphanNote, OutputChange, Plan, Power, Reason
from brevplan.engine.secrets import is_sealed, seal
from brevplan.lang.types import (
    ANY,
    BOOL,
    NUMBER,
    STRING,
    ListType,
    MapType,
    ObjectType,
    Primitive,
    SetType,
    TupleType,
    Type,
)
from brevplan.lang.values import List, Map, Object, Secret, Set, Tuple, Unknown, Value, has_unknown

_DETERMINISTIC = msgspec.json.Encoder(order="deterministic")


def encode_value(value: Value) -> Any:
    """Give JSON data that keeps the kind of every collection; numbers stay exact."""
    match value:
        case Fraction():
            return {"$": "number", "value": f"{value.numerator}/{value.denominator}"}
        case float():
            return {"$": "number", "value": "inf" if value > 0 else "-inf"} if value else 0
        case Unknown():
            return {"$": "unknown", "because": value.because}
        case Secret():
            return {"$": "secret"}
        case Tuple():
            return [encode_value(item) for item in value.items]
        case List():
            return {"$": "list", "items": [encode_value(item) for item in value.items]}
        case Set():
            return {"$": "set", "items": [encode_value(item) for item in value.items]}
        case Map():
            return {"$": "map", "items": {name: encode_value(item) for name, item in value.items.items()}}
        case Object():
            return {"$": "object", "items": {name: encode_value(item) for name, item in value.items.items()}}
        case _:
            return value


def decode_value(data: Any) -> Value:
    """Read what `encode_value` wrote; raise `ValueError` for anything else."""
    if data is None or isinstance(data, (bool, int, str)):
        return data
    if isinstance(data, list):
        return Tuple(map(decode_value, data))
    if not isinstance(data, dict) or "$" not in data:
        raise ValueError("not an encoded value")
    match data["$"]:
        case "number":
            return float(data["value"]) if "inf" in data["value"] else _fraction(data["value"])
        case "unknown":
            return Unknown(because=str(data.get("because", "")))
        case "secret":
            return Secret("")
        case "list":
            return List(map(decode_value, data["items"]))
        case "set":
            return Set(map(decode_value, data["items"]))
        case "map":
            return Map({name: decode_value(item) for name, item in data["items"].items()})
        case "object":
            return Object({name: decode_value(item) for name, item in data["items"].items()})
    raise ValueError(f"no such value: {data['$']}")


def encode_type(type_: Type) -> Any:
    """Give a type as Terraform's JSON has it: `"string"`, `["list", "string"]`."""
    match type_:
        case Primitive():
            return type_.name
        case ListType():
            return ["list", encode_type(type_.element)]
        case SetType():
            return ["set", encode_type(type_.element)]
        case MapType():
            return ["map", encode_type(type_.element)]
        case TupleType():
            return ["tuple", [encode_type(element) for element in type_.elements]]
        case ObjectType():
            return ["object", {name: encode_type(inner) for name, inner in sorted(type_.attributes.items())}]
    return "dynamic"


def decode_type(data: Any) -> Type:
    """Read what `encode_type` wrote; anything else stands for any type."""
    match data:
        case "string" | "number" | "bool":
            return {"string": STRING, "number": NUMBER, "bool": BOOL}[data]
        case ["list", element]:
            return ListType(decode_type(element))
        case ["set", element]:
            return SetType(decode_type(element))
        case ["map", element]:
            return MapType(decode_type(element))
        case ["tuple", list() as elements]:
            return TupleType(tuple(map(decode_type, elements)))
        case ["object", dict() as attributes]:
            return ObjectType({str(name): decode_type(inner) for name, inner in attributes.items()})
    return ANY


def _fraction(text: str) -> Value:
    value = Fraction(text)
    return int(value) if value.denominator == 1 else value


def _attributes(attributes: Mapping[str, Value] | None) -> Any:
    return None if attributes is None else {name: encode_value(value) for name, value in sorted(attributes.items())}


def _read_attributes(data: Any) -> dict[str, Value] | None:
    return None if data is None else {name: decode_value(value) for name, value in data.items()}


def _price(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _read_price(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def encode_change(change: Change) -> dict[str, Any]:
    return {
        "address": str(change.address),
        "action": change.action.value,
        "before": _attributes(change.before),
        "after": _attributes(change.after),
        "alias": change.alias,
        "account": change.account,
        "target_alias": change.target_alias,
        "deposed": change.deposed,
        "record_key": change.record_key,
        "record_version": change.record_version,
        "cloud_id": change.cloud_id,
        "ref_id": change.ref_id,
        "changed": list(change.changed),
        "replace_paths": list(change.replace_paths),
        "reasons": dict(change.reasons),
        "reason": change.reason.value,
        "power": change.power.value if change.power is not None else "",
        "power_loses_data": change.power_loses_data,
        "imports": change.imports,
        "finish": change.finish,
        "gone": change.gone,
        "unfinished": change.unfinished,
        "notes": list(change.notes),
        "blocked": change.blocked,
        "reads": sorted(map(str, change.reads)),
        "price_before": _price(change.price_before),
        "price_after": _price(change.price_after),
        "moved_from": str(change.moved_from) if change.moved_from is not None else "",
        "asked": change.asked,
        "supersedes": change.supersedes,
        "follows": list(change.follows),
    }


def decode_change(data: Mapping[str, Any]) -> Change:
    return Change(
        Address.parse(data["address"]),
        Action(data["action"]),
        _read_attributes(data["before"]),
        _read_attributes(data["after"]),
        data["alias"],
        data["account"],
        data["target_alias"],
        data["deposed"],
        data["record_key"],
        data["record_version"],
        data["cloud_id"],
        data["ref_id"],
        tuple(data["changed"]),
        tuple(data["replace_paths"]),
        dict(data["reasons"]),
        Reason(data["reason"]),
        Power(data["power"]) if data["power"] else None,
        data["power_loses_data"],
        data["imports"],
        data["finish"],
        data["gone"],
        data["unfinished"],
        tuple(data["notes"]),
        data["blocked"],
        frozenset(map(Address.parse, data["reads"])),
        _read_price(data["price_before"]),
        _read_price(data["price_after"]),
        Address.parse(data["moved_from"]) if data["moved_from"] else None,
        data["asked"],
        data["supersedes"],
        tuple(data["follows"]),
    )


def encode_plan(plan: Plan) -> dict[str, Any]:
    return {
        "mode": plan.mode.value,
        "workspace": plan.workspace,
        "project": plan.project,
        "plan_id": plan.plan_id,
        "changes": [encode_change(change) for change in plan.changes],
        "drift": [encode_change(change) for change in plan.drift],
        "outputs": [
            {
                "name": output.name,
                "action": output.action.value,
                "before": encode_value(output.before),
                "after": encode_value(output.after),
                "sensitive": output.sensitive,
            }
            for output in plan.outputs.values()
        ],
        "cost": [str(plan.cost.before), str(plan.cost.after), plan.cost.unknown_before, plan.cost.unknown_after],
        "orphans": [
            [o.alias, o.cloud_id, o.ref_id, o.address, o.instance_type, o.location, _price(o.hourly)]
            for o in plan.orphans
        ],
        "notes": list(plan.notes),
    }


def decode_plan(data: Mapping[str, Any]) -> Plan:
    """Read what `encode_plan` wrote; raise `ValueError`, `KeyError` or `TypeError` for anything else."""
    before, after, unknown_before, unknown_after = data["cost"]
    return Plan(
        Mode(data["mode"]),
        data["workspace"],
        data["project"],
        [decode_change(item) for item in data["changes"]],
        {
            item["name"]: OutputChange(
                item["name"], Action(item["action"]), decode_value(item["before"]), decode_value(item["after"]),
                item["sensitive"],
            )
            for item in data["outputs"]
        },
        Cost(Decimal(before), Decimal(after), unknown_before, unknown_after),
        [decode_change(item) for item in data["drift"]],
        [OrphanNote(a, b, c, d, e, f, _read_price(price)) for a, b, c, d, e, f, price in data["orphans"]],
        list(data["notes"]),
        [],
        data["plan_id"],
    )  # fmt: skip


class Fingerprint(msgspec.Struct, frozen=True):
    """By what two plans of the same change are told alike: prices and row versions left out.

    `after` has a digest an attribute, empty for one that was not known: whatever it turns out to be is expected.
    """

    before: str
    after: dict[str, str] | None

    def leads_to(self, other: Fingerprint) -> bool:
        """Tell whether another change ends in what this one promised."""
        if self.after is None or other.after is None:
            return self.after is other.after
        names = self.after.keys() | other.after.keys()
        return all(self.after.get(name) in ("", other.after.get(name)) for name in names)


def fingerprint(change: Change, salt: str) -> Fingerprint:
    """Digest a change under the salt of a plan file."""
    what = [
        change.deposed, change.action.value, change.cloud_id, change.imports,
        change.power.value if change.power is not None else "", change.finish, _digests(change.before, salt),
    ]  # fmt: skip
    return Fingerprint(_digest(what), _digests(change.after, salt))


def _digests(attributes: Mapping[str, Value] | None, salt: str) -> dict[str, str] | None:
    if attributes is None:
        return None
    return {
        name: "" if has_unknown(value) else _digest(_stable(value, salt))
        for name, value in sorted(attributes.items())
        if value is not None and name != "hourly_price"
    }


def _digest(data: Any) -> str:
    return hashlib.blake2b(_DETERMINISTIC.encode(data), digest_size=12).hexdigest()


def _stable(value: Value, salt: str) -> Any:
    if isinstance(value, Unknown):
        return {"$": "unknown"}
    if isinstance(value, Secret) and not is_sealed(value) and isinstance(value.value, Unknown):
        return {"$": "secret unknown"}
    return seal(value, salt)
