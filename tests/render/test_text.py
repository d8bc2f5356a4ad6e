"""Plans as a person reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from textwrap import dedent
from typing import Any

import pytest

from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change, Cost, Counts, Mode, OrphanNote, OutputChange, Plan, Power, Reason
from brevplan.engine.ports import Record, Role
from brevplan.lang.values import List, Map, Object, Secret, Tuple
from brevplan.render.text import plan_line, render_counts, render_outputs, render_plan, render_state

from .build import LATER, MACHINE, SCHEMAS, changed, plan

STOPPED = {**MACHINE, "power_state": "stopped", "status": "stopped", "public_ip": LATER}
OTHER_TYPE = {**MACHINE, "id": LATER, "instance_type": "gpu_1x_h100"}


def text(shown: Plan, **options: Any) -> str:
    return "\n".join(render_plan(shown, SCHEMAS, **options))


def headings(change: Change) -> list[str]:
    return [line.strip() for line in render_plan(plan(change), SCHEMAS) if line.startswith("  #")]


def opening(change: Change, *, ascii: bool = False) -> str:
    return next(line for line in render_plan(plan(change), SCHEMAS, ascii=ascii) if 'resource "' in line)


HEADINGS: list[tuple[str, Change, list[str]]] = [
    ("create", changed("instance.web[0]", Action.CREATE), ["# instance.web[0] will be created", "# $0.75/hr"]),
    (
        "create_of_unknown_price",
        changed("instance.web", Action.CREATE, price_after=None),
        ["# instance.web will be created", "# unknown price"],
    ),
    (
        "gone",
        changed("instance.web", Action.CREATE, gone=True, cloud_id="i-0001"),
        ["# instance.web will be created", "# (it is gone; it was i-0001)", "# $0.75/hr"],
    ),
    (
        "update",
        changed("instance.web", Action.UPDATE, changed=("tags",)),
        ["# instance.web will be updated in-place"],
    ),
    (
        "update_of_an_adopted_machine",
        changed("instance.web", Action.UPDATE, changed=("tags",), imports="i-0001"),
        ["# instance.web will be updated in-place", '# (adopted: found by its mark as "i-0001")', "# $0.75/hr"],
    ),
    (
        "adopt",
        changed("instance.web", Action.NOOP, imports="i-0001"),
        ["# instance.web will be adopted: found by its mark", '# (imported from "i-0001")', "# $0.75/hr"],
    ),
    (
        "finish",
        changed("instance.web", Action.UPDATE, finish=True),
        ["# instance.web will finish creating", "# (an earlier run made it and did not see it ready)"],
    ),
    (
        "must_replace",
        changed("instance.web", Action.REPLACE, replace_paths=("location",), reason=Reason.CANNOT_UPDATE),
        ["# instance.web must be replaced"],
    ),
    (
        "replace_to_another_price",
        changed("instance.web", Action.REPLACE, reason=Reason.REQUESTED, price_after=Decimal("3.29")),
        ["# instance.web will be replaced, as requested", "# $0.75/hr -> $3.29/hr"],
    ),
    (
        "replace_triggered",
        changed("instance.web", Action.REPLACE_CREATE_FIRST, reason=Reason.TRIGGERED),
        ["# instance.web will be replaced, because of replace_triggered_by"],
    ),
    (
        "delete_block_gone",
        changed("instance.web[2]", Action.DELETE, reason=Reason.NO_RESOURCE_CONFIG),
        ["# instance.web[2] will be destroyed", "# (because instance.web is not in configuration)", "# frees $0.75/hr"],
    ),
    (
        "delete_index",
        changed("instance.web[2]", Action.DELETE, reason=Reason.COUNT_INDEX),
        [
            "# instance.web[2] will be destroyed",
            "# (because index [2] is out of range for count)",
            "# frees $0.75/hr",
        ],
    ),
    (
        "delete_key",
        changed('instance.web["a"]', Action.DELETE, reason=Reason.EACH_KEY, price_before=None),
        ['# instance.web["a"] will be destroyed', '# (because key ["a"] is not in for_each map)'],
    ),
    (
        "delete_single_of_a_counted_block",
        changed("instance.web", Action.DELETE, reason=Reason.WRONG_REPETITION, price_before=None),
        ["# instance.web will be destroyed", "# (because resource uses count or for_each)"],
    ),
    (
        "delete_index_of_a_keyed_block",
        changed("instance.web[0]", Action.DELETE, reason=Reason.WRONG_REPETITION, price_before=None),
        ["# instance.web[0] will be destroyed", "# (because resource does not use count)"],
    ),
    (
        "delete_deposed",
        changed("instance.web", Action.DELETE, deposed="bp-x-1", reason=Reason.NO_RESOURCE_CONFIG),
        [
            "# instance.web (deposed bp-x-1) will be destroyed",
            "# (left over from an earlier run: it is no longer the machine of its address)",
            "# frees $0.75/hr",
        ],
    ),
    (
        "start",
        changed("instance.web", Action.UPDATE, power=Power.START, changed=("power_state",), price_before=Decimal(0)),
        ["# instance.web will be started", "# $0.00/hr -> $0.75/hr"],
    ),
    (
        "stop_that_loses_data",
        changed(
            "instance.web", Action.UPDATE, power=Power.STOP, changed=("power_state",), power_loses_data=True,
            after=STOPPED, price_after=Decimal(0),
        ),
        [
            "# instance.web will be stopped",
            "# (WARNING: the stop loses the data on its local disks)",
            "# $0.75/hr -> $0.00/hr",
        ],
    ),
    (
        "update_and_stop",
        changed("instance.web", Action.UPDATE, power=Power.STOP, changed=("power_state", "tags")),
        ["# instance.web will be updated in-place and stopped"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in HEADINGS], ids=[case[0] for case in HEADINGS])
def test_heading_says_what_happens_and_why(change: Change, expected: list[str]) -> None:
    assert headings(change) == expected


@pytest.mark.parametrize(
    ("change", "sign", "plain"),
    [
        (changed("instance.web", Action.CREATE), "  + ", "  + "),
        (changed("instance.web", Action.DELETE), "  - ", "  - "),
        (changed("instance.web", Action.REPLACE), "-/+ ", "-/+ "),
        (changed("instance.web", Action.REPLACE_CREATE_FIRST), "+/- ", "+/- "),
        (changed("instance.web", Action.UPDATE, changed=("tags",)), "  ~ ", "  ~ "),
        (changed("instance.web", Action.NOOP, imports="i-0001"), "    ", "    "),
        (changed("instance.web", Action.UPDATE, power=Power.START), "  ▲ ", "  ^ "),
        (changed("instance.web", Action.UPDATE, power=Power.STOP), "  ▼ ", "  v "),
    ],
)
def test_sign_stands_before_the_resource(change: Change, sign: str, plain: str) -> None:
    assert opening(change).partition("resource")[0] == sign
    assert opening(change, ascii=True).partition("resource")[0] == plain


BODIES: list[tuple[str, Change, str]] = [
    (
        "create_shows_everything_but_nulls",
        changed(
            "instance.web", Action.CREATE,
            after={"id": LATER, "name": "web", "tags": Map({"a": "1"}), "image_id": None, "user_data": "#!/bin/sh"},
        ),
        """\
          + resource "instance" "web" {
              + id        = (known after apply)
              + name      = "web"
              + tags      = {
                  + "a" = "1"
                }
              + user_data = (sensitive value)
            }""",
    ),
    (
        "update_hides_what_stays_and_names_the_thing",
        changed(
            "instance.web", Action.UPDATE, after={**MACHINE, "tags": Map({"team": "ops"}), "location": "elsewhere"},
            changed=("tags",), reasons={"tags": "why"},
        ),
        """\
          ~ resource "instance" "web" {
                id   = "i-0001"
                name = "web"
              ~ tags = { # (why)
                  ~ "team" = "ml" -> "ops"
                }
                # (6 unchanged attributes hidden)
            }""",
    ),
    (
        "replace_marks_what_forces_it",
        changed(
            "instance.web", Action.REPLACE, after=OTHER_TYPE, changed=("id", "instance_type"),
            replace_paths=("instance_type", "location"),
            reasons={"instance_type": "no such type", "location": "another account"},
        ),
        """\
        -/+ resource "instance" "web" {
              ~ id            = "i-0001" -> (known after apply)
              ~ instance_type = "gpu_1x_a10" -> "gpu_1x_h100" # forces replacement (no such type)
              ~ location      = "us-west-1" # forces replacement (another account)
                name          = "web"
                # (5 unchanged attributes hidden)
            }""",
    ),
    (
        "delete_shows_what_was",
        changed("instance.web", Action.DELETE, before={"id": "i-1", "tags": Map({"a": "1"}), "name": None}),
        """\
          - resource "instance" "web" {
              - id   = "i-1" -> null
              - tags = {
                  - "a" = "1"
                } -> null
            }""",
    ),
    (
        "stop_shows_what_follows_from_it",
        changed("instance.web", Action.UPDATE, after=STOPPED, power=Power.STOP, changed=("power_state",)),
        """\
          ▼ resource "instance" "web" {
                id          = "i-0001"
                name        = "web"
              ~ power_state = "running" -> "stopped"
              ~ public_ip   = "192.0.2.1" -> (known after apply)
              ~ status      = "running" -> "stopped"
                # (4 unchanged attributes hidden)
            }""",
    ),
    (
        "secret_that_changed_is_named_and_hidden",
        changed(
            "instance.web", Action.UPDATE, before={"id": "i-1", "user_data": Secret("digest")},
            after={"id": "i-1", "user_data": Secret("new")}, changed=("user_data",),
        ),
        """\
          ~ resource "instance" "web" {
                id        = "i-1"
              ~ user_data = (sensitive value)
            }""",
    ),
    (
        "nested_blocks_are_matched",
        changed(
            "firewall.web", Action.UPDATE, changed=("ingress",),
            before={"id": "firewall.web", "ingress": Tuple((
                Object({"from_port": 22}), Object({"from_port": 80, "ip_ranges": Tuple(("a",)), "to_port": None}),
            ))},
            after={"id": "firewall.web", "ingress": Tuple((
                Object({"from_port": 22}), Object({"from_port": 80, "ip_ranges": List(("b",)), "to_port": 81}),
                Object({"from_port": 443}),
            ))},
        ),
        """\
          ~ resource "firewall" "web" {
                id = "firewall.web"

              ~ ingress {
                  ~ ip_ranges = [
                      - "a",
                      + "b",
                    ]
                  + to_port   = 81
                    # (1 unchanged attribute hidden)
                }
              + ingress {
                  + from_port = 443
                }

                # (1 unchanged block hidden)
            }""",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_body_shows_what_matters(change: Change, expected: str) -> None:
    lines = list(render_plan(plan(change), SCHEMAS))
    begin = next(number for number, line in enumerate(lines) if 'resource "' in line)
    end = lines.index("    }", begin)

    # the sign stands at the margin or in the third column: dedent would take its place away
    assert lines[begin : end + 1] == [line[8:] for line in expected.splitlines()]


def test_plan_reads_from_legend_to_cost() -> None:
    shown = plan(
        changed("instance.a", Action.CREATE, after={"name": "a"}, notes=("a note",)),
        changed("instance.b", Action.NOOP, blocked="prevent_destroy is set", notes=("a note",)),
        cost=Cost(Decimal("3.29"), Decimal("23.92")),
        workspace="dev",
        outputs={
            "ips": OutputChange("ips", Action.CREATE, None, Tuple(("192.0.2.1",)), False),
            "key": OutputChange("key", Action.UPDATE, Secret("a"), Secret("b"), True),
            "same": OutputChange("same", Action.NOOP, 1, 1, False),
            "was": OutputChange("was", Action.DELETE, "x", None, False),
        },
        orphans=[
            OrphanNote("lambda", "i-0009", "bp-acme-1", "instance.old[0]", "gpu_1x_a10", "us-west-1", Decimal("0.75"))
        ],
        drift=[changed("instance.b", Action.UPDATE, before={**MACHINE, "status": "stopped"}, changed=("status",))],
        notes=["of the whole plan"],
    )

    assert text(shown) == dedent(
        """\
        Project acme, workspace dev

        Resource actions are indicated with the following symbols:
          + create

        brevplan will perform the following actions:

          # instance.a will be created
          # $0.75/hr
          + resource "instance" "a" {
              + name = "a"
            }

        Changes to Outputs:
          + ips = [
              + "192.0.2.1",
            ]
          ~ key = (sensitive value)
          - was = "x" -> null

        Blocked:
          * instance.b: prevent_destroy is set

        Machines of this project that nothing accounts for:
          * i-0009 (bp-acme-1, lambda, gpu_1x_a10, us-west-1): $0.75/hr, marked as instance.old[0]
            -reap=bp-acme-1 destroys it; brevplan import 'instance.old[0]' i-0009 keeps it; \
-ignore-orphans goes on beside it

        Notes:
          * instance.a, instance.b: a note
          * instance.b: changed outside of brevplan: status "stopped" -> "running"
          * of the whole plan

        Plan: 1 to add, 0 to change, 0 to destroy.
        Cost: $3.29/hr -> $23.92/hr (+$15,060/mo at 730 h)"""
    )


def test_plan_concise_is_one_line_a_change() -> None:
    shown = plan(
        changed("instance.a", Action.CREATE),
        changed("instance.b", Action.REPLACE, replace_paths=("location",), reason=Reason.CANNOT_UPDATE),
    )

    lines = text(shown, concise=True).splitlines()

    assert [line for line in lines if "instance." in line] == [
        "  + instance.a will be created ($0.75/hr)",
        "-/+ instance.b must be replaced (location forces replacement)",
    ]
    assert lines[-2:] == [
        "Plan: 2 to add, 0 to change, 1 to destroy.",
        "Cost: $0.00/hr -> $0.00/hr (+$0/mo at 730 h)",
    ]


def test_note_of_many_machines_is_told_once() -> None:
    shown = plan(*(changed(f"instance.a[{n}]", Action.NOOP, notes=("kept",)) for n in range(5000)))

    assert "  * instance.a[0], instance.a[1], instance.a[2] and 4,997 more: kept" in text(shown).splitlines()


NOTHING = [
    ("same", plan(changed("instance.a", Action.NOOP)), "No changes. Your infrastructure matches the configuration."),
    ("destroy", plan(mode=Mode.DESTROY), "No changes. No objects need to be destroyed."),
    ("refresh", plan(mode=Mode.REFRESH_ONLY), "No changes. Your infrastructure still matches the configuration."),
]


@pytest.mark.parametrize(("shown", "expected"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_plan_without_a_difference_says_so(shown: Plan, expected: str) -> None:
    assert text(shown).strip() == expected


def test_plan_that_is_only_blocked_does_not_claim_to_match() -> None:
    lines = text(plan(changed("instance.a", Action.CREATE, blocked="no stock"))).splitlines()

    assert lines == [
        "Blocked:",
        "  * instance.a: no stock",
        "",
        "Plan: 0 to add, 0 to change, 0 to destroy.",
        "Cost: $0.00/hr -> $0.00/hr (+$0/mo at 730 h)",
    ]


def test_plan_of_outputs_only_says_that_nothing_real_changes() -> None:
    shown = plan(outputs={"n": OutputChange("n", Action.UPDATE, 1, 2, False)})

    assert text(shown).splitlines() == [
        "Changes to Outputs:",
        "  ~ n = 1 -> 2",
        "",
        "You can apply this plan to save these new output values to the brevplan state, without changing",
        "any real infrastructure.",
    ]


def test_plan_refresh_only_shows_drift_in_full() -> None:
    drift = changed("instance.a", Action.UPDATE, after={**MACHINE, "status": "stopped"}, changed=("status",))

    lines = text(plan(mode=Mode.REFRESH_ONLY, drift=[drift])).splitlines()

    assert lines[0] == "Note: Objects have changed outside of brevplan"
    assert "  # instance.a has changed" in lines
    assert '      ~ status = "running" -> "stopped"' in lines
    assert not any(line.startswith("Plan:") for line in lines)


def strip_codes(lines: Iterator[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def test_colour_adds_nothing_but_colour() -> None:
    outputs = {"n": OutputChange("n", Action.CREATE, None, 2, False)}
    shown = plan(*(change for _, change, _ in HEADINGS), outputs=outputs)

    assert strip_codes(render_plan(shown, SCHEMAS, color=True)) == list(render_plan(shown, SCHEMAS))


@pytest.mark.parametrize(
    ("counts", "planned", "applied"),
    [
        (
            Counts(add=2, change=1, stop=1),
            "Plan: 2 to add, 1 to change, 0 to destroy, 1 to stop.",
            "Apply complete! Resources: 2 added, 1 changed, 0 destroyed, 1 stopped.",
        ),
        (
            Counts(1, 2, 3, 4, 5, 6, 7),
            "Plan: 1 to import, 2 to add, 3 to change, 4 to destroy, 5 to start, 6 to stop, 7 to forget.",
            "Apply complete! Resources: 1 imported, 2 added, 3 changed, 4 destroyed, 5 started, 6 stopped, "
            "7 forgotten.",
        ),
    ],
)
def test_counts_name_what_is_rare_only_where_it_occurs(counts: Counts, planned: str, applied: str) -> None:
    assert plan_line(counts) == planned
    assert render_counts(counts) == applied


def test_counts_of_a_destroy_name_nothing_else() -> None:
    assert render_counts(Counts(destroy=3, stop=1), "destroy") == "Destroy complete! Resources: 3 destroyed."


def test_outputs_hide_the_sensitive() -> None:
    assert list(render_outputs({"b": Secret("x"), "a": Tuple((1,))})) == ["a = [\n  1,\n]", "b = <sensitive>"]


def test_state_is_shown_as_blocks() -> None:
    records = [
        Record(
            "bp-2", "default", Address.parse("instance.web"), Role.DEPOSED, "instance", {"id": "i-2"}, ref_id="bp-2"
        ),
        Record(
            "bp-1", "default", Address.parse("instance.web"), Role.CURRENT, "instance",
            {"id": "i-1", "tags": {"a": "1"}, "user_data": {"$digest": "00"}, "location": None},
        ),
    ]  # fmt: skip

    assert "\n".join(render_state(records, SCHEMAS)) == dedent(
        """\
        # instance.web:
        resource "instance" "web" {
            id        = "i-1"
            tags      = {
                "a" = "1"
            }
            user_data = (sensitive value)
        }

        # instance.web (deposed bp-2):
        resource "instance" "web" {
            id = "i-2"
        }"""
    )
