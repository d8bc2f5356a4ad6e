"""`init`: a first configuration that can be planned, and nothing the second time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.config import Config
from brevplan.operations.init import IGNORED, Initialised, init
from brevplan.operations.project import load_project
from tests.world import Lab


def initialised(folder: Path, home: Path | None = None) -> Initialised:
    environment = {"HOME": str(home)} if home is not None else {}
    return asyncio.run(init(folder, environment, Lab(folder, "").outside))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


def config_of(folder: Path) -> Config:
    return load_project(folder).config


def test_an_empty_folder_gets_a_configuration(tmp_path: Path) -> None:
    done = initialised(tmp_path)
    assert (done.written, done.providers, done.diagnostics) == (["main.hcl", ".gitignore"], ["local"], [])
    assert sorted(contents(tmp_path)) == [".gitignore", "main.hcl"]
    assert [str(address) for address in config_of(tmp_path).resources] == ["firewall.web", "instance.first"]


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    initialised(tmp_path)
    before = contents(tmp_path)
    assert initialised(tmp_path).written == []
    assert contents(tmp_path) == before


def test_a_configuration_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "own.hcl").write_text('provider "local" {}\n')
    done = initialised(tmp_path)
    assert done.written == [".gitignore"]
    assert sorted(contents(tmp_path)) == [".gitignore", "own.hcl"]


@pytest.mark.parametrize(
    ("before", "added"),
    [("", list(IGNORED)), ("*.db\n", list(IGNORED[1:])), ("mine\n", list(IGNORED)), ("mine", list(IGNORED))],
)
def test_a_gitignore_is_completed(tmp_path: Path, before: str, added: list[str]) -> None:
    (tmp_path / ".gitignore").write_text(before)
    initialised(tmp_path)
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines == [*before.splitlines(), *added]


@pytest.mark.parametrize(
    ("folder", "base"),
    [
        ("train", "train"),
        ("My Project!", "my-project"),
        ("a_b__c", "a-b-c"),
        ("a-very-long-folder-name", "a-very-long-f"),
        ("abcdefghijkl--x", "abcdefghijkl"),
        ("日本", "project"),
    ],
)
def test_the_project_is_named_after_the_folder(tmp_path: Path, folder: str, base: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    initialised(place)
    project = config_of(place).settings.project
    assert project == f"{base}-aaaaaa"
    assert re.fullmatch(r"[a-z0-9](?:-?[a-z0-9])*", project)
    assert len(project) <= 20


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [((), "id_ed25519.pub"), (("id_rsa.pub",), "id_rsa.pub"), (("id_rsa.pub", "id_ed25519.pub"), "id_ed25519.pub")],
)
def test_the_key_that_is_there_is_named(tmp_path: Path, keys: tuple[str, ...], chosen: str) -> None:
    home, place = tmp_path / "home", tmp_path / "place"
    (home / ".ssh").mkdir(parents=True)
    place.mkdir()
    for key in keys:
        (home / ".ssh" / key).touch()
    initialised(place, home)
    assert f'file("~/.ssh/{chosen}")' in (place / "main.hcl").read_text()


def test_a_mistake_in_the_configuration_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.hcl").write_text('provider "locl" {}\n')
    with pytest.raises(DiagnosticsError):
        initialised(tmp_path)
