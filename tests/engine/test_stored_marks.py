"""Values that look like the marks of the state: they are the user's own, and must come back as they went."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.engine.secrets import seal, unseal
from brevplan.lang.types import ANY
from brevplan.lang.values import Object
from tests.world import Lab, configuration


@pytest.mark.parametrize(
    "value", ['{ "$digest" = "abc" }', '{ "$number" = "x" }', '{ "$number" = "1/0" }', '{ "$number" = "1/2" }']
)
def test_an_output_that_looks_like_a_mark(tmp_path: Path, value: str) -> None:
    lab = Lab(tmp_path, configuration(0, rest=f'output "o" {{\n  value = {value}\n}}\n'))
    lab.apply()
    assert not lab.plan().has_changes


@pytest.mark.parametrize("name", ["$digest", "$number"])
def test_such_an_object_is_read_back(name: str) -> None:
    value = Object({name: "1/2"})
    assert unseal(seal(value, "salt"), ANY) == value
