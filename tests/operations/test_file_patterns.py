"""Patterns of `fileset()`: what Terraform finds in the same folder, but for what is said beside a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.operations.file_patterns import matching_files

FILES = [".dot", ".hid/e.txt", "a.txt", "b.tpl", "odd[1]/f.txt", "sub/c.txt", "sub/deep/d.txt", "x{y}.txt", "é.txt"]
OF_TEXT = [".hid/e.txt", "a.txt", "la.txt", "link/c.txt", "link/deep/d.txt", "odd[1]/f.txt", "sub/c.txt"]
CASES = {
    "*": [".dot", "a.txt", "b.tpl", "la.txt", "x{y}.txt", "é.txt"],
    "**": sorted([*FILES, "la.txt", "link/c.txt", "link/deep/d.txt"]),
    "**/": sorted([*FILES, "la.txt", "link/c.txt", "link/deep/d.txt"]),
    "**/*.txt": [*OF_TEXT, "sub/deep/d.txt", "x{y}.txt", "é.txt"],
    "**/d.txt": ["link/deep/d.txt", "sub/deep/d.txt"],
    "sub/**": ["sub/c.txt", "sub/deep/d.txt"],
    "sub/*": ["sub/c.txt"],
    "link/**": ["link/c.txt", "link/deep/d.txt"],
    "*.{txt,tpl}": ["a.txt", "b.tpl", "la.txt", "x{y}.txt", "é.txt"],
    "{sub,link}/*.txt": ["link/c.txt", "sub/c.txt"],
    "{a,{b,c}}.*": ["a.txt", "b.tpl"],  # Terraform 1.11 loses the first one
    "?.txt": ["a.txt", "é.txt"],
    "[ab].*": ["a.txt", "b.tpl"],
    "[a-c].*": ["a.txt", "b.tpl"],
    "[^a].txt": ["é.txt"],
    "[!a].txt": ["a.txt"],
    "x\\{y\\}.txt": ["x{y}.txt"],
    "odd\\[1\\]/*": ["odd[1]/f.txt"],
    ".*": [".dot"],
    "a**.txt": ["a.txt"],
    "s**b/c.txt": ["sub/c.txt"],
    "*/*": [".hid/e.txt", "link/c.txt", "odd[1]/f.txt", "sub/c.txt"],
    "./a.txt": ["a.txt"],
    "/a.txt": ["a.txt"],
    "sub/../a.txt": ["a.txt"],
    "../folder/a.txt": ["../folder/a.txt"],
    "sub": [],
    "sub/": [],
    "a}": [],
    "A.txt": [],
    "a.txt/*": [],
    "none/*": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "la.txt").symlink_to("a.txt")
    (root / "link").symlink_to("sub")
    return root


@pytest.mark.parametrize("pattern", CASES)
def test_pattern_finds_files(folder: Path, pattern: str) -> None:
    assert matching_files(folder, pattern) == CASES[pattern]


@pytest.mark.parametrize("pattern", ["[a", "{a", "{,sub/}c.txt", "[]", "[^]", "[z-a]", "a/[", "[\\]"])
def test_broken_pattern_is_refused(folder: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is not closed|is no range"):
        matching_files(folder, pattern)


def test_link_into_its_own_folder_is_followed_no_further(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to("..")
    found = matching_files(folder, "sub/**")
    assert "sub/c.txt" in found
    assert not [path for path in found if path.count("up") > 1]


def test_link_that_leads_nowhere_is_no_file(folder: Path) -> None:
    (folder / "broken.txt").symlink_to("nowhere")
    assert "broken.txt" not in matching_files(folder, "*.txt")


def test_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert matching_files(tmp_path / "none", "**") == []
