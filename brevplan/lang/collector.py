"""The garbage collector, held still while something large is made that has no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_is_brief = False


def live_briefly() -> None:
    """Let this process be one that carries out one command and ends: what it has made is never looked through again.

    One that goes on must not say so, for garbage would stay as well.
    """
    global _is_brief  # it is the process that is brief or not, as the collector is the process's
    _is_brief = True
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the collector from walking a growing tree, configuration or plan again and again: it would find nothing.

    Nor would it afterwards: in a brief process what is there at the end of the block is put out of its way for good.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if _is_brief:
                gc.freeze()
            gc.enable()
