"""What an apply leaves on disk: no byte of a secret, in the state or beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import Lab, configuration

SECRET = "hunter2-correct-horse"
VARIABLE = f'variable "s" {{\n  sensitive = true\n  default = "{SECRET}"\n}}\n'


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (f'user_data = "{SECRET}"', ""),
        ("user_data = var.s", VARIABLE),
        ('user_data = "#!/bin/sh\\necho ${var.s}"', VARIABLE),
        ("tags = { a = var.s }", VARIABLE),
        ("tags = sensitive({ a = var.s })", VARIABLE),
        ('name = "n-${var.s}"', VARIABLE),
        ("options = { subnet_id = var.s }", VARIABLE),
        ("filesystems = [var.s]", VARIABLE),
        ("", VARIABLE + 'output "o" {\n  value = [var.s, { k = var.s }]\n  sensitive = true\n}\n'),
    ],
)
def test_a_secret_is_in_no_byte_of_the_state(tmp_path: Path, body: str, rest: str) -> None:
    lab = Lab(tmp_path, configuration(1, body=body, rest=rest))
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
    assert not lab.plan().has_changes
    for file in tmp_path.iterdir():
        if not file.name.startswith("local-cloud.db"):  # the cloud's own file, and the cloud must know
            assert SECRET.encode() not in file.read_bytes(), file.name
