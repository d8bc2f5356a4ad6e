"""The machine-readable lines of `-json`, as Terraform words them: every function gives one object, ready to be dumped.

The time is a parameter: nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from brevplan.diagnostics import Diagnostic
from brevplan.engine.address import Address, path_text
from brevplan.engine.change import Action, Change, Counts, OutputChange, Plan, Reason
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepProgress, StepSkipped, StepStarted
from brevplan.engine.graph import Verb
from brevplan.lang.values import Value
from brevplan.render.diagnostics import diagnostic_json
from brevplan.render.leaves import output_data
from brevplan.render.progress import event_text
from brevplan.render.text import plan_line, render_counts
from brevplan.render.words import address_of

Line = dict[str, Any]

UI_VERSION: Final = "1.2"

_ACTIONS: Final = {
    Action.NOOP: "noop",
    Action.CREATE: "create",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
    Action.REPLACE: "replace",
    Action.REPLACE_CREATE_FIRST: "replace",
    Action.FORGET: "forget",
}
_REASONS: Final = {
    Reason.CANNOT_UPDATE: "cannot_update",
    Reason.REQUESTED: "requested",
    Reason.TRIGGERED: "triggered",
}
_HOOK_ACTIONS: Final = {
    Verb.CREATE: "create",
    Verb.UPDATE: "update",
    Verb.START: "update",
    Verb.STOP: "update",
    Verb.DESTROY: "delete",
    Verb.ADOPT: "import",
    Verb.MOVE: "move",
    Verb.FORGET: "forget",
}


def _line(type_: str, message: str, timestamp: str, level: str = "info", **facts: Any) -> Line:
    return {
        "@level": level,
        "@message": message,
        "@module": "brevplan.ui",
        "@timestamp": timestamp,
        "type": type_,
        **facts,
    }


def version_line(version: str, timestamp: str) -> Line:
    return _line("version", f"brevplan {version}", timestamp, brevplan=version, ui=UI_VERSION)


def log_line(message: str, timestamp: str, level: str = "info") -> Line:
    return _line("log", message, timestamp, level)


def diagnostic_line(d: Diagnostic, timestamp: str) -> Line:
    level = "error" if d.severity.value == "error" else "warn"
    message = f"{d.severity.value.capitalize()}: {d.summary}"
    return _line("diagnostic", message, timestamp, level, diagnostic=diagnostic_json(d))


# plans


def plan_lines(plan: Plan, timestamp: str) -> Iterator[Line]:
    """Give drift, planned changes, what stands beside them, the summary and the outputs of a plan."""
    for change in plan.drift:
        yield resource_drift(change, timestamp)
    for change in plan.effective:
        yield planned_change(change, timestamp)
    for change in plan.blocked:
        yield log_line(f"{address_of(change)}: Blocked: {change.blocked}", timestamp, "warn")
    for orphan in plan.orphans:
        yield log_line(f"Nothing accounts for {orphan.cloud_id} ({orphan.ref_id})", timestamp, "warn")
    yield change_summary(plan.counts, "plan", timestamp, message=plan_line(plan.counts))
    if plan.outputs:
        yield planned_outputs(plan.outputs, timestamp)


def planned_change(change: Change, timestamp: str) -> Line:
    action = _ACTIONS[change.action]
    if change.action is Action.NOOP:
        action = "import" if change.imports else "move"
    message = f"{change.address}: Plan to {change.power.value if change.is_only_power and change.power else action}"
    return _line("planned_change", message, timestamp, change=_change(change, action))


def resource_drift(change: Change, timestamp: str) -> Line:
    action = "delete" if change.after is None else "update"
    message = f"{change.address}: Drift detected ({action})"
    return _line("resource_drift", message, timestamp, change=_change(change, action))


def _change(change: Change, action: str) -> dict[str, Any]:
    data: dict[str, Any] = {"resource": resource(change.address), "action": action}
    reason = _REASONS.get(change.reason, change.reason.value)
    if reason:
        data["reason"] = reason
    if change.imports:
        data["importing"] = {"id": change.imports}
    if change.moved_from is not None:
        data["previous_resource"] = resource(change.moved_from)
    if change.power is not None:
        data["power"] = change.power.value
    if change.deposed:
        data["deposed"] = change.deposed
    return data


def change_summary(
    counts: Counts, operation: Literal["plan", "apply", "destroy"], timestamp: str, *, message: str = ""
) -> Line:
    """Count; a start and a stop are changes. Without a message it is the one of a finished operation."""
    changes = {
        "add": counts.add,
        "change": counts.change + counts.start + counts.stop,
        "import": counts.imports,
        "remove": counts.destroy,
        "forget": counts.forget,
        "operation": operation,
    }
    words = message or render_counts(counts, "destroy" if operation == "destroy" else "apply")
    return _line("change_summary", words, timestamp, changes=changes)


def planned_outputs(outputs: Mapping[str, OutputChange], timestamp: str) -> Line:
    """Give what becomes of the outputs; values are told once they are applied."""
    shown = {
        name: {"sensitive": output.sensitive, "action": _ACTIONS[output.action]}
        for name, output in sorted(outputs.items())
    }
    return _line("outputs", f"Outputs: {len(shown)}", timestamp, outputs=shown)


def outputs_line(outputs: Mapping[str, tuple[Value, bool]], timestamp: str) -> Line:
    """Give the values of the outputs; each comes with whether it is sensitive."""
    shown = {name: output_data(value, sensitive=hidden) for name, (value, hidden) in sorted(outputs.items())}
    return _line("outputs", f"Outputs: {len(shown)}", timestamp, outputs=shown)


# progress


def event_line(event: Event, timestamp: str) -> Line:
    """Give the line of one event of an apply."""
    message = event_text(event)
    match event:
        case StepStarted():
            hook = _hook(event.address, event.verb, cloud_id=event.cloud_id)
            if event.deposed:
                hook["deposed"] = event.deposed
            return _line("apply_start", message, timestamp, hook=hook)
        case StepProgress():
            hook = _hook(event.address, event.verb, event.elapsed)
            if event.phase:
                hook["phase"] = event.phase
            return _line("apply_progress", message, timestamp, hook=hook)
        case StepFinished():
            hook = _hook(event.address, event.verb, event.elapsed, event.cloud_id)
            return _line("apply_complete", message, timestamp, hook=hook)
        case StepFailed():
            hook = _hook(event.address, event.verb, event.elapsed)
            return _line("apply_errored", message, timestamp, "error", hook=hook)
        case StepSkipped():
            return log_line(message, timestamp, "warn")
        case Notice():
            return log_line(message, timestamp)


def _hook(address: Address, verb: Verb, elapsed: float | None = None, cloud_id: str = "") -> dict[str, Any]:
    hook: dict[str, Any] = {"resource": resource(address), "action": _HOOK_ACTIONS[verb]}
    if verb in (Verb.START, Verb.STOP):
        hook["power"] = verb.value
    if cloud_id:
        hook |= {"id_key": "id", "id_value": cloud_id}
    if elapsed is not None:
        hook["elapsed_seconds"] = round(elapsed)
    return hook


def resource(address: Address) -> dict[str, Any]:
    """Name a resource instance the way every line does."""
    text = str(address)
    return {
        "addr": text,
        "module": path_text(address.module),
        "resource": str(address.inside(())),
        "implied_provider": address.kind,
        "resource_type": address.kind,
        "resource_name": address.name,
        "resource_key": address.key,
    }
