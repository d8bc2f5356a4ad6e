"""Whose a machine is that no row is about, told by its marks."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from brevplan.contract.model import Instance, LifecycleStatus
from brevplan.engine.address import Address
from brevplan.engine.discovery import Standing, discover, hourly_total
from brevplan.engine.observed import Facts
from brevplan.engine.ports import IntentState, Record, Role
from tests.engine.build import at, record
from tests.engine.test_observed import HOME, OTHER, facts, intent, machine, view


def foreign(number: int, **fields: Any) -> Instance:
    return structs.replace(machine(number, **fields), cloud_cred_ref_id="", ref_id="", address="")


def standings(world: Facts, rows: list[Record] | None = None, *declared: Address) -> dict[str, tuple[str, str, str]]:
    found = discover(world, rows or [], declared or [HOME], {})
    return {
        f"{item.alias} {item.machine.cloud_id}": (item.standing.value, str(item.address or ""), item.owner)
        for item in found
    }


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (machine(1), ("adoptable", "instance.m[0]", "")),
        (machine(1, "instance.gone"), ("orphan", "instance.gone", "")),
        (structs.replace(machine(1), address="?"), ("adoptable", "instance.m[0]", "")),
        (structs.replace(machine(1), ref_id="something", address="?"), ("orphan", "", "")),
        (structs.replace(machine(1), address="stage/instance.m[0]"), ("workspace", "instance.m[0]", "stage")),
        (machine(1, cloud_cred_ref_id="bp-other"), ("project", "instance.m[0]", "other")),
        (foreign(1), ("foreign", "", "")),
        (machine(1, cloud_cred_ref_id="of another tool"), ("foreign", "", "")),
    ],
)
def test_marks_tell_whose_a_machine_is(one: Instance, expected: tuple[str, str, str]) -> None:
    assert standings(facts(view([one]))) == {"local i-1": expected}


def test_what_is_recorded_in_any_workspace_and_role_is_not_told() -> None:
    rows = [
        record("instance.m[0]", cloud_id="i-1"),
        replace(record("instance.m[0]", cloud_id="i-2"), key="b", role=Role.DEPOSED),
        replace(record("instance.m[0]", cloud_id="i-3"), key="c", workspace="stage"),
    ]
    world = facts(view([machine(1), machine(2), machine(3), machine(4)]), records=rows[:2])
    assert standings(world, rows) == {"local i-4": ("orphan", "instance.m[0]", "")}


def test_a_row_is_about_a_machine_of_its_own_account_only() -> None:
    row = record("instance.m[0]", cloud_id="i-1")
    far = view([machine(1, "instance.far")], "local.far", fingerprint="far")
    assert standings(facts(view([machine(1)]), far, records=[row]), [row]) == {
        "local.far i-1": ("orphan", "instance.far", "")
    }


def test_an_account_under_two_names_is_told_once() -> None:
    assert list(standings(facts(view([machine(1)]), view([machine(1)], "local.b")))) == ["local i-1"]


def test_the_dead_are_not_told() -> None:
    assert standings(facts(view([machine(1, status=LifecycleStatus.TERMINATING)]))) == {}


def test_several_with_the_mark_of_one_address_are_doubled() -> None:
    found = standings(facts(view([machine(1), machine(2)])))
    assert found == dict.fromkeys(("local i-1", "local i-2"), ("doubled", "instance.m[0]", ""))


def test_the_former_name_of_an_address_leads_there() -> None:
    world = facts(view([machine(1, "instance.old")]), former=lambda address: [at("instance.old")])
    assert standings(world) == {"local i-1": ("adoptable", "instance.m[0]", "")}


@pytest.mark.parametrize("state", list(IntentState))
def test_the_machine_of_an_attempt_is_told_as_that(state: IntentState) -> None:
    world = facts(view([machine(1)]), intents=[intent(1, state)])
    assert standings(world) == {"local i-1": ("attempt", "instance.m[0]", "")}


def test_a_forgotten_machine_is_neither_ours_nor_foreign() -> None:
    row = replace(record("instance.m[0]", cloud_id="i-1"), role=Role.FORGOTTEN)
    assert standings(facts(view([machine(1)])), [row]) == {"local i-1": ("forgotten", "instance.m[0]", "")}


def test_what_an_import_block_names_is_told_as_that() -> None:
    found = discover(facts(view([foreign(1)])), [], [HOME], {("print", "i-1"): OTHER})
    assert [(item.standing, item.address) for item in found] == [(Standing.IMPORT, OTHER)]


def test_the_total_counts_what_nobody_answers_for_and_what_is_stopped_at_nothing() -> None:
    price = {"hourly_price": Decimal("0.75")}
    machines = [
        machine(1, **price),
        machine(2, "instance.gone", **price),
        foreign(3, **price),
        foreign(4, **price, status=LifecycleStatus.STOPPED),
        foreign(5),
    ]
    found = discover(facts(view(machines)), [], [HOME], {})
    assert hourly_total(found) == (Decimal("1.50"), 1)
