"""`fmt` on files, folders and standard input: written whole, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.operations.fmt import Done, format_input, format_paths

UGLY = 'resource "firewall" "f" {\ningress {\nfrom_port=1\n}\n}\n'
NICE = 'resource "firewall" "f" {\n  ingress {\n    from_port = 1\n  }\n}\n'


def formatted(folder: Path, *paths: str, recursive: bool = False, write: bool = True) -> Done:
    return format_paths(folder, paths, recursive=recursive, write=write)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.hcl", "b.hcl", "sub/c.hcl", ".hidden/d.hcl", ".e.hcl", "notes.txt", "brevplan.vars.hcl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(UGLY if name != "b.hcl" else NICE)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "recursive", "changed"),
    [
        ((), False, ["a.hcl", "brevplan.vars.hcl"]),
        ((), True, ["a.hcl", "brevplan.vars.hcl", "sub/c.hcl"]),
        (("sub",), False, ["sub/c.hcl"]),
        (("a.hcl",), False, ["a.hcl"]),
        (("b.hcl",), False, []),
        (("b.hcl", "a.hcl", "sub"), False, ["a.hcl", "sub/c.hcl"]),
        ((".hidden",), False, [".hidden/d.hcl"]),
        (("notes.txt",), False, ["notes.txt"]),  # named outright
    ],
)
def test_what_is_formatted(folder: Path, paths: tuple[str, ...], recursive: bool, changed: list[str]) -> None:
    before = {item: item.read_text() for item in folder.rglob("*") if item.is_file()}
    done = formatted(folder, *paths, recursive=recursive)
    assert [item.name for item in done.changes] == changed
    after = {item: item.read_text() for item in folder.rglob("*") if item.is_file()}
    assert {str(item.relative_to(folder)) for item in after if after[item] != before[item]} == set(changed)
    assert all(after[folder / name] == NICE for name in changed)
    assert formatted(folder, *paths, recursive=recursive).changes == []


def test_checking_writes_nothing_and_gives_the_difference(folder: Path) -> None:
    done = formatted(folder, "a.hcl", write=False)
    assert (folder / "a.hcl").read_text() == UGLY
    lines = list(done.changes[0].diff())
    assert lines[:2] == ["--- old/a.hcl", "+++ new/a.hcl"]
    assert "-from_port=1" in lines
    assert "+    from_port = 1" in lines


def test_a_file_with_a_mistake_is_left_alone_and_the_others_are_not(folder: Path) -> None:
    (folder / "0.hcl").write_text("resource {{\n")
    done = formatted(folder)
    assert done.diagnostics
    assert (folder / "0.hcl").read_text() == "resource {{\n"
    assert (folder / "a.hcl").read_text() == NICE


def test_a_file_that_is_not_text_is_told(folder: Path) -> None:
    (folder / "0.hcl").write_bytes(b"\xff\xfe")
    done = formatted(folder)
    assert [item.summary for item in done.diagnostics] == ["File is not UTF-8"]
    assert (folder / "a.hcl").read_text() == NICE


def test_what_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(DiagnosticsError):
        formatted(folder, "none.hcl")


def test_the_mode_of_a_file_is_kept_and_nothing_is_left_beside_it(folder: Path) -> None:
    (folder / "a.hcl").chmod(0o640)
    before = sorted(os.listdir(folder))
    formatted(folder)
    assert stat.S_IMODE((folder / "a.hcl").stat().st_mode) == 0o640
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(("text", "changes"), [(UGLY, 1), (NICE, 0)])
def test_standard_input(text: str, changes: int) -> None:
    done = format_input(text)
    assert (done.standard_output, len(done.changes), done.diagnostics) == (NICE, changes, [])


def test_a_mistake_on_standard_input_gives_no_text() -> None:
    done = format_input("a {{\n")
    assert done.standard_output is None
    assert str(done.diagnostics[0].span).startswith("<stdin>:1:")


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "link.hcl").symlink_to("sub/c.hcl")
    (folder / "nowhere.hcl").symlink_to("gone.hcl")
    assert [item.name for item in formatted(folder, "link.hcl").changes] == ["link.hcl"]
    assert (folder / "link.hcl").is_symlink()
    assert (folder / "sub/c.hcl").read_text() == NICE
    assert formatted(folder).diagnostics == []


def test_a_file_named_twice_is_formatted_once(folder: Path) -> None:
    assert [item.name for item in formatted(folder, "a.hcl", ".", "a.hcl", write=False).changes] == [
        "a.hcl", "brevplan.vars.hcl"
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_file_is_left_alone(folder: Path) -> None:
    (folder / "a.hcl").chmod(0o444)
    done = formatted(folder, "a.hcl")
    assert [item.summary for item in done.diagnostics] == ["File cannot be written"]
    assert (folder / "a.hcl").read_text() == UGLY
    assert done.changes == []


def test_a_folder_that_takes_no_file_leaves_the_old_one_whole(folder: Path) -> None:
    (folder / f".a.hcl.{os.getpid()}").mkdir()
    done = formatted(folder, "a.hcl")
    assert [item.summary for item in done.diagnostics] == ["File cannot be written"]
    assert (folder / "a.hcl").read_text() == UGLY


def test_json_has_a_style_of_its_own(folder: Path) -> None:
    (folder / "x.hcl.json").write_text('{"locals":   {}}')
    assert formatted(folder, "x.hcl.json").changes == []


def test_a_difference_says_where_a_line_end_is_missing() -> None:
    assert list(format_input("a=1").changes[0].diff())[2:] == [
        "@@ -1 +1 @@", "-a=1", "\\ No newline at end of file", "+a = 1"
    ]  # fmt: skip
    # a form feed ends no line
    assert list(format_input("a=<<E\n\x0c\nE\n").changes[0].diff())[2:] == [
        "@@ -1,3 +1,3 @@", "-a=<<E", "+a = <<E", " \x0c", " E"
    ]  # fmt: skip
