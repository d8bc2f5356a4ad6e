"""Plays a scenario: a text file of sections that write files, run commands and change the cloud behind their back.

The first line says why the scenario is there. Then sections, each begun by a line `-- WORDS --`:

- `NAME` (with a dot or a slash in it): writes a file.
- `input`: what the next command reads from its standard input.
- `edit NAME`: each line `OLD => NEW` replaces the only place of OLD; an empty NEW takes the line's text away.
- `run [NAME=VALUE…] WORDS [| FILTER…]`: runs brevplan in the scenario's folder; the section holds what goes to stdout.
  `stderr` and `exit N` after it hold the rest; without them stderr is empty and the exit code is 0.
  `$ref(ADDR)` and `$id(ADDR)` in the words stand for the newest machine that bears an address.
- `cloud VERB ADDR [ARGUMENT…]`: `delete`, `stop`, `start`, `fail`, `rename`, `retag`, `reprice`, `remark`, `double`;
  `list` shows all.
- `search TEXT`: names every file, and every earlier output, that holds a text: nothing, for a secret.
- `remove NAME…`, `copy FROM TO`, `mode NAME`, `chmod MODE NAME`, `sql NAME`.

Filters are `grep RE`, `sort`, `count`, `squeeze` (runs of spaces), `types` (JSON lines as level, type and message) and
`json PATH`. Every folder holds a `key.pub` from the start. What is random or depends on time or place is replaced by a
word in angle brackets before it is compared.
"""

from __future__ import annotations

import contextlib
import difflib
import getpass
import io
import json
import re
import shlex
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from brevplan.cli.main import run
from brevplan.cli.terminal import Terminal
from brevplan.contract.model import LifecycleStatus, Money
from brevplan.simcloud.model import Machine, cloud_id_of
from brevplan.simcloud.store import Store

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me\n"

_HEADER = re.compile(r"-- (.+) --\n?\Z")
_RESULTS = ("stderr", "exit")


class _Page(io.StringIO):
    encoding = "utf-8"


@dataclass
class Section:
    header: str
    body: str = ""

    @property
    def verb(self) -> str:
        return self.header.split()[0]

    @property
    def rest(self) -> str:
        return self.header.partition(" ")[2]


@dataclass
class Scenario:
    why: str
    sections: list[Section]

    @classmethod
    def parse(cls, text: str) -> Scenario:
        why, sections = "", []
        for line in text.splitlines(keepends=True):
            found = _HEADER.match(line)
            if found:
                sections.append(Section(found[1]))
            elif sections:
                sections[-1].body += line
            else:
                why += line
        return cls(why, sections)

    def text(self) -> str:
        return self.why + "".join(f"-- {section.header} --\n{section.body}" for section in self.sections)


@dataclass
class Outcome:
    stdout: str
    stderr: str = ""
    code: int = 0

    def sections(self, header: str) -> list[Section]:
        found = [Section(header, self.stdout)]
        if self.stderr:
            found.append(Section("stderr", self.stderr))
        if self.code:
            found.append(Section(f"exit {self.code}"))
        return found


@dataclass
class Stage:
    """One folder in which a scenario is played."""

    folder: Path
    outputs: list[tuple[str, str]] = field(default_factory=list)
    typed: str = ""

    def play(self, scenario: Scenario) -> Scenario:
        """Play everything; give the scenario as it would have to be written for what came out."""
        (self.folder / "key.pub").write_text(KEY, encoding="utf-8")
        played: list[Section] = []
        for section in scenario.sections:
            if section.verb in _RESULTS:
                continue
            outcome = self.act(section)
            played.extend(outcome.sections(section.header) if outcome is not None else [section])
        return Scenario(scenario.why, played)

    def act(self, section: Section) -> Outcome | None:
        verbs: dict[str, Callable[[str, str], Outcome | None]] = {
            "run": lambda rest, body: self.run(rest),
            "cloud": lambda rest, body: self.cloud(shlex.split(rest)),
            "search": lambda rest, body: self.search(rest),
            "mode": lambda rest, body: Outcome(f"{(self.folder / rest).stat().st_mode & 0o7777:04o}\n"),
            "input": self.type_in,
            "edit": self.edit,
            "remove": self.remove,
            "copy": self.copy,
            "chmod": self.chmod,
            "sql": self.sql,
        }
        if section.verb in verbs:
            return verbs[section.verb](section.rest, section.body)
        assert "." in section.header or "/" in section.header, f"what is -- {section.header} --?"
        path = self.folder / section.header
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(section.body, encoding="utf-8")
        return None

    # files

    def edit(self, name: str, body: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        for line in body.splitlines():
            old, arrow, new = line.partition("=>")
            old, new = old.strip().replace("\\n", "\n"), new.strip().replace("\\n", "\n")
            assert arrow, f"an edit is OLD => NEW, not {line!r}"
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def type_in(self, rest: str, body: str) -> None:
        self.typed = body

    def remove(self, names: str, body: str) -> None:
        for name in names.split():
            for path in self.folder.glob(f"{name}*" if name.endswith(".db") else name):
                path.unlink()

    def copy(self, names: str, body: str) -> None:
        source, target = names.split()
        shutil.copy(self.folder / source, self.folder / target)

    def chmod(self, words: str, body: str) -> None:
        mode, name = words.split()
        (self.folder / name).chmod(int(mode, 8))

    def sql(self, name: str, body: str) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / name)) as connection:
            connection.executescript(body)

    def search(self, text: str) -> Outcome:
        wanted = text.encode()
        found = [
            str(path.relative_to(self.folder))
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and wanted in path.read_bytes()
        ]
        found += [f"output of: {words}" for words, shown in self.outputs if text in shown]
        return Outcome("".join(f"{name}\n" for name in found))

    # commands

    def run(self, line: str) -> Outcome:
        line = re.sub(r"\$(ref|id)\(([^)]+)\)", lambda found: self.name_of(found[1], found[2]), line)
        command, *filters = re.split(r" \| ", line)
        words = shlex.split(command)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        while words and re.match(r"[A-Z_]+[a-z_]*=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        out, err, typed = _Page(), _Page(), _Page(self.typed)
        self.typed = ""
        with contextlib.chdir(self.folder):  # not -chdir: where a line of an error breaks hangs on the length of a path
            code = run(words, Terminal(environment, words, out, err, typed))
        stdout, stderr = out.getvalue(), err.getvalue()
        self.outputs.append((command, stdout + stderr))
        for filtering in filters:
            stdout = _filtered(stdout, filtering)
        return Outcome(self.plain(stdout), self.plain(stderr), code)

    def plain(self, text: str) -> str:
        """Put words in the place of what differs from run to run, and end with exactly one line end."""
        text = text.replace(str(self.folder), "<dir>")
        text = text.replace(f"{getpass.getuser()}@{socket.gethostname()}", "<who>")
        for pattern, word in _RANDOM:
            text = pattern.sub(word, text)
        lines = [line.rstrip() for line in text.splitlines()]
        return "\n".join(lines).strip("\n") + "\n" if text.strip() else ""

    # the cloud

    @property
    def store(self) -> Store:
        return Store(self.folder / "local-cloud.db")

    @contextlib.contextmanager
    def audit(self) -> Iterator[Store]:
        store = self.store
        try:
            yield store
        finally:
            store.close()

    def find(self, address: str) -> Machine:
        with self.audit() as store:
            machines = store.machines()
        for machine in reversed(machines):
            if machine.body.address.rpartition("/")[2] == address or machine.body.cloud_id == address:
                return machine
        raise AssertionError(f"no machine bears {address}")

    def name_of(self, what: str, address: str) -> str:
        body = self.find(address).body
        return str(body.ref_id if what == "ref" else body.cloud_id)

    def cloud(self, words: list[str]) -> Outcome | None:
        if words == ["list"]:
            with self.audit() as store:
                return Outcome(self.plain("".join(_shown(machine) for machine in store.machines())))
        verb, address, *arguments = words
        machine = self.find(address)
        if verb == "double":
            with self.audit() as store, store.write():
                number = store.next_number("machine")
                body = msgspec.structs.replace(machine.body, cloud_id=cloud_id_of(number))
                store.add(msgspec.structs.replace(machine, number=number, body=body))
            return None
        with self.audit() as store:
            if verb == "delete":
                store.delete_machine(machine.body.cloud_id)
            else:
                store.alter_machine(machine.body.cloud_id, **_alteration(verb, arguments))
        return None


_RANDOM = (
    (re.compile(r"\bbp-verify-[a-z2-7]{6}\b"), "bp-verify-<random>"),
    (re.compile(r"(bp-[a-z0-9<>-]+?)-[a-z2-7]{12}-[a-z2-7]{6}\b"), r"\1-<mark>"),
    (re.compile(r"\b(run|plan|lock)-[0-9a-f]{12}\b"), r"\1-<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\bafter \d+s\b"), "after <n>s"),
    (re.compile(r"\blocal-[a-z2-7]{6}\b"), "local-<random>"),
)


def _alteration(verb: str, arguments: list[str]) -> dict[str, object]:
    match verb:
        case "stop":
            return {"status": LifecycleStatus.STOPPED}
        case "start":
            return {"status": LifecycleStatus.RUNNING}
        case "fail":
            return {"status": LifecycleStatus.FAILED}
        case "rename":
            return {"name": arguments[0]}
        case "retag":
            return {"tags": dict(pair.split("=", 1) for pair in arguments)}
        case "reprice":
            return {"hourly_price": Money(arguments[0]).amount}
        case "remark":
            return {"address": arguments[0]}
    raise AssertionError(f"the cloud knows no {verb}")


def _shown(machine: Machine) -> str:
    body = machine.body
    tags = ",".join(f"{name}={value}" for name, value in sorted(body.tags.items())) or "-"
    return f"{body.name} {body.instance_type} {body.location} {body.status.value} {tags}\n"


def _filtered(text: str, filtering: str) -> str:
    name, _, argument = filtering.strip().partition(" ")
    match name:
        case "grep":
            return "".join(line for line in text.splitlines(keepends=True) if re.search(argument, line))
        case "sort":
            return "".join(sorted(text.splitlines(keepends=True)))
        case "squeeze":
            return re.sub(r"  +", "  ", text)
        case "count":
            return f"{len(text.splitlines())}\n"
        case "types":
            return "".join(_message(json.loads(line)) for line in text.splitlines())
        case "json":
            return json.dumps(_at(json.loads(text), argument), indent=2, sort_keys=True) + "\n"
    raise AssertionError(f"there is no filter {name}")


def _message(line: dict[str, object]) -> str:
    assert {"@level", "@message", "@module", "@timestamp", "type"} <= line.keys()
    return f"{line['@level']} {line['type']}: {line['@message']}\n"


def _at(data: object, path: str) -> object:
    for step in re.findall(r"[\w-]+|\[\*\]", path):
        if isinstance(data, list):
            data = data[int(step)]
        else:
            assert isinstance(data, dict), f"{step} of {data!r}"
            data = data.get(step, "(absent)")
    return data


def difference(expected: Scenario, played: Scenario) -> str:
    """Show what came out differently; nothing when all is as written."""
    lines = difflib.unified_diff(
        expected.text().splitlines(), played.text().splitlines(), "expected", "came out", lineterm="", n=6
    )
    return "\n".join(lines)
