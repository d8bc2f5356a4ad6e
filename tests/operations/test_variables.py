"""Values of variables: who wins, what is converted, and every way to get it wrong."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from brevplan.diagnostics import Severity
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Map, Secret, Unknown, Value
from brevplan.operations.given import Given
from brevplan.render.diagnostics import render_diagnostic
from tests.operations.build import collected

NAMED = 'variable "v" {\n  type = string\n  default = "default"\n}\n'
ENVIRONMENT = {"BREVPLAN_VAR_v": "environment"}
FILES = {
    "brevplan.vars.hcl": 'v = "file"\n',
    "a.auto.vars.hcl": 'v = "auto a"\n',
    "b.auto.vars.hcl": 'v = "auto b"\n',
    "c.vars.hcl": 'v = "named only"\n',
    "given.hcl": 'v = "given file"\n',
}
OPTION, FILE = Given("v=option"), Given("given.hcl", is_file=True)


@pytest.mark.parametrize(
    ("environment", "files", "given", "value"),
    [
        (False, (), (), "default"),
        (True, (), (), "environment"),
        (True, ("brevplan.vars.hcl",), (), "file"),
        (False, ("c.vars.hcl",), (), "default"),
        (True, ("brevplan.vars.hcl", "a.auto.vars.hcl"), (), "auto a"),
        (True, ("brevplan.vars.hcl", "b.auto.vars.hcl", "a.auto.vars.hcl"), (), "auto b"),
        (True, ("brevplan.vars.hcl", "b.auto.vars.hcl"), (OPTION,), "option"),
        (True, ("b.auto.vars.hcl", "given.hcl"), (FILE,), "given file"),
        (True, ("given.hcl",), (FILE, OPTION), "option"),
        (True, ("given.hcl",), (OPTION, FILE), "given file"),
        (False, (), (OPTION, Given("v=last")), "last"),
        (False, (), (Given("v="),), ""),
        (False, (), (Given("v=a=b"),), "a=b"),
        (False, (), (Given(" v =x"),), "x"),
    ],
)
def test_later_wins(
    tmp_path: Path, environment: bool, files: tuple[str, ...], given: tuple[Given, ...], value: str
) -> None:
    values, problems = collected(
        NAMED, tmp_path, environment=ENVIRONMENT if environment else {}, given=given,
        files={name: FILES[name] for name in files},
    )  # fmt: skip
    assert not problems
    assert values == {"v": value}


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("string", "5", "5"),
        ("string", '["a"]', '["a"]'),
        ("number", "5", 5),
        ("number", "-2.5", Fraction(-5, 2)),
        ("number", '"7"', 7),
        ("bool", "true", True),
        ("bool", '"false"', False),
        ("list(string)", '["a", 1]', List(["a", "1"], STRING)),
        ("map(string)", '{ a = "b" }', Map({"a": "b"}, STRING)),
        ("number", "null", None),
        ("any", "5", 5),
    ],
)
def test_a_text_from_outside_is_read_by_the_type(tmp_path: Path, type_: str, text: str, value: Value) -> None:
    values, problems = collected(f'variable "v" {{\n  type = {type_}\n}}\n', tmp_path, given=[Given(f"v={text}")])
    assert not problems
    assert values == {"v": value}


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("string", '"${x} %{ if } \\n"', "${x} %{ if } \n"),
        ("any", "null", None),
        ("number", "-2.5", Fraction(-5, 2)),
        ("number", "9007199254740993", 9007199254740993),
        ("list(string)", '["a", 1]', List(["a", "1"], STRING)),
        ("map(string)", '{"${k}": "b", "//": "c"}', Map({"${k}": "b", "//": "c"}, STRING)),
    ],
)
def test_json_values_are_read_as_they_are(tmp_path: Path, type_: str, text: str, value: Value) -> None:
    files = {"brevplan.vars.hcl.json": f'{{"//": "a comment", "v": {text}}}'}
    values, problems = collected(f'variable "v" {{\n  type = {type_}\n}}\n', tmp_path, files=files)
    assert not problems
    assert values == {"v": value}


def test_a_json_file_is_given_by_name(tmp_path: Path) -> None:
    given = [Given("x.json", is_file=True)]
    assert collected(NAMED, tmp_path, files={"x.json": '{"v": "json"}'}, given=given)[0] == {"v": "json"}


def test_without_a_type_a_text_stays_a_text(tmp_path: Path) -> None:
    assert collected('variable "v" {}\n', tmp_path, given=[Given("v=5")])[0] == {"v": "5"}


def test_a_sensitive_value_is_a_secret(tmp_path: Path) -> None:
    values, _ = collected('variable "v" {\n  sensitive = true\n}\n', tmp_path, given=[Given("v=x")])
    assert isinstance(values["v"], Secret)


@pytest.mark.parametrize(
    ("text", "environment", "files", "given", "severity", "summary", "says"),
    [
        ('variable "v" {}', {}, {}, "", "error", "No value for a variable", "-var v=…, $BREVPLAN_VAR_v"),
        (NAMED, {}, {}, "vv=1", "error", "Undeclared variable", 'Did you mean "v"?'),
        (NAMED, {}, {}, "zzz=1", "error", "Undeclared variable", 'Declare it: variable "zzz" {}'),
        (NAMED, {}, {}, "v", "error", "Invalid -var", "Write: -var 'name=value'"),
        (NAMED, {}, {"brevplan.vars.hcl": "vv = 1\n"}, "", "warning", "Value for an undeclared variable", '"v"'),
        (NAMED, {}, {"brevplan.vars.hcl": "v = local.x\n"}, "", "error", "Not a literal value", ""),
        (NAMED, {}, {"brevplan.vars.hcl": "x {}\n"}, "", "error", "Unexpected block", ""),
        (NAMED, {}, {"brevplan.vars.hcl.json": "{"}, "", "error", "Unexpected end of file", ""),
        (NAMED, {}, {"brevplan.vars.hcl.json": '{"v": 1, "v": 2}'}, "", "error", "Attribute redefined", ""),
        (NAMED, {}, {"a.auto.vars.hcl.json": '{"vv": 1}'}, "", "warning", "Value for an undeclared variable", '"v"'),
        ('variable "v" {\n  type = number\n}', {}, {}, "v=abc", "error", "Unsuitable value", "is not a number"),
        ('variable "v" {\n  type = number\n}', {}, {}, 'v="abc"', "error", "Unsuitable value", 'Variable "v"'),
        ('variable "v" {\n  type = number\n}', {"BREVPLAN_VAR_v": "]"}, {}, "", "error", "Unsuitable value",
         "$BREVPLAN_VAR_v"),
        ('variable "v" {\n  type = list(string)\n}', {}, {}, "v=[a", "error", "Unsuitable value", "written in quotes"),
        ('variable "v" {\n  type = number\n  default = 1\n}', {}, {"brevplan.vars.hcl": 'v = "x"\n'}, "", "error",
         "Unsuitable value", "number"),
        ('variable "v" {\n  nullable = false\n}', {}, {"brevplan.vars.hcl": "v = null\n"}, "", "error",
         "Null is not allowed", "nullable = false"),
        (NAMED, {}, {"x.tfvars": ""}, "", "warning", "Terraform variable file is not read", "x.tfvars"),
    ],
)  # fmt: skip
def test_mistakes(
    tmp_path: Path, text: str, environment: dict[str, str], files: dict[str, str], given: str, severity: str,
    summary: str, says: str,
) -> None:  # fmt: skip
    options = [Given(given)] if given else []
    _, problems = collected(text + "\n", tmp_path, environment=environment, files=files, given=options)
    found = [item for item in problems if item.summary == summary]
    assert len(found) == 1
    assert found[0].severity is Severity(severity)
    assert says in f"{found[0].detail} {found[0].hint}"
    assert all(item.summary in (summary, "No value for a variable") for item in problems)


def test_an_undeclared_name_in_the_environment_is_nothing(tmp_path: Path) -> None:
    assert collected(NAMED, tmp_path, environment={"BREVPLAN_VAR_x": "1", "v": "2"}) == ({"v": "default"}, [])


def test_null_takes_the_default_where_null_is_not_allowed(tmp_path: Path) -> None:
    text = 'variable "v" {\n  default = "d"\n  nullable = false\n}\n'
    assert collected(text, tmp_path, files={"brevplan.vars.hcl": "v = null\n"})[0] == {"v": "d"}


def test_null_is_a_value_where_it_is_allowed(tmp_path: Path) -> None:
    text = 'variable "v" {\n  default = "d"\n}\n'
    assert collected(text, tmp_path, files={"brevplan.vars.hcl": "v = null\n"})[0] == {"v": None}


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    text = 'variable "a" {}\nvariable "b" {\n  type = number\n}\nvariable "c" {\n  default = 1\n}\n'
    values, problems = collected(text, tmp_path, given=[Given('b="x"'), Given("d=1")])
    assert sorted(item.summary for item in problems) == [
        "No value for a variable",
        "Undeclared variable",
        "Unsuitable value",
    ]
    assert values == {"c": 1}


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    from brevplan.diagnostics import DiagnosticsError

    with pytest.raises(DiagnosticsError):
        collected(NAMED, tmp_path, given=[Given("none.hcl", is_file=True)])


def test_checking_takes_a_missing_value_for_unknown(tmp_path: Path) -> None:
    from brevplan.diagnostics import Diagnostics, Source
    from brevplan.operations import variables
    from brevplan.operations.project import load_sources

    text = 'variable "a" {\n  type = number\n}\nvariable "b" {\n  sensitive = true\n}\n'
    config = load_sources(tmp_path, [Source("main.hcl", text)]).config
    diagnostics = Diagnostics()
    values = variables.collect(config, tmp_path, {}, (), diagnostics, offline=True)
    assert not diagnostics.items
    assert isinstance(values["a"], Unknown)
    assert isinstance(values["b"], Secret)


@pytest.mark.parametrize("type_", ["number", "list(string)", "map(number)", "bool"])
@pytest.mark.parametrize("text", ["hunter2", "[hunter2]", '"hunter2"', "[hunter2", '{ a = "hunter2" }'])
def test_a_mistake_in_a_secret_does_not_show_it(tmp_path: Path, type_: str, text: str) -> None:
    declared = f'variable "v" {{\n  type = {type_}\n  sensitive = true\n}}\n'
    for environment, given in (({"BREVPLAN_VAR_v": text}, []), ({}, [Given(f"v={text}")])):
        _, problems = collected(declared, tmp_path, environment=environment, given=given)
        shown = [render_diagnostic(item) for item in problems]
        assert "hunter2" not in "\n".join(shown)
