"""What one look at an account gives: lists, gets, doubts and grace, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from brevplan.contract.client import Urgency
from brevplan.contract.errors import AuthFailed, CloudError, InstanceNotFound, Unavailable
from brevplan.contract.model import CloudId, Instance, InstanceFilter, LifecycleStatus
from brevplan.engine.accounts import Account
from brevplan.engine.calls import Patience
from brevplan.engine.observed import AccountView
from brevplan.engine.pacing import AccountPacer
from brevplan.engine.ports import Record
from brevplan.engine.refresh import blank_view, observe
from brevplan.providers.local import SPEC, TRAITS
from tests.engine.build import record
from tests.world import VirtualClock

ALIVE = LifecycleStatus.RUNNING


def machine(number: int, **fields: Any) -> Instance:
    return Instance(**{"cloud_id": CloudId(f"i-{number}"), "status": ALIVE, **fields})


class Cloud:
    """A list that may change from call to call, gets, and what fails."""

    def __init__(self, *lists: Iterable[Instance] | CloudError, gets: dict[str, Instance | CloudError] | None = None):
        self.lists = [one if isinstance(one, CloudError) else list(one) for one in lists]
        self.gets = gets or {}
        self.listed = 0
        self.got: list[str] = []

    async def list_instances(self, wanted: InstanceFilter, *, urgency: Urgency) -> list[Instance]:
        answer = self.lists[min(self.listed, len(self.lists) - 1)]
        self.listed += 1
        if isinstance(answer, CloudError):
            raise answer
        return answer

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        self.got.append(cloud_id)
        answer = self.gets.get(cloud_id, InstanceNotFound("none"))
        if isinstance(answer, CloudError):
            raise answer
        return answer


def looked(cloud: Cloud, records: list[Record], *, grace: float = 0.0, accepted: str = "") -> tuple[AccountView, float]:
    async def run() -> tuple[AccountView, float]:
        clock = VirtualClock()
        pacer = AccountPacer(clock)
        traits = replace(TRAITS, grace_window_s=grace, instance_poll_s=5.0)
        patience = Patience(clock, pacer, lambda: 1.0, retries=2)
        client: Any = cloud
        account = Account("local", SPEC, client, traits, "print", "t", "", pacer, patience, clock)
        views = await observe([account], records, "lab", frozenset({accepted} - {""}))
        return views["local"], clock.elapsed

    return asyncio.run(run())


def rows(count: int, **fields: Any) -> list[Record]:
    return [record(f"instance.m[{n}]", cloud_id=f"i-{n}", **fields) for n in range(count)]


def test_a_whole_list_needs_no_get() -> None:
    cloud = Cloud([machine(0), machine(1), machine(7)])
    view, _ = looked(cloud, rows(2))
    assert (cloud.listed, cloud.got) == (1, [])
    assert sorted(view.machines) == ["i-0", "i-1", "i-7"]
    assert (view.gone, view.doubtful, view.unverified) == (set(), {}, "")


@pytest.mark.parametrize(
    ("answer", "gone", "doubtful", "there"),
    [
        (InstanceNotFound("none"), {"i-1"}, {}, False),
        (machine(1), set(), {}, True),
        (machine(1, status=LifecycleStatus.TERMINATED), {"i-1"}, {}, False),
        (AuthFailed("no"), set(), {"i-1": "no"}, False),
        (Unavailable("down"), set(), {"i-1": "down"}, False),
    ],
)
def test_a_get_decides_on_what_the_list_lacks(
    answer: Instance | CloudError, gone: set[str], doubtful: dict[str, str], there: bool
) -> None:
    cloud = Cloud([machine(0)], gets={"i-1": answer})
    view, _ = looked(cloud, rows(2))
    assert (view.gone, view.doubtful, "i-1" in view.machines) == (gone, doubtful, there)
    assert set(cloud.got) == {"i-1"}


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ([AuthFailed("wrong key")], "the list of local failed: wrong key"),
        ([Unavailable("down")], "the list of local failed: down"),
        ([[machine(0, cloud_id=CloudId(""))]], "malformed"),
    ],
)
def test_a_list_that_is_none_leaves_all_unverified(lists: list[Any], says: str) -> None:
    cloud = Cloud(*lists)
    view, _ = looked(cloud, rows(2))
    assert says in view.unverified
    assert view.machines == {}
    assert cloud.got == []


def test_a_list_that_fails_for_a_moment_is_asked_for_again() -> None:
    view, _ = looked(Cloud(Unavailable("down"), [machine(0)]), rows(1))
    assert view.unverified == ""
    assert list(view.machines) == ["i-0"]


@pytest.mark.parametrize(
    ("recorded", "listed", "believed"),
    [(5, 0, True), (6, 0, False), (6, 1, True), (100, 90, True), (100, 89, False), (30, 25, True), (30, 24, False)],
)
def test_a_much_shorter_list_is_not_believed_when_one_of_the_missing_lives(
    recorded: int, listed: int, believed: bool
) -> None:
    cloud = Cloud([machine(n) for n in range(listed)], gets={f"i-{n}": machine(n) for n in range(recorded)})
    view, _ = looked(cloud, rows(recorded))
    assert (view.unverified == "") is believed


YOUNG = {"seen": False}


def test_a_machine_never_seen_is_gone_only_after_the_whole_window() -> None:
    view, elapsed = looked(Cloud([]), rows(1, **YOUNG), grace=60.0)
    assert view.gone == {"i-0"}
    assert elapsed >= 60.0


def test_a_machine_that_was_seen_before_is_gone_at_once() -> None:
    view, elapsed = looked(Cloud([]), rows(1), grace=60.0)
    assert view.gone == {"i-0"}
    assert elapsed == 0.0


def test_a_machine_never_seen_that_shows_within_the_window_is_there() -> None:
    view, elapsed = looked(Cloud([], [], [machine(0)]), rows(1, **YOUNG), grace=60.0)
    assert list(view.machines) == ["i-0"]
    assert view.gone == set()
    assert elapsed < 60.0


def test_a_list_that_fails_within_the_window_leaves_doubt() -> None:
    view, _ = looked(Cloud([], AuthFailed("no")), rows(1, **YOUNG), grace=60.0)
    assert view.gone == set()
    assert view.doubtful == {"i-0": "no"}


OLD = {"account": "another print"}


@pytest.mark.parametrize(
    ("machines", "accepted", "same"),
    [
        ([], "", False),
        ([machine(9)], "", False),
        ([machine(0)], "", True),  # a recorded machine is seen there
        ([machine(9, cloud_cred_ref_id="bp-lab")], "", True),  # or one of our marks
        ([machine(9, cloud_cred_ref_id="bp-other")], "", False),
        ([machine(9, cloud_cred_ref_id="bp-lab", address="stage/instance.m[0]")], "", False),  # another workspace's
        ([machine(9, cloud_cred_ref_id="bp-lab", ref_id=f"bp-lab-{'a' * 12}-{'b' * 6}")], "", False),
        ([], "local", True),
        ([], "local.b", False),
    ],
)
def test_another_account_behind_a_block(machines: list[Instance], accepted: str, same: bool) -> None:
    view, _ = looked(Cloud(machines), rows(2, **OLD), accepted=accepted)
    assert (view.unverified == "") is same
    assert same or "-accept-account=local" in view.unverified


def test_two_blocks_of_one_account_share_one_list() -> None:
    async def run() -> tuple[int, dict[str, AccountView]]:
        clock = VirtualClock()
        pacer = AccountPacer(clock)
        cloud: Any = Cloud([machine(0)])
        accounts = [
            Account(alias, SPEC, cloud, TRAITS, "print", "t", "", pacer, Patience(clock, pacer, lambda: 1.0), clock)
            for alias in ("local", "local.b")
        ]
        views = await observe(accounts, rows(1), "lab")
        return cloud.listed, {**views, "": blank_view(accounts[0])}

    listed, views = asyncio.run(run())
    assert listed == 1
    assert list(views["local"].machines) == list(views["local.b"].machines) == ["i-0"]
    assert views[""].machines == {}
