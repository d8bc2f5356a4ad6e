"""What the first Ctrl-C or SIGTERM does to a run: nothing new is started, and it is said what is waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from brevplan.cli.signals import Signals
from brevplan.engine.address import Address
from brevplan.engine.apply import Apply
from brevplan.engine.events import Event, Notice, StepFailed, StepFinished, StepStarted
from brevplan.engine.graph import Verb

STOPPING: Final = "Stopping: nothing new is started. Once more stops at once; nothing is lost."
TURNS: Final = 25
"""How many turns of the loop a stop needs to reach those who only wait for a machine to boot or to go."""
_NAMED: Final = 5


class Interrupts:
    """Hands the first signal to a run, and knows from its events what is under way. `show` gets what is said."""

    def __init__(self, signals: Signals, show: Callable[[Event], None]) -> None:
        self._signals, self._show = signals, show
        self._under_way: Counter[tuple[Address, Verb]] = Counter()

    def running(self, run: Apply | None) -> None:
        """Hand signals to a run, or with None to nobody any more."""
        if run is None:
            self._signals.ask(None)
            return
        loop = asyncio.get_running_loop()

        def heard() -> None:
            loop.call_soon_threadsafe(self._stop, run)  # unlike call_soon, it wakes a loop that sleeps

        self._signals.ask(heard)

    def event(self, event: Event) -> None:
        """Note what a run says of its steps, and show it."""
        match event:
            case StepStarted():
                self._under_way[event.address, event.verb] += 1
            case StepFinished() | StepFailed():
                self._under_way[event.address, event.verb] -= 1
        self._show(event)

    def _stop(self, run: Apply) -> None:
        self._show(Notice(STOPPING))
        run.stop()
        _after_turns(TURNS, self._say_what_is_left)

    def _say_what_is_left(self) -> None:
        left = sorted({address for (address, _), number in self._under_way.items() if number > 0})
        if left:
            self._show(Notice(f"Waiting for {shortened(left)}."))


def shortened(addresses: list[Address]) -> str:
    """Name the first few addresses and count the others."""
    named = [str(address) for address in addresses[:_NAMED]]
    if len(addresses) > _NAMED:
        return f"{', '.join(named)} and {len(addresses) - _NAMED:,} more"
    return " and ".join([*([", ".join(named[:-1])] if named[:-1] else []), named[-1]])


def _after_turns(number: int, call: Callable[[], None]) -> None:
    """Call once everything that can go on without waiting has gone on for so many turns."""
    if number:
        asyncio.get_running_loop().call_soon(_after_turns, number - 1, call)
    else:
        call()
