"""Commands started under a limit, or with a signal heard again: by a line of Python before them, in their own process.

Nothing of it is done between fork and exec: the libraries of the tests have threads there, which a fork cuts off.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)"
"""A process that is started in the background may have been told to ignore it."""


def limited(resource: str, most: int) -> str:
    """Give the line that bounds a resource, such as `RLIMIT_AS`, in bytes."""
    return f"import resource; resource.setrlimit(resource.{resource}, ({most}, {most}))"


def after(line: str, words: Sequence[str]) -> list[str]:
    """Give a command that runs a line of Python and then is another command."""
    return [sys.executable, "-c", f"{line}; import os, sys; os.execv(sys.argv[1], sys.argv[1:])", *words]
