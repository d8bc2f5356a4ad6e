"""Ctrl-C and SIGTERM at the real command, while machines boot: what it says, how it ends, and what is kept."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from brevplan.simcloud.store import Store
from brevplan.state.store import StateStore
from tests.world import configuration

pytestmark = pytest.mark.slow

COUNT = 3
ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    code: int
    seconds: float
    stdout: str
    stderr: str


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "brevplan", f"-chdir={folder}", *words, "-no-color"]


def bound(folder: Path) -> int:
    """Count the machines that the state holds by their cloud id."""
    try:
        connection = sqlite3.connect(f"file:{folder / 'brevplan.db'}?mode=ro", uri=True, timeout=5)
        try:
            return int(connection.execute("SELECT count(*) FROM resources WHERE cloud_id <> ''").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


def interrupted(folder: Path, *signals: signal.Signals, slow: bool = False) -> Ended:
    """Apply machines that take long to boot; once all are bound, send the signals and wait for the end.

    `slow` leaves so few requests that settling takes longer than it takes to press a key twice.
    """
    rate = "requests_per_minute = 30" if slow else ""
    (folder / "main.hcl").write_text(configuration(COUNT, provider=f'boot_time = "20s"\n  {rate}'))
    process = subprocess.Popen(
        command(folder, "apply", "-auto-approve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    limit = time.monotonic() + 30
    while bound(folder) < COUNT and time.monotonic() < limit:
        time.sleep(0.02)
    began = time.monotonic()
    for number, each in enumerate(signals):
        if number:
            time.sleep(0.2)
        process.send_signal(each)
    stdout, stderr = process.communicate(timeout=40)
    return Ended(process.returncode, time.monotonic() - began, stdout, stderr)


def boot_all(folder: Path) -> None:
    """Let the machines have booted by now, so that nobody waits for them in real time."""
    store = Store(str(folder / "local-cloud.db"))
    machines = store.machines()
    with store.write():
        for machine in machines:
            store.save(replace(machine, ready_at=machine.born_at), machine)
    store.close()


def converges(folder: Path) -> None:
    (folder / "main.hcl").write_text(configuration(COUNT))
    boot_all(folder)
    done = subprocess.run(
        command(folder, "apply", "-auto-approve"), capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    state = StateStore.open(folder / "brevplan.db", create=False)
    assert state is not None
    recorded = {record.cloud_id: record.settled for record in state.records()}
    assert state.intents() == []
    state.close()
    store = Store(str(folder / "local-cloud.db"))
    living = {str(machine.body.cloud_id) for machine in store.machines()}
    store.close()
    assert recorded == dict.fromkeys(living, True)
    assert len(living) == COUNT
    plan = subprocess.run(
        command(folder, "plan", "-detailed-exitcode"), capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert plan.returncode == 0, plan.stdout


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_settles_and_ends_with_1(tmp_path: Path, first: signal.Signals) -> None:
    ended = interrupted(tmp_path, first)
    assert ended.code == 1, ended.stderr
    assert ended.seconds < 5, "it waited for the machines to boot"
    assert "Stopping: nothing new is started. Once more stops at once; nothing is lost." in ended.stderr
    assert "Apply incomplete." in ended.stdout
    assert "Traceback" not in ended.stderr
    assert bound(tmp_path) == COUNT
    converges(tmp_path)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_at_once_with_130(tmp_path: Path, first: signal.Signals) -> None:
    ended = interrupted(tmp_path, first, signal.SIGINT, slow=True)
    assert ended.code == 130
    assert ended.seconds < 2
    assert re.search(r"Stopped at once\. Nothing is lost", ended.stderr)
    assert bound(tmp_path) == COUNT
    converges(tmp_path)
