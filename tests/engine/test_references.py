"""Names that are not declared: found before anything runs, wherever they stand, with the nearest that is."""

from __future__ import annotations

import pytest

from tests.engine.build import loaded

DECLARED = """
variable "region" {}
locals {
  size = 1
}
resource "firewall" "web" {}
data "images" "all" {}
"""


def said(expression: str, rest: str = "") -> list[tuple[str, str]]:
    _, problems = loaded(DECLARED + f'output "o" {{\n  value = {expression}\n}}\n{rest}')
    assert {item.summary for item in problems} <= {"Reference to something undeclared"}
    assert all(item.span is not None for item in problems)
    return [(item.detail, item.hint) for item in problems]


@pytest.mark.parametrize(
    "expression",
    ["var.region", "local.size", "firewall.web", "firewall.web.id", "data.images.all.items", "path.module",
     "path.root", "path.cwd", "brevplan.workspace", "brevplan.project", "[for x in [1] : x]"],
)  # fmt: skip
def test_what_is_declared_is_fine(expression: str) -> None:
    assert said(expression) == []


@pytest.mark.parametrize(
    ("expression", "detail", "hint"),
    [
        ("var.regoin", 'There is no variable "regoin".', 'Did you mean "region"?'),
        ("var.zzz", 'There is no variable "zzz".', 'Declare it: variable "zzz" { … }'),
        ("var", '"var" alone has no value: name a variable behind it.', ""),
        ("local.sizes", 'There is no local value "sizes".', 'Did you mean "size"?'),
        ("local.zzz", 'There is no local value "zzz".', "Declare it: locals { zzz = … }"),
        ("path.modul", 'There is no path "modul".', 'Did you mean "module"?'),
        ("brevplan.workspce", 'There is no fact "workspce".', 'Did you mean "workspace"?'),
        ("firewall.wbe", "No resource firewall.wbe is declared.", 'Did you mean "web"?'),
        ("firewall.other", "No resource firewall.other is declared.", "Declared are: web."),
        ("instance.web", "No resource instance.web is declared.", ""),
        ("firewall", "A resource is named by two words, as in firewall.name.", ""),
        ("data.images.al.items", "No data source data.images.al is declared.", 'Did you mean "all"?'),
        ("module.x.y", 'There is no module "x".', 'Declare it: module "x" { source = … }'),
        ("region", 'Nothing is named "region" here.', "Did you mean var.region?"),
        ("size", 'Nothing is named "size" here.', "Did you mean local.size?"),
        ("us", 'Nothing is named "us" here.', 'A text is written in quotes: "us".'),
        ("vr.region", 'Nothing is named "vr" here.', 'Did you mean "var"?'),
        ("each.key", '"each" has a meaning only in a block with "for_each".', "Add for_each = … to the block."),
        ("count.index", '"count" has a meaning only in a block with "count".', "Add count = … to the block."),
        ("self.id", '"self" has a meaning inside of a postcondition only.', ""),
    ],
)
def test_what_is_not_is_told_with_the_nearest(expression: str, detail: str, hint: str) -> None:
    assert said(expression) == [(detail, hint)]


@pytest.mark.parametrize(
    ("meta", "expression", "detail"),
    [
        ("count = 1", "count.indx", '"count" has index.'),
        ("count = 1", "each.key", '"each" has a meaning only in a block with "for_each".'),
        ("for_each = {}", "each.name", '"each" has key and value.'),
        ("for_each = {}", "count.index", '"count" has a meaning only in a block with "count".'),
        ("for_each = {}", "each", '"each" has key and value.'),
    ],
)
def test_repetition(meta: str, expression: str, detail: str) -> None:
    rest = f'resource "firewall" "r" {{\n  {meta}\n  on_inexact = {expression}\n}}\n'
    assert [found for found, _ in said("1", rest)] == [detail]


@pytest.mark.parametrize(
    "block",
    [
        'resource "firewall" "r" {\n  on_inexact = var.x\n}',
        'resource "firewall" "r" {\n  count = var.x\n}',
        'resource "firewall" "r" {\n  depends_on = [var.x]\n}',
        'resource "firewall" "r" {\n  ingress {\n    from_port = var.x\n  }\n}',
        'resource "firewall" "r" {\n  dynamic "ingress" {\n    for_each = var.x\n'
        "    content {\n      from_port = 1\n    }\n  }\n}",
        'resource "firewall" "r" {\n  lifecycle {\n    prevent_destroy = var.x\n  }\n}',
        'resource "firewall" "r" {\n  lifecycle {\n    precondition {\n      condition = var.x\n'
        '      error_message = "m"\n    }\n  }\n}',
        'provider "local" {\n  path = var.x\n}',
        "locals {\n  l = var.x\n}",
        'output "p" {\n  value = 1\n  depends_on = [var.x]\n}',
        'variable "w" {\n  validation {\n    condition = var.w == var.x\n    error_message = "m"\n  }\n}',
    ],
)
def test_every_place_is_looked_at(block: str) -> None:
    assert [detail for detail, _ in said("1", block)] == ['There is no variable "x".']


def test_the_iterator_of_a_dynamic_block_has_a_name() -> None:
    rest = (
        'resource "firewall" "r" {\n  dynamic "ingress" {\n    for_each = [1]\n    iterator = it\n'
        "    content {\n      from_port = it.value\n    }\n  }\n}\n"
    )
    assert said("1", rest) == []
