"""How many instances a block has: every way in which `count` and `for_each` go right and wrong."""

from __future__ import annotations

import pytest

from brevplan.diagnostics import Diagnostics
from brevplan.engine.expand import Expansion, expand
from brevplan.lang.values import Secret, Unknown, Value
from tests.engine.build import at, loaded, scope_of


def expanded(meta: str, value: Value = None, *, offline: bool = False) -> tuple[Expansion | None, list[str]]:
    config, _ = loaded(f'variable "v" {{}}\nresource "firewall" "f" {{\n  {meta}\n}}')
    diagnostics = Diagnostics()
    scope = scope_of(config, v=value)
    found = expand(config.resources[at("firewall.f")], scope, diagnostics, offline=offline)
    return found, [f"{item.summary}: {item.detail} {item.hint}".strip() for item in diagnostics.items]


@pytest.mark.parametrize(
    ("meta", "mode", "keys"),
    [
        ("", "single", [None]),
        ("count = 0", "count", []),
        ("count = 3", "count", [0, 1, 2]),
        ('count = "2"', "count", [0, 1]),
        ("for_each = {}", "for_each", []),
        ("for_each = { b = 1, a = 2 }", "for_each", ["a", "b"]),
        ('for_each = toset(["y", "x", "y"])', "for_each", ["x", "y"]),
        ("for_each = toset([])", "for_each", []),
    ],
)
def test_keys(meta: str, mode: str, keys: list[object]) -> None:
    found, problems = expanded(meta)
    assert not problems
    assert found is not None
    assert (found.mode, [key for key, _ in found.instances]) == (mode, keys)


def test_each_value_is_the_element() -> None:
    found, _ = expanded('for_each = { a = "x", b = 2 }')
    assert found is not None
    assert dict(found.instances) == {"a": "x", "b": 2}
    assert expanded('for_each = toset(["k"])')[0] == Expansion("for_each", (("k", "k"),))


@pytest.mark.parametrize(
    ("meta", "value", "says"),
    [
        ("count = -1", None, "Invalid count: A whole number of 0 or more is needed."),
        ("count = 1.5", None, "Invalid count: A whole number of 0 or more is needed."),
        ("count = null", None, "Invalid count: count is null. A whole number of 0 or more is needed."),
        ('count = "x"', None, "Invalid count: "),
        ("count = true", None, "Invalid count: "),
        ("count = [1]", None, "Invalid count: "),
        ("count = 100001", None, "Invalid count: 100001 instances are more than one block can have (100,000)."),
        ("count = var.v", Unknown(because="instance.a.id"), 'count is not known yet: "count" decides which resources'),
        ("count = var.v", Secret(2), "Sensitive value decides instances: "),
        ("for_each = null", None, "Invalid for_each: A map, an object or a set of texts is needed, not null."),
        ('for_each = ["a"]', None, "Invalid for_each: A map, an object or a set of texts is needed, not a tuple. Wrap"),
        ('for_each = "a"', None, "Invalid for_each: "),
        ("for_each = toset([1])", None, "Invalid for_each: "),
        ("for_each = var.v", Unknown(because="instance.a.id"), "for_each is not known yet: "),
        ("for_each = toset([var.v])", Unknown(because="instance.a.id"), "for_each is not known yet: "),
        ('for_each = sensitive({ a = "b" })', None, "Sensitive value decides instances: "),
        ("count = 1 / 0", None, ""),
    ],
)  # fmt: skip
def test_errors(meta: str, value: Value, says: str) -> None:
    found, problems = expanded(meta, value)
    assert found is None
    assert len(problems) == 1
    assert problems[0].startswith(says)


def test_an_unknown_number_names_what_it_waits_for_and_the_way_out() -> None:
    _, problems = expanded("count = var.v", Unknown(because="instance.a.id"))
    assert "instance.a.id is known after apply only" in problems[0]
    assert "-target=" in problems[0]


@pytest.mark.parametrize(("meta", "key"), [("count = var.v", 0), ("for_each = var.v", "key")])
def test_checking_takes_an_unknown_number_for_one(meta: str, key: object) -> None:
    found, problems = expanded(meta, Unknown(), offline=True)
    assert not problems
    assert found is not None
    assert [name for name, _ in found.instances] == [key]
