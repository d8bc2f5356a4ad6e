"""The README's table of clouds; what stands in it is compared with the conformance suite in `tests/contract`."""

from __future__ import annotations

from pathlib import Path

from brevplan.providers import registry
from tests.contract.clients import CLIENTS
from tools.matrix import PATTERNS, header

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rows() -> dict[str, list[str]]:
    text = README.partition("<!-- matrix -->")[2].partition("<!-- end of matrix -->")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()]
    assert lines[0] == header()
    return {line[0].strip("`"): line[1:] for line in lines[2:]}


def test_every_cloud_has_a_row_that_says_something() -> None:
    found = rows()
    assert sorted(found) == sorted(CLIENTS)
    for name, cells in found.items():
        assert "fails" not in cells
        assert cells[-3] == PATTERNS[registry.spec(name).traits.firewall_pattern]
        assert cells[-2].endswith("tests")
        assert cells[-1]
