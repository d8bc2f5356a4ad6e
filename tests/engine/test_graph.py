"""From changes to steps: what comes before what."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from brevplan.engine.change import Action, Change, Power
from brevplan.engine.graph import PlanCycle, StepGraph, Verb, build, verb_of
from tests.engine.build import at, change

FIRST = Action.REPLACE_CREATE_FIRST


def graph_of(*changes: Change, recorded: Mapping[str, tuple[str, ...]] | None = None) -> StepGraph:
    return build(changes, {at(reader): [*map(at, reads)] for reader, reads in (recorded or {}).items()})


def edges(graph: StepGraph) -> set[str]:
    """Give every edge as `before < after`."""
    return {f"{before} < {after}" for before, others in graph.after.items() for after in others}


def test_nothing_to_do_has_no_steps() -> None:
    assert build([], {}) == StepGraph()


@pytest.mark.parametrize(
    ("planned", "verb"),
    [
        (change("instance.a"), Verb.CREATE),
        (change("instance.a", Action.REPLACE), Verb.CREATE),
        (change("instance.a", FIRST), Verb.CREATE),
        (change("instance.a", Action.UPDATE, changed=("tags",)), Verb.UPDATE),
        (change("instance.a", Action.UPDATE, power=Power.STOP, changed=("power_state",)), Verb.STOP),
        (change("instance.a", Action.UPDATE, power=Power.START, changed=("power_state", "status")), Verb.START),
        (change("instance.a", Action.UPDATE, power=Power.STOP, changed=("power_state", "tags")), Verb.UPDATE),
        (change("instance.a", Action.UPDATE, power=Power.STOP, finish=True), Verb.UPDATE),
        (change("instance.a", Action.NOOP, imports="i-1"), Verb.ADOPT),
    ],
)
def test_verb(planned: Change, verb: Verb) -> None:
    assert verb_of(planned) is verb


def test_a_create_comes_after_what_it_reads() -> None:
    graph = graph_of(change("instance.b", reads=["instance.a"]), change("instance.a"), change("instance.c"))
    assert edges(graph) == {"create instance.a < create instance.b"}
    assert graph.waits == {"create instance.a": 0, "create instance.b": 1, "create instance.c": 0}


def test_an_update_comes_after_what_it_reads() -> None:
    graph = graph_of(change("instance.b", Action.UPDATE, ["firewall.a"]), change("firewall.a", Action.UPDATE))
    assert edges(graph) == {"update firewall.a < update instance.b"}


def test_reading_what_does_not_change_orders_nothing() -> None:
    assert edges(graph_of(change("instance.b", reads=["instance.a", "data.images.x"]))) == set()


def test_a_destroy_comes_before_what_it_read() -> None:
    graph = graph_of(
        change("instance.b", Action.DELETE, ["instance.a"]), change("instance.a", Action.DELETE),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) == {"destroy instance.b < destroy instance.a"}


def test_a_destroy_waits_for_readers_that_leave_it() -> None:
    graph = graph_of(
        change("instance.b", Action.UPDATE), change("instance.a", Action.DELETE),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) == {"update instance.b < destroy instance.a"}


def test_a_replacement_is_two_steps_and_its_reader_goes_first() -> None:
    graph = graph_of(
        change("instance.a", Action.REPLACE), change("instance.b", Action.REPLACE, ["instance.a"]),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) == {
        "destroy instance.a < create instance.a",
        "destroy instance.b < create instance.b",
        "create instance.a < create instance.b",
        "destroy instance.b < destroy instance.a",
    }
    assert not graph.steps["create instance.a"].deposes


def test_create_before_destroy_turns_the_two_steps_around_and_keeps_the_old_until_readers_left() -> None:
    graph = graph_of(
        change("instance.a", FIRST), change("instance.b", Action.UPDATE, ["instance.a"]),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) == {
        "create instance.a < destroy instance.a",
        "create instance.a < update instance.b",
        "update instance.b < destroy instance.a",
    }
    assert graph.steps["create instance.a"].deposes


def test_both_created_first() -> None:
    graph = graph_of(
        change("instance.a", FIRST), change("instance.b", FIRST, ["instance.a"]),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) >= {
        "create instance.a < create instance.b",
        "create instance.b < destroy instance.b",
        "destroy instance.b < destroy instance.a",
    }


def test_an_updated_reader_of_a_replaced_machine_waits_for_the_new_one() -> None:
    graph = graph_of(
        change("instance.a", Action.REPLACE), change("instance.b", Action.UPDATE, ["instance.a"]),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert edges(graph) == {"destroy instance.a < create instance.a", "create instance.a < update instance.b"}


def test_deposed_machines_are_destroyed_beside_the_current_one_each_in_a_step_of_its_own() -> None:
    old = [change("instance.a", Action.DELETE, deposed="bp-x", cloud_id=cloud_id) for cloud_id in ("i-1", "i-2")]
    graph = graph_of(change("instance.a"), *old)
    assert [step.verb for step in graph.steps.values()] == [Verb.CREATE, Verb.DESTROY, Verb.DESTROY]
    assert edges(graph) == set()


@pytest.mark.parametrize("many", [2, 40])
def test_a_block_read_as_a_whole_costs_n_plus_m_edges(many: int) -> None:
    members = [change(f"instance.a[{n}]") for n in range(many)]
    readers = [change(f"instance.b[{n}]", reads=["instance.a"]) for n in range(many)]
    graph = graph_of(*members, *readers)
    assert len(edges(graph)) == 2 * many
    assert graph.waits["all of instance.a"] == many
    assert "all of instance.a" not in graph.steps


def test_a_whole_block_that_shrinks_is_left_first() -> None:
    graph = graph_of(
        change("instance.a[1]", Action.DELETE), change("instance.b", Action.UPDATE, ["instance.a"]),
        recorded={"instance.b": ("instance.a",)},
    )  # fmt: skip
    assert "update instance.b < destroy instance.a[1]" in edges(graph)


def test_steps_that_wait_for_each_other_are_reported() -> None:
    with pytest.raises(PlanCycle) as problem:
        graph_of(change("instance.a", reads=["instance.b"]), change("instance.b", reads=["instance.a"]))
    ring = problem.value.ring
    assert ring[0] == ring[-1]
    assert set(ring) == {"create instance.a", "create instance.b"}


def test_every_wait_is_an_edge() -> None:
    graph = graph_of(
        change("instance.a[0]", FIRST), change("instance.a[1]"), change("firewall.f", Action.UPDATE),
        change("instance.b", Action.REPLACE, ["instance.a", "firewall.f"]), change("instance.c", Action.DELETE),
        recorded={"instance.b": ("instance.a", "instance.c"), "instance.c": ("firewall.f",)},
    )  # fmt: skip
    counted = {node: sum(node in others for others in graph.after.values()) for node in graph.after}
    assert counted == graph.waits
