"""`python -m tools.damage`: damage state files in many ways, and see that none leads to a wrong plan.

Each trial damages a copy of a state, runs `plan` and `state list` over it, and tells what became of it. Wrong is a plan
that would create, replace, stop or destroy a machine which the undamaged one leaves alone; a traceback; a hang; an exit
code that stands for nothing. A number of files and a seed give the same trials again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from brevplan.cli.main import run
from brevplan.cli.terminal import Terminal
from brevplan.engine.address import Address
from brevplan.engine.ports import Intent, OpenIntent, PutOutputs, RetireIntent, Role, SetRole
from brevplan.state import errors
from brevplan.state.store import StateStore
from tools.damage_ways import Files, Shape, ways_for

LIMIT_S: Final = 30
SIZES: Final = (0, 1, 40, 400)
WEIGHTS: Final = (2, 3, 4, 1)
REFUSED, SAME, OLDER, HELD, WRONG = "refused", "no effect", "older, harmless", "held back", "WRONG"
OUTCOMES: Final = (REFUSED, SAME, OLDER, HELD, WRONG)
_REFUSALS: Final = {
    kind.summary for kind in (errors.StateForeign, errors.StateTooNew, errors.StateDamaged, errors.StateUnusable)
}
_HARMFUL: Final = {"create", "replace", "delete"}

_CONFIGURATION: Final = """
brevplan {{ project = "{project}" }}
provider "local" {{}}
resource "firewall" "web" {{
  ingress {{ from_port = 443 }}
}}
resource "instance" "node" {{
  count         = brevplan.workspace == "default" ? {count} : 2
  instance_type = "cpu_4x_general"
  location      = "us-west-1"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me"
  firewalls     = [firewall.web]
  tags          = {{ release = "{release}" }}
}}
{rest}
output "release" {{ value = "{release}" }}
"""
_EXTRA: Final = """
resource "instance" "{name}" {{
  instance_type = "cpu_4x_general"
  location      = "us-west-1"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me"
}}
"""


class _Page(io.StringIO):
    encoding = "utf-8"


class Hang(BaseException):
    """A command took longer than any may. No `Exception`, so that the command cannot catch it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the two commands say of a state."""

    code: int
    harm: frozenset[str]
    actions: frozenset[str]
    summaries: frozenset[str]
    listed: str
    list_code: int
    problem: str = ""
    """A traceback, a hang, an exit code or a message that must never be."""


@dataclass(slots=True)
class Report:
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, way: str, outcome: str) -> None:
        self.counts.setdefault(way, Counter())[outcome] += 1

    def table(self) -> str:
        lines = [f"{'':<40}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES)]
        rows = [*sorted(self.counts.items()), ("in all", sum(self.counts.values(), Counter()))]
        lines += [f"{way:<40}" + "".join(f"{found[name]:>17}" for name in OUTCOMES) for way, found in rows]
        return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.damage", description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="how many damaged states to try")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="machines in the states, comma-separated")
    given = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="brevplan-damage-") as folder:
        report = try_files(Path(folder), given.files, given.seed, [int(size) for size in given.sizes.split(",")])
    print(f"{report.table()}\n{given.files} files in {time.monotonic() - started:.0f} s")
    for line in report.wrong[:20]:
        print(line)
    return 1 if report.wrong else 0


def try_files(folder: Path, files: int, seed: int, sizes: Sequence[int] = SIZES) -> Report:
    """Damage that many copies of states of several shapes; give what became of them."""
    projects = [project for size in sizes for project in make_projects(folder, size)]
    weights = [dict(zip(SIZES, WEIGHTS, strict=True)).get(project.size, 1) for project in projects]
    report = Report()
    with _alarm():
        for number in range(files):
            chance = random.Random(f"{seed}:{number}")
            project = chance.choices(projects, weights)[0]
            ways = ways_for(project.shape)
            name = chance.choice(list(ways))
            damaged = ways[name](chance, project.shape)
            seen = project.look(damaged)
            outcome = judge(project.quiet, seen)
            report.add(name, outcome)
            if outcome == WRONG:
                what = seen.problem or ", ".join(sorted(seen.harm - project.quiet.harm))
                report.wrong.append(f"seed {seed}, file {number} ({project.shape.name}, {name}): {what}")
    return report


def judge(quiet: Seen, seen: Seen) -> str:
    """Say what damage came to, given what the undamaged state leads to."""
    if seen.problem or seen.harm - quiet.harm:
        return WRONG
    if seen.summaries & _REFUSALS:
        return REFUSED
    if seen == quiet:
        return SAME
    return OLDER if seen.code in (0, 2) else HELD


# a project with a state


@dataclass(slots=True)
class Project:
    """A folder with a configuration, a cloud, and a state of one shape."""

    folder: Path
    size: int
    shape: Shape
    quiet: Seen = field(init=False)

    def __post_init__(self) -> None:
        self.quiet = self.look(self.shape.now)
        assert not self.quiet.problem, self.quiet

    def look(self, files: Files) -> Seen:
        """Put the files in place and run both commands over them."""
        self._place(files)
        code, out, err = command(self.folder, "plan", "-detailed-exitcode", "-json")
        problem = _problem(code, out + err)
        self._place(files)
        list_code, listed, list_err = command(self.folder, "state", "list")
        problem = problem or _problem(list_code, listed + list_err)
        if list_code == 1 and not any(summary in list_err for summary in _REFUSALS):
            problem = problem or f"state list: {list_err}"
        lines = [msgspec.json.decode(line) for line in out.splitlines() if line.startswith("{")]
        changes = [line["change"] for line in lines if line["type"] == "planned_change"]
        return Seen(
            code,
            frozenset(filter(None, map(_harm, changes))),
            frozenset(f"{change['resource']['addr']} {change['action']}" for change in changes),
            frozenset(line["diagnostic"]["summary"] for line in lines if line["type"] == "diagnostic"),
            listed,
            list_code,
            problem,
        )

    def _place(self, files: Files) -> None:
        for path in self.folder.glob("brevplan.db*"):
            path.unlink()
        for suffix, content in files.items():
            (self.folder / f"brevplan.db{suffix}").write_bytes(content)


def _harm(change: dict[str, Any]) -> str:
    """Name what a change does to a machine that it would be wrong to do by mistake; empty for the rest."""
    action = change["action"] if change.get("power") != "stop" else "stop"
    is_machine = change["resource"]["resource_type"] == "instance"
    return f"{change['resource']['addr']} {action}" if is_machine and action in {*_HARMFUL, "stop"} else ""


def _problem(code: int, text: str) -> str:
    if code not in (0, 1, 2):
        return f"exit code {code}"
    for word in ("Traceback", "Internal error", "System error"):
        if word in text:
            return text[-600:]
    return "" if code != 1 or "rror" in text or "locked" in text else f"exit code 1 without a word: {text[-300:]}"


def make_projects(folder: Path, size: int) -> Iterator[Project]:
    """Make states with that many machines: one closed, one with its latest commits still in the log."""
    for has_log in (False, True):
        name = f"{size} machines{', with a log' if has_log else ''}"
        home = folder / f"{size}-{'log' if has_log else 'closed'}"
        foreign = _history(home.with_name(home.name + "-foreign"), "other", min(size, 5), has_log=True)[1]
        before, now = _history(home, "mine", size, has_log=has_log)
        yield Project(home, size, Shape(name, now, before, foreign))


def _history(home: Path, project: str, size: int, *, has_log: bool) -> tuple[Files, Files]:
    """Live through some applies; give the state as it was once, and as it is at the end."""
    home.mkdir()
    extra = "".join(_EXTRA.format(name=name) for name in ("leaving", "old")) if size else ""
    _apply(home, _CONFIGURATION.format(project=project, count=size + bool(size), release=1, rest=extra))
    before = _last_commits(home, has_log=has_log, release=1)
    _apply(home, _CONFIGURATION.format(project=project, count=size, release=2, rest=extra))
    if size:
        _apply(home, (home / "main.hcl").read_text(), BREVPLAN_WORKSPACE="stage")
    (home / "main.hcl").write_text(_CONFIGURATION.format(project=project, count=size, release=2, rest=""))
    return before, _last_commits(home, has_log=has_log, release=2)


def _last_commits(home: Path, *, has_log: bool, release: int) -> Files:
    """Write what a plan has to think about, and copy the files before or after the state is closed."""
    path = home / "brevplan.db"
    store = StateStore.open(path, create=False)
    assert store is not None
    store.take("")
    keys = {str(record.address): record.key for record in store.records("default")}
    intent = Intent(f"bp-lab-{release}", "default", Address("instance", "lost"), "local", "", "run-0")
    store.transact([OpenIntent(intent), RetireIntent(intent.ref_id)])
    if release == 2 and "instance.old" in keys:
        store.transact([SetRole(keys["instance.old"], Role.DEPOSED)])
        store.transact([SetRole(keys["instance.leaving"], Role.DESTROYING)])
    store.transact([PutOutputs("other", {"release": {"value": release, "type": "number", "sensitive": False}})])
    log = path.with_name("brevplan.db-wal")
    if has_log:
        files = {"": path.read_bytes(), "-wal": log.read_bytes()}
        store.close()
        return files
    store.close()
    return {"": path.read_bytes()}


def _apply(home: Path, text: str, **environment: str) -> None:
    (home / "main.hcl").write_text(text)
    code, out, err = command(home, "apply", "-auto-approve", **environment)
    assert code == 0, out + err


def command(home: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """Run a command in a folder, in this process; give its exit code and what it printed."""
    out, err = _Page(), _Page()
    given = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), **environment}
    with contextlib.chdir(home):
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            code = run(words, Terminal(given, words, out, err, _Page()))
        except Hang:
            code = 124
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
