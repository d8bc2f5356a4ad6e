"""One fleet's life as commands: first plan, apply, plans without and with changes, destroy; each one's cost."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import projects
from bench.measure import BREVPLAN, Cost, Workbench
from brevplan.simcloud.store import Store

STEPS: Final = ("validate", "first plan", "apply", "no-op plan", "plan, 1 tag", "plan, all tags", "destroy")


@dataclass(slots=True)
class Life:
    """What the commands cost by step, in the order of `STEPS`; a step that failed ends it."""

    tool: str
    form: str
    count: int
    costs: dict[str, Cost] = field(default_factory=dict)
    failure: str = ""
    state_bytes: int = 0
    """Size of the state after the apply."""
    state_written: int = 0
    """Bytes that the apply wrote to the state and its log."""

    @property
    def peak_mib(self) -> float:
        return max((cost.peak_mib for cost in self.costs.values()), default=0.0)

    def cpu(self, step: str) -> float | None:
        cost = self.costs.get(step)
        return cost.cpu_s if cost is not None and not cost.timed_out else None


@dataclass(frozen=True, slots=True)
class Tool:
    """How the steps are called, on which file, and where the state lies after."""

    name: str
    file: str
    words: dict[str, Sequence[str | Path]]
    write: dict[str, Callable[[int], str]]
    state: str
    most_to_apply: int | None = None
    """Above this many machines the state is made by hand: an apply takes too long to wait for."""


_CHANGING: Final = frozenset({"apply", "destroy"})


def brevplan() -> Tool:
    plan = (BREVPLAN, "plan")
    return Tool(
        "brevplan",
        "main.hcl",
        {
            "validate": (BREVPLAN, "validate"),
            "first plan": plan,
            "apply": (BREVPLAN, "apply", "-auto-approve"),
            "no-op plan": plan,
            "plan, 1 tag": (*plan, "-var", "first_release=2"),
            "plan, all tags": (*plan, "-var", "first_release=2", "-var", "release=2"),
            "destroy": (BREVPLAN, "destroy", "-auto-approve"),
        },
        {"count": projects.counted, "literal": projects.literal},
        "brevplan.db",
    )


def terraform() -> Tool | None:
    """Terraform with its built-in resource, which needs no `init` and no network; None where it is not installed."""
    program = shutil.which("terraform")
    if program is None:
        return None
    plan = (program, "plan", "-input=false", "-no-color")
    return Tool(
        "terraform",
        "main.tf",
        {
            "validate": (program, "validate", "-no-color"),
            "first plan": plan,
            "apply": (program, "apply", "-auto-approve", "-input=false", "-no-color"),
            "no-op plan": plan,
            "plan, 1 tag": (*plan, "-var", "first_release=2"),
            "plan, all tags": (*plan, "-var", "first_release=2", "-var", "release=2"),
            "destroy": (program, "destroy", "-auto-approve", "-input=false", "-no-color"),
        },
        {"count": projects.terraform_counted, "literal": projects.terraform_literal},
        "terraform.tfstate",
        most_to_apply=1000,
    )


def live(bench: Workbench, tool: Tool, form: str, count: int, *, times: int, limit_s: float) -> Life:
    """Run one life in a fresh folder, and remove the folder unless something failed."""
    found = Life(tool.name, form, count)
    where = bench.project(f"{tool.name}-{form}-{count}", tool.write[form](count), file=tool.file)
    by_hand = tool.most_to_apply is not None and count > tool.most_to_apply
    for step in STEPS:
        if by_hand and step in _CHANGING:
            if step == "apply":
                _grow_state(bench, tool, form, where, count)
            continue
        words = tool.words[step]
        cost = bench.best(words, where, limit_s=limit_s, times=1 if step in _CHANGING else times)
        found.costs[step] = cost
        if cost.timed_out:
            found.failure = f"{step}: not done after {limit_s:g} s"
            if step in _CHANGING:
                break
        if cost.exit_code != 0:
            found.failure = f"{step}: exit code {cost.exit_code}, see {where}"
            return found
        if step == "apply":
            found.state_bytes = (where / tool.state).stat().st_size
            if tool.name == "brevplan":
                found.state_written = cost.written_to_files - cloud_bytes(where / "local-cloud.db")
            else:
                found.state_written = cost.written_to_files
    shutil.rmtree(where)
    return found


def _grow_state(bench: Workbench, tool: Tool, form: str, where: Path, count: int) -> None:
    """Write Terraform's state of many resources after the pattern of one that it made itself."""
    one = bench.project(f"{tool.name}-{form}-pattern", tool.write[form](1), file=tool.file)
    cost = bench.run(tool.words["apply"], one, limit_s=60)
    if cost.exit_code != 0:
        raise RuntimeError(f"{tool.name} apply failed with exit code {cost.exit_code}, see {one}")
    state = json.loads((one / tool.state).read_text())
    shutil.rmtree(one)
    (resource,) = state["resources"]
    (pattern,) = resource["instances"]
    instances = []
    for index in range(count):
        instance = copy.deepcopy(pattern)
        attributes = instance["attributes"]
        attributes["id"] = f"00000000-0000-0000-0000-{index:012x}"
        for side in ("input", "output"):
            attributes[side]["value"]["tags"]["rank"] = str(index)
        instances.append(instance)
    if form == "count":
        resource["instances"] = [instance | {"index_key": index} for index, instance in enumerate(instances)]
    else:
        state["resources"] = [
            resource | {"name": f"node_{index}", "instances": [instance]} for index, instance in enumerate(instances)
        ]
    (where / tool.state).write_text(json.dumps(state))


def cloud_bytes(cloud: Path) -> int:
    """Say how many bytes the embedded cloud wrote while its machines were made, by making them once more.

    The cloud lives in the same process as the command, whose counter cannot tell its file from the state.
    """
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                # all in the child: what this process holds would count as every later command's peak memory
                store = Store(Path(folder, "again.db"))
                for machine in Store(cloud).machines(include_gone=True):
                    with store.write():
                        store.next_number("machine")
                        store.add(machine)
                store.close()
                code = 0
            finally:
                os._exit(code)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        counters = Path(f"/proc/{child}/io").read_text().splitlines()
        _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"{cloud}: its machines could not be made again")
    return int(dict(line.split(": ") for line in counters)["wchar"])


def calls_of_a_plan(bench: Workbench, count: int) -> int:
    """Count the calls that a plan without changes makes at the cloud, by the cloud's own counter.

    The cloud counts calls while there is a fault to draw, so it is given one that never comes.
    """
    never = "  fail_rate = 0.000000000001\n"
    where = bench.project(f"calls-{count}", projects.counted(count, never))
    for words in ((BREVPLAN, "apply", "-auto-approve"), (BREVPLAN, "plan")):
        before = _calls(where / "local-cloud.db")
        cost = bench.run(words, where, limit_s=120)
        if cost.exit_code != 0:
            raise RuntimeError(f"{words[1]} failed with exit code {cost.exit_code}, see {where}")
    after = _calls(where / "local-cloud.db")
    shutil.rmtree(where)
    return after - before


def _calls(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        row = connection.execute("SELECT value FROM numbers WHERE name = 'call'").fetchone()
    finally:
        connection.close()
    return int(row[0]) if row else 0
