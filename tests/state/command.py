"""The real command over a project whose state can come to harm, and a place where disks can be full or read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from brevplan.engine.ports import Role
from brevplan.simcloud.store import Store
from brevplan.state.store import StateStore
from tests.launch import after
from tests.world import KEY

ROOT = Path(__file__).parents[2]
COUNT = 4
LIMIT_S = 60

CONFIGURATION = """
brevplan {{
  project = "lab"
  backend "sqlite" {{ path = "{state}" }}
}}
provider "local" {{
  boot_time = "{boot}"
}}
resource "instance" "m" {{
  count         = {count}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{key}"
}}
output "notes" {{
  value = {notes}
}}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def is_told(self, *words: str) -> None:
        """See that the command failed as commands do: exit code 1, what is wrong and what to do, and no traceback."""
        assert self.code == 1, self
        assert "Traceback" not in self.err, self.err
        assert "nternal error" not in self.err, self.err
        flat = " ".join(self.err.replace("│", " ").split())
        for word in words:
            assert word in flat, self.err


class Project:
    """A folder with machines declared, the embedded cloud in it, and the state where `state` says."""

    def __init__(self, folder: Path, *, state: str = "brevplan.db", count: int = COUNT) -> None:
        self.folder, self.state, self.count = folder, folder / state, count
        self._name = state
        self.configure()

    def configure(self, *, boot: str = "0s", notes: str = '"short"') -> None:
        text = CONFIGURATION.format(state=self._name, boot=boot, count=self.count, key=KEY, notes=notes)
        (self.folder / "main.hcl").write_text(text)

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "brevplan", f"-chdir={self.folder}", *words, "-no-color"]

    def run(self, *words: str, before: str = "pass") -> Ended:
        """Run a command; `before` is a line of Python for its process."""
        done = subprocess.run(
            after(before, self.words(*words)), capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def apply(self, *, before: str = "pass") -> Ended:
        return self.run("apply", "-auto-approve", before=before)

    def during_apply(self, harm: Callable[[], None]) -> Ended:
        """Do something to an apply whose machines are made and boot, and wait for how it ends."""
        self.configure(boot="3s")
        with subprocess.Popen(
            self.words("apply", "-auto-approve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            try:
                wait_for(lambda: len(self.machines()) == self.count)
                time.sleep(0.3)  # until they are bound; when they are not, they are found all the same
                harm()
                out, err = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()
        self.configure()
        return Ended(process.returncode, out, err)

    def machines(self) -> list[str]:
        """Give the addresses of the living machines."""
        store = Store(self.folder / "local-cloud.db")
        try:
            return sorted(machine.body.address for machine in store.machines())
        finally:
            store.close()

    def ids(self) -> set[str]:
        store = Store(self.folder / "local-cloud.db")
        try:
            return {machine.body.cloud_id for machine in store.machines()}
        finally:
            store.close()

    def converges(self, path: Path | None = None) -> None:
        """See that the next apply ends with exactly the declared machines, all recorded, and nothing left to do."""
        done = self.apply()
        assert done.code == 0, done
        self.is_converged(path)

    def is_converged(self, path: Path | None = None) -> None:
        assert self.machines() == sorted(f"instance.m[{number}]" for number in range(self.count))
        assert self.run("plan", "-detailed-exitcode").code == 0
        store = StateStore.open(path or self.state, create=False)
        assert store is not None
        assert {record.cloud_id for record in store.records() if record.role is Role.CURRENT} == self.ids()
        assert store.intents() == []
        store.close()


def wait_for(condition: Callable[[], bool], seconds: float = LIMIT_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Namespace:
    """A shell that may mount, without being anybody: mounts are its own and end with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def is_possible() -> bool:
        if shutil.which("unshare") is None or shutil.which("timeout") is None:
            return False
        tried = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False, timeout=20
        )
        return tried.returncode == 0

    def __enter__(self) -> Namespace:
        self._shell = subprocess.Popen(
            ["unshare", "-rm", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.kill()
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(LIMIT_S)

    def run(self, *words: str) -> Ended:
        """Run one command in the namespace, for a bounded time."""
        return self.sh(" ".join(f"'{word}'" for word in words))

    def sh(self, line: str) -> Ended:
        out, err = self._folder / "shell.out", self._folder / "shell.err"
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        quoted = line.replace("'", "'\"'\"'")
        self._shell.stdin.write(f"timeout -k 5 {LIMIT_S} sh -c '{quoted}' >{out} 2>{err}; echo ended $?\n")
        self._shell.stdin.flush()
        answer = self._shell.stdout.readline().split()
        assert answer[:1] == ["ended"], answer
        return Ended(int(answer[1]), out.read_text(), err.read_text())

    def must(self, line: str) -> str:
        done = self.sh(line)
        assert done.code == 0, done
        return done.out
