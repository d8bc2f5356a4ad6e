"""Ctrl-C: the first lets what is under way come to a safe place, the second ends at once. SIGTERM is a first."""

from __future__ import annotations

import asyncio
import os
import signal
from types import TracebackType

from brevplan.cli.terminal import Terminal
from brevplan.engine.apply import Apply


class Interrupts:
    """Handles signals while a run goes on; before and after it they end the command as usual."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._run: Apply | None = None
        self._count = 0

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running(None)

    def running(self, run: Apply | None) -> None:
        """Start handling for a run, or with None stop."""
        loop = asyncio.get_running_loop() if run is not None else None
        if run is not None and loop is not None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._signal)
        elif self._run is not None:
            current = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                current.remove_signal_handler(number)
        self._run = run

    def _signal(self) -> None:
        self._count += 1
        if self._count > 1 or self._run is None:
            self._terminal.error_line("\nStopped at once. Nothing is lost: the next apply finds what was begun.")
            os._exit(130)
        self._terminal.error_line(
            "\nStopping: nothing new is started, and calls under way are awaited. Once more stops at once."
        )
        self._run.stop()
