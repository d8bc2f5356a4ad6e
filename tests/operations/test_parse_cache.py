"""Parsed files in the user's cache folder: what is kept, what never is, and that no entry can do harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

import brevplan
from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, Source
from brevplan.lang import ast
from brevplan.operations import parse_cache, variables
from brevplan.operations.parse_cache import ParseCache, digest_of_parser, prune
from brevplan.operations.project import Project, load_project, parse_source

HEAD = 'brevplan { project = "acme" }\nprovider "local" {}\n'
MAIN = HEAD + 'locals {\n  word = "cheese"\n}\n'
SECRET = """variable "token" {
  default   = "hunter2hunter2"
  sensitive = true
}
"""


class Parser:
    """The real parser, which counts what it is asked to parse."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, source: Source) -> tuple[ast.Body, list[Diagnostic]]:
        self.names.append(source.name)
        return parse_source(source)


def load(folder: Path, cache: Path, files: Mapping[str, str]) -> Project:
    """Load a project of these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return load_project(folder, cache=ParseCache(cache))


def is_parsed(cache: Path, name: str, text: str) -> bool:
    """Say whether a file would be parsed; in any case the tree must be that of the parser."""
    parser, source = Parser(), Source(name, text)
    body, _ = ParseCache(cache).parse(source, parser)
    assert body == parse_source(source)[0]
    return parser.names == [name]


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*")) if cache.exists() else []


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "brevplan" / "parsed"


@pytest.fixture
def entry(tmp_path: Path, cache: Path) -> Path:
    """The only entry, of `MAIN`."""
    load(tmp_path / "project", cache, {"main.hcl": MAIN})
    (found,) = entries(cache)
    return found


# what is kept


def test_file_is_parsed_once(tmp_path: Path, cache: Path) -> None:
    assert is_parsed(cache, "main.hcl", MAIN)
    load(tmp_path / "project", cache, {"main.hcl": MAIN})

    assert not is_parsed(cache, "main.hcl", MAIN)
    assert not is_parsed(cache, "renamed.hcl", MAIN)
    assert is_parsed(cache, "main.hcl", MAIN + "\n")


def test_configuration_from_the_cache_is_the_same(tmp_path: Path, cache: Path) -> None:
    text = MAIN + 'output "shout" {\n  value = upper("${local.word}!")\n}\n'
    first = load(tmp_path / "project", cache, {"main.hcl": text})
    again = load(tmp_path / "project", cache, {"main.hcl": text})

    assert len(entries(cache)) == 1
    assert str(again.bodies) == str(first.bodies)
    assert again.bodies[0].source is again.sources[0]
    assert again.config.outputs.keys() == first.config.outputs.keys()


def test_json_is_kept_apart_from_the_native_syntax(tmp_path: Path, cache: Path) -> None:
    text = '{"locals": {"word": "cheese"}}\n'
    load(tmp_path / "project", cache, {"main.hcl": HEAD, "more.hcl.json": text})

    assert len(entries(cache)) == 2
    assert not is_parsed(cache, "more.hcl.json", text)
    assert is_parsed(cache, "more.hcl", text)


def test_file_with_a_mistake_is_not_kept(tmp_path: Path, cache: Path) -> None:
    for text in (MAIN + "a = = 1\n", MAIN + 'resource "instance" "x" {}\n'):
        with pytest.raises(DiagnosticsError):
            load(tmp_path / "project", cache, {"main.hcl": text})

    assert entries(cache) == []


def test_values_of_variables_are_not_kept(tmp_path: Path, cache: Path) -> None:
    files = {"main.hcl": HEAD + 'variable "word" {}\n', "brevplan.vars.hcl": 'word = "cheese"\n'}
    project = load(tmp_path / "project", cache, files)
    diagnostics = Diagnostics()

    assert variables.collect(project.config, project.directory, {}, (), diagnostics) == {"word": "cheese"}
    assert len(entries(cache)) == 1
    assert b"cheese" not in entries(cache)[0].read_bytes()


# what holds a secret


def test_file_with_a_sensitive_literal_leaves_no_trace(tmp_path: Path, cache: Path) -> None:
    use = 'resource "instance" "web" {\n  instance_type = "gpu_1x_a10"\n  location = "us-west-1"\n'
    texts = {
        "variable.hcl": SECRET,
        "local.hcl": 'locals {\n  hidden = "hunter2hunter2"\n}\n',
        "use.hcl": use + '  public_key = "k"\n  user_data = local.hidden\n}\n',
        "wrapped.hcl": 'output "a" {\n  sensitive = true\n  value = sensitive("hunter2hunter2")\n}\n',
        "also.hcl.json": '{"variable": {"json": {"sensitive": true, "default": "hunter2hunter2"}}}',
    }
    load(tmp_path / "project", cache, {"main.hcl": MAIN, **texts})

    assert [path.name for path in entries(cache) if b"hunter2" in path.read_bytes()] == []
    kept = [name for name, text in {"main.hcl": MAIN, **texts}.items() if not is_parsed(cache, name, text)]
    assert kept == ["main.hcl", "use.hcl"]


def test_entry_goes_when_another_file_makes_it_sensitive(tmp_path: Path, cache: Path) -> None:
    harmless = 'locals {\n  word = "hunter2hunter2"\n}\n'
    load(tmp_path / "project", cache, {"main.hcl": HEAD, "word.hcl": harmless})
    assert not is_parsed(cache, "word.hcl", harmless)
    sink = 'output "word" {\n  value     = local.word\n  sensitive = true\n}\n'

    load(tmp_path / "project", cache, {"main.hcl": HEAD, "word.hcl": harmless, "sink.hcl": sink})

    assert is_parsed(cache, "word.hcl", harmless)
    assert [path.name for path in entries(cache) if b"hunter2" in path.read_bytes()] == []


# what damaged and foreign entries do


def test_truncated_entry_is_parsed_anew(entry: Path) -> None:
    content = entry.read_bytes()
    for size in range(len(content)):
        entry.write_bytes(content[:size])
        assert is_parsed(entry.parent, "main.hcl", MAIN), f"cut to {size}"


def test_entry_with_a_flipped_bit_is_parsed_anew(entry: Path) -> None:
    content = entry.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        entry.write_bytes(damaged)
        assert is_parsed(entry.parent, "main.hcl", MAIN), f"bit flipped at {place}"


def test_entry_under_the_name_of_another_is_parsed_anew(tmp_path: Path, entry: Path) -> None:
    other = MAIN.replace("cheese", "butter")
    load(tmp_path / "project", entry.parent, {"main.hcl": other})
    (second,) = [path for path in entries(entry.parent) if path != entry]
    shutil.copy(entry, second)

    assert is_parsed(entry.parent, "main.hcl", other)


def test_damaged_entry_is_replaced(tmp_path: Path, entry: Path) -> None:
    entry.write_bytes(b"damaged")
    load(tmp_path / "project", entry.parent, {"main.hcl": MAIN})

    assert not is_parsed(entry.parent, "main.hcl", MAIN)


def test_entry_that_others_can_write_is_parsed_anew(entry: Path) -> None:
    entry.chmod(0o622)

    assert is_parsed(entry.parent, "main.hcl", MAIN)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_entry_that_is_no_plain_file_is_parsed_anew(entry: Path, tmp_path: Path, kind: str) -> None:
    entry.rename(tmp_path / "elsewhere")
    if kind == "link":
        entry.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(entry)
    else:
        entry.mkdir()

    assert is_parsed(entry.parent, "main.hcl", MAIN)


# the folder


def test_only_the_user_can_read_what_is_kept(entry: Path) -> None:
    assert entry.stat().st_mode & 0o7777 == 0o600
    assert entry.parent.stat().st_mode & 0o7777 == 0o700
    assert entry.parent.parent.stat().st_mode & 0o7777 == 0o700


def test_folder_that_cannot_be_made_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    assert load(tmp_path / "project", tmp_path / "file" / "parsed", {"main.hcl": MAIN}).config.locals.keys() == {"word"}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_folder_that_is_read_only_is_read(tmp_path: Path, entry: Path) -> None:
    entry.parent.chmod(0o500)
    load(tmp_path / "project", entry.parent, {"main.hcl": HEAD})

    assert entries(entry.parent) == [entry]
    assert not is_parsed(entry.parent, "main.hcl", MAIN)


def test_nothing_is_written_into_a_folder_that_others_can_write(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    load(tmp_path / "project", cache, {"main.hcl": MAIN})

    assert entries(cache) == []


def test_nothing_is_written_through_a_link(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir(parents=True)
    cache.symlink_to(tmp_path / "elsewhere")
    load(tmp_path / "project", cache, {"main.hcl": MAIN})

    assert entries(tmp_path / "elsewhere") == []


def test_entry_that_cannot_be_replaced_leaves_nothing_half_written(tmp_path: Path, entry: Path) -> None:
    entry.unlink()
    entry.mkdir()  # a rename cannot replace a folder by a file
    load(tmp_path / "project", entry.parent, {"main.hcl": MAIN})

    assert entries(entry.parent) == [entry]


def test_entries_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(["d.tree", "c.tree", "b.partial", "a.tree", "e.txt"]):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    prune(tmp_path, max_bytes=40, max_entries=3)
    assert [path.name for path in entries(tmp_path)] == ["b.partial", "c.tree", "d.tree", "e.txt"]

    prune(tmp_path, max_bytes=19, max_entries=3)
    assert [path.name for path in entries(tmp_path)] == ["d.tree", "e.txt"]


def test_use_of_an_entry_makes_it_young(entry: Path) -> None:
    os.utime(entry, (1000, 1000))

    assert not is_parsed(entry.parent, "main.hcl", MAIN)
    assert entry.stat().st_mtime > 1000


def test_many_writers_at_once_leave_whole_entries(tmp_path: Path, cache: Path) -> None:
    texts = [f'locals {{\n  word{number} = "cheese"\n}}\n' for number in range(10)]
    files = {"main.hcl": HEAD, **{f"f{number}.hcl": text for number, text in enumerate(texts)}}
    broken: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(10):
                load(tmp_path / name, cache, files)
                for path in entries(cache)[::2]:
                    path.unlink(missing_ok=True)
        except BaseException as problem:  # a thread's own would be lost
            broken.append(problem)

    workers = [threading.Thread(target=work, args=(f"project{number}",)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert broken == []
    load(tmp_path / "project", cache, files)

    assert {path.suffix for path in entries(cache)} == {".tree"}
    assert [name for name, text in files.items() if is_parsed(cache, name, text)] == []


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, None),
        ({"HOME": ""}, None),
        ({"HOME": "/home/me"}, "/home/me/.cache/brevplan/parsed"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": ""}, "/home/me/.cache/brevplan/parsed"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/brevplan/parsed"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/brevplan/parsed"),
        ({"BREVPLAN_DATA_DIR": "/data", "HOME": "/home/me"}, "/home/me/.cache/brevplan/parsed"),
    ],
)
def test_folder_is_that_of_the_user(environment: dict[str, str], folder: str | None) -> None:
    assert parse_cache.parse_cache(environment).folder == (Path(folder) if folder else None)


# what decides which tree a text gives


def test_any_change_to_the_parser_makes_all_entries_outdated(tmp_path: Path) -> None:
    (tmp_path / "lang").mkdir()
    (tmp_path / "lang" / "parser.py").write_text("one")
    (tmp_path / "lang" / "grammar.json").write_text("{}")
    seen = {digest_of_parser(tmp_path)}
    (tmp_path / "lang" / "parser.py").write_text("two")
    seen.add(digest_of_parser(tmp_path))
    (tmp_path / "lang" / "grammar.json").write_text("[]")
    seen.add(digest_of_parser(tmp_path))
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "disk.py").write_text("")
    seen.add(digest_of_parser(tmp_path))

    assert len(seen) == 4


def test_all_modules_that_make_a_tree_are_part_of_the_digest() -> None:
    code = "import sys, brevplan.lang.json_syntax; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("brevplan.")}
    package = Path(brevplan.__file__).parent

    assert "brevplan.lang.parser" in ours
    assert [name for name in ours if name not in ("brevplan.diagnostics", "brevplan.lang")] == [
        name for name in ours if (package / "lang" / f"{name.removeprefix('brevplan.lang.')}.py").exists()
    ]
    assert all(list(package.glob(pattern)) for pattern in parse_cache.DECIDING)


def test_run_without_anything_to_parse_does_not_load_the_parser(tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text(MAIN)
    code = (
        "import atexit, sys; from brevplan.cli.main import main; "
        "atexit.register(lambda: print(*(name for name in sys.modules if name.startswith('brevplan.lang')))); "
        "main(['validate'])"
    )
    loaded = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )  # fmt: skip
        loaded.append(set(done.stdout.split()))

    parser = {"brevplan.lang.parser", "brevplan.lang.scanner", "brevplan.lang.grammar"}
    assert parser <= loaded[0]
    assert "brevplan.lang.tree_reader" in loaded[1]
    assert parser & loaded[1] == set()
