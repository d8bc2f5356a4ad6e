"""Rate limits under virtual time: how fast, who first, and nothing between an intent and its request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from brevplan.contract.client import Urgency
from brevplan.engine.pacing import AccountPacer
from brevplan.providers.local import TRAITS
from tests.world import VirtualClock


def played(
    play: Callable[[AccountPacer, VirtualClock], Awaitable[None]],
    requests: int | None = None,
    creates: int | None = None,
) -> None:
    async def run() -> None:
        clock = VirtualClock()
        pacer = AccountPacer(clock)
        pacer.configure(replace(TRAITS, requests_per_minute=requests, creates_per_minute=creates))
        await play(pacer, clock)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("requests", "creates", "urgency", "seconds"),
    [
        (None, None, Urgency.CREATE, 0.0),
        (60, None, Urgency.POLL, 30 - 15),  # a quarter of a minute's worth at once, then one a second
        (60, None, Urgency.CREATE, 30 - 15),
        (None, 60, Urgency.CREATE, 30 - 15),
        (None, 60, Urgency.POLL, 0.0),  # the rate of creates is theirs alone
        (600, 12, Urgency.CREATE, (30 - 3) * 5),  # the slower one counts
        (4, None, Urgency.SETTLE, (30 - 1) * 15),
    ],
)
def test_thirty_calls_take_their_time(
    requests: int | None, creates: int | None, urgency: Urgency, seconds: float
) -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        for _ in range(30):
            await pacer.admit(urgency)
        assert clock.elapsed == pytest.approx(seconds, abs=0.1)

    played(play, requests, creates)


def test_many_at_once_are_no_faster_than_one_after_the_other() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        await asyncio.gather(*(pacer.admit(Urgency.POLL) for _ in range(30)))
        assert clock.elapsed == pytest.approx(15, abs=0.5)

    played(play, 60)


def test_tokens_that_nobody_took_do_not_pile_up() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        await clock.sleep(3600)
        for _ in range(30):
            await pacer.admit(Urgency.POLL)
        assert clock.elapsed - 3600 == pytest.approx(15, abs=0.1)

    played(play, 60)


def test_settling_goes_before_polling_before_creating() -> None:
    passed: list[Urgency] = []

    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        async def one(urgency: Urgency) -> None:
            await pacer.admit(urgency)
            passed.append(urgency)

        for _ in range(15):
            await pacer.admit(Urgency.POLL)
        waiting = [Urgency.CREATE] * 3 + [Urgency.POLL] * 3 + [Urgency.SETTLE] * 3
        await asyncio.gather(*map(one, waiting))

    played(play, 60)
    assert passed == [Urgency.SETTLE] * 3 + [Urgency.POLL] * 3 + [Urgency.CREATE] * 3


def test_equals_go_in_the_order_they_came() -> None:
    passed: list[int] = []

    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        async def one(number: int) -> None:
            await pacer.admit(Urgency.CREATE)
            passed.append(number)

        await asyncio.gather(*map(one, range(20)))

    played(play, 60)
    assert passed == list(range(20))


def test_a_reserved_launch_passes_at_once() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        for _ in range(3):
            await pacer.reserve()
            reserved = clock.elapsed
            await pacer.admit(Urgency.CREATE)
            assert clock.elapsed == reserved
        assert clock.elapsed == pytest.approx(120)  # one at once, then one a minute

    played(play, None, 1)


def test_a_reservation_serves_one_launch_only() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        await pacer.reserve()
        await pacer.admit(Urgency.CREATE)
        await pacer.admit(Urgency.CREATE)
        assert clock.elapsed == pytest.approx(60)

    played(play, None, 1)


def test_a_pause_holds_everybody() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        pacer.pause(7)
        pacer.pause(3)  # a shorter one does not end a longer one
        await asyncio.gather(*(pacer.admit(urgency) for urgency in Urgency))
        assert clock.elapsed == pytest.approx(7, abs=0.1)

    played(play)


def test_somebody_who_gives_up_waiting_holds_nobody() -> None:
    async def play(pacer: AccountPacer, clock: VirtualClock) -> None:
        await pacer.admit(Urgency.POLL)
        first = asyncio.create_task(pacer.admit(Urgency.SETTLE))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await pacer.admit(Urgency.CREATE)
        assert clock.elapsed == pytest.approx(60, abs=0.1)

    played(play, 1)
