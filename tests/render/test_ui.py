"""The machine-readable lines."""

from __future__ import annotations

from typing import Any

import pytest

from brevplan.diagnostics import warning
from brevplan.engine.address import Address
from brevplan.engine.change import Action, Counts, Mode, OrphanNote, OutputChange, Power, Reason
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepProgress, StepSkipped, StepStarted
from brevplan.engine.graph import Verb
from brevplan.lang.types import NUMBER, STRING
from brevplan.lang.values import List, Map, Object, Secret, Tuple, Unknown, Value
from brevplan.render import ui

from .build import MACHINE, changed, plan

NOW = "2026-01-02T03:04:05Z"
WEB = Address.parse('instance.web["a"]')
RESOURCE = {
    "addr": 'instance.web["a"]',
    "module": "",
    "resource": 'instance.web["a"]',
    "implied_provider": "instance",
    "resource_type": "instance",
    "resource_name": "web",
    "resource_key": "a",
}


def facts(line: dict[str, Any]) -> dict[str, Any]:
    assert line["@module"] == "brevplan.ui"
    assert line["@timestamp"] == NOW
    return {name: value for name, value in line.items() if name not in ("@module", "@timestamp")}


EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (StepStarted(WEB, Verb.CREATE), {"type": "apply_start", "hook": {"action": "create"}}),
    (
        StepStarted(WEB, Verb.DESTROY, "i-1", "bp-1"),
        {"type": "apply_start", "hook": {"action": "delete", "id_key": "id", "id_value": "i-1", "deposed": "bp-1"}},
    ),
    (
        StepProgress(WEB, Verb.START, "", 10.2),
        {"type": "apply_progress", "hook": {"action": "update", "power": "start", "elapsed_seconds": 10}},
    ),
    (
        StepFinished(WEB, Verb.CREATE, 12, "i-1"),
        {
            "type": "apply_complete",
            "hook": {"action": "create", "id_key": "id", "id_value": "i-1", "elapsed_seconds": 12},
        },
    ),
    (
        StepFailed(WEB, Verb.UPDATE, 3, "no"),
        {"@level": "error", "type": "apply_errored", "hook": {"action": "update", "elapsed_seconds": 3}},
    ),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS, ids=[item[1]["type"] + item[0].verb for item in EVENTS])  # type: ignore[union-attr]
def test_step_event_is_a_hook(event: Event, expected: dict[str, Any]) -> None:
    line = facts(ui.event_line(event, NOW))
    line.pop("@message")

    assert line == {"@level": "info", **expected, "hook": {"resource": RESOURCE, **expected["hook"]}}


def test_other_event_is_a_log_line() -> None:
    assert facts(ui.event_line(Notice("hello"), NOW)) == {"@level": "info", "@message": "hello", "type": "log"}
    assert facts(ui.event_line(StepSkipped(WEB, Verb.CREATE, "no"), NOW))["@level"] == "warn"


def test_plan_streams_drift_changes_summary_and_outputs() -> None:
    shown = plan(
        changed('instance.web["a"]', Action.REPLACE, reason=Reason.CANNOT_UPDATE),
        changed("instance.b", Action.UPDATE, power=Power.STOP, changed=("power_state",)),
        changed("instance.c", Action.NOOP, imports="i-7"),
        changed("instance.d", Action.NOOP),
        changed("instance.e", Action.DELETE, blocked="prevent_destroy is set"),
        mode=Mode.NORMAL,
        drift=[changed("instance.d", Action.UPDATE, before={**MACHINE, "status": "?"}, changed=("status",))],
        outputs={"b": OutputChange("b", Action.CREATE, None, Secret("x"), True)},
        orphans=[OrphanNote("local", "i-9", "bp-9", "", "t", "l", None)],
    )

    lines = [facts(line) for line in ui.plan_lines(shown, NOW)]

    assert [(line["type"], line["@message"]) for line in lines] == [
        ("resource_drift", "instance.d: Drift detected (update)"),
        ("planned_change", 'instance.web["a"]: Plan to replace'),
        ("planned_change", "instance.b: Plan to stop"),
        ("planned_change", "instance.c: Plan to import"),
        ("log", "instance.e: Blocked: prevent_destroy is set"),
        ("log", "Nothing accounts for i-9 (bp-9)"),
        ("change_summary", "Plan: 1 to import, 1 to add, 0 to change, 1 to destroy, 1 to stop."),
        ("outputs", "Outputs: 1"),
    ]
    assert lines[1]["change"] == {"resource": RESOURCE, "action": "replace", "reason": "cannot_update"}
    assert lines[2]["change"]["action"] == "update"
    assert lines[3]["change"]["importing"] == {"id": "i-7"}
    assert lines[6]["changes"] == {"add": 1, "change": 1, "import": 1, "remove": 1, "forget": 0, "operation": "plan"}
    assert lines[7]["outputs"] == {"b": {"sensitive": True, "action": "create"}}


def test_summary_of_an_apply_counts_power_as_change() -> None:
    line = facts(ui.change_summary(Counts(add=2, change=1, start=1, stop=1), "apply", NOW))

    assert line["changes"] == {"add": 2, "change": 3, "import": 0, "remove": 0, "forget": 0, "operation": "apply"}
    assert line["@message"] == "Apply complete! Resources: 2 added, 1 changed, 0 destroyed, 1 started, 1 stopped."


@pytest.mark.parametrize(
    ("value", "sensitive", "expected"),
    [
        ("a", False, {"sensitive": False, "type": "string", "value": "a"}),
        ("a", True, {"sensitive": True, "type": "string"}),
        (Secret("a"), False, {"sensitive": True, "type": "string"}),
        (Unknown(NUMBER), False, {"sensitive": False, "type": "number"}),
        (List(("a",)), False, {"sensitive": False, "type": ["list", "string"], "value": ["a"]}),
        (Map({}, STRING), False, {"sensitive": False, "type": ["map", "string"], "value": {}}),
        (
            Object({"a": Tuple((1, None))}),
            False,
            {
                "sensitive": False,
                "type": ["object", {"a": ["tuple", ["number", "dynamic"]]}],
                "value": {"a": [1, None]},
            },
        ),
    ],
)
def test_output_has_its_type_and_only_what_may_be_seen(value: Value, sensitive: bool, expected: dict[str, Any]) -> None:
    assert ui.outputs_line({"x": (value, sensitive)}, NOW)["outputs"] == {"x": expected}


def test_diagnostic_line_carries_the_diagnostic() -> None:
    line = facts(ui.diagnostic_line(warning("Old", "Why."), NOW))

    assert line == {
        "@level": "warn",
        "@message": "Warning: Old",
        "type": "diagnostic",
        "diagnostic": {"severity": "warning", "summary": "Old", "detail": "Why."},
    }
