"""Targets, exclusions, and what a blocked change takes with it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change
from brevplan.engine.sift import sift
from tests.engine.build import at, change


@dataclass
class Chosen:
    targets: tuple[Address, ...] = ()
    excludes: tuple[Address, ...] = ()


def left(changes: list[Change], *, targets: tuple[str, ...] = (), excludes: tuple[str, ...] = ()) -> list[str]:
    """Give the addresses that something is still done to."""
    found = sift(changes, Chosen(tuple(map(at, targets)), tuple(map(at, excludes))))
    return [str(item.address) for item in found if not item.is_noop and not item.blocked]


# a ← b ← c, and d alone
CHAIN = [
    change("instance.c", reads=["instance.b"]),
    change("instance.b", reads=["instance.a"]),
    change("instance.a"),
    change("instance.d"),
]
COUNTED = [*(change(f"instance.m[{n}]") for n in range(3)), change("instance.r", reads=["instance.m"])]
REMOVED = [
    change("instance.b", Action.DELETE, ["instance.a"]),
    change("instance.a", Action.DELETE),
    change("instance.d", Action.DELETE),
]


@pytest.mark.parametrize(
    ("changes", "targets", "kept"),
    [
        (CHAIN, (), ["a", "b", "c", "d"]),
        (CHAIN, ("instance.b",), ["a", "b"]),
        (CHAIN, ("instance.c",), ["a", "b", "c"]),
        (CHAIN, ("instance.a", "instance.d"), ["a", "d"]),
        (COUNTED, ("instance.m[1]",), ["m[1]"]),
        (COUNTED, ("instance.m",), ["m[0]", "m[1]", "m[2]"]),
        (COUNTED, ("instance.r",), ["m[0]", "m[1]", "m[2]", "r"]),
        (REMOVED, ("instance.a",), ["a", "b"]),  # what reads it must leave it first
        (REMOVED, ("instance.b",), ["b"]),
    ],
)
def test_targets_come_with_what_they_need(changes: list[Change], targets: tuple[str, ...], kept: list[str]) -> None:
    assert left(changes, targets=targets) == [f"instance.{name}" for name in kept]


@pytest.mark.parametrize(
    ("changes", "excludes", "kept"),
    [
        (CHAIN, ("instance.a",), ["d"]),
        (CHAIN, ("instance.b",), ["a", "d"]),
        (CHAIN, ("instance.c",), ["a", "b", "d"]),
        (COUNTED, ("instance.m[1]",), ["m[0]", "m[2]"]),
        (COUNTED, ("instance.m",), []),
        (COUNTED, ("instance.r",), ["m[0]", "m[1]", "m[2]"]),
    ],
)
def test_exclusions_go_with_what_needs_them(changes: list[Change], excludes: tuple[str, ...], kept: list[str]) -> None:
    assert left(changes, excludes=excludes) == [f"instance.{name}" for name in kept]


def test_what_is_left_out_stays_as_it_is() -> None:
    one, other = sift([change("instance.a", Action.DELETE), change("instance.b")], Chosen((at("instance.b"),)))
    assert (one.action, one.after) == (Action.NOOP, one.before)
    assert other.action is Action.CREATE


def test_the_order_is_that_of_addresses() -> None:
    mixed = [change("instance.m[10]"), change("instance.m[9]"), change("firewall.z")]
    assert left(mixed) == ["firewall.z", "instance.m[9]", "instance.m[10]"]


def blocked(changes: list[Change]) -> list[str]:
    return [str(item.address) for item in sift(changes, Chosen()) if item.blocked]


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        # a create that cannot be made holds what reads it, however far
        (
            [change("instance.a", blocked="no stock"), change("instance.b", reads=["instance.a"]),
             change("instance.c", reads=["instance.b"]), change("instance.d")],
            ["a", "b", "c"],
        ),
        ([change("instance.m[0]", blocked="x"), change("instance.m[1]"), change("instance.r", reads=["instance.m"])],
         ["m[0]", "r"]),
        # a destroy that cannot be made holds the destroy of what it still reads
        (
            [change("instance.b", Action.DELETE, ["instance.a"], blocked="protected"),
             change("instance.a", Action.DELETE)],
            ["a", "b"],
        ),
        # and not a create of what it reads, nor a destroy of its readers
        ([change("instance.b", Action.DELETE, ["instance.a"], blocked="p"), change("instance.a", Action.UPDATE)],
         ["b"]),
        ([change("instance.a", Action.DELETE, blocked="p"), change("instance.b", Action.DELETE, ["instance.a"])],
         ["a"]),
        # a replacement holds both ways
        (
            [change("instance.b", Action.REPLACE, ["instance.a"], blocked="p"), change("instance.a", Action.REPLACE),
             change("instance.c", reads=["instance.b"])],
            ["a", "b", "c"],
        ),
        # unverified: nothing is done, and readers wait
        ([change("instance.a", Action.NOOP, blocked="unverified"), change("instance.b", reads=["instance.a"])],
         ["a", "b"]),
        ([change("instance.a", blocked="p"), change("instance.b", Action.NOOP, ["instance.a"])], ["a"]),
    ],
)  # fmt: skip
def test_a_block_spreads(changes: list[Change], held: list[str]) -> None:
    assert blocked(changes) == [f"instance.{name}" for name in held]


def test_a_spread_block_names_its_cause() -> None:
    found = sift([change("instance.a", blocked="no stock"), change("instance.b", reads=["instance.a"])], Chosen())
    assert [item.blocked for item in found] == ["no stock", "it needs instance.a, which is blocked"]
