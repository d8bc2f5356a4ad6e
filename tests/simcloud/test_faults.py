"""Faults by chance can be repeated, hit about as often as asked, and leave each other alone."""

from __future__ import annotations

from itertools import count

import pytest

from brevplan.contract.errors import RateLimited, Sent, Unavailable
from brevplan.simcloud.faults import (
    NO_FAULT,
    Call,
    Chance,
    DrawnFaults,
    Fault,
    SeededFaults,
    Trouble,
    Way,
    raised,
)

CREATE = Call("create_instance", changes=True)
LIST = Call("list_instances")


def drawn(faults: SeededFaults, call: Call, times: int = 1000) -> list[str]:
    return [kind_of(faults.draw(call)) for _ in range(times)]


def kind_of(fault: Fault) -> str:
    for error, moment in ((fault.before, "before"), (fault.after, "after")):
        if error:
            return f"{moment} {error}"
    return "none"


def seeded(seed: int = 1, fail_rate: float = 0.0, lost_rate: float = 0.0) -> SeededFaults:
    return SeededFaults(seed, fail_rate, lost_rate, count(1).__next__)


def test_the_same_seed_draws_the_same() -> None:
    assert drawn(seeded(7, 0.3, 0.3), CREATE) == drawn(seeded(7, 0.3, 0.3), CREATE)
    assert drawn(seeded(7, 0.3, 0.3), CREATE) != drawn(seeded(8, 0.3, 0.3), CREATE)


def test_the_rates_are_about_kept() -> None:
    failed = [kind for kind in drawn(seeded(fail_rate=0.3), LIST) if kind != "none"]
    assert 250 < len(failed) < 350


def test_a_lost_answer_hides_an_effect_half_of_the_time() -> None:
    kinds = drawn(seeded(lost_rate=1.0), CREATE)
    assert "none" not in kinds
    assert 400 < sum(kind.startswith("after") for kind in kinds) < 600


def test_a_lost_answer_leaves_open_whether_there_is_a_machine() -> None:
    fault = seeded(lost_rate=1.0).draw(CREATE)
    error = fault.before or fault.after
    assert isinstance(error, Unavailable)
    assert error.sent is Sent.MAYBE


def test_reads_lose_no_answers_and_are_not_counted() -> None:
    numbers = count(1)
    faults = SeededFaults(1, 0.0, 1.0, numbers.__next__)
    assert faults.draw(LIST) is NO_FAULT
    assert next(numbers) == 1


def test_one_rate_does_not_move_what_the_other_hits() -> None:
    alone, both = drawn(seeded(fail_rate=0.2), CREATE), drawn(seeded(fail_rate=0.2, lost_rate=0.5), CREATE)
    assert all(one == other for one, other in zip(alone, both, strict=True) if one != "none")


def drawing(*chances: Chance, seed: int = 1) -> DrawnFaults:
    return DrawnFaults(seed, chances)


def befallen(faults: DrawnFaults, call: Call, times: int) -> list[Fault]:
    return [faults.draw(call) for _ in range(times)]


def test_a_chance_befalls_its_operations_and_no_others() -> None:
    late = Chance(1.0, Fault(late_s=9.0), frozenset({"create_instance"}))
    assert [fault.late_s for fault in befallen(drawing(late), CREATE, 3)] == [9.0, 9.0, 9.0]
    assert befallen(drawing(late), LIST, 3) == [NO_FAULT] * 3


def test_a_chance_befalls_the_calls_of_its_numbers() -> None:
    second = Chance(1.0, Fault(delay_s=5.0), first=2, last=3)
    assert [fault.delay_s for fault in befallen(drawing(second), LIST, 4)] == [0.0, 5.0, 5.0, 0.0]


def test_calls_are_numbered_by_operation() -> None:
    faults = drawing(Chance(1.0, Fault(delay_s=5.0), first=2, last=2))
    assert [faults.draw(call).delay_s for call in (LIST, CREATE, LIST, CREATE)] == [0.0, 0.0, 5.0, 5.0]


def test_several_faults_befall_one_call_and_the_first_to_say_something_stays() -> None:
    found = drawing(Chance(1.0, Fault(delay_s=1.0)), Chance(1.0, Fault(delay_s=2.0, twice=True))).draw(CREATE)
    assert (found.delay_s, found.twice) == (1.0, True)


def test_taking_one_chance_away_moves_nothing_of_the_others() -> None:
    often, seldom = Chance(0.5, Fault(delay_s=1.0)), Chance(0.2, Fault(twice=True))
    both = [fault.delay_s for fault in befallen(drawing(often, seldom), LIST, 200)]
    assert both == [fault.delay_s for fault in befallen(drawing(often), LIST, 200)]
    assert 60 < both.count(1.0) < 140


def test_drawn_faults_are_the_same_again_by_seed() -> None:
    half = Chance(0.5, Fault(twice=True))
    first, again, other = (befallen(drawing(half, seed=seed), LIST, 100) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("trouble", "kind", "sent"),
    [
        (Trouble(Way.REFUSED), Unavailable, Sent.NO),
        (Trouble(Way.DROPPED), Unavailable, Sent.MAYBE),
        (Trouble(Way.STATUS, 503), Unavailable, Sent.MAYBE),
        (Trouble(Way.STATUS, 429, retry_after=3.0), RateLimited, Sent.REFUSED),
        (Trouble(Way.TRUNCATED), Unavailable, Sent.MAYBE),
        (Trouble(Way.MALFORMED), Unavailable, Sent.MAYBE),
    ],
)
def test_a_trouble_is_the_error_that_a_client_makes_of_it(trouble: Trouble, kind: type, sent: Sent) -> None:
    error = raised(trouble)
    assert type(error) is kind
    assert (error.sent, error.http_status, error.retry_after) == (sent, trouble.status or None, trouble.retry_after)
    assert error.retryable
