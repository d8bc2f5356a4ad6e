"""A time limit counts from the call: time spent in the rate limit's queue is none of the cloud's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from brevplan.contract.client import Urgency
from brevplan.engine.calls import Patience
from brevplan.engine.pacing import AccountPacer
from brevplan.operations.world import SystemClock
from brevplan.providers.local import TRAITS
from tests.world import VirtualClock


def test_waiting_for_the_rate_is_not_waiting_for_an_answer() -> None:
    async def run() -> int:
        clock = SystemClock()
        pacer = AccountPacer(clock)
        patience = Patience(clock, pacer, lambda: 1.0, request_timeout=0.05)
        pacer.pause(0.2)

        async def call() -> int:
            await pacer.admit(Urgency.POLL)
            return 1

        return await patience.once(call)

    assert asyncio.run(run()) == 1


def test_a_change_does_not_take_the_place_that_a_launch_reserved() -> None:
    async def run() -> float:
        clock = VirtualClock()
        pacer = AccountPacer(clock)
        pacer.configure(replace(TRAITS, requests_per_minute=4))
        await pacer.reserve()
        # what a client admits for update_tags, stop_instance and other changes at the same moment
        change = asyncio.create_task(pacer.admit(Urgency.CREATE))
        await asyncio.sleep(0)
        before = clock.elapsed
        await pacer.admit(Urgency.CREATE)
        passed = clock.elapsed - before
        await change
        return passed

    # the launch passes at once, and the change waits its 15 seconds; so the order of the two must not matter
    assert asyncio.run(run()) == 0
