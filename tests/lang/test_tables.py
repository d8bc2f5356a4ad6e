"""The tables themselves: enough of them, each case with its reason, and no function without cases."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from brevplan.lang.functions import registry

CASES = Path(__file__).parent / "cases"
TABLES = sorted(CASES.rglob("*.json"))


def read(path: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return cases


@pytest.mark.parametrize("path", TABLES, ids=[str(path.relative_to(CASES)) for path in TABLES])
def test_every_case_has_a_reason_and_stands_once(path: Path) -> None:
    cases = read(path)
    assert [case for case in cases if not case.get("why", "").strip()] == []
    asked = Counter(json.dumps({k: v for k, v in case.items() if k != "why"}, sort_keys=True) for case in cases)
    assert [case for case, count in asked.items() if count > 1] == []


def test_every_function_has_at_least_three_cases() -> None:
    counts = Counter(case["call"] for path in CASES.glob("functions/*.json") for case in read(path))
    expressions = [case["expr"] for path in CASES.glob("evaluate/*.json") for case in read(path)]
    counts.update(name for text in expressions for name in set(re.findall(r"\b\w+(?=\()", text)))
    # what these give differs from call to call, so that they are tested beside the tables
    impure = {"bcrypt", "plantimestamp", "rsadecrypt", "timestamp", "uuid"}
    assert [name for name in registry.names() if counts[name] < 3 and name not in impure] == []


def test_there_are_as_many_cases_as_the_language_needs() -> None:
    assert sum(len(read(path)) for path in TABLES) >= 1500
