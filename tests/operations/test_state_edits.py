"""Changing the state by hand: the machine's tag before the row, open attempts along, marks off or a tombstone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Unavailable
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.address import Address
from brevplan.engine.ports import Intent, IntentState, OpenIntent, PutRecord, Record, Role, SetRole
from brevplan.operations.exchange import Pushed, pull, push
from brevplan.operations.locking import locked
from brevplan.operations.moving import Moved, move
from brevplan.operations.removing import Removed, Unprotected, remove, unprotect
from brevplan.providers import registry
from brevplan.providers.local import LocalClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.world import KEY, Lab, actions, configuration

MACHINE = f"""
resource "instance" "NAME" {{
  provider      = PROVIDER
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
}}
"""


def moved(lab: Lab, source: str, target: str, **fields: Any) -> Moved:
    (lab.folder / "main.hcl").write_text(lab.text)
    return asyncio.run(move(lab.folder, source, target, lab.request(), lab.outside, lab.said.append, **fields))


def removed(lab: Lab, *names: str, **fields: Any) -> Removed:
    (lab.folder / "main.hcl").write_text(lab.text)
    return asyncio.run(remove(lab.folder, names, lab.request(), lab.outside, lab.said.append, **fields))


def unprotected(lab: Lab, *names: str) -> Unprotected:
    (lab.folder / "main.hcl").write_text(lab.text)
    return unprotect(lab.folder, names, lab.request(), lab.outside, lab.said.append)


def pushed(lab: Lab, text: str, **fields: Any) -> Pushed:
    (lab.folder / "main.hcl").write_text(lab.text)
    return push(lab.folder, text, lab.request(), lab.outside, lab.said.append, **fields)


def pulled(lab: Lab) -> str:
    return pull(lab.folder, lab.request())


def refusal(problem: pytest.ExceptionInfo[DiagnosticsError]) -> str:
    return "\n".join(f"{item.summary}: {item.detail}" for item in problem.value.diagnostics)


def records(lab: Lab) -> list[Record]:
    store = lab.state()
    try:
        return store.records()
    finally:
        store.close()


def intents(lab: Lab) -> list[Intent]:
    store = lab.state()
    try:
        return store.intents()
    finally:
        store.close()


def outcomes(lab: Lab) -> list[tuple[str, str]]:
    store = lab.state()
    try:
        return [(run.command, run.outcome) for run in reversed(store.runs())]
    finally:
        store.close()


def written(lab: Lab, *writes: Any) -> None:
    store = lab.state()
    store.take("")
    store.transact(writes)
    store.close()


def tags(lab: Lab) -> list[str]:
    return sorted(machine.body.address for machine in lab.machines())


def on_mark(lab: Lab, fault: Fault) -> None:
    lab.faults.choose = lambda call: fault if call.operation == "update_mark" else NO_FAULT


# mv


def test_the_full_address_is_a_tag_too_rewritten_on_state_mv(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    done = moved(lab, "instance.m", "instance.w")
    assert tags(lab) == ["instance.w[0]", "instance.w[1]"]
    assert done.warnings == []
    lab.text = lab.text.replace('"instance" "m"', '"instance" "w"')
    assert not lab.plan().has_changes
    lab.text += done.blocks
    assert not lab.plan().has_changes, "the moved block may stay"
    (tmp_path / "brevplan.db").unlink()
    assert set(actions(lab.plan()).values()) == {"import"}
    assert lab.plan().orphans == []


def test_the_tag_names_the_workspace_and_only_its_rows_move(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    written(lab, PutRecord(replace(records(lab)[0], key="bp-lab-stage", ref_id="bp-lab-stage", workspace="stage")))
    request = lab.request(workspace="stage")
    asyncio.run(move(tmp_path, "instance.m[0]", "instance.w", request, lab.outside, lab.said.append))
    assert {(row.workspace, str(row.address)) for row in records(lab)} == {
        ("default", "instance.m[0]"), ("stage", "instance.w"),
    }  # fmt: skip
    assert tags(lab) == ["instance.m[0]"], "without a configuration no account is opened"
    (tmp_path / "main.hcl").write_text(lab.text)
    asyncio.run(move(tmp_path, "instance.w", "instance.x", request, lab.outside, lab.said.append))
    assert tags(lab) == ["stage/instance.x"]


def test_a_mv_whose_row_could_not_be_written_is_done_by_the_next_one(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()

    def lose_the_state(call: Call) -> Fault:
        if call.operation == "update_mark":
            store = lab.state()
            store.raise_epoch()
            store.close()
        return NO_FAULT

    lab.faults.choose = lose_the_state
    with pytest.raises(DiagnosticsError, match="State cannot be written"):
        moved(lab, "instance.m[0]", "instance.w")
    lab.faults.choose = lambda call: NO_FAULT
    assert tags(lab) == ["instance.w"]
    assert [str(row.address) for row in records(lab)] == ["instance.m[0]"]
    assert not lab.plan().has_changes, "a recorded machine is known by its id"
    assert outcomes(lab)[-1] == ("state mv", "running")
    moved(lab, "instance.m[0]", "instance.w")
    assert outcomes(lab)[-2:] == [("state mv", "cut off"), ("state mv", "done")]
    lab.text = lab.text.replace('"instance" "m"', '"instance" "w"').replace("count         = 1", "")
    assert not lab.plan().has_changes
    assert len(lab.machines()) == 1


def test_a_tag_that_cannot_be_rewritten_is_named_and_the_move_is_made(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(5))
    lab.apply()
    on_mark(lab, Fault(before=Unavailable("nobody at home")))
    done = moved(lab, "instance.m", "instance.w")
    assert len(done.warnings) == 1
    assert "instance.w[0] (i-00000001 at local bears the tag instance.m[0])" in done.warnings[0].detail
    assert "and 2 more: " in done.warnings[0].detail
    assert {str(row.address) for row in records(lab)} == {f"instance.w[{number}]" for number in range(5)}


def test_only_the_accounts_of_the_touched_machines_are_opened(tmp_path: Path) -> None:
    blocks = 'provider "local" {\n  alias = "b"\n  path = "b.db"\n}\n'
    for name, provider in (("m", "local"), ("n", "local.b")):
        blocks += MACHINE.replace("NAME", name).replace("PROVIDER", provider)
    lab = Lab(tmp_path, f'brevplan {{\n  project = "lab"\n}}\nprovider "local" {{}}\n{blocks}')
    lab.apply()
    opened: list[str] = []

    def spec_of(name: str) -> ProviderSpec:
        def connect(connection: Connection) -> LocalClient:
            opened.append(str(connection.settings.get("path")))
            return LocalClient(connection)

        return replace(registry.spec(name), connect=connect)

    lab.outside = replace(lab.outside, spec_of=spec_of)
    moved(lab, "instance.n", "instance.w")
    assert opened == ["b.db"]


def test_open_attempts_of_an_address_move_along(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1), idempotent=False)
    lost = Fault(after=Unavailable("the answer was lost"))

    def drop(call: Call) -> Fault:
        if call.operation == "create_instance":
            return lost
        return Fault(before=Unavailable("no list")) if lab.faults.count("create_instance") else NO_FAULT

    lab.faults.choose = drop
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    assert [intent.state for intent in intents(lab)] == [IntentState.OPEN]
    moved(lab, "instance.m", "instance.w")
    assert [str(intent.address) for intent in intents(lab)] == ["instance.w[0]"]
    lab.text = lab.text.replace('"instance" "m"', '"instance" "w"')
    lab.apply()
    assert list(lab.recorded()) == ["instance.w[0]"]
    assert len(lab.machines()) == 1
    assert not lab.plan().has_changes


def test_a_place_where_a_launch_may_have_made_a_machine_is_taken(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    attempt = Intent("bp-lab-x", "default", Address("instance", "w"), "local", "print", "run-1")
    written(lab, OpenIntent(attempt))
    with pytest.raises(DiagnosticsError) as problem:
        moved(lab, "instance.m[0]", "instance.w")
    assert "there is already a resource at that address" in refusal(problem)
    assert [str(row.address) for row in records(lab)] == ["instance.m[0]"]


def test_a_machine_that_is_about_to_be_ended_keeps_its_place_and_moves_along(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    key = next(row.key for row in records(lab) if row.address.key == 1)
    written(lab, SetRole(key, Role.DEPOSED))
    with pytest.raises(DiagnosticsError) as problem:
        moved(lab, "instance.m[0]", "instance.m[1]")
    assert "there is already a resource" in refusal(problem)
    moved(lab, "instance.m[1]", "instance.w")
    assert {(str(row.address), row.role.value) for row in records(lab)} == {
        ("instance.m[0]", "current"), ("instance.w", "deposed"),
    }  # fmt: skip
    assert tags(lab) == ["instance.m[0]", "instance.w"]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    before = pulled(lab)
    moved(lab, "instance.m", "instance.w", dry_run=True)
    assert removed(lab, "instance.m", dry_run=True).names == ["instance.m[0]"]
    assert pulled(lab) == before
    assert lab.faults.count("update_mark") == 0


@pytest.mark.parametrize(
    "text",
    [
        'brevplan {\n  project = "lab"\n  backend "sqlite" {\n    path = 5 +\n  }\n}\n',
        'brevplan {\n  backend "postgres" {}\n}\n',
        'brevplan {\n  project = "NOT ONE"\n}\n',
        'output "x" {\n  value = \n}\n',
    ],
)
def test_a_configuration_that_does_not_say_for_sure_where_the_state_is_stops_it(tmp_path: Path, text: str) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = text
    with pytest.raises(DiagnosticsError):
        moved(lab, "instance.m", "instance.w")
    assert outcomes(lab) == [("apply", "done")]


# rm


def test_a_forgotten_machine_has_its_mark_taken_off_where_tags_are_mutable(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    removed(lab, "instance.m")
    assert records(lab) == []
    assert [machine.body.ref_id for machine in lab.machines()] == [""]
    lab.text = configuration(0)
    assert lab.plan().orphans == []


class Untagged(LocalClient):
    """A cloud that cannot change tags."""

    update_mark = None  # type: ignore[assignment]  # what is None is not offered


def test_elsewhere_a_tombstone_keeps_it_from_being_reported_or_adopted(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    connect = lambda connection: Untagged(connection, lab.faults)  # noqa: E731  # a client by one expression
    lab.outside = replace(lab.outside, spec_of=lambda name: replace(registry.spec(name), connect=connect))
    lab.apply()
    assert removed(lab, "instance.m").warnings[0].summary == "Still declared"
    assert [row.role for row in records(lab)] == [Role.FORGOTTEN]
    assert actions(lab.plan()) == {"instance.m[0]": "create"}, "not adopted"
    lab.text = configuration(0)
    plan = lab.plan()
    assert (plan.effective, plan.orphans, plan.blocked) == ([], [], []), "not reported"


def test_an_account_that_fails_leaves_a_tombstone_and_a_warning(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    lab.text = configuration(0)
    on_mark(lab, Fault(before=Unavailable("nobody at home")))
    done = removed(lab, "instance.m")
    lab.faults.choose = lambda call: NO_FAULT
    assert [item.summary for item in done.warnings] == ["Machine still bears its mark"]
    assert [row.role for row in records(lab)] == [Role.FORGOTTEN]
    assert lab.plan().orphans == []


def test_a_machine_that_is_gone_has_no_mark_to_take_off(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    store = lab.cloud()
    store.delete_machine(lab.machines()[0].body.cloud_id)
    store.close()
    removed(lab, "instance.m")
    assert records(lab) == []


def test_rm_takes_the_current_machine_and_says_what_stays(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    current = records(lab)[0]
    old = replace(current, key="bp-lab-old", ref_id="bp-lab-old", cloud_id="i-gone", role=Role.DESTROYING)
    attempt = Intent("bp-lab-x", "default", current.address, "local", "print", "run-1")
    written(lab, PutRecord(old), OpenIntent(attempt))
    lab.text = configuration(0)
    done = removed(lab, "instance.m[0]")
    assert done.names == ["instance.m[0]"]
    assert [item.detail for item in done.warnings] == [
        "instance.m[0] (destroying bp-lab-old) is a machine that is about to be ended: the next apply goes on with "
        "that.",
        "instance.m[0]: it is not known yet whether a launch made a machine (bp-lab-x).",
    ]
    assert removed(lab, "instance.m[0]").names == ["instance.m[0] (destroying bp-lab-old)"]
    assert records(lab) == []


def test_an_rm_that_was_cut_off_has_forgotten_what_may_bear_no_mark_any_more(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()

    def lose_the_state(call: Call) -> Fault:
        if call.operation == "update_mark":
            store = lab.state()
            store.raise_epoch()
            store.close()
        return NO_FAULT

    lab.faults.choose = lose_the_state
    with pytest.raises(DiagnosticsError, match="State cannot be written"):
        removed(lab, "instance.m")
    lab.faults.choose = lambda call: NO_FAULT
    plan = lab.plan()
    assert ([change.action.value for change in plan.effective], plan.orphans) == (["create"], [])
    with pytest.raises(DiagnosticsError, match="Not in the state"):
        removed(lab, "instance.m")


# unprotect


def test_unprotect_also_speaks_for_a_launch_that_is_not_settled(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body="lifecycle {\n    prevent_destroy = true\n  }"))
    lab.apply()
    attempt = Intent("bp-lab-x", "default", Address("instance", "m", 0), "local", "print", "run-1", protected=True)
    written(lab, OpenIntent(attempt))
    done = unprotected(lab, "instance.m")
    assert list(map(str, done.addresses)) == ["instance.m[0]"]
    assert [item.summary for item in done.warnings] == ["prevent_destroy is still in the configuration"]
    assert [row.protected for row in records(lab)] == [False]
    assert [intent.protected for intent in intents(lab)] == [False]


@pytest.mark.parametrize("body", ["", "lifecycle {\n    prevent_destroy = false\n  }"])
def test_a_configuration_that_protects_nothing_is_no_matter_for_a_warning(tmp_path: Path, body: str) -> None:
    lab = Lab(tmp_path, configuration(1, body="lifecycle {\n    prevent_destroy = true\n  }"))
    lab.apply()
    lab.text = configuration(1, body=body)
    assert unprotected(lab, "instance.m").warnings == []


# pull and push


def test_pull_and_push_are_the_identity_but_for_the_serial(tmp_path: Path) -> None:
    secret = 'user_data = "hunter2"'
    lab = Lab(tmp_path, configuration(3, body=secret, rest='output "n" {\n  value = length(instance.m)\n}'))
    lab.apply()
    first = pulled(lab)
    assert first == pulled(lab), "deterministic"
    assert "hunter2" not in first
    serial = pushed(lab, first).serial
    before, after = json.loads(first), json.loads(pulled(lab))
    assert after.pop("serial") == serial > before.pop("serial")
    assert after == before
    assert outcomes(lab)[-1] == ("state push", "done")
    assert not lab.plan().has_changes


def test_a_pushed_state_is_that_of_the_same_machines(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    text = configuration(3, provider=f'path = "{tmp_path / "shared.db"}"', body='user_data = "hunter2"')
    lab, second = Lab(one, text), Lab(other, text)
    lab.apply()
    pushed(second, pulled(lab))
    assert second.recorded() == lab.recorded()
    assert not second.plan().has_changes, "and the digest of a secret says that it is the same"
    assert json.loads(pulled(second))["lineage"] == json.loads(pulled(lab))["lineage"]


def test_push_refuses_another_lineage_and_an_older_serial_unless_forced(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    old = pulled(lab)
    lab.text = configuration(2)
    lab.apply()
    with pytest.raises(DiagnosticsError) as problem:
        pushed(lab, old)
    assert "Cannot import state with serial 2 over newer state with serial 4." in refusal(problem)
    strange = json.dumps({**json.loads(pulled(lab)), "lineage": "another"})
    with pytest.raises(DiagnosticsError) as problem:
        pushed(lab, strange)
    assert 'Cannot import state with lineage "another" over unrelated state with lineage' in refusal(problem)
    assert len(lab.recorded()) == 2
    pushed(lab, old, force=True)
    assert len(lab.recorded()) == 1
    assert json.loads(pulled(lab))["serial"] > 4
    lab.text = configuration(2)
    assert actions(lab.plan()) == {"instance.m[1]": "import"}, "what the document lacks is found by its mark"


def test_what_was_pulled_while_an_apply_went_on_is_older_than_its_end(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    half: list[str] = []

    def look(call: Call) -> Fault:
        if call.operation == "create_instance":
            half.append(pulled(lab))
        return NO_FAULT

    lab.faults.choose = look
    lab.text = configuration(2)
    lab.apply()
    with pytest.raises(DiagnosticsError) as problem:
        pushed(lab, half[0])
    assert "over newer state" in refusal(problem)


def test_a_document_that_is_refused_makes_no_state_and_changes_none(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    with pytest.raises(DiagnosticsError) as problem:
        pushed(lab, '{"format_version": "7"}')
    assert '$.format_version: "7" is not known' in refusal(problem)
    assert not (tmp_path / "brevplan.db").exists()
    with pytest.raises(DiagnosticsError) as problem:
        pulled(lab)
    assert "No state" in refusal(problem)
    lab.apply()
    before = pulled(lab)
    with pytest.raises(DiagnosticsError):
        pushed(lab, before.replace('"current"', '"master"'), force=True)
    assert pulled(lab) == before


def test_an_empty_state_may_be_replaced_by_anything(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    lab, second = Lab(one, configuration(1)), Lab(other, configuration(1))
    lab.apply()
    second.apply()
    second.text = configuration(0)
    second.apply()
    pushed(second, pulled(lab))
    assert second.recorded() == lab.recorded()


# the lock


@pytest.mark.parametrize("command", ["mv", "rm", "unprotect", "push"])
def test_every_writer_takes_the_lock(tmp_path: Path, command: str) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    text = pulled(lab)
    writers: dict[str, Callable[[], object]] = {
        "mv": lambda: moved(lab, "instance.m", "instance.w"),
        "rm": lambda: removed(lab, "instance.m"),
        "unprotect": lambda: unprotected(lab, "instance.m"),
        "push": lambda: pushed(lab, text),
    }
    with (
        locked(tmp_path / "brevplan.db", "apply", lab.outside, 0, lab.said.append),
        pytest.raises(DiagnosticsError) as problem,
    ):
        writers[command]()
    assert "State is locked: It is held by" in refusal(problem)
    assert pulled(lab) == text
