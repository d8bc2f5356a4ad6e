"""Faults by chance can be repeated, hit about as often as asked, and leave each other alone."""

from __future__ import annotations

from itertools import count

from brevplan.contract.errors import Sent, Unavailable
from brevplan.simcloud.faults import NO_FAULT, Call, Fault, SeededFaults

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
