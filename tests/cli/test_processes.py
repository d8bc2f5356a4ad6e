"""The real command in real processes: the entry point, the prompt on a terminal, and two writers at one state."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-c", "from brevplan.cli.main import main; main()")

MAIN = """
brevplan { project = "acme" }
provider "local" { boot_time = "%s" }
resource "instance" "web" {
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me"
}
"""


def _project(folder: Path, boot_time: str = "0s") -> Path:
    (folder / "main.hcl").write_text(MAIN % boot_time, encoding="utf-8")
    return folder


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, f"-chdir={folder}", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _answer(folder: Path, answer: str, *words: str) -> tuple[int, str]:
    """Run on a terminal of its own and give one answer to the prompt."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [*COMMAND, f"-chdir={folder}", *words])
    shown = b""
    answered = False
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if not answered and b"Enter a value:" in shown:
            os.write(terminal, f"{answer}\n".encode())
            answered = True
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_entry_point_writes_the_answer_to_stdout_and_progress_to_stderr(tmp_path: Path) -> None:
    done = _run(_project(tmp_path), "apply", "-auto-approve")
    assert done.returncode == 0
    assert "Apply complete! Resources: 1 added, 0 changed, 0 destroyed." in done.stdout
    assert "Creating..." not in done.stdout
    assert "instance.web: Creation complete after" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_destroy_says_nothing_about_reads_that_find_nothing(tmp_path: Path) -> None:
    project = _project(tmp_path)
    _run(project, "apply", "-auto-approve")
    done = _run(project, "destroy", "-auto-approve")
    assert done.returncode == 0
    assert "get_instance" not in done.stderr


def test_unknown_command_exits_1_with_a_suggestion() -> None:
    done = subprocess.run([*COMMAND, "aply"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'Did you mean "apply"?' in done.stderr


def test_prompt_takes_only_yes_for_an_answer(tmp_path: Path) -> None:
    project = _project(tmp_path)
    code, shown = _answer(project, "y", "apply", "-no-color")
    assert code == 1
    assert "nothing was changed" in shown
    assert _run(project, "state", "list").stdout == ""
    code, shown = _answer(project, "yes", "apply")
    assert code == 0, shown
    assert "\x1b[" in shown, "a terminal gets colours"
    assert _run(project, "state", "list").stdout == "instance.web\n"


@pytest.mark.slow
def test_second_writer_is_told_who_holds_the_lock_and_can_wait(tmp_path: Path) -> None:
    project = _project(tmp_path, "2s")
    first = subprocess.Popen(
        [*COMMAND, f"-chdir={project}", "apply", "-auto-approve"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _wait(lambda: "instance.web" in _run(project, "state", "list").stdout)
        refused = _run(project, "apply", "-auto-approve")
        assert refused.returncode == 1
        assert str(first.pid) in refused.stderr
        assert "apply" in refused.stderr
        looked = _run(project, "plan")
        assert "Traceback" not in looked.stderr
        waited = _run(project, "apply", "-auto-approve", "-lock-timeout=30s")
        assert waited.returncode == 0, waited.stderr
        assert "0 added" in waited.stdout
    finally:
        out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert "1 added" in out


@pytest.mark.slow
def test_killed_apply_leaves_a_machine_that_the_next_one_finds(tmp_path: Path) -> None:
    project = _project(tmp_path, "2s")
    first = subprocess.Popen(
        [*COMMAND, f"-chdir={project}", "apply", "-auto-approve"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait(lambda: "instance.web" in _run(project, "state", "list").stdout)
    first.kill()
    first.wait()
    plan = _run(project, "plan", "-concise")
    assert "0 to add" in plan.stdout, plan.stdout + plan.stderr
    again = _run(project, "apply", "-auto-approve")
    assert again.returncode == 0, again.stderr
    assert "0 added" in again.stdout
    assert _run(project, "plan", "-detailed-exitcode").returncode == 0


def test_failing_read_of_a_folder_without_rights_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    project = _project(tmp_path)
    project.chmod(0o500)
    try:
        done = _run(project, "apply", "-auto-approve")
    finally:
        project.chmod(0o700)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error:" in done.stderr
