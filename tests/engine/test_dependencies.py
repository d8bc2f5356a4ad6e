"""What needs what, through locals, variables, outputs and modules; and what cannot be."""

from __future__ import annotations

import pytest

from brevplan.diagnostics import Diagnostics
from brevplan.engine.dependencies import Dependencies
from brevplan.operations.project import KINDS
from tests.engine.build import loaded

KEY = 'variable "key" {}\n'
FED = """
variable "a" {}
variable "b" {}
output "first" {
  value = var.a
}
output "second" {
  value = var.b
}
"""


def instance(name: str, extra: str = "") -> str:
    arguments = 'instance_type = "t"\n  location = "l"\n  public_key = var.key'
    return f'resource "instance" "{name}" {{\n  {arguments}\n  {extra}\n}}\n'


def dependencies(text: str, **modules: str) -> Dependencies:
    config, problems = loaded(KEY + text, modules=modules)
    assert problems == []
    return Dependencies(config, KINDS)


def order(found: Dependencies) -> list[str]:
    nodes, cyclic = found.ordered(Diagnostics())
    assert cyclic == set()
    return [str(node) for node in nodes]


def test_a_module_may_be_fed_with_its_own_output() -> None:
    found = dependencies(
        'module "m" {\n  source = "./m"\n  a = 1\n  b = module.m.first\n}\n',
        m=FED,
    )
    names = order(found)
    assert names.index("module.m.output.first") < names.index("module.m.var.b") < names.index("module.m.output.second")


@pytest.mark.parametrize("read", ["module.m[each.key].first", 'module.m["x"].first', "module.m.x.first"])
def test_an_index_does_not_make_it_all_of_the_module(read: str) -> None:
    text = f'module "m" {{\n  source = "./m"\n  for_each = toset(["x"])\n  a = 1\n  b = {read}\n}}\n'
    found = dependencies(
        text,
        m=FED,
    )
    assert "module.m.output.first" in order(found)


def test_a_module_read_as_a_whole_gives_all_its_outputs() -> None:
    found = dependencies(
        'module "m" {\n  source = "./m"\n  b = length(module.m)\n}\n',
        m='variable "b" {}\noutput "second" {\n  value = var.b\n}\n',
    )
    told = Diagnostics()
    _, cyclic = found.ordered(told)
    assert {str(node) for node in cyclic} == {"module.m.var.b", "module.m.output.second"}
    assert {item.summary for item in told} == {"Cycle"}


def test_every_cycle_is_told() -> None:
    found = dependencies("locals {\n  a = local.b\n  b = local.a\n  c = local.d\n  d = local.c\n  e = local.e\n}\n")
    told = Diagnostics()
    found.ordered(told)
    assert sorted(item.detail for item in told) == [
        "These need each other: local.a → local.b → local.a.",
        "These need each other: local.a → local.b → local.a.",
        "These need each other: local.c → local.d → local.c.",
        "These need each other: local.c → local.d → local.c.",
        "local.e refers to itself.",
    ]


def test_blocks_are_read_through_whatever_lies_between() -> None:
    found = dependencies(
        instance("a") + "locals {\n  name = instance.a.name\n}\n"
        'module "m" {\n  source = "./m"\n  name = local.name\n  key = var.key\n}\n'
        + instance("z", "tags = { ip = module.m.ip }"),
        m=KEY + 'variable "name" {}\n' + instance("i", "tags = { of = var.name }")
        + 'output "ip" {\n  value = instance.i.public_ip\n}\n',
    )  # fmt: skip
    assert {str(block): [str(read) for read in reads] for block, reads in found.blocks_read().items()} == {
        "instance.a": [],
        "module.m.instance.i": ["instance.a"],
        "instance.z": ["module.m.instance.i"],
    }


def test_depends_on_reaches_into_modules_and_out_of_them() -> None:
    found = dependencies(
        instance("first")
        + 'module "m" {\n  source = "./m"\n  key = var.key\n  depends_on = [instance.first]\n}\n'
        + instance("last", "depends_on = [module.m]"),
        m=KEY + instance("i"),
    )
    reads = {str(block): [str(read) for read in found] for block, found in found.blocks_read().items()}
    assert reads == {"instance.first": [], "module.m.instance.i": ["instance.first"],
                     "instance.last": ["module.m.instance.i"]}  # fmt: skip
