"""Plan files: no sensitive literal in them, and applied only where everything is still what it was."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.operations import planfile
from brevplan.operations.given import Given
from tests.operations.build import carried_out, document, refused, written
from tests.world import Lab, configuration

SECRET = "hunter2-correct-horse"
HEREDOC = f"user_data = <<-EOT\n    #!/bin/sh\n    echo {SECRET}\n  EOT\n"
VARIABLE = f'variable "s" {{\n  sensitive = true\n  default = "{SECRET}"\n}}\n'
OPEN = 'variable "s" {\n  sensitive = true\n}\n'


@pytest.mark.parametrize(
    ("body", "rest", "cut"),
    [
        (f'user_data = "{SECRET}"', "", 1),
        (HEREDOC, "", 1),
        (f'user_data = "${{var.o}} {SECRET}"', 'variable "o" {\n  default = "x"\n}\n', 2),
        (f'user_data = join("", ["{SECRET}"])', "", 1),
        (f'user_data = true ? "{SECRET}" : null', "", 1),
        (f'user_data = base64encode("{SECRET}")\n  tags = {{ a = "b" }}', "", 1),
        ("user_data = var.s", VARIABLE, 1),
        (f'user_data = "{SECRET}"', VARIABLE, 2),
        ("tags = { a = var.s }", VARIABLE, 1),
        ("", VARIABLE + 'output "o" {\n  value = var.s\n  sensitive = true\n}\n', 1),
    ],
)
def test_a_sensitive_literal_is_in_no_byte_of_it(tmp_path: Path, body: str, rest: str, cut: int) -> None:
    lab = Lab(tmp_path, configuration(1, body=body, rest=rest))
    path = written(lab)
    assert SECRET.encode() not in path.read_bytes()
    assert document(path)["sources"][0]["text"].count(planfile.CUT) == cut
    assert carried_out(lab, path).result is not None
    assert len(lab.machines()) == 1


def test_what_is_not_sensitive_is_not_cut(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body='tags = { a = "b" }', rest='variable "o" {\n  default = "x"\n}\n'))
    source = document(written(lab))["sources"][0]
    assert (source["text"], source["cut"]) == (lab.text, False)


def test_it_is_its_owners_alone_and_whole(tmp_path: Path) -> None:
    path = written(Lab(tmp_path, configuration(1)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*.partial")) == []


def test_it_is_applied_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    path = written(lab)
    first = carried_out(lab, path)
    assert first.result is not None
    assert first.result.counts.add == 2
    again = carried_out(lab, path)
    assert again.result is None
    assert again.already == "run-000001"
    assert len(lab.machines()) == 2


def test_it_applies_what_was_planned_and_not_what_stands_there_now(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    path = written(lab)
    (tmp_path / "main.hcl").write_text(configuration(5))
    carried_out(lab, path)
    assert len(lab.machines()) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace(SECRET, "another"), "a sensitive value in main.hcl is another one"),
        (lambda text: text.replace("count         = 1", "count         = 2"), "main.hcl is another text"),
        (lambda text: "# comment\n" + text, "main.hcl is another text"),
        (lambda text: text.replace(f'"{SECRET}"', "null"), "main.hcl is another text"),
    ],
)
def test_a_cut_source_must_be_the_same(tmp_path: Path, change: object, says: str) -> None:
    lab = Lab(tmp_path, configuration(1, body=f'user_data = "{SECRET}"'))
    path = written(lab)
    (tmp_path / "main.hcl").write_text(change(lab.text))  # type: ignore[operator]
    lines = refused(lab, path)
    assert len(lines) == 1
    assert lines[0].startswith("Plan is stale: ")
    assert says.lower() in lines[0].lower()
    assert SECRET not in lines[0]


def test_a_file_that_was_read_must_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "boot.sh").write_text("#!/bin/sh\n")
    lab = Lab(tmp_path, configuration(1, body='user_data = file("boot.sh")'))
    path = written(lab)
    (tmp_path / "boot.sh").write_text("#!/bin/bash\n")
    assert "file boot.sh is another one" in refused(lab, path)[0]
    (tmp_path / "boot.sh").unlink()
    assert "cannot be read now" in refused(lab, path)[0]
    (tmp_path / "boot.sh").write_text("#!/bin/sh\n")
    assert carried_out(lab, path).result is not None


@pytest.mark.parametrize(
    ("again", "applied"),
    [({}, False), ({"BREVPLAN_VAR_s": "another"}, False), ({"BREVPLAN_VAR_s": SECRET}, True)],
)
def test_a_secret_is_given_again(tmp_path: Path, again: dict[str, str], applied: bool) -> None:
    lab = Lab(tmp_path, configuration(1, body="user_data = var.s", rest=OPEN))
    path = written(lab, given=(Given(f"s={SECRET}"),))
    assert SECRET.encode() not in path.read_bytes()
    if applied:
        assert carried_out(lab, path, environment=again).result is not None
    else:
        assert any('"s"' in line or "-var s" in line for line in refused(lab, path, environment=again))
        assert lab.machines() == []


def test_a_secret_can_be_given_as_an_option_and_nothing_else_can(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body="user_data = var.s", rest=OPEN + 'variable "o" {\n  default = "x"\n}\n'))
    path = written(lab, given=(Given(f"s={SECRET}"),))
    assert "Variable is part of the plan" in refused(lab, path, given=(Given(f"s={SECRET}"), Given("o=x")))[0]
    assert carried_out(lab, path, given=(Given(f"s={SECRET}"),)).result is not None


def test_values_that_are_not_secret_come_from_the_plan(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body="tags = { a = var.o }", rest='variable "o" {}\n'))
    path = written(lab, given=(Given("o=planned"),))
    carried_out(lab, path, environment={"BREVPLAN_VAR_o": "now"})
    assert lab.machines()[0].body.tags == {"a": "planned"}


def test_a_machine_that_changed_makes_it_stale(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body='tags = { a = "1" }'))
    lab.apply()
    lab.text = lab.text.replace('"1"', '"2"')
    path = written(lab)
    cloud = lab.cloud()
    cloud.alter_machine("i-00000001", tags={"a": "3"})
    cloud.close()
    assert "instance.m[0]: it has changed" in refused(lab, path)[0]
    assert lab.machines()[0].body.tags == {"a": "3"}


def test_what_somebody_else_did_already_makes_it_stale(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    path = written(lab)
    lab.apply()
    assert "instance.m[0]: what was planned (create) is not needed any more" in refused(lab, path)[0]


def test_what_else_changed_is_left_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    lab.text = configuration(3)
    path = written(lab)
    cloud = lab.cloud()
    cloud.alter_machine("i-00000001", tags={"by": "hand"})
    cloud.close()
    done = carried_out(lab, path)
    assert done.result is not None
    assert (done.result.counts.add, done.result.counts.change) == (1, 0)
    assert [machine.body.tags for machine in lab.machines()] == [{"by": "hand"}, {}, {}]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"not json", b"\0" * 100, b"SQLite format 3\0", b'{"format": "brevplan-plan-1"}'],
)
def test_what_is_no_plan_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.plan").write_bytes(content)
    with pytest.raises(DiagnosticsError) as problem:
        planfile.read(tmp_path / "x.plan")
    assert [item.summary for item in problem.value.diagnostics] == ["Not a plan file"]


def test_a_plan_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticsError, match="Plan file cannot be read"):
        planfile.read(tmp_path / "none.plan")


def test_a_plan_file_of_another_version_is_told(tmp_path: Path) -> None:
    path = written(Lab(tmp_path, configuration(1)))
    path.write_bytes(msgspec.json.encode({**document(path), "format": "brevplan-plan-2"}))
    with pytest.raises(DiagnosticsError, match="Plan file of another version"):
        planfile.read(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_plan_file_cut_short_is_told(tmp_path: Path, share: float) -> None:
    path = written(Lab(tmp_path, configuration(1)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DiagnosticsError, match="Not a plan file"):
        planfile.read(path)


def test_options_travel_with_it(tmp_path: Path) -> None:
    from brevplan.engine.address import Address
    from brevplan.engine.bench import Options

    options = Options(targets=(Address("instance", "m", 1),), allow_no_stock=True, ignore_orphans=True)
    lab = Lab(tmp_path, configuration(3))
    path = written(lab, options=options)
    assert planfile.read(path).options() == options
    carried_out(lab, path)
    assert list(lab.recorded()) == ["instance.m[1]"]
