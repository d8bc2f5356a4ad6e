"""Patience: what is tried again, after how long, and when it ends. Time is virtual but for one short time limit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from brevplan.contract.client import Urgency
from brevplan.contract.errors import AuthFailed, CloudError, NotReady, OutOfStock, RateLimited, Sent, Unavailable
from brevplan.engine.calls import Patience
from brevplan.engine.pacing import AccountPacer
from tests.world import VirtualClock


class Cloud:
    """Answers with these failures in turn, then with its number of calls; remembers when it was asked."""

    def __init__(self, clock: VirtualClock, failures: Sequence[CloudError]) -> None:
        self.clock, self.failures = clock, list(failures)
        self.asked: list[float] = []

    async def __call__(self) -> int:
        self.asked.append(self.clock.elapsed)
        if self.failures:
            raise self.failures.pop(0)
        return len(self.asked)


def tried(
    failures: Sequence[CloudError], *, retries: int = 5, jitter: float = 1.0, until: float | None = None
) -> tuple[int | CloudError, list[float], AccountPacer]:
    async def run() -> tuple[int | CloudError, list[float], AccountPacer]:
        clock = VirtualClock()
        pacer = AccountPacer(clock)
        cloud = Cloud(clock, failures)
        patience = Patience(clock, pacer, lambda: jitter, retries)
        try:
            answer: int | CloudError = await patience.retried(cloud, until=until)
        except CloudError as problem:
            answer = problem
        return answer, cloud.asked, pacer

    return asyncio.run(run())


DOWN = Unavailable("down")


def test_an_answer_is_an_answer() -> None:
    assert tried([])[:2] == (1, [0.0])


@pytest.mark.parametrize("problem", [DOWN, NotReady("booting"), RateLimited("slow down")])
def test_what_may_pass_is_tried_again(problem: CloudError) -> None:
    assert tried([problem, problem])[0] == 3


@pytest.mark.parametrize("problem", [AuthFailed("no"), OutOfStock("none"), CloudError("odd")])
def test_what_stays_is_not(problem: CloudError) -> None:
    answer, asked, _ = tried([problem])
    assert answer is problem
    assert asked == [0.0]


def test_tries_after_the_first_are_counted() -> None:
    answer, asked, _ = tried([DOWN] * 10, retries=3)
    assert answer is DOWN
    assert len(asked) == 4


def test_no_retries_is_one_try() -> None:
    assert len(tried([DOWN] * 10, retries=0)[1]) == 1


def test_waits_double_up_to_ten_seconds() -> None:
    _, asked, _ = tried([DOWN] * 9, retries=9)
    waits = [round(after - before, 6) for before, after in itertools.pairwise(asked)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 0.1), (0.5, 0.15), (1.0, 0.2)])
def test_jitter_spreads_over_the_upper_half(jitter: float, first: float) -> None:
    assert tried([DOWN], jitter=jitter)[1][1] == pytest.approx(first)


def test_a_deadline_takes_the_place_of_the_count() -> None:
    answer, asked, _ = tried([DOWN] * 100, retries=1, until=60.0)
    assert answer is DOWN
    assert asked[-2] < 60.0 <= asked[-1]


def test_retry_after_is_heard_by_the_whole_account() -> None:
    answer, asked, pacer = tried([RateLimited("slow", retry_after=42.0)])
    assert answer == 2
    assert asked == [0.0, 42.0]

    async def another() -> float:
        clock = VirtualClock()
        shared = AccountPacer(clock)
        shared.pause(42.0)
        await shared.admit(Urgency.POLL)
        return clock.elapsed

    assert pacer._not_before == 42.0
    assert asyncio.run(another()) == pytest.approx(42.0)


def test_no_answer_in_time_leaves_it_open_whether_it_was_heard() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        clock = VirtualClock()
        patience = Patience(clock, AccountPacer(clock), lambda: 1.0, request_timeout=0.01)
        await patience.once(never)

    with pytest.raises(Unavailable, match=r"no answer within 0\.01 s") as problem:
        asyncio.run(run())
    assert problem.value.sent is Sent.MAYBE
