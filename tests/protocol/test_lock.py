"""The lock at the real command: who holds it, waiting for it, Ctrl-C meanwhile, and lock files that are none."""

from __future__ import annotations

import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from brevplan.engine.ports import OpenIntent
from brevplan.state.errors import StateUnusable
from brevplan.state.lock import SOMEBODY, Holder, Lock, is_held, lock_path, read_holder, try_lock
from tests.launch import INTERRUPTIBLE, after
from tests.state.build import INTENT, opened
from tests.state.command import LIMIT_S, ROOT, Ended, Project
from tests.world import Lab, configuration

ME = Holder("0123", "ann", "box", 1, "apply", "2026-01-01T00:00:00Z")

HOLDING = """
import sys, time
from pathlib import Path
from brevplan.operations.locking import new_holder
from brevplan.operations.world import system_world
from brevplan.state.lock import try_lock

lock = try_lock(Path(sys.argv[1]), new_holder("apply", system_world()))
print(lock.holder.lock_id, flush=True)
time.sleep(600)
"""


@dataclass
class Holding:
    process: subprocess.Popen[str]
    lock_id: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)


@contextmanager
def held_elsewhere(state: Path) -> Iterator[Holding]:
    """Let another process hold the lock for the block."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(state)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            yield Holding(process, process.stdout.readline().strip())
        finally:
            process.kill()


@contextmanager
def waiting(project: Project, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and go on once it says that it waits for the lock."""
    with subprocess.Popen(
        after(INTERRUPTIBLE, project.words(*words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stderr is not None
            assert "Waiting for the state's lock, held by" in process.stderr.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# who holds it


@pytest.mark.slow
@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_the_holder_is_told_with_all_that_is_known_of_it(project: Project, command: str) -> None:
    with held_elsewhere(project.state) as other:
        refused = project.run(command, "-auto-approve")
    who = f"{getpass.getuser()}@{socket.gethostname()} (process {other.process.pid}, apply, since 20"
    refused.is_told("State is locked", who, f"lock {other.lock_id}", "-lock-timeout=5m", "force-unlock")
    assert project.machines() == []


@pytest.mark.slow
def test_a_plan_needs_no_lock(project: Project) -> None:
    with held_elsewhere(project.state):
        assert project.run("plan").code == 0
        assert project.run("state", "list").code == 0


# waiting


@pytest.mark.slow
def test_waiting_ends_after_the_given_time(project: Project) -> None:
    with held_elsewhere(project.state):
        began = time.monotonic()
        refused = project.run("apply", "-auto-approve", "-lock-timeout=2s")
        assert time.monotonic() - began >= 2
    refused.is_told("State is locked")
    assert refused.err.count("Waiting for the state's lock") == 1, "told once"


@pytest.mark.slow
def test_a_killed_holder_frees_who_waits(project: Project) -> None:
    with (
        held_elsewhere(project.state) as other,
        waiting(project, "apply", "-auto-approve", "-lock-timeout=10m") as process,
    ):
        other.kill()
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert f"{project.count} added" in out
    project.is_converged()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_waiting_ends_at_once(project: Project, number: signal.Signals) -> None:
    """The time limit is ten minutes, and the test's is one: who does not hear the signal fails."""
    with held_elsewhere(project.state), waiting(project, "apply", "-auto-approve", "-lock-timeout=10m") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode in ((1, 130) if number is signal.SIGINT else (1, 130, -signal.SIGTERM))
    assert "Traceback" not in out + err
    assert project.machines() == []
    project.converges()


@pytest.mark.slow
def test_a_forced_lock_frees_who_waits(project: Project) -> None:
    with held_elsewhere(project.state) as other, waiting(project, "apply", "-auto-approve", "-lock-timeout=10m") as one:
        wrong = project.run("force-unlock", "-force", "ffff")
        wrong.is_told("Another lock", other.lock_id)
        done = project.run("force-unlock", "-force", other.lock_id)
        assert done.code == 0, done
        assert str(other.process.pid) in done.out
        _, err = one.communicate(timeout=LIMIT_S)
    assert one.returncode == 0, err
    project.is_converged()


# lock files that are none


def told(project: Project, words: str) -> None:
    project.apply().is_told(words, "brevplan.db.lock", 'backend "sqlite"')
    assert project.machines() == []
    assert project.run("plan").code == 0, "a plan does without"


@pytest.mark.slow
def test_a_folder_in_the_place_of_the_lock_file(project: Project) -> None:
    lock_path(project.state).mkdir()
    told(project, "Is a directory")
    unlocked = project.run("force-unlock", "-force")
    assert "Traceback" not in unlocked.err
    assert "nternal error" not in unlocked.err
    lock_path(project.state).rmdir()
    project.converges()


@pytest.mark.slow
def test_a_lock_file_in_a_circle_of_links(project: Project) -> None:
    lock_path(project.state).symlink_to("brevplan.db.lock")
    told(project, "Too many levels of symbolic links")
    lock_path(project.state).unlink()
    project.converges()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_lock_file_that_may_not_be_read(project: Project) -> None:
    lock_path(project.state).touch(mode=0)
    told(project, "Permission denied")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", b"{}", b'{"pid": "x"}', b"[" * 5000])
def test_garbage_in_the_lock_file_says_nothing_and_stops_nothing(project: Project, content: bytes) -> None:
    lock_path(project.state).write_bytes(content)
    project.converges()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", b"{}", b"[" * 5000])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "brevplan.db"
    first = try_lock(state, ME)
    assert isinstance(first, Lock)
    lock_path(state).write_bytes(content)
    assert try_lock(state, ME) == SOMEBODY
    assert str(SOMEBODY) == "another process"
    first.release()
    assert not is_held(state)


def test_attempts_under_a_lock_that_names_nobody_are_left_alone(tmp_path: Path) -> None:
    """The holder may be launching right now: its addresses are not for a plan to create."""
    lab = Lab(tmp_path, configuration(1))
    print_ = next(iter(_accounts(lab)))
    store = opened(tmp_path / "brevplan.db")
    address = next(change.address for change in lab.plan().changes)
    intent = INTENT.__class__("bp-lab-x", "default", address, "local", print_, "run-1")
    store.transact([OpenIntent(intent)])
    store.close()
    lock = try_lock(tmp_path / "brevplan.db", ME)
    assert isinstance(lock, Lock)
    lock_path(tmp_path / "brevplan.db").write_bytes(b"")
    plan = lab.plan()
    assert plan.effective == []
    assert ["being applied by another process" in change.blocked for change in plan.blocked] == [True]
    lock.release()


def _accounts(lab: Lab) -> set[str]:
    """Give the fingerprints of the accounts that a plan looks at."""
    return {account.fingerprint for account in lab.planned()[1].accounts.values()}


def test_the_lock_file_tells_who_in_json(tmp_path: Path) -> None:
    state = tmp_path / "brevplan.db"
    lock = try_lock(state, ME)
    assert isinstance(lock, Lock)
    assert json.loads(lock_path(state).read_bytes()) == {
        "lock_id": "0123", "user": "ann", "host": "box", "pid": 1, "command": "apply", "since": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    assert lock_path(state).stat().st_mode & 0o777 == 0o600
    lock.release()
    assert read_holder(state) is None


def test_two_names_of_one_state_are_one_lock(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    lock = try_lock(tmp_path / "real.db", ME)
    assert isinstance(lock, Lock)
    assert try_lock(tmp_path / "link.db", ME) == ME
    lock.release()


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="No such file or directory"):
        try_lock(tmp_path / "missing" / "brevplan.db", ME)
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="Not a directory"):
        try_lock(tmp_path / "file" / "brevplan.db", ME)


def test_the_lock_is_not_kept_by_who_could_not_write_its_name(tmp_path: Path) -> None:
    """A disk that is full, or whatever: who fails to take the lock must not hold it."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from brevplan.state.errors import StateError\n"
        "from brevplan.state.lock import is_held, try_lock\n"
        "from tests.protocol.test_lock import ME\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    try_lock(Path(sys.argv[1]), ME)\n"
        "except StateError as problem:\n"
        "    print(problem, is_held(Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "brevplan.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT)
    assert done.stdout.rstrip().endswith("False"), Ended(done.returncode, done.stdout, done.stderr)
