"""What goes wrong on demand: one `Fault` a call, given by an object that the caller chooses.

`SeededFaults` draws what a user asks for by chance, from a seed and the number of the call, so that a run can be
repeated. `DrawnFaults` does the same with any faults, by operation and by call. A simulation may pass its own object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from brevplan.contract.errors import CloudError, RateLimited, Sent, Unavailable


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the cloud meets it. `changes` tells launches and changes from reads."""

    operation: str
    target: str = ""
    """The ref_id of a create, a fence or a release; else the cloud id, where there is one."""
    changes: bool = False


class Way(StrEnum):
    """How a call fails between its caller and the cloud."""

    REFUSED = "the connection was refused"
    DROPPED = "the connection was lost"
    STATUS = "the service answered with a status"
    TRUNCATED = "the answer was cut short"
    MALFORMED = "the answer could not be read"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a caller sees of a failure: a face over HTTP sends it; within the process it is the error of a client."""

    way: Way
    status: int = 0
    retry_after: float | None = None

    def error(self) -> CloudError:
        """Give what a client makes of it."""
        text = f"{self.way.value} (a fault on demand)"
        if self.way is Way.REFUSED:
            return Unavailable(text, sent=Sent.NO)
        if self.status == 429:
            return RateLimited("too many requests (a fault on demand)", http_status=429, retry_after=self.retry_after)
        return Unavailable(text, http_status=self.status or None, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one call. The fields of a machine's fate are heard by create alone."""

    delay_s: float = 0.0
    before: Trouble | CloudError | None = None
    """Raised, and nothing happens."""
    after: Trouble | CloudError | None = None
    """Raised, but all has happened."""
    leaves_out: float = 0.0
    """The share of the machines that a list does not show, without a word."""
    salt: int = 0
    """Which machines these are."""
    boot_s: float | None = None
    """How long this machine is pending, where that is not what all are."""
    late_s: float = 0.0
    """The machine comes into being only that much later, unless its ref_id is fenced first."""
    vanish: bool = False
    """The create is answered, and the machine is gone."""
    twice: bool = False
    """Two machines come of one create; the answer names the first."""
    fails_after_s: float | None = None
    """The machine is pending, and then failed."""


NO_FAULT: Final = Fault()


def raised(trouble: Trouble | CloudError) -> CloudError:
    """Give the error that a call ends with."""
    return trouble.error() if isinstance(trouble, Trouble) else trouble


class Faults(Protocol):
    def draw(self, call: Call) -> Fault:
        """Decide what befalls this call. Asked once a call, before anything happens."""
        ...


class NoFaults:
    """The quiet cloud."""

    def draw(self, call: Call) -> Fault:
        return NO_FAULT


class SeededFaults:
    """Chance that can be repeated: the same seed and the same number of the call draw the same fault.

    `next_call` gives the number; it is asked only when there is something to draw.
    """

    def __init__(self, seed: int, fail_rate: float, lost_response_rate: float, next_call: Callable[[], int]) -> None:
        self._seed = seed
        self._fail_rate = fail_rate
        self._lost_rate = lost_response_rate
        self._next_call = next_call

    def draw(self, call: Call) -> Fault:
        if not self._fail_rate and not (self._lost_rate and call.changes):
            return NO_FAULT
        chance = Random(f"{self._seed}/{self._next_call()}")
        # All three are drawn every time, so that one rate does not shift what another one hits.
        fails, loses, happens = chance.random(), chance.random(), chance.random()
        if fails < self._fail_rate:
            return Fault(before=Unavailable("the service is not available now (a fault on demand)", http_status=503))
        if call.changes and loses < self._lost_rate:
            lost = Unavailable("the answer was lost (a fault on demand)", sent=Sent.MAYBE)
            return Fault(after=lost) if happens < 0.5 else Fault(before=lost)
        return NO_FAULT


@dataclass(frozen=True, slots=True)
class Chance:
    """A fault, and the share of calls that it befalls: of some operations or all, from one call to another."""

    rate: float
    fault: Fault
    operations: frozenset[str] = frozenset()
    """Empty for all."""
    first: int = 1
    last: int | None = None

    def concerns(self, call: Call, number: int) -> bool:
        """Tell whether it may befall this call, the `number`th of its operation."""
        if self.operations and call.operation not in self.operations:
            return False
        return self.first <= number and (self.last is None or number <= self.last)


class DrawnFaults:
    """Faults drawn by chance, call by call: the same seed, chances and calls give the same faults.

    Each chance is drawn for itself, so that taking one away moves nothing of the others; several may befall one call.
    """

    def __init__(self, seed: int, chances: Sequence[Chance]) -> None:
        self._seed = seed
        self._chances = tuple(chances)
        self._numbers: Counter[str] = Counter()

    def draw(self, call: Call) -> Fault:
        self._numbers[call.operation] += 1
        number = self._numbers[call.operation]
        found = NO_FAULT
        for index, chance in enumerate(self._chances):
            if chance.concerns(call, number):
                drawn = Random(f"{self._seed}/{index}/{call.operation}/{number}")
                if drawn.random() < chance.rate:
                    found = _both(found, replace(chance.fault, salt=drawn.getrandbits(32)))
        return found


def _both(one: Fault, other: Fault) -> Fault:
    """Let two faults befall one call; where both say something, the first stays."""
    given = {field.name: getattr(other, field.name) for field in fields(Fault)}
    news = {name: value for name, value in given.items() if getattr(one, name) == getattr(NO_FAULT, name)}
    return replace(one, **news)
