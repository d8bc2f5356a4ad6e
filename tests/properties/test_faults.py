"""Faults by seed: whatever fails or gets lost, a few applies end with exactly the declared machines."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.contract.errors import Sent, Unavailable
from brevplan.diagnostics import DiagnosticsError
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.properties.build import Block, Project, held, laboratory, wanted
from tests.world import Lab

FIRST = Project(
    (Block(keys=4, firewalls=(0,), tags=(("a", "b"),)), Block(keys=("x", "y"), provider="local.b", reads=True)),
    settings='grace_window = "5s"',
)
EDITS = (
    Project((Block(keys=2, firewalls=(1,), tags=(("a", "c"),)), FIRST.blocks[1]), settings=FIRST.settings),
    Project((Block(keys=4, type="gpu_1x_h100_sxm5"),), settings=FIRST.settings),
    Project((Block(keys=3, type="gpu_1x_h100_sxm5", first=True, power="stopped"), Block()), settings=FIRST.settings),
)


def unkind(seed: int, fail_rate: float, lost_response_rate: float) -> Callable[[Call], Fault]:
    chance = random.Random(seed)

    def choose(call: Call) -> Fault:
        fails, loses, happens = chance.random(), chance.random(), chance.random()
        if fails < fail_rate:
            return Fault(before=Unavailable("down", http_status=503))
        if call.changes and loses < lost_response_rate:
            lost = Unavailable("lost", sent=Sent.MAYBE)
            return Fault(after=lost) if happens < 0.5 else Fault(before=lost)
        return NO_FAULT

    return choose


def converged(lab: Lab) -> bool:
    for _ in range(8):
        try:
            done = lab.apply()
        except DiagnosticsError:
            continue
        if done.result is None or done.result.complete:
            return not done.plan.blocked
    return False


@pytest.mark.parametrize("idempotent", [True, False])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from(EDITS)
)
def test_faults_lose_and_double_nothing(
    idempotent: bool, seed: int, fail_rate: float, lost_response_rate: float, edit: Project
) -> None:
    with laboratory(FIRST, idempotent=idempotent) as lab:
        for project in (FIRST, edit):
            lab.text = project.text()
            lab.faults.choose = unkind(seed, fail_rate, lost_response_rate)
            assert converged(lab)
            assert held(lab) == wanted(project)
            lab.faults.choose = lambda call: NO_FAULT
            plan = lab.plan()
            assert plan.effective == []
            assert plan.blocked == []
            assert plan.orphans == []
