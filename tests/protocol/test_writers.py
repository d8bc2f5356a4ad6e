"""Who may write: the lock and its epoch, between processes and within one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.ports import StateLost
from brevplan.operations.locking import locked
from brevplan.operations.world import system_world
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.state import lock
from brevplan.state.lock import Holder, Lock, is_held, read_holder, try_lock
from brevplan.state.store import StateStore
from tests.world import CountingIds, Lab, configuration

ME = Holder("0123", "ann", "box", 1, "apply", "2026-01-01T00:00:00Z")


def test_a_second_taker_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    state = tmp_path / "brevplan.db"
    first = try_lock(state, ME)
    assert isinstance(first, Lock)
    assert try_lock(state, ME) == ME
    first.release()
    assert isinstance(try_lock(state, ME), Lock)


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    state = tmp_path / "brevplan.db"
    program = (
        "import os, sys, pathlib\n"
        "from brevplan.state.lock import Holder, try_lock\n"
        "try_lock(pathlib.Path(sys.argv[1]), Holder('x', 'a', 'b', os.getpid(), 'apply', 's'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(state)], check=False, timeout=30)
    assert done.returncode == -9
    assert read_holder(state) is not None
    assert not is_held(state)
    assert isinstance(try_lock(state, ME), Lock)


def test_a_lock_file_that_was_replaced_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    state = tmp_path / "brevplan.db"
    first = try_lock(state, ME)
    lock.force(state)
    second = try_lock(state, ME)
    assert isinstance(first, Lock)
    assert isinstance(second, Lock)
    assert os.fstat(first._descriptor).st_ino != os.fstat(second._descriptor).st_ino


def test_waiting_for_the_lock_ends_with_the_holder_named(tmp_path: Path) -> None:
    state = tmp_path / "brevplan.db"
    held = try_lock(state, ME)
    assert isinstance(held, Lock)
    said: list[str] = []
    with pytest.raises(DiagnosticsError) as problem, locked(state, "apply", system_world(), 0.3, said.append):
        pass
    assert "ann@box" in problem.value.diagnostics[0].detail
    assert "ann@box" in said[0]


def test_a_write_under_an_old_epoch_fails(tmp_path: Path) -> None:
    path = tmp_path / "brevplan.db"
    first = StateStore.open(path, create=True)
    second = StateStore.open(path, create=True)
    assert first is not None
    assert second is not None
    first.take("lab")
    first.transact([])
    second.take("lab")
    with pytest.raises(StateLost, match="taken the state over"):
        first.transact([])
    second.transact([])
    first.close()
    second.close()


def test_a_run_whose_lock_was_forced_stops_and_loses_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(20))

    def force_at_fifth(call: Call) -> Fault:
        if lab.faults.count("create_instance") == 5 and call.operation == "create_instance":
            store = lab.state()
            store.raise_epoch()
            store.close()
        return NO_FAULT

    lab.faults.choose = force_at_fifth
    done = lab.apply()
    assert done.result is not None
    assert "taken the state over" in done.result.lost
    lab.faults.choose = lambda call: NO_FAULT
    made = len(lab.machines())
    assert 5 <= made < 20
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert len(lab.machines()) == 20
    assert set(lab.recorded().values()) == {machine.body.cloud_id for machine in lab.machines()}


def test_open_intents_of_a_run_that_goes_on_leave_their_addresses_unverified(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    seen: list[str] = []

    def plan_meanwhile(call: Call) -> Fault:
        if call.operation == "create_instance" and not seen:
            seen.append(_plan_in_another_process(tmp_path, lab.text))
        return NO_FAULT

    lab.faults.choose = plan_meanwhile
    lab.apply()
    assert "being applied by" in seen[0]


def _plan_in_another_process(folder: Path, text: str) -> str:
    (folder / "main.hcl").write_text(text)
    command = [sys.executable, "-m", "brevplan", f"-chdir={folder}", "plan", "-no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


KILLED = """
import os, pathlib, signal, sys
from brevplan.simcloud.faults import NO_FAULT
from tests.world import CountingIds, Lab, configuration

lab = Lab(pathlib.Path(sys.argv[1]), configuration(4))
number = int(sys.argv[2])

def die(call):
    # the fault of the next call is drawn after the effect of the one before it
    if call.operation == "create_instance" and lab.faults.count("create_instance") == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return NO_FAULT

lab.faults.choose = die
lab.apply()
"""


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_open_intents_of_a_dead_run_are_bound_by_a_plan(tmp_path: Path, number: int) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(number)]
    done = subprocess.run(command, check=False, timeout=60, cwd=root)
    assert done.returncode == -9
    lab = Lab(tmp_path, configuration(4))
    lab.outside = replace(lab.outside, ids=CountingIds(1000))
    store = lab.state()
    opened = {intent.ref_id for intent in store.intents()}
    store.close()
    made = {machine.body.ref_id for machine in lab.machines()}
    assert made <= opened, "every machine has an intent that was written before it"
    lab.plan()
    assert set(lab.recorded().values()) == {machine.body.cloud_id for machine in lab.machines()}
    lab.apply()
    assert len(lab.machines()) == 4
    assert lab.plan().effective == []
