"""Version constraints, as a table."""

from __future__ import annotations

import pytest

from brevplan.diagnostics import Diagnostics
from brevplan.operations.requirements import check_version


def said(wanted: str, version: str) -> list[str]:
    diagnostics = Diagnostics()
    check_version(wanted, version, None, diagnostics)
    return [item.summary for item in diagnostics.items]


@pytest.mark.parametrize(
    ("wanted", "version", "suits"),
    [
        ("", "0.1.0", True),
        ("0.1.0", "0.1.0", True),
        ("0.1", "0.1.0", True),
        ("v0.1.0", "0.1.0", True),
        ("= 0.1.0", "0.1.1", False),
        ("!= 0.1.0", "0.1.0", False),
        ("!= 0.1.0", "0.1.1", True),
        (">= 0.1", "0.1.0", True),
        (">= 0.2", "0.1.9", False),
        ("> 0.1.0", "0.1.0", False),
        ("> 0.1.0", "0.1.1", True),
        ("<= 0.1.0", "0.1.0", True),
        ("< 0.1.0", "0.1.0", False),
        (">=0.1,<1", "0.9.9", True),
        (">= 0.1, < 1", "1.0.0", False),
        (">= 0.10", "0.9.0", False),  # numbers, not texts
        ("~> 1.2", "1.9.0", True),
        ("~> 1.2", "2.0.0", False),
        ("~> 1.2", "1.1.9", False),
        ("~> 1.2.3", "1.2.9", True),
        ("~> 1.2.3", "1.3.0", False),
        ("~> 1.2.3", "1.2.2", False),
    ],
)
def test_constraints(wanted: str, version: str, suits: bool) -> None:
    assert said(wanted, version) == ([] if suits else ["Another version is needed"])


@pytest.mark.parametrize("wanted", ["latest", "0.1.0.0", ">> 1", "1.x", ">= 0.1,", ">= 1 2", "=> 1", "-1"])
def test_what_is_no_constraint(wanted: str) -> None:
    assert "Invalid version constraint" in said(wanted, "0.1.0")


def test_a_mistake_does_not_hide_what_does_not_hold() -> None:
    assert set(said("> 1, nonsense", "0.1.0")) == {"Another version is needed", "Invalid version constraint"}
