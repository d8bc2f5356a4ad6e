"""The file: made privately, shared by processes, whole after a kill, and never a traceback of SQLite."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from brevplan.contract.errors import CloudError, Rejected, Sent, Unavailable
from brevplan.contract.model import InstanceFilter
from brevplan.simcloud.cloud import SimCloud

from .build import HandClock, attrs, cloud

ALL = InstanceFilter()

WRITER = """
import sys
from datetime import UTC, datetime
from brevplan.contract.model import CreateInstanceAttrs
from brevplan.simcloud.cloud import SimCloud
class Clock:
    def now(self): return datetime(2026, 1, 1, tzinfo=UTC)
sim = SimCloud(sys.argv[1], Clock())
for n in range(int(sys.argv[3])):
    sim.create(CreateInstanceAttrs(ref_id=f"{sys.argv[2]}-{n}", cloud_cred_ref_id="c", instance_type="gpu_1x_a10",
                                   location="us-west-1", public_key="k"))
    if n == 20:
        print("some", flush=True)
"""


def writer(path: Path, name: str, machines: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(machines)], stdout=subprocess.PIPE)


@pytest.fixture
def sim(tmp_path: Path) -> SimCloud:
    return cloud(tmp_path, HandClock())


def test_the_file_is_made_on_first_use_for_its_owner_only(sim: SimCloud) -> None:
    assert not sim.store.exists()
    assert sim.instances(ALL) == []
    assert sim.store.path.stat().st_mode & 0o777 == 0o600
    sim.create(attrs())
    assert Path(f"{sim.store.path}-wal").stat().st_mode & 0o777 == 0o600


def test_closing_leaves_one_file(sim: SimCloud, tmp_path: Path) -> None:
    sim.create(attrs())
    sim.close()
    sim.close()
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.db"]
    assert len(sim.instances(ALL)) == 1


def test_a_deleted_file_takes_its_machines_along(sim: SimCloud) -> None:
    sim.create(attrs())
    sim.store.path.unlink()
    assert sim.instances(ALL) == []
    assert sim.create(attrs()).cloud_id == "i-00000001"


def test_a_log_left_by_a_killed_process_is_read(sim: SimCloud, tmp_path: Path) -> None:
    sim.create(attrs())
    left = tmp_path / "left"
    left.mkdir()
    for path in (sim.store.path, Path(f"{sim.store.path}-wal")):
        shutil.copy(path, left)
    assert (left / "cloud.db-wal").stat().st_size > 0
    assert len(cloud(left, HandClock()).instances(ALL)) == 1


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be looked at" * 9, os.urandom(5000)])
def test_a_damaged_file_is_refused_in_words(sim: SimCloud, content: bytes) -> None:
    sim.store.path.write_bytes(content)
    with pytest.raises(Rejected, match="damaged, or not a database"):
        sim.instances(ALL)
    assert sim.store.path.read_bytes() == content


def test_a_file_damaged_in_the_middle_is_refused_in_words(sim: SimCloud) -> None:
    for number in range(200):
        sim.create(attrs(f"r{number}"))
    sim.close()
    content = bytearray(sim.store.path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    sim.store.path.write_bytes(content)
    with pytest.raises(CloudError, match="cannot be used as a local cloud"):
        sim.instances(ALL)


def test_a_damaged_row_is_refused_in_words(sim: SimCloud) -> None:
    sim.create(attrs())
    with sqlite3.connect(sim.store.path) as other:
        other.execute("UPDATE machines SET body = '{}'")
    other.close()
    with pytest.raises(Rejected, match="row in it is damaged"):
        sim.instances(ALL)


def test_another_programs_database_is_refused_and_left_alone(sim: SimCloud) -> None:
    with sqlite3.connect(sim.store.path) as other:
        other.execute("CREATE TABLE theirs (id)")
    other.close()
    before = sim.store.path.read_bytes()
    with pytest.raises(Rejected, match="another program's"):
        sim.create(attrs())
    assert sim.store.path.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused(sim: SimCloud) -> None:
    sim.create(attrs())
    sim.close()
    with sqlite3.connect(sim.store.path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(Rejected, match="newer brevplan"):
        sim.instances(ALL)


def test_an_empty_file_is_taken(sim: SimCloud) -> None:
    sim.store.path.touch()
    assert sim.create(attrs()).cloud_id == "i-00000001"


def test_a_path_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for path, says in (("none/cloud.db", "folder does not exist"), ("", "it is a folder"), ("plain/x", "not a dir")):
        with pytest.raises(Rejected, match=says):
            SimCloud(tmp_path / path, HandClock()).instances(ALL)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused_in_words(sim: SimCloud, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Rejected, match="permission denied"):
            sim.instances(ALL)
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_makes_nothing_and_says_so(sim: SimCloud) -> None:
    sim.create(attrs("first"))
    with sim.store.write():
        sim.store._file.rows("PRAGMA max_page_count = 1")  # SQLite's own way to act as if the disk were full
    with pytest.raises(Unavailable, match="disk is full") as caught:
        sim.create(attrs("large", tags={"t": "x" * 100_000}))
    assert caught.value.sent is Sent.REFUSED
    assert [machine.ref_id for machine in sim.store.machines(include_gone=True)] == ["first"]
    with sim.store.read():
        assert sum(sim.store.taken().values()) == 1


@pytest.mark.slow
def test_two_processes_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    running = [writer(path, name, 200) for name in ("a", "b", "c")]
    for process in running:
        process.communicate()
        assert process.returncode == 0
    machines = cloud(tmp_path, HandClock()).store.machines()
    assert len({machine.body.cloud_id for machine in machines}) == 600
    assert {machine.ref_id for machine in machines} == {f"{name}-{n}" for name in "abc" for n in range(200)}


@pytest.mark.slow
def test_a_killed_process_leaves_a_whole_file(tmp_path: Path) -> None:
    process = writer(tmp_path / "cloud.db", "a", 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sim = cloud(tmp_path, HandClock())
    machines = sim.store.machines()
    assert len(machines) > 20
    with sim.store.read():
        assert sum(sim.store.taken().values()) == len(machines)
    assert sim.create(attrs("new")).cloud_id not in {machine.body.cloud_id for machine in machines}
