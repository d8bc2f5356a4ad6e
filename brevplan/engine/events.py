"""What happens while steps are carried out, as values, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from brevplan.engine.address import Address
from brevplan.engine.graph import Verb


@dataclass(frozen=True, slots=True)
class StepStarted:
    address: Address
    verb: Verb
    cloud_id: str = ""
    deposed: str = ""


@dataclass(frozen=True, slots=True)
class StepProgress:
    """`phase` is a few words (`waiting for running`), `elapsed` seconds since the step started."""

    address: Address
    verb: Verb
    phase: str
    elapsed: float


@dataclass(frozen=True, slots=True)
class StepFinished:
    address: Address
    verb: Verb
    elapsed: float
    cloud_id: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """`uncertain` says that it was not brought to its end, with nothing wrong so far: the next run goes on."""

    address: Address
    verb: Verb
    elapsed: float
    error: str
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """Not started, because of another step that failed, or because the run was asked to stop."""

    address: Address
    verb: Verb
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a line that belongs to no step."""

    text: str


Event = StepStarted | StepProgress | StepFinished | StepFailed | StepSkipped | Notice
