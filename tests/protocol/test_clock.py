"""A wall clock that is put back or far ahead, between runs and during one: only the monotonic clock measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import Sent, Unavailable
from brevplan.engine.ports import IntentState
from brevplan.operations.locking import new_holder
from brevplan.providers.local import LocalClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.state.lock import Lock, read_holder, try_lock
from tests.world import CountingIds, Lab, VirtualClock, configuration

JUMPS = [timedelta(days=-1), timedelta(days=-20 * 365), timedelta(hours=1), timedelta(days=40 * 365)]
GRACE_S = 60.0
NO_ANSWER = Unavailable("no answer", sent=Sent.MAYBE)


class ShiftedClock(VirtualClock):
    """A clock whose wall time is set at will, while time passes as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


class SteadyClock:
    """The cloud's own clock: nobody here can set it."""

    def __init__(self, clock: ShiftedClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now() - self._clock.shift

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class ShiftedLab(Lab):
    """A lab whose wall clock can be set. The cloud goes by its own, unless it is told to go by ours."""

    def __init__(self, folder: Path, text: str, *, idempotent: bool = True, own_clock: bool = True) -> None:
        super().__init__(folder, text, idempotent=idempotent)
        self.shifted = ShiftedClock()
        self.clock = self.shifted
        self.own_clock = own_clock
        self.outside = replace(self.outside, clock=self.shifted)

    def _connect(self, connection: Connection) -> LocalClient:
        steady = replace(connection, clock=SteadyClock(self.shifted)) if self.own_clock else connection
        return super()._connect(steady)

    def another_process(self) -> None:
        self.outside = replace(self.outside, ids=CountingIds(1000))

    def shift_at(self, number: int, jump: timedelta, fault: Fault = NO_FAULT) -> Callable[[Call], Fault]:
        """Give the choice that sets the clock with the n-th launch, and lets that one come to harm."""

        def choose(call: Call) -> Fault:
            if call.operation == "create_instance" and self.faults.count("create_instance") == number:
                self.shifted.shift += jump
                return fault
            return NO_FAULT

        return choose


def is_as_declared(lab: Lab, count: int) -> None:
    assert len(lab.machines()) == count
    assert set(lab.recorded().values()) == {machine.body.cloud_id for machine in lab.machines()}
    assert not lab.plan().has_changes


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_between_runs_changes_no_plan(tmp_path: Path, jump: timedelta) -> None:
    lab = ShiftedLab(tmp_path, configuration(3))
    lab.apply()
    lab.shifted.shift += jump
    assert not lab.plan().has_changes
    lab.text = configuration(4)
    lab.apply()
    is_as_declared(lab, 4)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("number", [1, 3])
def test_a_jump_during_an_apply_stops_and_doubles_nothing(tmp_path: Path, jump: timedelta, number: int) -> None:
    """Machines boot for ten minutes, which is neither over at once nor for ever."""
    lab = ShiftedLab(tmp_path, configuration(4, provider='boot_time = "10m"\n  list_lag = "20s"'))
    lab.faults.choose = lab.shift_at(number, jump)
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete, done.result.failed
    assert 600 <= lab.shifted.elapsed < 900
    is_as_declared(lab, 4)


@pytest.mark.parametrize("jump", JUMPS)
def test_the_grace_window_is_measured_by_the_monotonic_clock(tmp_path: Path, jump: timedelta) -> None:
    """The clock is set just when an answer is lost: the next attempt comes a whole window later, and is the last."""
    provider = f'grace_window = "{GRACE_S:.0f}s"'
    lab = ShiftedLab(tmp_path, configuration(1, provider=provider), idempotent=False)
    at: list[float] = []
    shift = lab.shift_at(1, jump, Fault(before=NO_ANSWER))

    def choose(call: Call) -> Fault:
        if call.operation == "create_instance":
            at.append(lab.shifted.monotonic())
        return shift(call)

    lab.faults.choose = choose
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete, done.result.failed
    assert len(at) == 2
    assert GRACE_S <= at[1] - at[0] < 5 * GRACE_S
    is_as_declared(lab, 1)


@pytest.mark.parametrize("jump", JUMPS)
def test_open_attempts_of_a_dead_run_are_settled_after_a_jump(tmp_path: Path, jump: timedelta) -> None:
    lab = ShiftedLab(tmp_path, configuration(2, provider=f'grace_window = "{GRACE_S:.0f}s"'), idempotent=False)

    def stop_after_the_launch(call: Call) -> Fault:
        if call.operation != "create_instance":
            return NO_FAULT
        store = lab.state()
        store.raise_epoch()  # this run cannot write any more: what it makes stays an open attempt
        store.close()
        return NO_FAULT

    lab.faults.choose = stop_after_the_launch
    done = lab.apply()
    assert done.result is not None
    assert done.result.lost
    lab.faults.choose = lambda call: NO_FAULT
    store = lab.state()
    assert [intent.state for intent in store.intents()] == [IntentState.OPEN] * 2
    store.close()
    made = {machine.body.cloud_id for machine in lab.machines()}
    lab.shifted.shift += jump
    lab.another_process()
    lab.apply()
    assert made <= {machine.body.cloud_id for machine in lab.machines()}
    is_as_declared(lab, 2)


def test_history_goes_by_the_order_of_runs(tmp_path: Path) -> None:
    lab = ShiftedLab(tmp_path, configuration(1))
    for count in (1, 2, 3):
        lab.text = configuration(count)
        lab.apply()
        lab.shifted.shift -= timedelta(days=1)
    store = lab.state()
    runs = store.runs()
    store.close()
    assert len({run.run_id for run in runs}) == 3
    assert [run.started for run in runs] == sorted(run.started for run in runs), "the newest has the oldest time"


@pytest.mark.parametrize("jump", JUMPS)
def test_who_holds_the_lock_does_not_hang_on_the_time(tmp_path: Path, jump: timedelta) -> None:
    lab = ShiftedLab(tmp_path, configuration(1))
    state = tmp_path / "brevplan.db"
    first = try_lock(state, new_holder("apply", lab.outside))
    assert isinstance(first, Lock)
    lab.shifted.shift += jump
    assert try_lock(state, new_holder("apply", lab.outside)) == first.holder
    first.release()
    second = try_lock(state, new_holder("apply", lab.outside))
    assert isinstance(second, Lock)
    found = read_holder(state)
    assert found is not None
    assert found.since == second.holder.since != first.holder.since
    second.release()


@pytest.mark.parametrize("jump", JUMPS)
def test_the_embedded_cloud_on_a_clock_that_jumps(tmp_path: Path, jump: timedelta) -> None:
    """It lives by this machine's clock. Put back, that must not make its machines unborn."""
    lab = ShiftedLab(tmp_path, configuration(3, provider='boot_time = "10s"'), own_clock=False)
    lab.apply()
    lab.shifted.shift += jump
    plan = lab.plan()
    assert not any(change.creates or change.destroys for change in plan.effective)
