"""What goes wrong on demand: one `Fault` a call, given by an object that the caller chooses.

`SeededFaults` draws by chance from a seed and the number of the call, so that a run can be repeated. A simulation
passes its own object and decides for every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from brevplan.contract.errors import CloudError, Sent, Unavailable


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the cloud meets it. `changes` tells launches and changes from reads."""

    operation: str
    target: str = ""
    """The ref_id of a create, a fence or a release; else the cloud id, where there is one."""
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one call. The fields of a machine's fate are heard by create alone."""

    delay_s: float = 0.0
    before: CloudError | None = None
    """Raised, and nothing happens."""
    after: CloudError | None = None
    """Raised, but all has happened."""
    late_s: float = 0.0
    """The machine comes into being only that much later, unless its ref_id is fenced first."""
    vanish: bool = False
    """The create is answered, and the machine is gone."""
    twice: bool = False
    """Two machines come of one create; the answer names the first."""
    fails_after_s: float | None = None
    """The machine is pending, and then failed."""


NO_FAULT: Final = Fault()


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
