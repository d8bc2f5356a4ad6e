"""Logs: off unless `BREVPLAN_LOG` asks for them; to stderr, or to the file that `BREVPLAN_LOG_PATH` names.

A defect leaves its traceback in `crash.log` of the data folder (`.brevplan`, or `BREVPLAN_DATA_DIR`) at any level.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from brevplan.diagnostics import failure

TRACE: Final = 5
LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


def configure(environment: Mapping[str, str], directory: Path) -> None:
    """Set the log up; raise `DiagnosticsError` for a level that does not exist or a file that cannot be written."""
    name = environment.get("BREVPLAN_LOG", "").lower()
    if not name:
        return
    if name not in LEVELS:
        raise failure("Unknown log level", f"BREVPLAN_LOG={name}.", hint=f"Levels are: {', '.join(LEVELS)}.")
    logging.addLevelName(TRACE, "TRACE")
    path = environment.get("BREVPLAN_LOG_PATH", "")
    try:
        handler: logging.Handler = _private_file(directory / path) if path else logging.StreamHandler(sys.stderr)
    except OSError as problem:
        raise failure("Log cannot be written", f"{path}: {problem.strerror}.") from None
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
    root = logging.getLogger("brevplan")
    root.handlers = [handler]
    root.setLevel(LEVELS[name])
    root.propagate = False


def _private_file(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return logging.FileHandler(path, encoding="utf-8")


def data_directory(environment: Mapping[str, str], directory: Path) -> Path:
    return directory / (environment.get("BREVPLAN_DATA_DIR") or ".brevplan")


def write_crash(problem: BaseException, environment: Mapping[str, str], directory: Path) -> Path | None:
    """Keep the traceback of a defect; None when that cannot be done."""
    folder = data_directory(environment, directory)
    path = folder / "crash.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("".join(traceback.format_exception(problem)))
    except OSError:
        return None
    return path
