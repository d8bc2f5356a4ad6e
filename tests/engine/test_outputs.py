"""Outputs: what becomes of each, and that a sensitive one shows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from brevplan.diagnostics import Diagnostics
from brevplan.engine.change import Action, Change, Mode, OutputChange
from brevplan.engine.observed import Facts
from brevplan.engine.outputs import plan_outputs, store_output, stored_value
from brevplan.lang.values import Object, Secret, Tuple, Unknown, Value
from tests.engine.build import change, loaded, scope_of

SALT = "salt"


def planned(
    text: str, prior: dict[str, Any] | None = None, *, mode: Mode = Mode.NORMAL, changes: list[Change] | None = None,
    **variables: Value,
) -> tuple[dict[str, OutputChange], list[str]]:  # fmt: skip
    declared = "".join(f'variable "{name}" {{}}\n' for name in variables)
    config, problems = loaded(declared + text)
    assert not problems
    facts = Facts("default", "lab", SALT, {}, [], [], {}, prior_outputs=prior or {})
    diagnostics = Diagnostics()
    found = plan_outputs(config, scope_of(config, **variables), facts, mode, changes or [], diagnostics)
    return found, [item.summary for item in diagnostics.items]


def out(value: str, extra: str = "") -> str:
    return f'output "o" {{\n  value = {value}\n  {extra}\n}}\n'


SENSITIVE = "sensitive = true"


@pytest.mark.parametrize(
    ("text", "prior", "action"),
    [
        (out("1"), None, Action.CREATE),
        (out("null"), None, Action.CREATE),
        (out("1"), store_output(1, SALT, sensitive=False), Action.NOOP),
        (out("null"), store_output(None, SALT, sensitive=False), Action.NOOP),
        (out("2"), store_output(1, SALT, sensitive=False), Action.UPDATE),
        (out('"1"'), store_output(1, SALT, sensitive=False), Action.UPDATE),
        (out("1 / 3"), store_output(1, SALT, sensitive=False), Action.UPDATE),
        (out('[1, "a"]'), store_output(Tuple([1, "a"]), SALT, sensitive=False), Action.NOOP),
        (out("{ a = 1 }"), store_output(Object({"a": 1}), SALT, sensitive=False), Action.NOOP),
        (out('"x"', SENSITIVE), store_output(Secret("x"), SALT, sensitive=True), Action.NOOP),
        (out('"y"', SENSITIVE), store_output(Secret("x"), SALT, sensitive=True), Action.UPDATE),
        (out('"x"', SENSITIVE), store_output("x", SALT, sensitive=False), Action.UPDATE),  # it is a secret from now on
        (out('"x"'), store_output(Secret("x"), SALT, sensitive=True), Action.UPDATE),
        ("", store_output(1, SALT, sensitive=False), Action.DELETE),
    ],
)
def test_action(text: str, prior: dict[str, Any] | None, action: Action) -> None:
    found, problems = planned(text, {"o": prior} if prior is not None else None)
    assert not problems
    assert found["o"].action is action


def test_a_destroy_deletes_what_is_stored_and_makes_nothing() -> None:
    found, _ = planned(out("1"), {"old": store_output(1, SALT, sensitive=False)}, mode=Mode.DESTROY)
    assert {name: item.action for name, item in found.items()} == {"old": Action.DELETE}


def test_a_deleted_sensitive_output_stays_sensitive() -> None:
    found, _ = planned("", {"o": store_output(Secret("x"), SALT, sensitive=True)})
    assert found["o"].sensitive
    assert isinstance(found["o"].before, Secret)


def test_a_sensitive_output_is_a_secret_through_and_through() -> None:
    found, _ = planned(out("[var.s, 1]", SENSITIVE), s=Secret("hunter2"))
    assert found["o"].after == Secret(Tuple(["hunter2", 1]))
    assert isinstance(found["o"].after, Secret)
    assert "hunter2" not in repr(store_output(found["o"].after, SALT, sensitive=True))


@pytest.mark.parametrize("value", ["var.s", '"a-${var.s}"', "[var.s]", "{ k = var.s }"])
def test_a_secret_that_would_be_shown_is_an_error(value: str) -> None:
    found, problems = planned(out(value), s=Secret("hunter2"))
    assert problems == ["Output would show a secret"]
    assert found == {}


def test_nonsensitive_lets_it_be_shown() -> None:
    found, problems = planned(out("nonsensitive(var.s)"), s=Secret("x"))
    assert not problems
    assert found["o"].after == "x"


def test_an_unknown_output_is_an_update() -> None:
    found, _ = planned(out("var.u"), {"o": store_output(1, SALT, sensitive=False)}, u=Unknown())
    assert found["o"].action is Action.UPDATE
    assert isinstance(found["o"].after, Unknown)


def test_what_reads_something_blocked_keeps_its_value() -> None:
    text = 'resource "firewall" "f" {}\n' + out("firewall.f.id")
    held = change("firewall.f", blocked="unverified")
    found, _ = planned(text, {"o": store_output("old", SALT, sensitive=False)}, changes=[held])
    assert (found["o"].action, found["o"].after) == (Action.NOOP, "old")


def test_a_false_precondition_is_an_error() -> None:
    rule = 'precondition {\n    condition = 1 > 2\n    error_message = "never"\n  }'
    assert planned(out("1", rule))[1] == ["Precondition failed"]


def test_outputs_come_in_order_of_name() -> None:
    text = "".join(f'output "{name}" {{\n  value = 1\n}}\n' for name in "cab")
    assert list(planned(text)[0]) == ["a", "b", "c"]


def test_what_is_stored_oddly_is_no_value() -> None:
    assert stored_value("garbage") is None
    assert stored_value({"value": None, "sensitive": True}) == Secret(None)
