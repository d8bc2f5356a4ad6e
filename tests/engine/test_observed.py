"""What is at an address: which sign counts first, and what may not be concluded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from brevplan.contract.model import CloudId, Instance, LifecycleStatus
from brevplan.engine.identity import cred_ref_id, make_ref_id
from brevplan.engine.observed import Absent, AccountView, Ambiguous, Facts, Present, Unverified, living, sight
from brevplan.engine.ports import Intent, IntentState, Record, Role
from brevplan.providers.local import SPEC, TRAITS
from tests.engine.build import at, record

HOME = at("instance.m[0]")
OTHER = at("instance.m[1]")


def machine(number: int, address: str = "instance.m[0]", **fields: Any) -> Instance:
    base = {
        "cloud_id": CloudId(f"i-{number}"), "cloud_cred_ref_id": cred_ref_id("lab"), "address": address,
        "ref_id": make_ref_id("lab", "default", at(address), f"aaaaa{'abcdefg'[number]}"),
        "status": LifecycleStatus.RUNNING,
    }  # fmt: skip
    return Instance(**{**base, **fields})


def view(machines: Iterable[Instance] = (), alias: str = "local", **fields: Any) -> AccountView:
    base = AccountView(alias, "print", SPEC, TRAITS, {str(one.cloud_id): one for one in machines})
    return replace(base, **fields)


def facts(*views: AccountView, records: Iterable[Record] = (), intents: Iterable[Intent] = (), **fields: Any) -> Facts:
    rows = list(records)
    return Facts(
        "default", "lab", "salt", living(rows), [row for row in rows if row.role is not Role.CURRENT], list(intents),
        {one.alias: one for one in views}, **fields,
    )  # fmt: skip


def intent(number: int, state: IntentState = IntentState.OPEN, **fields: Any) -> Intent:
    return replace(Intent(machine(number).ref_id, "default", HOME, "local", "print", "run", state), **fields)


ROW = record("instance.m[0]", cloud_id="i-1")


def test_the_recorded_cloud_id_comes_first() -> None:
    seen = sight(facts(view([machine(1), machine(2)]), records=[ROW], intents=[intent(2)]), HOME, "local")
    assert seen == Present(ROW, machine(1), "local")


def test_then_an_open_intent() -> None:
    foreign = machine(2, cloud_cred_ref_id="bp-other")
    seen = sight(facts(view([machine(1), foreign]), intents=[intent(2)]), HOME, "local")
    assert seen == Present(None, foreign, "local")


def test_then_the_mark() -> None:
    assert sight(facts(view([machine(1)])), HOME, "local") == Present(None, machine(1), "local")
    assert sight(facts(view([machine(1)])), OTHER, "local") == Absent()


@pytest.mark.parametrize("state", [LifecycleStatus.TERMINATING, LifecycleStatus.TERMINATED])
def test_the_dead_do_not_count(state: LifecycleStatus) -> None:
    dead = machine(1, status=state)
    assert sight(facts(view([dead])), HOME, "local") == Absent()
    assert sight(facts(view([dead]), records=[ROW]), HOME, "local") == Absent(ROW)
    assert sight(facts(view([machine(2, status=state)]), intents=[intent(2)]), HOME, "local") == Absent()


def test_several_with_one_mark_are_ambiguous() -> None:
    assert sight(facts(view([machine(1), machine(2)])), HOME, "local") == Ambiguous((machine(1), machine(2)))


def test_several_of_one_attempt_are_ambiguous() -> None:
    twin = machine(2, ref_id=machine(1).ref_id)
    assert sight(facts(view([machine(1), twin]), intents=[intent(1)]), HOME, "local") == Ambiguous((machine(1), twin))


@pytest.mark.parametrize(
    "given",
    [
        facts(view([machine(1)], alias="a"), view([machine(1)], alias="b")),  # two blocks of one account
        facts(view([machine(1), machine(2)]), records=[record("instance.m[7]", cloud_id="i-2")]),
        facts(view([machine(1), machine(2)]), foreign=frozenset({("print", "i-2")})),
        facts(view([machine(1), machine(2, cloud_cred_ref_id="bp-other")])),
        facts(view([machine(1), machine(2, ref_id="bp-lab-nonsense")])),
    ],
)
def test_what_is_accounted_for_elsewhere_bears_no_mark_of_this_address(given: Facts) -> None:
    seen = sight(given, HOME, "local")
    assert isinstance(seen, Present)
    assert seen.instance == machine(1)


def test_a_retired_attempt_is_no_open_one() -> None:
    foreign = machine(2, cloud_cred_ref_id="bp-other")
    given = facts(view([foreign]), intents=[intent(2, IntentState.RETIRED)])
    assert sight(given, HOME, "local") == Absent()
    assert given.surfaced() == [(given.intents[0], "local", foreign)]


def test_an_intent_of_another_workspace_or_address_says_nothing() -> None:
    foreign = machine(2, cloud_cred_ref_id="bp-other")
    for other in (intent(2, workspace="stage"), intent(2, address=OTHER)):
        assert sight(facts(view([foreign]), intents=[other]), HOME, "local") == Absent()


def test_believed_gone() -> None:
    assert sight(facts(view(gone={"i-1"}), records=[ROW]), HOME, "local") == Absent(ROW)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (facts(view(unverified="the list failed"), records=[ROW]), "the list failed"),
        (facts(view(unverified="the list failed"), intents=[intent(2)]), "the list failed"),
        (facts(view(unverified="the list failed")), "the list failed"),
        (facts(view(), records=[ROW]), "it could not be looked up"),
        (facts(view(doubtful={"i-1": "timeout"}), records=[ROW]), "timeout"),
        (facts(records=[ROW]), 'its provider "local" is not configured'),
        (facts(intents=[intent(2)]), 'its provider "local" is not configured'),
        (facts(view([machine(2)]), intents=[intent(2)], locked_by="ann@box"), "being applied by ann@box"),
        (facts(view([machine(1)]), locked_by="ann@box"), "being applied by ann@box"),
    ],
)
def test_what_may_not_be_concluded(given: Facts, reason: str) -> None:
    seen = sight(given, HOME, "local")
    assert isinstance(seen, Unverified)
    assert seen.reason == reason


def test_a_recorded_machine_stays_where_others_apply() -> None:
    assert sight(facts(view([machine(1)]), records=[ROW], locked_by="ann"), HOME, "local") == Present(
        ROW, machine(1), "local"
    )


def test_without_refresh_what_is_recorded_is_there() -> None:
    assert sight(facts(view(), records=[ROW], refreshed=False), HOME, "local") == Present(ROW, None)


def test_a_machine_is_found_by_fingerprint_when_its_block_was_renamed() -> None:
    seen = sight(facts(view([machine(1)], alias="local.new"), records=[ROW]), HOME, "local.new")
    assert seen == Present(ROW, machine(1), "local.new")


def test_orphans_are_ours_and_nobodys() -> None:
    elsewhere = structs.replace(machine(5), address="stage/instance.m[0]")
    machines = [
        machine(1),  # recorded
        machine(2, "instance.m[1]"),  # deposed
        machine(3, "instance.old"),  # an orphan
        machine(4, cloud_cred_ref_id="bp-other"),  # another project's
        elsewhere,  # another workspace's
        machine(6, status=LifecycleStatus.TERMINATED),
    ]
    rows = [ROW, record("instance.m[1]", cloud_id="i-2", role=Role.DEPOSED, key="k2")]
    given = facts(view(machines), records=rows)
    assert [orphan.instance.cloud_id for orphan in given.orphans(frozenset())] == ["i-3"]
    assert given.orphans(frozenset({("print", "i-3")})) == []
    tried = replace(intent(1), ref_id=machines[2].ref_id)
    assert facts(view(machines), records=rows, intents=[tried]).orphans(frozenset()) == []


@pytest.mark.parametrize(
    ("cloud_id", "ref_id", "found"),
    [("i-1", "", "i-1"), ("i-9", machine(2).ref_id, "i-2"), ("i-9", "", None), ("", "", None)],
)
def test_a_machine_by_id_or_ref(cloud_id: str, ref_id: str, found: str | None) -> None:
    seen = facts(view([machine(1), machine(2)])).machine("local", cloud_id, ref_id)
    assert (seen.cloud_id if seen else None) == found
