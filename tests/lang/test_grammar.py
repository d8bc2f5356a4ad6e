"""The committed tables against what the installed python-hcl2 gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from brevplan.lang.grammar import grammar
from brevplan.lang.parser_actions import BY_HEAD, BY_RULE

TOOL = Path(__file__).parents[2] / "tools" / "make_grammar.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_grammar", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grammar_file_is_what_python_hcl2_gives_now(tool: ModuleType) -> None:
    committed = tool.TARGET.read_text(encoding="utf-8")

    assert committed == tool.render(tool.build()), "run `make grammar` and look at the difference"


def test_every_rule_is_built_or_hands_on_one_value() -> None:
    tables = grammar()
    for rule, head, size in zip(tables.rules, tables.heads, tables.sizes, strict=True):
        is_built = rule in BY_RULE or head in BY_HEAD or head in ("attribute", "block", "object_elem")
        assert is_built or size == 1, rule


def test_every_function_belongs_to_a_rule() -> None:
    tables = grammar()

    assert set(BY_RULE) <= set(tables.rules)
    assert set(BY_HEAD) <= set(tables.heads)


def test_grammar_starts_in_a_body() -> None:
    assert 0 in grammar().body_states
