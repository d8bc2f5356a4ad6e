"""SIGINT and SIGTERM for the whole process: the first breaks off, or asks a run to stop; the second ends at once.

The first is heard where Python hears signals, between two of its instructions. The second must also end a process
that hangs in a call outside of Python, such as a wait for a locked file: a thread counts them as they arrive.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, TextIO

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
AT_ONCE: Final = 130
AT_ONCE_TEXT: Final = "Stopped at once. Nothing is lost: the next apply finds what was begun."
_SHOW_CURSOR: Final = "\x1b[?25h"


class Terminated(SystemExit):
    """SIGTERM. Like `KeyboardInterrupt`, but nobody takes it for a dropped line."""


class Signals:
    """What the two signals do now. Before `listen` they do what they do in any program."""

    def __init__(self) -> None:
        self._heard = self._arrived = 0
        self._stop: Callable[[], None] | None = None
        self._at_once = AT_ONCE_TEXT
        self._stream: TextIO | None = None
        self._is_first_always = False
        self._last_words = threading.Lock()

    def listen(self, stream: TextIO) -> None:
        """Take the signals over; `stream` is where the last words go."""
        self._stream = stream
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._count, args=(reading,), name="signals", daemon=True).start()
        for number in SIGNALS:
            signal.signal(number, self._hear)

    def ask(self, stop: Callable[[], None] | None, at_once: str = AT_ONCE_TEXT) -> None:
        """Let the first signal call `stop` instead of breaking the command off; None takes that back.

        `at_once` is said when the second ends the process.
        """
        self._stop, self._at_once = stop, at_once

    def take_each_for_a_first(self) -> None:
        """Let no signal end the process at once: where lines are typed, Ctrl-C drops one, however often."""
        self._is_first_always = True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard += 1
        if self._heard > 1:
            self._end()
        if self._stop is not None:
            self._stop()
        elif number == signal.SIGTERM:
            raise Terminated(1)
        else:
            raise KeyboardInterrupt

    def _count(self, reading: int) -> None:
        while arrived := os.read(reading, 64):
            self._arrived += sum(number in SIGNALS for number in arrived)
            if self._arrived > 1:
                self._end()

    def _end(self) -> None:
        """Leave without unwinding. The text goes past the stream, which may be in the middle of a line."""
        if self._is_first_always or not self._last_words.acquire(blocking=False):
            return
        text = f"\n{self._at_once}\n"
        with suppress(OSError, ValueError):
            if self._stream is not None:
                shown = _SHOW_CURSOR if self._stream.isatty() else ""
                os.write(self._stream.fileno(), (shown + text).encode())
        os._exit(AT_ONCE)
