"""The console as somebody at a terminal has it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

CTRL_C = "\x03"
LIMIT = 60.0
"""Seconds after which a console that shows nothing more is taken for hanging."""


def at_a_terminal(folder: Path, typed: Sequence[str]) -> tuple[str, int]:
    """Run the console on a terminal of its own, type whenever it prompts; give what was shown, and the exit code."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HOME": str(folder), "TERM": "dumb", "NO_COLOR": "1", "XDG_STATE_HOME": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "brevplan", f"-chdir={folder}", "console"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = _read_up_to_prompt(ours)
        for line in typed:
            if line == CTRL_C:
                shown += _interrupt(process, ours)
            else:
                os.write(ours, line.encode())
                shown += _read_up_to_prompt(ours)
        return shown, process.wait(timeout=LIMIT)
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _interrupt(process: subprocess.Popen[bytes], terminal: int) -> str:
    """Do what a terminal does for the session that it belongs to, again until there is a new prompt.

    A signal that comes between the prompt and the wait for a key is noticed with the next key only.
    """
    for _ in range(int(LIMIT)):
        process.send_signal(signal.SIGINT)
        with suppress(TimeoutError):
            return _read_up_to_prompt(terminal, 2.0)
    raise TimeoutError


def _read_up_to_prompt(terminal: int, seconds: float = LIMIT) -> str:
    """Read until the cursor stands behind a prompt, or the last one to hold the terminal has closed it."""
    text = ""
    while not re.search(r"(^|\n)[>:] $", text):
        if not select.select([terminal], [], [], seconds)[0]:
            raise TimeoutError(text)
        try:
            text += os.read(terminal, 4096).decode()
        except OSError:
            break
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text)
    return text


@pytest.mark.slow
def test_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text('variable "size" {\n  default = 3\n}\n')
    typed = ["var.size + 4", "(", "20", "+ 3)", 'sensitive("sesame")', "nope", "type([1])", "var.size * 100", "exit"]
    shown, code = at_a_terminal(tmp_path, [f"{line}\n" for line in typed])
    assert code == 0
    assert "\n7\n> " in shown
    assert "\n: 20\n: + 3)\n23\n> " in shown
    assert "\n(sensitive value)\n> " in shown
    assert "Reference to something undeclared" in shown
    assert "\ntuple([\n    number,\n])\n> " in shown
    assert "\n300\n> " in shown  # it goes on after an error
    kept = tmp_path / ".local" / "state" / "brevplan" / "console_history"
    assert kept.read_text() == "var.size + 4\nnope\ntype([1])\nvar.size * 100\n"


@pytest.mark.slow
def test_keys_that_cancel_complete_and_end(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text('variable "size" {\n  default = 3\n}\n')
    shown, code = at_a_terminal(tmp_path, ["(\n", CTRL_C, "var.si\t + 1\n", "\x04"])
    assert code == 0
    assert "var.size + 1\n4\n> " in shown
