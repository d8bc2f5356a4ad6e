"""What a conformance item is, and how it ends.

An item asks one question of a client. It passes, with a note or without, or ends with one of the three exceptions of
this file; any other exception of the client's is a failure too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brevplan.contract.conformance.scene import Scene


class Suite(StrEnum):
    CATALOGUE = "catalogue"
    LIFECYCLE = "lifecycle"
    FIREWALL = "firewall"


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"


class Ended(Exception):
    """An item that did not pass; the text says why."""

    outcome = Outcome.FAILED


class Failed(Ended):
    pass


class NotApplicable(Ended):
    outcome = Outcome.NOT_APPLICABLE


class Skipped(Ended):
    outcome = Outcome.SKIPPED


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `ask` gives a note or nothing when the answer is right.

    `C-…` are the items of the contract's published suite, `X-…` close its gaps, `P-…` are what protocol and plan rely
    on. `launches` says that it needs a machine, which costs money.
    """

    id: str
    title: str
    ask: Callable[[Scene], Awaitable[str | None]]
    launches: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    suite: Suite
    item: Item
    outcome: Outcome
    reason: str = ""


def expect(claim: object, reason: str) -> None:
    """Raise `Failed` unless the claim holds."""
    if not claim:
        raise Failed(reason)


def expect_equal(found: object, wanted: object, name: str) -> None:
    expect(found == wanted, f"{name} is {_shown(found)}, not {_shown(wanted)}")


def few(names: Iterable[object], most: int = 5) -> str:
    """Name the first few of many things."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
