"""Broken streams, odd environments and secrets in wrong places: a clear end, no traceback, nothing shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuY6PuXNmyrB4jqJ5YVhE0W0nqXUGGy1jdz4ZyM1QyR test"
CANARY = "hunter2-correct-horse"
HEAD = f'variable "pw" {{\n  sensitive = true\n  default   = "{CANARY}"\n}}\nprovider "local" {{\n  %s\n}}\n'
MACHINE = 'resource "instance" "m" {\n  instance_type = %s\n  location = %s\n  public_key = "' + KEY + '"\n  %s\n}\n'


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BREVPLAN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("brevplan plan >&-", 0, ""),
        ("brevplan plan <&-", 0, ""),
        ("brevplan plan > /dev/full", 1, "System error"),
        ("brevplan discover -json > /dev/full", 1, "System error"),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii brevplan plan", 0, ""),
        ('BREVPLAN_CLI_ARGS="--nope \'x" brevplan plan', 1, "Invalid BREVPLAN_CLI_ARGS"),
        ("brevplan plan -out=", 1, "not the name of a file"),
        ("brevplan plan -out=.", 1, "not the name of a file"),
        ("brevplan state list x", 1, "is not an address"),
        ("brevplan offers -max-price=nan", 1, "is not an amount"),
        ("brevplan -chdir=no/such/folder plan", 1, "No such directory"),
        ("BREVPLAN_LOG=loud brevplan plan", 1, "Unknown log level"),
        ("BREVPLAN_WORKSPACE=../x brevplan plan", 1, "Invalid workspace"),
    ],
)
def test_it_ends_with_a_sentence(tmp_path: Path, command: str, code: int, words: str) -> None:
    (tmp_path / "main.hcl").write_text((HEAD % "") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', ""))
    done = shell(tmp_path, command)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "Internal error" not in said
    assert done.returncode == code, said
    assert words in said


@pytest.mark.parametrize(
    "text",
    [
        (HEAD % "") + MACHINE % ('"gpu_1x_a10"', "var.pw", ""),
        (HEAD % "") + MACHINE % ("var.pw", '"us-west-1"', ""),
        (HEAD % "") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', "image_id = var.pw"),
        (HEAD % "") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', "options = { (var.pw) = 1 }"),
        (HEAD % "") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', "lifecycle {\n    prevent_destroy = var.pw\n  }"),
        (HEAD % "list_lag = var.pw") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', ""),
        (HEAD % "seed = var.pw") + MACHINE % ('"gpu_1x_a10"', '"us-west-1"', ""),
        (HEAD % "") + 'data "instance" "d" {\n  id = var.pw\n}\n',
        (HEAD % "")
        + MACHINE
        % (
            '"gpu_1x_a10"',
            '"us-west-1"',
            'lifecycle {\n    precondition {\n      condition     = var.pw == ""\n'
            '      error_message = "bad ${var.pw}"\n    }\n  }',
        ),
    ],
)
def test_an_error_about_a_secret_does_not_show_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.hcl").write_text(text.replace(CANARY, "none", 1).replace('default   = "none"', ""))
    (tmp_path / "brevplan.vars.hcl").write_text(f'pw = "{CANARY}"\n')
    done = shell(tmp_path, "brevplan plan")
    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr
