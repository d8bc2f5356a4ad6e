"""The plan representation."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from brevplan.diagnostics import Diagnostics, Source, error
from brevplan.engine.change import Action, Change, Cost, OrphanNote, OutputChange, Plan, Power, Reason
from brevplan.engine.config import Config
from brevplan.engine.kind import AttributeSpec, Schema
from brevplan.engine.loading.module import Known, load_module
from brevplan.lang.parser import parse
from brevplan.lang.types import STRING
from brevplan.lang.values import Map, Object, Secret, Tuple, Unknown, Value
from brevplan.render.plan_json import plan_document

from .build import LATER, MACHINE, SCHEMAS, changed, plan


def document(shown: Plan, *, config: Config | None = None, variables: dict[str, Value] | None = None) -> dict[str, Any]:
    data = plan_document(
        shown, SCHEMAS, config=config, variables=variables or {}, version="0.1.0", timestamp="2026-01-02T03:04:05Z"
    )
    found: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return found


def only_change(change: Change) -> dict[str, Any]:
    (found,) = document(plan(change))["resource_changes"]
    assert isinstance(found, dict)
    return found


def test_document_names_format_and_whether_it_can_be_applied() -> None:
    found = document(plan(changed("instance.a", Action.CREATE)))

    head = ("format_version", "terraform_version", "timestamp", "applyable", "complete", "errored")
    assert {name: found[name] for name in head} == {
        "format_version": "1.2",
        "terraform_version": "0.1.0",
        "timestamp": "2026-01-02T03:04:05Z",
        "applyable": True,
        "complete": True,
        "errored": False,
    }


@pytest.mark.parametrize(
    ("shown", "applyable", "errored"),
    [
        (plan(changed("instance.a", Action.NOOP)), False, False),
        (plan(changed("instance.a", Action.CREATE), diagnostics=[error("no")]), False, True),
    ],
)
def test_document_that_leads_nowhere_is_not_applyable(shown: Plan, applyable: bool, errored: bool) -> None:
    found = document(shown)

    assert (found["applyable"], found["errored"]) == (applyable, errored)


@pytest.mark.parametrize(
    ("change", "actions"),
    [
        (changed("instance.a", Action.NOOP), ["no-op"]),
        (changed("instance.a", Action.CREATE), ["create"]),
        (changed("instance.a", Action.UPDATE, changed=("tags",)), ["update"]),
        (changed("instance.a", Action.UPDATE, power=Power.START), ["update"]),
        (changed("instance.a", Action.DELETE), ["delete"]),
        (changed("instance.a", Action.REPLACE), ["delete", "create"]),
        (changed("instance.a", Action.REPLACE_CREATE_FIRST), ["create", "delete"]),
        (changed("instance.a", Action.NOOP, imports="i-1"), ["no-op"]),
    ],
)
def test_actions_are_terraforms(change: Change, actions: list[str]) -> None:
    assert only_change(change)["change"]["actions"] == actions


def test_create_leaves_out_what_is_unknown_or_secret() -> None:
    after = {
        "id": LATER,
        "hourly_price": Fraction("3.29"),
        "location": None,
        "tags": Object({"a": "1", "b": Unknown(STRING), "c": Secret("x")}),
        "firewalls": Tuple(("a", Unknown(STRING))),
        "user_data": "#!/bin/sh",
    }

    found = only_change(changed("instance.a[1]", Action.CREATE, after=after, alias="lambda.west"))

    assert found == {
        "address": "instance.a[1]",
        "mode": "managed",
        "type": "instance",
        "name": "a",
        "index": 1,
        "provider_name": "lambda",
        "change": {
            "actions": ["create"],
            "before": None,
            "after": {"firewalls": ["a", None], "hourly_price": 3.29, "location": None, "tags": {"a": "1"}},
            "after_unknown": {"firewalls": [False, True], "id": True, "tags": {"b": True}},
            "before_sensitive": False,
            "after_sensitive": {"firewalls": [False, False], "tags": {"c": True}, "user_data": True},
        },
    }


def test_replace_names_its_paths_and_reason() -> None:
    change = changed("instance.a", Action.REPLACE, replace_paths=("location", "spot"), reason=Reason.CANNOT_UPDATE)

    found = only_change(change)

    assert found["change"]["replace_paths"] == [["location"], ["spot"]]
    assert found["action_reason"] == "replace_because_cannot_update"


def test_deposed_machine_is_prior_and_not_planned() -> None:
    found = document(
        plan(changed("instance.a", Action.NOOP), changed("instance.a", Action.DELETE, deposed="bp-1")),
    )

    assert [item.get("deposed") for item in found["resource_changes"]] == [None, "bp-1"]
    assert [item.get("deposed_key") for item in found["prior_state"]["values"]["root_module"]["resources"]] == [
        None, "bp-1",
    ]  # fmt: skip
    assert len(found["planned_values"]["root_module"]["resources"]) == 1


def test_blocked_change_stays_as_it_is_and_says_why() -> None:
    found = document(
        plan(
            changed("instance.a", Action.DELETE, blocked="prevent_destroy is set", reason=Reason.COUNT_INDEX),
            changed("instance.b", Action.CREATE, blocked="no stock"),
        )
    )

    (only,) = found["resource_changes"]
    assert (only["address"], only["change"]["actions"]) == ("instance.a", ["no-op"])
    assert only["change"]["after"] == only["change"]["before"]
    assert "action_reason" not in only
    assert [(item["reason"], item["resource_change"]["change"]["actions"]) for item in found["deferred_changes"]] == [
        ("prevent_destroy is set", ["delete"]),
        ("no stock", ["create"]),
    ]
    assert found["complete"] is False
    assert found["brevplan"]["blocked"] == {"instance.a": "prevent_destroy is set", "instance.b": "no stock"}


def test_outputs_hide_the_sensitive_and_the_unknown() -> None:
    found = document(
        plan(
            outputs={
                "key": OutputChange("key", Action.CREATE, None, Secret("x"), True),
                "later": OutputChange("later", Action.UPDATE, "a", LATER, False),
                "gone": OutputChange("gone", Action.DELETE, 1, None, False),
            }
        )
    )

    assert found["output_changes"] == {
        "gone": {
            "actions": ["delete"], "before": 1, "after": None, "after_unknown": False,
            "before_sensitive": False, "after_sensitive": False,
        },
        "key": {
            "actions": ["create"], "after_unknown": False, "before_sensitive": False, "after_sensitive": True,
        },
        "later": {
            "actions": ["update"], "before": "a", "after_unknown": True,
            "before_sensitive": False, "after_sensitive": False,
        },
    }  # fmt: skip
    assert found["planned_values"]["outputs"] == {
        "key": {"sensitive": True, "type": "string"},
        "later": {"sensitive": False, "type": "string"},
    }


def test_variables_leave_secrets_out() -> None:
    found = document(plan(), variables={"b": Map({"a": "1"}), "a": Secret("x"), "c": Object({"d": Secret("x")})})

    assert found["variables"] == {"a": {}, "b": {"value": {"a": "1"}}, "c": {"value": {}}}


def test_own_facts_tell_cost_power_notes_and_orphans() -> None:
    shown = plan(
        changed("instance.a", Action.UPDATE, power=Power.STOP, changed=("power_state",), notes=("n",)),
        cost=Cost(Decimal("3.29"), Decimal("23.92"), 0, 2),
        orphans=[OrphanNote("local", "i-9", "bp-9", "instance.z", "t", "l", Decimal("0.75"))],
        notes=["whole"],
    )

    assert document(shown)["brevplan"] == {
        "project": "acme",
        "workspace": "default",
        "cost": {
            "hourly_before": 3.29,
            "hourly_after": 23.92,
            "monthly_delta": 15059.9,
            "currency": "USD",
            "unknown_before": 0,
            "unknown_after": 2,
        },
        "power": {"instance.a": "stop"},
        "notes": {"instance.a": ["n"]},
        "plan_notes": ["whole"],
        "blocked": {},
        "orphans": [
            {
                "provider": "local", "id": "i-9", "ref_id": "bp-9", "address": "instance.z",
                "instance_type": "t", "location": "l", "hourly_price": 0.75,
            }
        ],
    }  # fmt: skip


def test_no_secret_is_anywhere_in_the_document() -> None:
    secret = Secret("hunter2")
    machine = {**MACHINE, "user_data": "hunter2", "tags": Object({"a": secret}), "options": Tuple((secret,))}
    shown = plan(
        changed("instance.a", Action.REPLACE, before=machine, after=machine, changed=("tags",)),
        outputs={"x": OutputChange("x", Action.UPDATE, "hunter2", "hunter2", True)},
        drift=[changed("instance.a", Action.UPDATE, before=machine, after=machine, changed=("user_data",))],
    )

    assert "hunter2" not in json.dumps(document(shown, variables={"v": secret}))


CONFIGURATION = """
provider "cloud" {
  alias   = "west"
  api_key = "hunter2"
  region  = var.region
}
variable "region" {
  default     = "us-west-1"
  description = "Where."
}
variable "key" {
  default   = "hunter2"
  sensitive = true
}
resource "box" "a" {
  provider = cloud.west
  count    = var.region == "" ? 0 : 1
  size     = "small"
  labels   = ["x", 1]
  secret   = "hunter2"
  upper    = upper("x")
}
resource "box" "b" {
  size       = box.a[0].size
  depends_on = [box.a]
}
output "size" {
  value = box.b.size
}
"""


class BoxKind:
    name = "box"
    needs_provider = True
    schema = Schema(
        {name: AttributeSpec(name) for name in ("size", "labels", "upper")}
        | {"secret": AttributeSpec("secret", sensitive=True)}
    )


def test_configuration_tells_constants_from_references() -> None:
    body, problems = parse(Source("main.hcl", CONFIGURATION))
    diagnostics = Diagnostics()
    kinds: Any = {"box": BoxKind()}
    config = load_module([body], Known(kinds, {}, {"cloud": ("api_key", "region")}), diagnostics)
    assert not problems
    assert not diagnostics.items

    found = plan_document(plan(), {"box": BoxKind.schema}, config=config, variables={}, version="", timestamp="")

    assert found["configuration"] == {
        "provider_config": {
            "cloud.west": {
                "name": "cloud",
                "full_name": "cloud",
                "alias": "west",
                "expressions": {"api_key": {}, "region": {"references": ["var.region"]}},
            }
        },
        "root_module": {
            "outputs": {"size": {"expression": {"references": ["box.b.size", "box.b"]}}},
            "resources": [
                {
                    "address": "box.a",
                    "mode": "managed",
                    "type": "box",
                    "name": "a",
                    "provider_config_key": "cloud.west",
                    "expressions": {
                        "labels": {"constant_value": ["x", 1]},
                        "secret": {},
                        "size": {"constant_value": "small"},
                        "upper": {},
                    },
                    "schema_version": 0,
                    "count_expression": {"references": ["var.region"]},
                },
                {
                    "address": "box.b",
                    "mode": "managed",
                    "type": "box",
                    "name": "b",
                    "provider_config_key": "cloud.west",
                    "expressions": {"size": {"references": ["box.a[0].size", "box.a[0]", "box.a"]}},
                    "schema_version": 0,
                    "depends_on": ["box.a"],
                },
            ],
            "variables": {
                "key": {"sensitive": True},
                "region": {"default": "us-west-1", "description": "Where."},
            },
        },
    }
