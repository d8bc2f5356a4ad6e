"""README and docs are executed: every command line is run, every HCL block is used.

A block behind `<!-- file: NAME -->` is written to that file, any other of HCL is checked by `validate` together with a
provider. In a console block each line behind `$ ` is run by a shell, and what follows it is compared with what comes
out. `<!-- fresh -->` starts a new folder. With `--update-golden` the outputs are written anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
KEY = (ROOT / "examples" / "quickstart" / "key.pub").read_text()
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- (fresh|file: (\S+)) -->")
_SETTING = re.compile(r"BREVPLAN_|FLUIDSTACK_|LAUNCHPAD_|.*_API_KEY\Z")
"""Variables of whoever runs the tests that would change what a document shows."""
_CHANGING = [
    (re.compile(r"bp-([a-z0-9-]+)-[a-z2-7]{12}-[a-z2-7]{6}"), r"bp-\1-…"),
    (re.compile(r"run-[0-9a-f]{12}"), "run-…"),
    (re.compile(r"\b127\.1\d1\.(?=\d+\.\d+)"), "127.101."),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "2026-01-01T00:00:00Z"),
    (re.compile(r"\S+@\S+(?= +\S+ +run-)"), "ann@laptop"),
    (re.compile(r"\b[0-9a-f]{12}\+?(?= +run-)|-(?= +run-)"), "-"),
    (re.compile(r"after \d+s"), "after 0s"),
    (re.compile(r"linux_\w+|darwin_\w+"), "linux_x86_64"),
    (re.compile(r" +$", re.MULTILINE), ""),
]


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    start: int
    end: int
    file: str = ""
    fresh: bool = False


def blocks_of(document: str) -> Iterator[Block]:
    last = 0
    for found in _FENCE.finditer(document):
        between = document[last : found.start()]
        names = [mark[1] for mark in _MARK.findall(between) if mark[1]]
        fresh = "<!-- fresh -->" in between
        yield Block(found[1], found[2], found.start(2), found.end(2), names[-1] if names else "", fresh)
        last = found.end()


def stable(text: str) -> str:
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


class Folder:
    """A folder of a reader who does what the document says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        (path / "key.pub").write_text(KEY)

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def run(self, command: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not _SETTING.match(name)},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.path),
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Give each command of a console block with the output shown behind it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    for part in parts[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command[:-1]}{more}"
        yield command, output


def run_console(folder: Folder, text: str) -> str:
    """Run a console block; give it with the output that came out."""
    lines = []
    for command, shown in commands_of(text):
        output = stable(folder.run(command))
        if shown.rstrip().endswith("…"):
            keep = len(shown.rstrip().splitlines()) - 1
            output = "\n".join([*output.splitlines()[:keep], "…"])
        elif shown.startswith("…\n"):
            keep = len(shown.rstrip("\n").splitlines()) - 1
            output = "\n".join(["…", *output.splitlines()[-keep:]])
        lines.append(f"$ {command}" + (f"\n{output}" if output else ""))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_does_what_it_says(name: str, tmp_path: Path, update_golden: bool) -> None:
    path = ROOT / name
    document = path.read_text()
    folders = 0
    folder = Folder(tmp_path / "0")
    result, position = "", 0
    for block in blocks_of(document):
        if block.fresh:
            folders += 1
            folder = Folder(tmp_path / str(folders))
        text = block.text
        if block.file:
            folder.write(block.file, text)
        elif block.language == "hcl":
            check_alone(text, tmp_path / f"hcl-{block.start}")
        elif block.language == "console" and "brevplan" in text and "$ make " not in text:
            text = run_console(folder, text)
        result += document[position : block.start] + text
        position = block.end
    result += document[position:]
    if update_golden:
        path.write_text(result)
    assert result == document


def check_alone(text: str, path: Path) -> None:
    """Check an HCL block that stands for itself."""
    folder = Folder(path)
    extra = "" if 'provider "' in text else '\nprovider "local" {}\n'
    (folder.path / "main.hcl").write_text(text + extra)
    output = folder.run("brevplan validate")
    assert "Success!" in output, output
