"""SIGINT and SIGTERM at the real command in every phase: what it says, how it ends, and that the next apply converges.

Exit codes: 1 for the first signal, 130 for the second. Never a traceback.
"""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from brevplan.operations.locking import new_holder
from brevplan.operations.world import system_world
from brevplan.simcloud.store import Store
from brevplan.state.lock import Lock, try_lock
from brevplan.state.store import StateStore
from tests.world import configuration

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
LIMIT = 40
"""Seconds after which a command is taken for hanging."""
STOPPING = "Stopping: nothing new is started. Once more stops at once; nothing is lost."
AT_ONCE = "Stopped at once. Nothing is lost"


@dataclass
class Command:
    """A command under way; what it shows is gathered as it comes."""

    process: subprocess.Popen[bytes]
    shown: bytearray
    reader: threading.Thread

    def text(self) -> str:
        return self.shown.decode()

    def waits_for(self, *words: str) -> None:
        """Wait until it has shown all the words."""
        self.waits(lambda: all(word in self.text() for word in words), str(words))

    def waits(self, condition: Callable[[], bool], what: str = "") -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert self.process.poll() is None, f"it ended before: {what}\n{self.text()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.text()}"
            time.sleep(0.01)

    def sends(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, seconds: float = LIMIT) -> int:
        code = self.process.wait(timeout=seconds)
        self.reader.join(LIMIT)  # its last words may still be on their way
        assert "Traceback" not in self.text()
        return code


@contextmanager
def started(folder: Path, *words: str, terminal: bool = False) -> Iterator[Command]:
    """Start the command; whatever happens, it has ended afterwards."""
    ours, theirs = pty.openpty() if terminal else (-1, subprocess.DEVNULL)
    environment = {**os.environ, "TERM": "dumb", "HOME": str(folder), "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "brevplan", f"-chdir={folder}", *words],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
    )  # fmt: skip
    shown = bytearray()
    reader = threading.Thread(target=_gather, args=(process, shown))
    command = Command(process, shown, reader)
    reader.start()
    try:
        yield command
    finally:
        process.kill()
        process.wait()
        reader.join()
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)


def _gather(process: subprocess.Popen[bytes], shown: bytearray) -> None:
    assert process.stdout is not None
    while piece := os.read(process.stdout.fileno(), 65536):
        shown += piece
    process.stdout.close()


def write(folder: Path, count: int, provider: str = "", body: str = "") -> None:
    (folder / "main.hcl").write_text(configuration(count, provider=provider, body=body))


def converges(folder: Path, count: int) -> None:
    """Apply on a quiet cloud, and check that cloud, state and plan agree."""
    write(folder, count)
    with started(folder, "apply", "-auto-approve") as command:
        assert command.ends() == 0, command.text()
    with started(folder, "plan", "-detailed-exitcode") as command:
        assert command.ends() == 0, command.text()
    store = Store(folder / "local-cloud.db")
    living = sorted(str(machine.body.cloud_id) for machine in store.machines())
    store.close()
    state = StateStore.open(folder / "brevplan.db", create=False)
    recorded = sorted(record.cloud_id for record in state.records()) if state is not None else []
    if state is not None:
        assert [intent for intent in state.intents() if intent.state.value == "open"] == []
        state.close()
    assert recorded == living
    assert len(living) == count


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


@BOTH
def test_while_it_waits_for_the_lock(tmp_path: Path, first: signal.Signals) -> None:
    write(tmp_path, 1)
    held = try_lock(tmp_path / "brevplan.db", new_holder("apply", system_world()))
    assert isinstance(held, Lock)
    with started(tmp_path, "apply", "-auto-approve", "-lock-timeout=10m") as command:
        command.waits_for("Waiting for the state's lock, held by", f"process {os.getpid()}, apply, since")
        command.sends(first)
        assert command.ends() == 1
        assert "Interrupted: nothing is lost." in command.text()
    held.release()
    converges(tmp_path, 1)


@BOTH
def test_at_the_prompt(tmp_path: Path, first: signal.Signals) -> None:
    write(tmp_path, 1)
    with started(tmp_path, "apply", terminal=True) as command:
        command.waits_for("Enter a value:")
        command.sends(first)
        assert command.ends() == 1
        assert "Interrupted: nothing is lost." in command.text()
    assert bound(tmp_path) == 0
    converges(tmp_path, 1)


@BOTH
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_while_it_looks_at_a_cloud_that_does_not_answer(tmp_path: Path, verb: str, first: signal.Signals) -> None:
    write(tmp_path, 1, "fail_rate = 1\n  max_retries = 50")
    with started(tmp_path, verb) as command:
        time.sleep(1.5)  # nothing tells from outside that the first list has failed
        command.sends(first)
        assert command.ends() == 1
        assert "Interrupted: nothing is lost." in command.text()
    converges(tmp_path, 1)


def test_json_says_it_in_a_line(tmp_path: Path) -> None:
    write(tmp_path, 1, "fail_rate = 1\n  max_retries = 50")
    with started(tmp_path, "plan", "-json") as command:
        command.waits_for('"type":"version"')
        command.sends(signal.SIGTERM)
        assert command.ends() == 1
    assert '"summary":"Interrupted"' in command.text().splitlines()[-1]


@BOTH
def test_while_launches_wait_for_an_answer(tmp_path: Path, first: signal.Signals) -> None:
    write(tmp_path, 7, "lost_response_rate = 1")
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits_for(*(f"instance.m[{n}]: no answer" for n in range(7)))
        command.sends(first)
        assert command.ends() == 1
    shown = command.text()
    assert STOPPING in shown
    assert "Waiting for instance.m[" in shown
    assert "was not expected" not in shown
    converges(tmp_path, 7)


def test_launches_that_wait_for_their_turn_are_not_begun(tmp_path: Path) -> None:
    write(tmp_path, 30, "requests_per_minute = 20")
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits_for("instance.m[9]: Creating...")
        made = bound(tmp_path)
        command.sends(signal.SIGINT)
        assert command.ends() == 1
    assert bound(tmp_path) <= made + 1, "nothing was bought after the signal but what was asked for already"
    assert "Not started: instance.m[10]" in command.text()


@BOTH
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_twice_inside_a_grace_window(tmp_path: Path, first: signal.Signals, second: signal.Signals) -> None:
    """The window is an hour long: the first signal lets it be waited for, and says so; the second ends at once."""
    write(
        tmp_path, 2, 'lost_response_rate = 1\n  max_retries = 0\n  seed = 3\n  grace_window = "1h"\n  list_lag = "1h"'
    )
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits_for("instance.m[0]: no answer", "instance.m[1]: no answer")
        command.sends(first)
        command.waits_for(STOPPING, "Waiting for instance.m[0] and instance.m[1].")
        command.sends(second)
        assert command.ends(10) == 130
        assert AT_ONCE in command.text()
    converges(tmp_path, 2)


def test_twice_while_it_hangs_in_a_locked_file(tmp_path: Path) -> None:
    """A call that does not come back to Python keeps the second signal from nothing."""
    write(tmp_path, 2)
    with started(tmp_path, "apply", "-auto-approve") as command:
        assert command.ends() == 0
    cloud = sqlite3.connect(tmp_path / "local-cloud.db", isolation_level=None)
    cloud.execute("BEGIN IMMEDIATE")
    with started(tmp_path, "destroy", "-auto-approve") as command:
        command.waits_for("instance.m[0]: Destroying...", "instance.m[1]: Destroying...")
        command.sends(signal.SIGINT)
        time.sleep(0.3)  # signals that arrive together are one to the system
        command.sends(signal.SIGINT)
        assert command.ends(10) == 130
        assert AT_ONCE in command.text()
    cloud.close()
    converges(tmp_path, 2)


def test_while_machines_boot_they_are_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, 3, 'boot_time = "30m"')
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits(lambda: bound(tmp_path) == 3)
        command.sends(signal.SIGTERM)
        assert command.ends(10) == 1
    assert STOPPING in command.text()
    assert "Waiting for instance" not in command.text()
    assert bound(tmp_path) == 3


def test_while_machines_are_destroyed(tmp_path: Path) -> None:
    """A cloud that answers no ending is asked no more after the first signal, and the next run goes on."""
    write(tmp_path, 3)
    with started(tmp_path, "apply", "-auto-approve") as command:
        assert command.ends() == 0
    write(tmp_path, 3, "fail_rate = 1")
    with started(tmp_path, "destroy", "-auto-approve", "-refresh=false") as command:
        command.waits_for(*(f"instance.m[{n}]: Destroying..." for n in range(3)))
        command.sends(signal.SIGINT)
        assert command.ends() == 1
        assert STOPPING in command.text()
    write(tmp_path, 3)
    with started(tmp_path, "destroy", "-auto-approve") as command:
        assert command.ends() == 0, command.text()
    store = Store(tmp_path / "local-cloud.db")
    assert store.machines() == []
    store.close()


def test_while_an_earlier_launch_is_settled(tmp_path: Path) -> None:
    """The settling that comes before a run can be broken off: the launch stays open for the next one."""
    slow = 'lost_response_rate = 1\n  max_retries = 0\n  grace_window = "1h"\n  list_lag = "1h"'
    write(tmp_path, 1, slow)
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits_for("instance.m[0]: no answer")
    with started(tmp_path, "apply", "-auto-approve") as command:
        command.waits_for("looking for the machine of a launch that was not answered")
        command.sends(signal.SIGINT)
        assert command.ends(10) == 1
        assert "Interrupted: nothing is lost." in command.text()
    converges(tmp_path, 1)


@BOTH
def test_in_a_console(tmp_path: Path, first: signal.Signals) -> None:
    write(tmp_path, 1)
    with started(tmp_path, "console", terminal=True) as command:
        command.waits_for("> ")
        if first is signal.SIGINT:
            for count in (2, 3, 4):  # Ctrl-C drops the line, however often
                command.sends(signal.SIGINT)
                command.waits(lambda count=count: command.text().count("> ") >= count)  # type: ignore[misc]
        command.sends(signal.SIGTERM)
        assert command.ends(10) == 1
        assert "Interrupted: nothing is lost." in command.text()


@BOTH
def test_in_a_console_that_reads_a_pipe(tmp_path: Path, first: signal.Signals) -> None:
    write(tmp_path, 1)
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "brevplan", f"-chdir={tmp_path}", "console"],
        stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        os.write(writing, b"1 + 1\n")
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 2) == b"2\n"
        process.send_signal(first)
        out, err = process.communicate(timeout=LIMIT)
    finally:
        os.close(writing)
        os.close(reading)
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert b"Interrupted: nothing is lost." in err
    assert b"Traceback" not in out + err


@pytest.mark.parametrize("words", [("state", "list"), ("validate",), ("history",), ("plan",)], ids=" ".join)
@pytest.mark.parametrize("wait", [0.15, 0.25, 0.35, 0.5])
def test_at_any_moment_of_a_short_command(tmp_path: Path, words: tuple[str, ...], wait: float) -> None:
    """Before Python has begun to run our code a signal does what it does to any process."""
    write(tmp_path, 1)
    with started(tmp_path, *words) as command:
        time.sleep(wait)
        command.sends(signal.SIGTERM)
        assert command.ends(10) in (0, 1, -signal.SIGTERM)
