"""SIGINT and SIGTERM for the whole process: the first breaks off, or asks a run to stop; the second ends at once.

The handler is Python's own and not the event loop's, so that a loop that hangs is ended too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, TextIO

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
AT_ONCE: Final = 130
_SHOW_CURSOR: Final = "\x1b[?25h"


class Terminated(SystemExit):
    """SIGTERM. Like `KeyboardInterrupt`, but nobody takes it for a dropped line."""


class Signals:
    """What the two signals do now. Before `listen` they do what they do in any program."""

    def __init__(self) -> None:
        self._count = 0
        self._stop: Callable[[], None] | None = None
        self._stream: TextIO | None = None

    def listen(self, stream: TextIO) -> None:
        """Take the signals over; `stream` is where the last words go."""
        self._stream = stream
        for number in SIGNALS:
            signal.signal(number, self._heard)

    def ask(self, stop: Callable[[], None] | None) -> None:
        """Let the first signal call `stop` instead of breaking the command off; None takes that back."""
        self._stop = stop

    def forget(self) -> None:
        """Let the next signal be a first one again: the last was taken for something else."""
        self._count = 0

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            self._end()
        if self._stop is not None:
            self._stop()
        elif number == signal.SIGTERM:
            raise Terminated(1)
        else:
            raise KeyboardInterrupt

    def _end(self) -> None:
        """Leave without unwinding. The text goes past the stream, which may be in the middle of a line."""
        text = "\nStopped at once. Nothing is lost: the next apply finds what was begun.\n"
        with suppress(OSError, ValueError):
            if self._stream is not None:
                shown = _SHOW_CURSOR if self._stream.isatty() else ""
                os.write(self._stream.fileno(), (shown + text).encode())
        os._exit(AT_ONCE)
