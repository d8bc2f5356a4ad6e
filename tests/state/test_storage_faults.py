"""Disks that are full, fail or may not be written, and files that are not what they were: at the real command."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brevplan.state.store import StateStore
from tests.launch import limited
from tests.state.command import COUNT, LIMIT_S, ROOT, Namespace, Project, wait_for

pytestmark = pytest.mark.slow

mounting = pytest.mark.skipif(
    not Namespace.is_possible(), reason="this system lets nobody mount in a namespace of their own (unshare -rm)"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Namespace, Project]]:
    """A project whose state lies on a disk of 128 KiB."""
    (tmp_path / "disk").mkdir()
    with Namespace(tmp_path) as space:
        space.must(f"mount -t tmpfs -o size=128k none {tmp_path}/disk")
        yield space, Project(tmp_path, state="disk/brevplan.db")


FILL = "dd if=/dev/zero of={disk}/filler bs=1k 2>/dev/null; true"


def applied(space: Namespace, project: Project) -> None:
    done = space.run(*project.words("apply", "-auto-approve"))
    assert done.code == 0, done
    assert project.machines() == sorted(f"instance.m[{number}]" for number in range(COUNT))
    plan = space.run(*project.words("plan", "-detailed-exitcode"))
    assert plan.code == 0, plan
    listed = space.run(*project.words("state", "list"))
    assert listed.out.split() == [f"instance.m[{number}]" for number in range(COUNT)]


# a disk that is full


@mounting
@pytest.mark.parametrize("room", [0, 8, 16, 24, 40, 56])
def test_a_full_disk_is_told_and_nothing_is_lost(mounted: tuple[Namespace, Project], room: int) -> None:
    """With room for the file, for its tables, for the start of its log…: wherever it ends, the next apply goes on."""
    space, project = mounted
    disk = project.state.parent
    space.must(FILL.format(disk=disk))
    if room:
        space.must(f"truncate -s -{room}k {disk}/filler")
    space.run(*project.words("apply", "-auto-approve")).is_told("the disk is full", "nothing is lost")
    looked = space.run(*project.words("plan"))
    assert "Traceback" not in looked.err
    space.must(f"rm {disk}/filler")
    applied(space, project)


@mounting
def test_a_disk_that_fills_up_during_an_apply_stops_it(mounted: tuple[Namespace, Project]) -> None:
    space, project = mounted
    disk, made = project.state.parent, project.folder / "made"
    project.configure(boot="3s")
    watcher = threading.Thread(target=touch_when_made, args=(project, made))
    watcher.start()
    fill = f"while [ ! -e {made} ]; do sleep 0.05; done; {FILL.format(disk=disk)}"
    done = space.sh(f"({fill}) & " + " ".join(f"'{word}'" for word in project.words("apply", "-auto-approve")))
    watcher.join(LIMIT_S)
    done.is_told("the disk is full", "what was begun is found by its marks")
    assert len(project.machines()) == COUNT
    project.configure()
    space.must(f"rm {disk}/filler")
    applied(space, project)


def touch_when_made(project: Project, made: Path) -> None:
    wait_for(lambda: len(project.machines()) == COUNT)
    time.sleep(0.3)  # until they are bound; when they are not, they are found all the same
    made.touch()


def at_most(size: int) -> str:
    """Let no file of the process grow beyond a size: writing further fails as it does on a failing disk."""
    return limited("RLIMIT_FSIZE", size)


def test_a_disk_that_fails_before_an_apply(project: Project) -> None:
    project.apply(before=at_most(8192)).is_told("brevplan.db", "failed (disk I/O error)", "Look after the disk")
    assert project.machines() == []
    project.converges()


def test_a_disk_that_fails_at_the_end_of_an_apply(project: Project) -> None:
    """Only the outputs do not fit: the machines are made and recorded, and stay so."""
    project.configure(notes='join("", [for a in range(200) : join("", [for b in range(100) : "0123456789"])])')
    project.apply(before=at_most(150_000)).is_told("disk I/O error", "found by its marks")
    assert len(project.machines()) == COUNT
    assert len(project.run("state", "list").out.split()) == COUNT
    project.converges()


# files and folders that may not be written


READ_ONLY = "it, or its folder, is read-only"


@mounting
@pytest.mark.parametrize("made_before", [False, True])
def test_a_read_only_folder(mounted: tuple[Namespace, Project], made_before: bool) -> None:
    space, project = mounted
    disk = project.state.parent
    if made_before:
        applied(space, project)
    project.count += 1
    project.configure()
    space.must(f"mount -o remount,ro {disk}")
    space.run(*project.words("apply", "-auto-approve")).is_told("ead-only", 'backend "sqlite"')
    looked = space.run(*project.words("plan"))
    assert looked.code == 0, looked
    assert f"Plan: {1 if made_before else COUNT + 1} to add" in looked.out
    space.must(f"mount -o remount,rw {disk}")
    done = space.run(*project.words("apply", "-auto-approve"))
    assert done.code == 0, done
    assert len(project.machines()) == COUNT + 1


@mounting
def test_a_read_only_file(mounted: tuple[Namespace, Project]) -> None:
    space, project = mounted
    applied(space, project)
    file = project.state
    space.must(f"mount --bind {file} {file} && mount -o remount,bind,ro {file}")
    space.run(*project.words("apply", "-auto-approve")).is_told(READ_ONLY)
    looked = space.run(*project.words("plan", "-detailed-exitcode"))
    assert looked.code == 0, looked
    space.must(f"umount {file}")
    applied(space, project)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing/brevplan.db", "No such file or directory"),
        ("folder", "Is a directory"),
        ("main.hcl/brevplan.db", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("/".join(["d" * 100] * 60), "File name too long"),
        ("round", "Too many levels of symbolic links"),
        ("pipe", "is not a regular file"),
    ],
)
def test_a_path_where_no_state_can_be(tmp_path: Path, path: str, words: str) -> None:
    project = Project(tmp_path, state=path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "round").symlink_to("round")
    os.mkfifo(tmp_path / "pipe")
    project.apply().is_told("State cannot be used", words, 'backend "sqlite"')
    assert project.machines() == []
    if "missing" not in path:
        project.run("plan").is_told(words)
        project.run("state", "list").is_told(words)
    Project(tmp_path).converges()


def test_a_state_behind_a_link_is_locked_once(tmp_path: Path) -> None:
    project = Project(tmp_path, state="link.db")
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.db").symlink_to("disk/real.db")
    project.converges(tmp_path / "disk" / "real.db")
    assert (tmp_path / "disk" / "real.db.lock").exists()
    assert not (tmp_path / "link.db.lock").exists()


def without_shared_memory(state: Path) -> None:
    """Leave SQLite no place for what its log shares between processes: for it that is such a file system."""
    state.with_name("brevplan.db-shm").symlink_to("nowhere/at-all")


def journal_mode(state: Path) -> str:
    with sqlite3.connect(state) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_file_system_without_shared_memory_keeps_a_rollback_journal(project: Project) -> None:
    without_shared_memory(project.state)
    project.converges()
    assert journal_mode(project.state) == "delete"
    project.count += 1
    project.configure()
    project.converges()


def test_a_state_that_comes_to_a_file_system_without_shared_memory(project: Project) -> None:
    killed_apply(project)
    beside(project, "-shm").unlink()
    without_shared_memory(project.state)
    project.converges()
    assert journal_mode(project.state) == "delete"


# files that are changed under a run


def deleted(state: Path) -> None:
    for path in state.parent.glob("brevplan.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()


def file_deleted(state: Path) -> None:
    state.unlink()


def replaced(state: Path) -> None:
    other = state.with_name("other.db")
    with sqlite3.connect(state) as source, sqlite3.connect(other) as target:
        source.backup(target)
    other.replace(state)


def log_deleted(state: Path) -> None:
    state.with_name("brevplan.db-wal").unlink()


@pytest.mark.parametrize("harm", [deleted, file_deleted, replaced, log_deleted])
def test_a_state_that_is_changed_under_a_run_stops_it(project: Project, harm: Callable[[Path], None]) -> None:
    done = project.during_apply(lambda: harm(project.state))
    done.is_told("was deleted or replaced while this run was using it", "found by its marks")
    assert len(project.machines()) == COUNT
    project.converges()


def test_a_new_state_beside_a_running_apply_keeps_its_log(project: Project) -> None:
    """The old run lets go of files that are not there any more, and must not take those of the new one with it."""

    def anew() -> None:
        deleted(project.state)
        store = StateStore.open(project.state, create=True)
        assert store is not None
        store.take("lab")
        opened.append(store)

    opened: list[StateStore] = []
    project.during_apply(anew).is_told("was deleted or replaced")
    (store,) = opened
    log = project.state.with_name("brevplan.db-wal")
    assert log.stat().st_size > 0
    assert store.meta().epoch == 1
    store.close()
    project.converges()


# files that stay behind


def killed_apply(project: Project) -> None:
    """Leave what a kill leaves: a log that nobody folded into the file."""
    project.configure(boot="3s")
    with subprocess.Popen(
        project.words("apply", "-auto-approve"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as process:
        try:
            wait_for(lambda: len(project.machines()) == project.count)
            time.sleep(0.3)
        finally:
            process.kill()
    project.configure()
    assert project.state.with_name("brevplan.db-wal").stat().st_size > 0


def beside(project: Project, end: str) -> Path:
    return project.state.with_name(f"brevplan.db{end}")


@pytest.mark.parametrize("lost", [[], ["-shm"], ["-wal"], ["-wal", "-shm"], [""], ["", "-wal", "-shm"]])
def test_what_a_kill_leaves_is_recovered_whatever_of_it_is_lost(project: Project, lost: list[str]) -> None:
    killed_apply(project)
    for end in lost:
        beside(project, end).unlink()
    looked = project.run("plan")
    assert looked.code == 0, looked
    assert "0 to add" in looked.out or "No changes" in looked.out, looked.out
    project.converges()


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_noise_beside_the_state(project: Project, end: str) -> None:
    project.converges()
    beside(project, end).write_bytes(os.urandom(5000))
    project.is_converged()


def test_a_log_of_another_state_neither_makes_nor_ends_a_machine(project: Project, tmp_path: Path) -> None:
    project.converges()
    (tmp_path / "other").mkdir()
    other = Project(tmp_path / "other", count=2)
    killed_apply(other)
    shutil.copy(other.state.with_name("brevplan.db-wal"), beside(project, "-wal"))
    found = project.run("plan")
    if "Error" in found.err:
        found.is_told("State is damaged", "brevplan rebuild")
    else:  # a log that holds a whole state takes the place of ours: the marks tell what is there
        assert "Plan: 0 to add" in found.out or "to import, 0 to add" in found.out, found.out
        assert " 0 to destroy" in found.out
    assert len(project.machines()) == COUNT
    for path in project.state.parent.glob("brevplan.db*"):
        path.unlink()
    project.converges()


def test_a_hot_journal_is_played_back(project: Project) -> None:
    """A program that does without the log died in the middle of a transaction: what it wrote is undone."""
    project.converges()
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA journal_mode = DELETE')\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute(\"UPDATE resources SET cloud_id = 'i-99999999'\")\n"
        "db.execute('CREATE TABLE wide(a)')\n"
        "db.executemany('INSERT INTO wide VALUES (?)', [('x' * 900,)] * 200)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(project.state)], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert beside(project, "-journal").stat().st_size > 0
    project.is_converged()
    assert not beside(project, "-journal").exists()
