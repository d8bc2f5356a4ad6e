"""Every mistake that loading finds, each with its place and its way out; and that all are told in one run."""

from __future__ import annotations

import pytest

from brevplan.engine.config import ProviderRef
from tests.engine.build import at, loaded

KEY = 'public_key = "k"\n'
NEEDED = f'instance_type = "t"\nlocation = "l"\n{KEY}'


def instance(body: str, name: str = "m") -> str:
    return f'resource "instance" "{name}" {{\n{NEEDED}{body}\n}}\n'


def firewall(body: str) -> str:
    return f'resource "firewall" "f" {{\n{body}\n}}\n'


MISTAKES = [
    # top level
    ("a = 1\n", "Unexpected argument", "stands outside of any block", "brevplan.vars.hcl"),
    ('resorce "x" "y" {\n}\n', "Unknown block", 'no top-level block "resorce"', '"resource"'),
    ("whatever {\n}\n", "Unknown block", 'no top-level block "whatever"', "Blocks are: brevplan, provider"),
    ('module "m" {\n}\n', "Missing argument", '"source" is required', "source = …"),
    ('policy "p" {\n}\n', "Block not supported yet", 'does not read "policy" blocks', ""),
    # the brevplan block
    ('brevplan "x" {\n}\n', "Wrong number of labels", "has no labels, not 1", "Write: brevplan { … }"),
    ("brevplan {\n}\nbrevplan {\n}\n", "Duplicate block", '"brevplan" stands at f0.hcl:1:1 already', ""),
    ('brevplan {\n  projct = "a"\n}\n', "Unknown argument", '"projct" in the brevplan block', 'mean "project"'),
    ("brevplan {\n  project = 5\n}\n", "Unsuitable value", '"project" is a literal text', ""),
    ("brevplan {\n  cloud {}\n}\n", "Unknown block", 'no block "cloud" in the brevplan block', ""),
    ('brevplan {\n  backend "s3" {}\n}\n', "Unknown backend", 'no backend "s3"', 'backend "sqlite"'),
    ("brevplan {\n  backend {}\n}\n", "Wrong number of labels", "has 1 label, not 0", 'backend "sqlite"'),
    ('brevplan {\n  backend "sqlite" {\n    paht = "x"\n  }\n}\n', "Unknown argument", '"paht"', '"path"'),
    *(
        (f'brevplan {{\n  project = "{name}"\n}}\n', "Invalid project", "cannot be part of machine names", "acme-train")
        for name in ("", "A", "a--b", "-a", "a-", "a_b", "a" * 21, "é")
    ),
    # providers
    ('provider "lcal" {\n}\n', "Unknown provider", 'no provider "lcal"', '"local"'),
    ('provider "azure" {\n}\n', "Unknown provider", 'no provider "azure"', "fluidstack, lambda, launchpad, local"),
    ("provider {\n}\n", "Wrong number of labels", "has 1 label, not 0", 'provider "local" { … }'),
    ('provider "local" {\n  paht = "x"\n}\n', "Unknown argument", '"paht" in provider "local"', '"path"'),
    ('provider "local" {\n  x {}\n}\n', "Unknown block", 'no block "x" in a provider block', ""),
    ('provider "local" {\n}\nprovider "local" {\n}\n', "Duplicate provider", "configured at f0.hcl:1:1", "alias ="),
    ('provider "local" {\n  alias = 1\n}\n', "Unsuitable value", '"alias" is a literal text', ""),
    # variables, locals, outputs
    ('variable "a" "b" {\n}\n', "Wrong number of labels", "has 1 label, not 2", 'variable "name" { … }'),
    ('variable "a" {\n}\nvariable "a" {\n}\n', "Duplicate variable", '"a" is declared at f0.hcl:1:1', ""),
    ('variable "9" {\n}\n', "Invalid name", '"9" is not a name', ""),
    ('variable "a" {\n  defalt = 1\n}\n', "Unknown argument", '"defalt" in a variable block', '"default"'),
    ('variable "a" {\n  default = local.b\n}\n', "Not a literal value", "", ""),
    ('variable "a" {\n  sensitive = "yes"\n}\n', "Unsuitable value", '"sensitive" is true or false', ""),
    ('variable "a" {\n  x {}\n}\n', "Unknown block", 'no block "x" in a variable block', ""),
    ('variable "a" {\n  validation {\n    condition = true\n  }\n}\n', "Missing argument", '"error_message"', ""),
    ("locals {\n  a = 1\n}\nlocals {\n  a = 2\n}\n", "Duplicate local", '"a" has a value at', ""),
    ('locals "x" {\n}\n', "Wrong number of labels", "has no labels", ""),
    ('output "o" {\n}\n', "Missing argument", '"value" is required', "value = …"),
    ('output "o" {\n  value = 1\n}\noutput "o" {\n  value = 1\n}\n', "Duplicate output", "declared at", ""),
    ('output "o" {\n  value = 1\n  sensitve = true\n}\n', "Unknown argument", '"sensitve"', '"sensitive"'),
    # resources and data
    ('resource "instnce" "m" {\n}\n', "Unknown resource", 'no resource "instnce"', '"instance"'),
    ('resource "bucket" "m" {\n}\n', "Unknown resource", 'no resource "bucket"', "Resources are: firewall, instance"),
    ('resource "instance" {\n}\n', "Wrong number of labels", "has 2 labels, not 1", 'resource "instance" "name"'),
    ('resource "instance" "a b" {\n}\n', "Invalid name", '"a b" is not a name', ""),
    ('data "image" "x" {\n}\n', "Unknown data source", 'no data source "image"', '"images"'),
    (instance("") + instance(""), "Duplicate resource", "instance.m is declared at f0.hcl:1:1", ""),
    (instance('instance_typ = "x"'), "Unknown argument", '"instance" has no argument "instance_typ"', "instance_type"),
    (instance('id = "x"'), "Argument is computed", '"id" is set by the provider', "Take the line out"),
    (instance("lifecycle = {}"), "Block written as an argument", '"lifecycle" is a block', "lifecycle { … }"),
    (instance("on_change = {}"), "Block written as an argument", '"on_change" is a block', "on_change { … }"),
    (firewall("ingress = []"), "Block written as an argument", '"ingress" is a block', "ingress { … }"),
    (instance("tags {\n}"), "Argument written as a block", '"tags" is an argument', "tags = …"),
    (firewall("ingres {\n}"), "Unknown block", 'no block "ingres"', '"ingress"'),
    (firewall("ingress {\n  form_port = 1\n}"), "Unknown argument", '"form_port" in the block', '"from_port"'),
    (firewall("ingress {\n  x {}\n}"), "Unknown block", 'no block "x" in the block "ingress"', ""),
    (firewall('ingress "x" {\n}'), "Wrong number of labels", "has no labels, not 1", ""),
    (instance("on_change {\n}\non_change {\n}"), "Duplicate block", 'At most one "on_change"', ""),
    (instance("placement {\n}"), "Block not supported yet", "does not place machines", ""),
    (instance("ssh {\n}\nssh {\n}"), "Duplicate block", 'At most one "ssh"', ""),
    (instance("ssh {\n  usr = 1\n}"), "Unknown argument", '"usr" in the block', '"user"'),
    (f'resource "instance" "m" {{\nlocation = "l"\n{KEY}}}\n', "Missing argument", '"instance_type"', "instance_type"),
    (instance("count = 1\nfor_each = {}"), "count and for_each together", "not by both", ""),
    (instance("provider = [local]"), "Invalid provider", "named directly: lambda", ""),
    (instance("provider = local.a.b"), "Invalid provider", "named directly", ""),
    (instance("provider = 5"), "Invalid provider", "named directly", ""),
    (instance("depends_on = instance.m2"), "Invalid depends_on", "A list of resources", "depends_on = ["),
    (instance('depends_on = ["x"]'), "Invalid depends_on", "This is not a resource", ""),
    # lifecycle, timeouts, dynamic
    (instance("lifecycle {\n}\nlifecycle {\n}"), "Duplicate block", "lifecycle stands at", ""),
    (instance("lifecycle {\n  prevent_destory = true\n}"), "Unknown argument", "lifecycle", '"prevent_destroy"'),
    (instance("lifecycle {\n  ignore_changes = [tag]\n}"), "Unknown argument", "by name", '"tags"'),
    (instance("lifecycle {\n  ignore_changes = [id]\n}"), "Unknown argument", "by name", ""),
    (instance("lifecycle {\n  replace_triggered_by = [5]\n}"), "Invalid replace_triggered_by", "", "[firewall.web]"),
    (instance("lifecycle {\n  replace_triggered_by = [path.module]\n}"), "Invalid replace_triggered_by", "", ""),
    (instance('lifecycle {\n  precondition {\n    error_message = ""\n  }\n}'), "Missing argument", '"condition"', ""),
    (instance("lifecycle {\n  rule {}\n}"), "Unknown block", 'no block "rule" in the lifecycle block', ""),
    (instance('timeouts {\n  create = "soon"\n}'), "Invalid timeout", '"soon" is not a duration', ""),
    (instance('timeouts {\n  crate = "1m"\n}'), "Unknown argument", '"crate"', '"create"'),
    (instance("timeouts {\n  create = 5\n}"), "Unsuitable value", '"create" is a literal text', ""),
    (firewall('dynamic "ingres" {\n}'), "Unknown block", '"ingres" is no block of "firewall"', '"ingress"'),
    (instance('dynamic "lifecycle" {\n}'), "Unknown block", '"lifecycle" cannot be made by a dynamic one', ""),
    (firewall('dynamic "ingress" {\n  content {}\n}'), "Missing argument", '"for_each"', ""),
    (firewall('dynamic "ingress" {\n  for_each = []\n}'), "Missing content", 'exactly one "content"', ""),
    (firewall('dynamic "ingress" {\n  for_each = []\n  contens {}\n  content {}\n}'), "Unknown block", "", '"content"'),
    (firewall("dynamic {\n}"), "Wrong number of labels", "has 1 label, not 0", 'dynamic "ingress"'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "summary", "detail", "hint"), MISTAKES, ids=lambda part: None)
def test_a_mistake_is_told_once_with_its_place(text: str, summary: str, detail: str, hint: str) -> None:
    _, problems = loaded(text)
    assert [item.summary for item in problems] == [summary]
    assert detail in problems[0].detail
    assert hint in problems[0].hint
    assert problems[0].span is not None


def test_a_mistake_is_underlined_where_it_stands() -> None:
    _, problems = loaded('resource "instance" "m" {\n' + NEEDED + '  instance_typ = "x"\n}\n')
    span = problems[0].span
    assert span is not None
    assert (span.line, span.column, span.text) == (5, 3, "instance_typ")


def test_all_independent_mistakes_are_told_in_one_run_over_all_files() -> None:
    one = 'provider "lcal" {\n}\nresource "instance" "m" {\n  tag = {}\n}\n'
    _, problems = loaded(one, 'variable "a" {\n  x = 1\n}\noutput "o" {\n}\n')
    assert sorted((item.span.file if item.span else "", item.summary) for item in problems) == [
        ("f0.hcl", "Missing argument"),
        ("f0.hcl", "Missing argument"),
        ("f0.hcl", "Missing argument"),
        ("f0.hcl", "Unknown argument"),
        ("f0.hcl", "Unknown provider"),
        ("f1.hcl", "Missing argument"),
        ("f1.hcl", "Unknown argument"),
    ]


def test_duplicates_are_seen_across_files() -> None:
    _, problems = loaded(instance(""), instance(""))
    assert [item.summary for item in problems] == ["Duplicate resource"]
    assert "f0.hcl:1:1" in problems[0].detail


@pytest.mark.parametrize("project", ["a", "0", "a-b-c", "a" * 20, "acme-train-x7k2"])
def test_good_projects(project: str) -> None:
    config, problems = loaded(f'brevplan {{\n  project = "{project}"\n}}\n')
    assert not problems
    assert config.settings.project == project


@pytest.mark.parametrize(
    ("written", "name"), [("local", "local"), ("local.burst", "local.burst"), ('"local.burst"', "local.burst")]
)
def test_a_provider_can_be_named(written: str, name: str) -> None:
    config, problems = loaded(instance(f"provider = {written}"))
    assert not problems
    ref = config.resources[at("instance.m")].provider
    assert isinstance(ref, ProviderRef)
    assert ref.text == name


def test_the_whole_of_a_good_block_is_loaded() -> None:
    config, problems = loaded(
        instance(
            'count = 2\ntags = {\n  a = "b"\n}\ntimeouts {\n  create = "1h30m"\n}\n'
            "lifecycle {\n  prevent_destroy = true\n  ignore_changes = [tags, name]\n}\n"
            'on_change {\n  tags = "error"\n}'
        ),
        'brevplan {\n  required_version = ">= 0"\n  backend "sqlite" {\n    path = "x/y.db"\n  }\n}\n'
        'provider "local" {\n  alias = "b"\n}\n'
        'variable "n" {\n  type = number\n  default = 2\n  nullable = false\n}\n',
    )
    assert not problems
    block = config.resources[at("instance.m")]
    assert block.timeouts == {"create": 5400.0}
    assert block.lifecycle.ignored == {"tags", "name"}
    assert block.count is not None
    assert [item.spec.name for item in block.blocks] == ["on_change"]
    assert config.settings.backend_path == "x/y.db"
    assert list(config.providers) == ["local.b"]
    assert (config.variables["n"].default, config.variables["n"].nullable) == (2, False)


def test_a_block_varies_when_an_argument_reads_its_key() -> None:
    config, _ = loaded(instance("count = 2", "same") + instance('count = 2\nname = "n${count.index}"', "own"))
    assert not config.resources[at("instance.same")].varies
    assert config.resources[at("instance.own")].varies
