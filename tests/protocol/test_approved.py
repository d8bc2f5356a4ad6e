"""Approved plans: applied once, resumed without a new approval, never doing twice what is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from brevplan.contract.errors import Rejected, Unavailable
from brevplan.diagnostics import DiagnosticsError, Source
from brevplan.engine.address import Address
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.operations import planfile
from brevplan.operations.apply import Applied, Hooks, apply
from brevplan.operations.plan import plan
from brevplan.operations.project import load_sources
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.world import Lab, actions, configuration

NO = Fault(before=Rejected("no"))


def refuse(operation: str, *numbers: int) -> Callable[[Call], Fault]:
    """Refuse the calls of an operation with these numbers, counted from 1."""
    seen = [0]

    def choose(call: Call) -> Fault:
        if call.operation != operation:
            return NO_FAULT
        seen[0] += 1
        return NO if seen[0] in numbers else NO_FAULT

    return choose


def quiet(lab: Lab) -> None:
    lab.faults.choose = lambda call: NO_FAULT


def approve(lab: Lab, options: Options = EVERYTHING) -> Path:
    """Make a plan and write it; give the file."""

    async def run() -> None:
        project = load_sources(lab.folder, [Source("main.hcl", lab.text)])
        request = lab.request(options)
        async with plan(project, request, lab.outside) as found:
            planfile.write(lab.folder / "p.plan", planfile.build(found, request, "0", {}, ""))

    asyncio.run(run())
    return lab.folder / "p.plan"


def carry_out(lab: Lab, path: Path) -> Applied:
    async def run() -> Applied:
        approved = planfile.read(path)
        request = approved.request(lab.request())
        hooks = Hooks(lambda found: True, lab.events.append, lab.said.append)
        return await apply(approved.project(lab.folder), request, lab.outside, hooks, approved=approved)

    return asyncio.run(run())


def ids(lab: Lab) -> list[str]:
    return sorted(str(machine.body.cloud_id) for machine in lab.machines())


@pytest.mark.parametrize("operation", ["create_instance", "terminate_instance"])
@pytest.mark.parametrize("first", ["", "lifecycle {\n create_before_destroy = true\n }"], ids=["destroy", "create"])
def test_a_resumed_replacement_replaces_nothing_twice(tmp_path: Path, operation: str, first: str) -> None:
    lab = Lab(tmp_path, configuration(2, body=first))
    lab.apply()
    path = approve(lab, Options(replaced=(Address("instance", "m", 0), Address("instance", "m", 1))))
    lab.faults.choose = refuse(operation, 2)
    assert carry_out(lab, path).result is not None
    quiet(lab)
    carry_out(lab, path)
    assert ids(lab) == ["i-00000003", "i-00000004"]
    assert carry_out(lab, path).already
    assert actions(lab.plan()) == {}


def test_what_others_undid_makes_it_stale(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    path = approve(lab)
    lab.faults.choose = refuse("create_instance", 2)
    carry_out(lab, path)
    quiet(lab)
    text, lab.text = lab.text, configuration(0)
    lab.apply()
    lab.text = text
    with pytest.raises(DiagnosticsError, match="stale"):
        carry_out(lab, path)
    assert lab.machines() == []


@pytest.mark.parametrize("operation", ["create_instance", "terminate_instance"])
def test_work_that_cannot_be_judged_is_not_called_done(tmp_path: Path, operation: str) -> None:
    lab = Lab(tmp_path, configuration(2))
    if operation == "terminate_instance":
        lab.apply()
        lab.text = configuration(0)
    path = approve(lab)
    lab.faults.choose = refuse(operation, 2)
    carry_out(lab, path)
    left = ids(lab)
    lab.faults.choose = lambda call: (
        Fault(before=Unavailable("down", http_status=503)) if call.operation == "list_instances" else NO_FAULT
    )
    with pytest.raises(DiagnosticsError, match="stale"):
        carry_out(lab, path)
    assert ids(lab) == left
    quiet(lab)
    assert carry_out(lab, path).result is not None
    assert len(ids(lab)) == (0 if operation == "terminate_instance" else 2)


def test_what_was_unknown_may_turn_out_to_be_anything(tmp_path: Path) -> None:
    reader = configuration(1, body="tags = { head = instance.head.id }").split('resource "instance" "m"')[1]
    head = configuration(1).replace('"m"', '"head"').replace("count         = 1", "")
    lab = Lab(tmp_path, f'{head}\nresource "instance" "m" {reader}')
    path = approve(lab)
    lab.faults.choose = refuse("create_instance", 2)
    carry_out(lab, path)
    quiet(lab)
    done = carry_out(lab, path)
    assert done.result is not None
    assert done.result.complete
    assert sorted(machine.body.tags.get("head", "") for machine in lab.machines()) == ["", "i-00000001"]


def test_a_resumed_plan_may_name_what_is_gone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    lab.apply()
    lab.text = configuration(1)
    targets = (Address("instance", "m", 2), Address("instance", "m", 1))
    path = approve(lab, Options(targets=targets))
    lab.faults.choose = refuse("terminate_instance", 2)
    carry_out(lab, path)
    quiet(lab)
    carry_out(lab, path)
    assert ids(lab) == ["i-00000001"]
    assert carry_out(lab, path).already
