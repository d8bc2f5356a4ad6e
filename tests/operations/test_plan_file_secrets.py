"""Sensitive literals that a plan file must not hold, beyond those written straight into a sensitive argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.build import written
from tests.world import Lab, configuration

SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("user_data = var.s", f'variable "s" {{\n  sensitive = (true)\n  default = "{SECRET}"\n}}\n'),
        ("user_data = local.s", f'locals {{\n  s = "{SECRET}"\n}}\n'),
        ("user_data = local.s", f'locals {{\n  s = sensitive("{SECRET}")\n}}\n'),
        (f'tags = {{ a = sensitive("{SECRET}") }}', ""),
        ("user_data = var.s", f'variable "s" {{\n  default = "{SECRET}"\n}}\n'),
        ("", f'output "o" {{\n  value = "{SECRET}"\n  sensitive = true\n}}\n'),
    ],
)
def test_a_sensitive_literal_is_in_no_byte_of_it(tmp_path: Path, body: str, rest: str) -> None:
    path = written(Lab(tmp_path, configuration(1, body=body, rest=rest)))
    assert SECRET.encode() not in path.read_bytes()
