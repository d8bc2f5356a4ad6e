"""The engine against what is declared: edits, kills, lost answers and other people's hands in any order.

Whatever happened, one quiet apply more ends with exactly the declared machines, and a plan that has nothing to do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from brevplan.contract.errors import CloudError, OutOfStock, Sent, Unavailable
from brevplan.contract.model import LifecycleStatus
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.apply import Apply
from brevplan.engine.ports import Journal, Role, StateLost, Write
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.store import Store
from tests.properties.build import PATHS, PROJECTS, Project, held, machines, wanted
from tests.world import CountingIds, Lab


class Dying:
    """A journal whose disk fails for good with the n-th write."""

    def __init__(self, journal: Journal, writes: int) -> None:
        self._journal, self._left = journal, writes

    def transact(self, writes: Sequence[Write]) -> None:
        self._left -= 1
        if self._left < 0:
            raise StateLost("the disk is gone")
        self._journal.transact(writes)


def lost(happens: bool) -> Fault:
    problem = Unavailable("no answer", sent=Sent.MAYBE)
    return Fault(after=problem) if happens else Fault(before=problem)


REFUSED = Fault(before=OutOfStock("no capacity", sent=Sent.REFUSED))
EDITED = PROJECTS.map(lambda project: replace(project, settings='grace_window = "5s"'))


class EngineMachine(RuleBasedStateMachine):
    @initialize(project=EDITED, idempotent=st.booleans())
    def begin(self, project: Project, idempotent: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="brevplan-model-"))
        self.project = project
        self.lab = Lab(self.folder, project.text(), idempotent=idempotent)
        self.processes = 0

    def _apply(self, on_run: Callable[[Apply], None] | None = None) -> None:
        """Apply as a process of its own does; whatever it ends with, the next one must be able to go on."""
        self.processes += 1
        self.lab.outside = replace(self.lab.outside, ids=CountingIds(self.processes * 1000))
        try:
            self.lab.apply(on_run=on_run)
        except (DiagnosticsError, CloudError):
            pass  # it said why; what matters is how things end
        finally:
            self.lab.faults.choose = lambda call: NO_FAULT

    @rule(project=EDITED)
    def edit(self, project: Project) -> None:
        self.project = project
        self.lab.text = project.text()

    @rule()
    def apply(self) -> None:
        self._apply()

    @rule(writes=st.integers(0, 25))
    def apply_that_loses_its_state(self, writes: int) -> None:
        def weaken(run: Apply) -> None:
            run.committer._journal = Dying(run.committer._journal, writes)

        self._apply(weaken)

    @rule(numbers=st.sets(st.integers(0, 6), max_size=3), happens=st.booleans())
    def apply_with_lost_answers(self, numbers: set[int], happens: bool) -> None:
        self._faulty(numbers, lost(happens))

    @rule(numbers=st.sets(st.integers(0, 4), max_size=3))
    def apply_with_refused_creates(self, numbers: set[int]) -> None:
        self._faulty(numbers, REFUSED)

    def _faulty(self, numbers: set[int], fault: Fault) -> None:
        """Let these of the coming launches come to harm."""
        count = -1

        def choose(call: Call) -> Fault:
            nonlocal count
            if call.operation != "create_instance":
                return NO_FAULT
            count += 1
            return fault if count in numbers else NO_FAULT

        self.lab.faults.choose = choose
        self._apply()

    @rule(alias=st.sampled_from(sorted(PATHS)), number=st.integers(0, 9), stop=st.booleans())
    def machine_ended_or_stopped_by_hand(self, alias: str, number: int, stop: bool) -> None:
        living = machines(self.lab, alias)
        if not living:
            return
        cloud_id = living[number % len(living)].body.cloud_id
        store = Store(str(self.folder / PATHS[alias]))
        if stop:
            store.alter_machine(cloud_id, status=LifecycleStatus.STOPPED)
        else:
            store.delete_machine(cloud_id)
        store.close()

    @rule()
    def plan(self) -> None:
        """A plan changes nothing at the clouds."""
        before = held(self.lab)
        self.lab.plan()
        assert held(self.lab) == before

    def teardown(self) -> None:
        if not hasattr(self, "lab"):
            return
        try:
            self._ends_as_declared()
        finally:
            shutil.rmtree(self.folder)

    def _ends_as_declared(self) -> None:
        for _ in range(6):
            self._apply()
            if held(self.lab) == wanted(self.project) and not self.lab.plan().has_changes:
                break
        assert held(self.lab) == wanted(self.project), self.lab.text
        plan = self.lab.plan()
        assert (plan.effective, plan.blocked, plan.orphans) == ([], [], []), self.lab.text
        store = self.lab.state()
        current = {(r.alias, r.cloud_id) for r in store.records() if r.role is Role.CURRENT and r.cloud_id}
        store.close()
        there = {(alias, m.body.cloud_id) for alias in PATHS for m in machines(self.lab, alias)}
        assert current == there


EngineMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=8, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEngine = EngineMachine.TestCase
