"""Two clones of one repository, each with a state of its own, apply to one account: what the marks keep them from.

Protocol section 5: "Two clones with two state files share no lock. The marks still keep them from doubling what is
already there". What both make at the same moment is doubled; then it is reported at once, and shown by every plan.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.store import Store
from tests.world import Lab, actions, configuration

COUNT = 3
ROOT = Path(__file__).parents[2]


def clone(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    text = configuration(COUNT, provider=f'path = "{folder / "shared.db"}"')
    (folder / name / "main.hcl").write_text(text)
    return folder / name


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "brevplan", f"-chdir={folder}", *words, "-no-color"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in out + err
    return process.returncode, out + err


def addresses(folder: Path) -> Counter[str]:
    store = Store(folder / "shared.db")
    try:
        return Counter(machine.body.address for machine in store.machines())
    finally:
        store.close()


def test_a_second_clone_takes_in_what_the_first_has_made(tmp_path: Path) -> None:
    """5: "The marks still keep them from doubling what is already there"."""
    for name in ("first", "second"):
        code, shown = end(begin(clone(tmp_path, name), "apply", "-auto-approve"))
        assert code == 0, shown
    assert "3 imported, 0 added" in shown
    assert set(addresses(tmp_path).values()) == {1}
    for name in ("first", "second"):
        assert end(begin(tmp_path / name, "plan", "-detailed-exitcode"))[0] == 0


def test_a_clone_that_applies_in_the_middle_of_another_doubles_and_both_say_so(tmp_path: Path) -> None:
    """3.7: "one closing list: two machines at one address, or an unexpected one of ours, is reported and exits 1"."""
    other = clone(tmp_path, "other")
    mine = Lab(clone(tmp_path, "mine"), (tmp_path / "mine" / "main.hcl").read_text())
    ended: list[int] = []

    def apply_beside(call: Call) -> Fault:
        if call.operation == "create_instance" and not ended:
            ended.append(end(begin(other, "apply", "-auto-approve"))[0])
            mine.clock.elapsed += (datetime.now(UTC) - mine.clock.now()).total_seconds()  # the other lives in real time
        return NO_FAULT

    mine.faults.choose = apply_beside
    done = mine.apply()
    assert ended == [0]
    assert done.result is not None
    assert len(done.result.unexpected) == COUNT
    assert not done.result.complete
    assert set(addresses(tmp_path).values()) == {2}
    plan = mine.plan()
    assert actions(plan) == {}
    assert [str(orphan.hourly) for orphan in plan.orphans] == ["0.75"] * COUNT
    mine.text = mine.text.replace("count         = 3", "count         = 4")
    assert [str(change.address) for change in mine.plan().blocked] == ["instance.m[3]"], "nothing more is bought"
    code, shown = end(begin(other, "plan"))
    assert code == 0
    assert shown.count("$0.75/hr, marked as instance.m[") == COUNT


@pytest.mark.slow
def test_two_clones_at_the_same_moment_never_double_in_silence(tmp_path: Path) -> None:
    """1 and 3.7: one machine an address; a second one is reported by an apply with 1, and shown by both plans."""
    chance = random.Random(5)
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        clones = [clone(folder, "a"), clone(folder, "b")]
        running = []
        for place in clones:
            running.append(begin(place, "apply", "-auto-approve"))
            time.sleep(chance.choice([0, 0.02, 0.1, 0.3]))
        first = [end(process) for process in running]
        for place in clones:
            end(begin(place, "apply", "-auto-approve"))
        made = addresses(folder)
        assert made.keys() == {f"instance.m[{n}]" for n in range(COUNT)}
        doubled = sum(made.values()) - COUNT
        assert (1 in [code for code, _ in first]) == (doubled > 0)
        for place in clones:
            assert end(begin(place, "plan"))[1].count("$0.75/hr, marked as") == doubled
