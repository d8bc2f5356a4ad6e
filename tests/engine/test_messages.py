"""Messages that lead astray, or come twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.build import loaded
from tests.engine.test_expand import expanded
from tests.operations.build import collected


def test_a_name_that_is_no_data_source_is_compared_with_data_sources() -> None:
    _, problems = loaded('output "o" {\n  value = data.image.all\n}\n')
    assert problems[0].hint == 'Did you mean "images"?'


@pytest.mark.parametrize(
    "text",
    ["brevplan {\n  project = local.x\n}\n", 'provider "local" {\n  alias = var.x\n}\n',
     'variable "v" {\n  sensitive = var.x\n}\n'],
)  # fmt: skip
def test_a_value_that_is_no_literal_is_told_once(text: str) -> None:
    assert [item.summary for item in loaded(text)[1]] == ["Not a literal value"]


@pytest.mark.parametrize("value", ["5", "true", '"a"', "toset([1])"])
def test_for_each_offers_toset_for_lists_only(value: str) -> None:
    assert "toset" not in expanded(f"for_each = {value}")[1][0]


def test_the_new_name_of_a_terraform_variable_file_is_one_that_is_read(tmp_path: Path) -> None:
    _, problems = collected("", tmp_path, files={"terraform.tfvars": "v = 1\n"})
    named = problems[0].hint.split("Rename it to ")[1].split(",")[0]
    declared = 'variable "v" {}\n'
    (tmp_path / "terraform.tfvars").rename(tmp_path / named)
    assert collected(declared, tmp_path)[0] == {"v": 1}
