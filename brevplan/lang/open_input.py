"""Whether a text that is typed line by line is still open: a bracket or a heredoc in it waits for its end."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from brevplan.diagnostics import Source
from brevplan.lang.scanner import Frame, Mode, Scanner

_WAITING: Final = frozenset({Mode.GROUP, Mode.OBJECT, Mode.INTERPOLATION, Mode.HEREDOC})
_HEREDOC: Final = re.compile(r"<<-?[^\W\d][\w-]*\r?\n")


class Open(Enum):
    """What more lines would go on with."""

    NOTHING = "the text is complete, or wrong already"
    BRACKET = "an open bracket: an empty line means nothing there"
    HEREDOC = "a heredoc: an empty line is a line of it"


def what_is_open(text: str) -> Open:
    """Tell what in an expression waits for more lines."""
    source = Source("", text + "\n")
    scanner = Scanner(source, [])
    scanner.frames = [Frame(Mode.GROUP, -1)]
    for kind, _, start, _ in scanner.tokens():
        if kind == "ERROR":
            # a heredoc without its end is the only mistake that more text can mend
            return Open.HEREDOC if _HEREDOC.match(source.text, start) else Open.NOTHING
    is_waiting = len(scanner.frames) > 1 and scanner.frames[-1].mode in _WAITING
    return Open.BRACKET if is_waiting else Open.NOTHING
