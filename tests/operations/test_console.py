"""Expressions at the console: what they see, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.lang.printing import print_value
from brevplan.lang.values import Secret, Tuple, Unknown, Value
from brevplan.operations.console import Session, open_session
from brevplan.operations.given import Given
from brevplan.operations.planning import Request
from brevplan.render.console_json import error_line, value_line
from tests.world import Lab, configuration

REST = """
variable "size" {
  type    = number
  default = 3
}
variable "open" {}
variable "token" {
  default   = "sesame-open"
  sensitive = true
}
variable "shape" {
  type    = object({ a = string, b = optional(list(number)) })
  default = { a = "x" }
}
locals {
  shape  = var.shape
  double = var.size * 2
  broken = var.size.x
}
data "images" "all" {}
data "locations" "all" {}
data "images" "two" {
  count = 2
}
resource "instance" "later" {
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me"
}
"""


def session(folder: Path, **fields: Any) -> Session:
    return open_session(folder, Request(environment={}, **fields))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A folder with a state of two machines, whose configuration has grown since."""
    made = Lab(tmp_path, configuration(2, body='user_data = "hunter2"'))
    made.apply()
    (tmp_path / "main.hcl").write_text(made.text + REST)
    return made


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 + 2", "3"),
        ("var.size", "3"),
        ("local.double", "6"),
        ("var.open", "(known after apply)"),
        ("var.token", "(sensitive value)"),
        ("instance.m[*].status", '["running", "running"]'),
        ("length(instance.m)", "2"),
        ("instance.m[0].user_data", "(sensitive value)"),
        ("nonsensitive(instance.m[0].user_data)", "(known after apply)"),
        ("instance.later.id", "(known after apply)"),
        ("data.images.all.items", "(known after apply)"),
        ("data.images.two[1].items", "(known after apply)"),
        ("brevplan.project", '"lab"'),
        ("brevplan.workspace", '"default"'),
        ("path.module", '"."'),
    ],
)
def test_an_expression_sees_the_configuration_and_the_state(lab: Lab, text: str, shown: str) -> None:
    assert print_value(session(lab.folder).evaluate(text)) == shown


@pytest.mark.parametrize(
    ("text", "summary", "detail"),
    [
        ("1 +", "Invalid expression", ""),
        ("1 2", "Extra characters after expression", ""),
        ("", "Invalid expression", ""),
        ("nope", "Reference to something undeclared", "Nothing is named"),
        ("var.sise", "Reference to something undeclared", 'no variable "sise"'),
        ("instance.n.id", "Reference to something undeclared", "No resource instance.n"),
        ("instance.m[5].id", "Invalid index", "2 instances"),
        ("each.key", "Reference to something undeclared", '"each" has a meaning only'),
        ("count.index", "Reference to something undeclared", '"count" has a meaning only'),
        ("self.id", "Reference to something undeclared", '"self" has a meaning'),
        ("local.broken", "", ""),
        ("nofunction()", "Call to unknown function", ""),
    ],
)
def test_a_mistake_is_told_and_does_no_harm(lab: Lab, text: str, summary: str, detail: str) -> None:
    here = session(lab.folder)
    for _ in range(2):
        with pytest.raises(DiagnosticsError) as found:
            here.evaluate(text)
        assert summary in found.value.diagnostics[0].summary
        assert detail in found.value.diagnostics[0].detail
    assert here.evaluate("var.size") == 3


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("type(1)", "number"),
        ("(type((1)))", "number"),
        ("type(null)", "any"),
        ("type(tostring(null))", "string"),
        ("type(var.shape)", "object({a = string, b = list(number)})"),
        ("type(var.shape.b)", "list(number)"),
        ("type(local.shape.b)", "list(number)"),
        ("type([var.shape.b, 1][0])", "list(number)"),
        ("type({b = var.shape.b})", "object({b = list(number)})"),
        ("type(true ? null : var.shape.b)", "list(number)"),
        ("type([var.shape][*].b)", "tuple([any])"),
        ("type(instance.m[0].sub_location)", "string"),
        ("type(instance.m[*].sub_location)", "tuple([string, string])"),
        ("type(data.locations.all.items[0].name)", "string"),
        ("type(data.images.two[1].items[*].id)", "list(string)"),
        ("type(var.token)", "string"),
        ("type(var.open)", "any"),
    ],
)
def test_a_type_is_told_also_where_the_value_is_null(lab: Lab, text: str, type_: str) -> None:
    answer = session(lab.folder).answer(text)
    assert answer.asks_type
    assert str(answer.type) == type_


@pytest.mark.parametrize("text", ["[type(1)]", "{a = type(1)}", "type(type(1))", "type(1) == 1", "upper(type(1))"])
def test_a_type_is_no_part_of_an_expression(lab: Lab, text: str) -> None:
    with pytest.raises(DiagnosticsError) as found:
        session(lab.folder).answer(text)
    assert found.value.diagnostics[0].summary == "Invalid use of type function"


@pytest.mark.parametrize(
    ("text", "is_private"),
    [
        ('sensitive("sesame")', True),
        ('upper(sensitive("sesame${var.size}"))', True),
        ("[sensitive(1234)]", True),
        ('type(sensitive("sesame"))', True),
        ('var.token == "sesame"', True),
        ("sensitive(var.size)", False),
        ("nonsensitive(var.token)", False),
        ("sensitive(null)", False),
        ("var.token", False),
        ('upper("a")', False),
        ('instance.m[0]["id"]', False),
    ],
)
def test_an_expression_that_spells_a_secret_is_private(lab: Lab, text: str, is_private: bool) -> None:
    assert session(lab.folder).answer(text).is_private is is_private


def test_names_that_can_be_completed(lab: Lab) -> None:
    names = session(lab.folder).names()
    assert {"var.size", "local.double", "instance.m", "data.images.all", "path.module", "upper("} <= set(names)


def test_given_values_win(lab: Lab) -> None:
    assert session(lab.folder, given=(Given("size=5"),)).evaluate("local.double") == 10


def test_neither_configuration_nor_state_is_needed_or_made(tmp_path: Path) -> None:
    assert session(tmp_path).evaluate('upper("a")') == "A"
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_with_a_mistake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text('variable "v" {\n  typ = string\n}\n')
    with pytest.raises(DiagnosticsError):
        session(tmp_path)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (2**80, '{"value":1208925819614629174706176}'),
        (None, '{"value":null}'),
        (Unknown(), '{"value":"(known after apply)","unknown":true}'),
        (Secret("x"), '{"value":"(sensitive value)","sensitive":true}'),
        (Tuple(["a", Secret(1)]), '{"value":["a","(sensitive value)"],"sensitive":[false,true]}'),
        (float("inf"), '{"error":"Infinity cannot be written as JSON."}'),
    ],
)
def test_an_answer_in_json(value: Value, line: str) -> None:
    assert value_line(value) == line


def test_an_error_in_json_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticsError) as found:
        session(tmp_path).evaluate("(\n1 +")
    line = error_line(found.value.diagnostics)
    assert line.startswith('{"error":"<console>:1:1: Unclosed bracket.')
    assert "\n" not in line
    assert "\\n" not in line


def test_a_heredoc_may_end_with_the_text(tmp_path: Path) -> None:
    assert session(tmp_path).evaluate("<<-EOT\n  a\n  EOT") == "a\n"
