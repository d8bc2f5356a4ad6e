"""A plan as Terraform's plan representation, format version 1.2, with our own facts under the key `brevplan`.

Secrets and unknowns are left out of every value and stand as `true` in the masks beside it. What is blocked stands
under `deferred_changes` with what it would be, and among the `resource_changes` as it is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from brevplan.diagnostics import Severity
from brevplan.engine.address import Address, ModulePath
from brevplan.engine.change import Action, Change, OutputChange, Plan
from brevplan.engine.config import Config
from brevplan.engine.kind import Schema
from brevplan.lang.values import Secret, Value
from brevplan.render.config_json import configuration
from brevplan.render.leaves import (
    mark_sensitive,
    object_data,
    object_mask,
    output_data,
    secret_mask,
    shown_data,
    unknown_mask,
)
from brevplan.render.modules_json import module_address, nested
from brevplan.render.words import address_of

_ACTIONS: Final = {
    Action.NOOP: ["no-op"],
    Action.CREATE: ["create"],
    Action.UPDATE: ["update"],
    Action.DELETE: ["delete"],
    Action.REPLACE: ["delete", "create"],
    Action.REPLACE_CREATE_FIRST: ["create", "delete"],
    Action.FORGET: ["forget"],
}
_OWN_PROVIDER: Final = "brevplan"
"""What provides a resource that stands at no cloud, such as a firewall."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a change as data, with its masks."""

    data: dict[str, Any] | None
    secrets: Any
    unknowns: Any


_NOTHING: Final = _Side(None, False, False)


def plan_document(
    plan: Plan,
    schemas: Mapping[str, Schema],
    *,
    config: Config | None,
    variables: Mapping[str, Value],
    version: str,
    timestamp: str,
) -> dict[str, Any]:
    """Give the whole document as plain JSON data, in an order that depends on the plan only."""
    return _Document(plan, schemas, version).build(config, variables, timestamp)


class _Document:
    def __init__(self, plan: Plan, schemas: Mapping[str, Schema], version: str) -> None:
        self.plan, self.schemas, self.version = plan, schemas, version
        self.resource_changes: list[dict[str, Any]] = []
        self.deferred: list[dict[str, Any]] = []
        self.prior: list[tuple[ModulePath, dict[str, Any]]] = []
        self.planned: list[tuple[ModulePath, dict[str, Any]]] = []

    def build(self, config: Config | None, variables: Mapping[str, Value], timestamp: str) -> dict[str, Any]:
        plan = self.plan
        for change in plan.changes:
            self.add(change)
        errored = any(item.severity is Severity.ERROR for item in plan.diagnostics)
        outputs = dict(sorted(plan.outputs.items()))
        return {
            "format_version": "1.2",
            "terraform_version": self.version,
            "variables": {name: _variable(variables[name]) for name in sorted(variables)},
            "planned_values": {
                "outputs": dict(_planned_outputs(outputs)),
                "root_module": nested(self.planned),
            },
            "resource_drift": [
                self.drift(change) for change in sorted(plan.drift, key=lambda change: (change.address, change.deposed))
            ],
            "resource_changes": self.resource_changes,
            **({"deferred_changes": self.deferred} if self.deferred else {}),
            "output_changes": {name: _output_change(output) for name, output in outputs.items()},
            "prior_state": {
                "format_version": "1.0",
                "terraform_version": self.version,
                "values": {"outputs": dict(_prior_outputs(outputs)), "root_module": nested(self.prior)},
            },
            "configuration": configuration(config, self.schemas),
            "timestamp": timestamp,
            "applyable": plan.has_changes and not errored,
            "complete": plan.complete,
            "errored": errored,
            "brevplan": own_facts(plan),
        }

    def add(self, change: Change) -> None:
        """Put one change into every list that it belongs to."""
        before = self.side(change, change.before)
        after = before if change.after is change.before else self.side(change, change.after)
        if before.data is not None:
            self.prior.append((change.address.module, _instance(change, before, prior=True)))
        if change.blocked:
            self.deferred.append(
                {"reason": change.blocked, "resource_change": _resource_change(change, change.action, before, after)}
            )
        is_still = change.is_noop or bool(change.blocked)
        if is_still:
            after = before
        if before.data is None and after.data is None:
            return
        action = Action.NOOP if is_still else change.action
        self.resource_changes.append(_resource_change(change, action, before, after))
        if after.data is not None and not change.deposed:
            self.planned.append((change.address.module, _instance(change, after)))

    def side(self, change: Change, attributes: Mapping[str, Value] | None) -> _Side:
        if attributes is None:
            return _NOTHING
        schema = self.schemas.get(change.address.kind)
        guarded = mark_sensitive(attributes, schema.attributes) if schema is not None else attributes
        return _Side(object_data(guarded), object_mask(guarded, secret_mask), object_mask(guarded, unknown_mask))

    def drift(self, change: Change) -> dict[str, Any]:
        action = Action.DELETE if change.after is None else Action.UPDATE
        return _resource_change(change, action, self.side(change, change.before), self.side(change, change.after))


def _resource_change(change: Change, action: Action, before: _Side, after: _Side) -> dict[str, Any]:
    data = {
        **_identity(change.address), **module_address(change.address.module), "provider_name": _provider(change)
    }  # fmt: skip
    if change.moved_from is not None:
        data["previous_address"] = str(change.moved_from)
    if change.deposed:
        data["deposed"] = change.deposed
    data["change"] = _change(change, action, before, after)
    # a change that is held back has no reason to be
    if change.reason and action is not Action.NOOP:
        data["action_reason"] = change.reason.value
    return data


def _change(change: Change, action: Action, before: _Side, after: _Side) -> dict[str, Any]:
    data: dict[str, Any] = {
        "actions": list(_ACTIONS[action]),
        "before": before.data,
        "after": after.data,
        # Terraform says {} of what is going to be gone
        "after_unknown": after.unknowns if after.data is not None else {},
        "before_sensitive": before.secrets,
        "after_sensitive": after.secrets,
    }
    if change.replace_paths and action in (Action.REPLACE, Action.REPLACE_CREATE_FIRST):
        data["replace_paths"] = [[name] for name in change.replace_paths]
    if change.imports:
        data["importing"] = {"id": change.imports}
    return data


def _identity(address: Address) -> dict[str, Any]:
    data: dict[str, Any] = {
        "address": str(address),
        "mode": "data" if address.is_data else "managed",
        "type": address.kind,
        "name": address.name,
    }
    if address.key is not None:
        data["index"] = address.key
    return data


def _provider(change: Change) -> str:
    return change.alias.split(".", 1)[0] or _OWN_PROVIDER


def _instance(change: Change, side: _Side, *, prior: bool = False) -> dict[str, Any]:
    data = {**_identity(change.address), "provider_name": _provider(change), "schema_version": 0}
    if prior and change.deposed:
        data["deposed_key"] = change.deposed
    return {**data, "values": side.data, "sensitive_values": side.secrets}


def _variable(value: Value) -> dict[str, Any]:
    return {} if isinstance(value, Secret) else {"value": shown_data(value)}


# outputs


def _planned_outputs(outputs: Mapping[str, OutputChange]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, output in outputs.items():
        if output.action is not Action.DELETE:
            yield name, output_data(output.after, sensitive=output.sensitive)


def _prior_outputs(outputs: Mapping[str, OutputChange]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, output in outputs.items():
        if output.action is not Action.CREATE:
            yield name, output_data(output.before, sensitive=output.sensitive)


def _output_change(output: OutputChange) -> dict[str, Any]:
    before = Secret(output.before) if output.sensitive else output.before
    after = Secret(output.after) if output.sensitive else output.after
    data: dict[str, Any] = {"actions": list(_ACTIONS[output.action])}
    # a value that must not be told is left out, so that it cannot be taken for null
    if not isinstance(before, Secret):
        data["before"] = shown_data(before)
    unknown = unknown_mask(after)
    if not isinstance(after, Secret) and unknown is not True:
        data["after"] = shown_data(after)
    return {
        **data,
        "after_unknown": unknown,
        "before_sensitive": secret_mask(before) if output.action is not Action.CREATE else False,
        "after_sensitive": secret_mask(after) if output.action is not Action.DELETE else False,
    }


# what only we know


def own_facts(plan: Plan) -> dict[str, Any]:
    """Give what Terraform's representation has no place for; `power`, `notes` and `blocked` are by address."""
    cost = plan.cost
    notes: dict[str, list[str]] = {}
    for change in plan.changes:
        if change.notes:
            notes.setdefault(address_of(change), []).extend(change.notes)
    return {
        "project": plan.project,
        "workspace": plan.workspace,
        "cost": {
            "hourly_before": money_data(cost.before),
            "hourly_after": money_data(cost.after),
            "monthly_delta": money_data(cost.monthly_delta),
            "currency": "USD",
            "unknown_before": cost.unknown_before,
            "unknown_after": cost.unknown_after,
        },
        "power": {address_of(change): change.power.value for change in plan.effective if change.power is not None},
        "notes": notes,
        "plan_notes": list(plan.notes),
        "blocked": {address_of(change): change.blocked for change in plan.blocked},
        "orphans": list(_orphans(plan)),
    }


def _orphans(plan: Plan) -> Iterable[dict[str, Any]]:
    for orphan in plan.orphans:
        yield {
            "provider": orphan.alias,
            "id": orphan.cloud_id,
            "ref_id": orphan.ref_id,
            "address": orphan.address,
            "instance_type": orphan.instance_type,
            "location": orphan.location,
            "hourly_price": money_data(orphan.hourly) if orphan.hourly is not None else None,
        }


def money_data(amount: Decimal) -> int | float:
    """Give USD as a JSON number, rounded to a millionth so that sums show no noise."""
    number = float(round(amount, 6))
    return int(number) if number.is_integer() else number
