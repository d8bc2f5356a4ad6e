"""The laws of planning and applying, over small configurations by chance and random edits between applies."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.engine.kind import Schema
from brevplan.kinds.instance_schema import SCHEMA
from tests.properties.build import (
    BOUNDED,
    PROJECTS,
    SCHEMAS,
    Project,
    held,
    known_leaves,
    laboratory,
    machines,
    rendered,
    wanted,
)
from tests.world import Lab

assert isinstance(SCHEMA, Schema)


def settled(lab: Lab) -> None:
    """Apply, and see that nothing was left undone."""
    done = lab.apply()
    assert done.result is None or done.result.complete, (done.result.failed, done.result.unexpected, lab.text)


def matches(lab: Lab, project: Project) -> None:
    plan = lab.plan()
    assert plan.effective == [], lab.text
    assert plan.blocked == []
    assert plan.orphans == []
    assert not plan.has_changes
    assert held(lab) == wanted(project)


@BOUNDED
@given(PROJECTS)
def test_planning_twice_gives_the_same_bytes(project: Project) -> None:
    with laboratory(project) as lab:
        assert rendered(lab) == rendered(lab)
        settled(lab)
        assert rendered(lab) == rendered(lab)


@BOUNDED
@given(st.lists(PROJECTS, min_size=1, max_size=3))
def test_after_an_apply_there_is_nothing_to_plan_and_exactly_the_declared_is_there(projects: list[Project]) -> None:
    with laboratory(projects[0]) as lab:
        for project in projects:
            lab.text = project.text()
            settled(lab)
            matches(lab, project)
        destroyed = lab.apply(Options(mode=Mode.DESTROY))
        assert destroyed.result is None or destroyed.result.complete
        assert all(not machines(lab, alias) for alias in held(lab))
        assert lab.recorded() == {}


@BOUNDED
@given(st.lists(PROJECTS, min_size=1, max_size=2))
def test_what_was_known_in_the_plan_is_what_there_is(projects: list[Project]) -> None:
    with laboratory(projects[0]) as lab:
        for project in projects:
            lab.text = project.text()
            plan = lab.plan()
            promised = {
                str(change.address): {
                    (name, *path): leaf
                    for name, value in change.after.items()
                    for path, leaf in known_leaves(value)
                    if name in SCHEMAS[change.address.kind].attributes
                }
                for change in plan.effective
                if change.after is not None
            }
            settled(lab)
            for change in lab.plan().changes:
                actual = {
                    (name, *path): leaf
                    for name, value in (change.before or {}).items()
                    for path, leaf in known_leaves(value)
                }
                for path, leaf in promised.get(str(change.address), {}).items():
                    if path[0] == "user_data":
                        continue  # known by its digest only
                    both_empty = leaf in (None, "") and actual.get(path) in (None, "")
                    assert both_empty or actual.get(path) == leaf, (path, lab.text)


@BOUNDED
@given(PROJECTS)
def test_what_is_configured_is_what_the_machine_has(project: Project) -> None:
    with laboratory(project) as lab:
        settled(lab)
        found = {machine.body.address: machine.body for alias in held(lab) for machine in machines(lab, alias)}
        head = found["instance.head"].cloud_id
        for number, block in enumerate(project.blocks):
            for address in block.addresses(number):
                body = found[address]
                assert body.instance_type == block.type
                assert body.status.value == (block.power or "running")
                assert body.tags == dict(block.tags or ()) | ({"head": head} if block.reads else {})
                if block.disk is not None:
                    assert str(body.disk_size).replace(" ", "") == block.disk
                assert body.name.startswith(f"own{number}-") is block.name
                ports = {rule.from_port for rule in body.firewall_rules.ingress} if body.firewall_rules else set()
                assert ports == {22} | {project.ports[item] for item in block.firewalls or ()}


@BOUNDED
@given(PROJECTS)
def test_a_lost_state_plans_imports_only(project: Project) -> None:
    with laboratory(project) as lab:
        settled(lab)
        before = held(lab)
        (lab.folder / "brevplan.db").unlink()
        plan = lab.plan()
        counts = plan.counts
        firewalls = len([change for change in plan.effective if change.address.kind == "firewall" and change.creates])
        assert (counts.add - firewalls, counts.change, counts.destroy, counts.start, counts.stop) == (0, 0, 0, 0, 0)
        assert counts.imports >= len(project.declared())
        settled(lab)
        assert held(lab) == before
        matches(lab, project)


@BOUNDED
@given(PROJECTS, st.integers(0, 2))
def test_a_target_does_only_what_it_needs(project: Project, number: int) -> None:
    from brevplan.engine.address import Address

    project = replace(project, blocks=tuple(replace(block, reads=True) for block in project.blocks))
    if number >= len(project.blocks) or not project.blocks[number].addresses(number):
        return
    with laboratory(project) as lab:
        target = Address("instance", f"m{number}")
        done = lab.apply(Options(targets=(target,)))
        assert done.result is not None
        assert done.result.complete
        expected = {"instance.head", *project.blocks[number].addresses(number)}
        assert {address for addresses in held(lab).values() for address in addresses} == expected
        settled(lab)
        matches(lab, project)
