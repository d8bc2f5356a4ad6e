"""Writers of the state in real processes: beside a running apply, and a document through a pipe."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.world import configuration

COMMAND = (sys.executable, "-m", "brevplan")


def run(folder: Path, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, f"-chdir={folder}", *words], capture_output=True, text=True, timeout=60, check=False,
        input=typed if typed is not None else "",
    )  # fmt: skip


def begun(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until an apply has recorded its machine."""
    deadline = time.monotonic() + 30
    while "instance.m[0]" not in run(folder, "state", "list").stdout:
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "waited in vain"


@pytest.mark.slow
def test_state_mv_beside_a_running_apply_names_its_holder_and_can_wait(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text(configuration(1, provider='boot_time = "4s"'))
    first = subprocess.Popen(
        [*COMMAND, f"-chdir={tmp_path}", "apply", "-auto-approve"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        begun(tmp_path, first)
        refused = run(tmp_path, "state", "mv", "instance.m", "instance.w")
        assert refused.returncode == 1
        assert "State is locked" in refused.stderr
        assert f"process {first.pid}, apply," in refused.stderr.replace("\n│ ", " ")
        waited = run(tmp_path, "state", "mv", "-lock-timeout=40s", "instance.m", "instance.w")
        assert waited.returncode == 0, waited.stderr
        assert f"process {first.pid}" in waited.stderr
        assert "Successfully moved 1 object(s)." in waited.stdout
    finally:
        out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert "1 added" in out
    assert run(tmp_path, "state", "list").stdout == "instance.w[0]\n"


def test_pull_and_push_through_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text(configuration(2))
    assert run(tmp_path, "apply", "-auto-approve").returncode == 0
    pulled = run(tmp_path, "state", "pull").stdout
    pushed = run(tmp_path, "state", "push", "-", typed=pulled)
    assert pushed.returncode == 0, pushed.stderr
    assert "Successfully pushed 2 resource instance(s)" in pushed.stdout
    (tmp_path / "state.json").write_text(run(tmp_path, "state", "pull").stdout)
    assert run(tmp_path, "state", "push", "state.json").returncode == 0
    assert run(tmp_path, "plan", "-detailed-exitcode").returncode == 0


@pytest.mark.parametrize("command", ["mv", "rm", "unprotect", "pull", "push"])
def test_each_writer_explains_itself(command: str) -> None:
    done = subprocess.run([*COMMAND, "state", command, "-h"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert f"brevplan state {command}" in done.stdout
    assert ("-lock-timeout" in done.stdout) == (command != "pull")
