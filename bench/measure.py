"""Run a command and count what it took: time, processor, memory and bytes written. Linux only.

Processor time is what a budget is judged by: it is the same on a busy machine, and without the network a run of
brevplan is nearly all processor time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BREVPLAN: Final = Path(sys.executable).with_name("brevplan")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took. With `timed_out` the numbers are what it had taken when it was ended."""

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    written: int
    """Bytes given to write calls: files and output alike."""
    printed: int
    """Bytes of output, part of `written`."""
    timed_out: bool = False

    @property
    def written_to_files(self) -> int:
        return max(0, self.written - self.printed)


class Workbench:
    """A scratch folder with the environment that the commands run in: no user's caches, compiled modules kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        # Python's own variables too: without compiled modules every start would compile the whole package
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("BREVPLAN_", "TF_", "PYTHON"))
        }
        if "PYTHONPATH" in os.environ:
            kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self.environment = kept | {
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "XDG_CACHE_HOME": str(self.cache),
            "BREVPLAN_INPUT": "0",
            "NO_COLOR": "1",
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
        }

    def project(self, name: str, text: str, *, file: str = "main.hcl") -> Path:
        """Make a fresh folder with one configuration file."""
        path = self.folder / name
        path.mkdir()
        (path / file).write_text(text)
        return path

    def run(
        self,
        command: Sequence[str | Path],
        where: Path,
        *,
        limit_s: float,
        more: Mapping[str, str] | None = None,
    ) -> Cost:
        """Run to the end, or kill it at the limit; its output goes to `last.out` and `last.err`."""
        out, err = where / "last.out", where / "last.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(word) for word in command], cwd=where, env=self.environment | dict(more or {}),
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
            )  # fmt: skip
            expired = threading.Event()
            alarm = threading.Timer(limit_s, _end, (process.pid, expired))
            alarm.start()
            try:
                # the counters can be read for as long as the dead process has not been collected
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                wall = time.perf_counter() - started
            except BaseException:
                _end(process.pid, expired)
                raise
            finally:
                alarm.cancel()
            written = _bytes_written(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(
            process.returncode,
            wall,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            written,
            out.stat().st_size + err.stat().st_size,
            expired.is_set(),
        )

    def best(
        self, command: Sequence[str | Path], where: Path, *, limit_s: float, times: int, max_total_s: float = 30.0
    ) -> Cost:
        """Run a command that changes nothing several times, and keep the run with the least processor time."""
        best: Cost | None = None
        spent = 0.0
        for _ in range(times):
            cost = self.run(command, where, limit_s=limit_s)
            spent += cost.wall_s
            if best is None or cost.cpu_s < best.cpu_s:
                best = cost
            if cost.timed_out or cost.exit_code != 0 or spent > max_total_s:
                break
        assert best is not None, "at least one time"
        return best


def _end(pid: int, expired: threading.Event) -> None:
    expired.set()
    os.killpg(pid, signal.SIGKILL)


def _bytes_written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    return 0
