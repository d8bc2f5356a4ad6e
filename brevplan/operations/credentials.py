"""Credentials that stand outside of the configuration: one file of the user's, readable by nobody else.

    $XDG_CONFIG_HOME/brevplan/credentials.json   (~/.config/brevplan/credentials.json where that is not set)

    {"lambda": {"api_key": "…"}, "shadeform.burst": {"api_key": "…"}}

An entry of a provider block's alias goes before that of its provider. What stands in the provider block goes before
everything, then the cloud's own environment variable, then this file.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from brevplan.diagnostics import DiagnosticsError, failure
from brevplan.operations.user_folders import config_file

_MAX_BYTES: Final = 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def credentials_path(environment: Mapping[str, str]) -> Path | None:
    """Give where the file has to lie; None for a user without a home."""
    return config_file(environment, "credentials.json")


def stored_credentials(environment: Mapping[str, str], key: str) -> Mapping[str, str]:
    """Give the file's entries for a provider block, by argument; raise `DiagnosticsError` for a file that is not safe.

    `key` is the block's, such as `shadeform.burst`. No content of the file is ever part of an error.
    """
    path = credentials_path(environment)
    if path is None:
        return {}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        raise failure("Credentials cannot be read", f"{path}: {problem.strerror}.") from None
    try:
        _check_private(os.fstat(descriptor), path)
    except DiagnosticsError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    data = _parsed(content, path)
    return {**_entry(data, key.partition(".")[0], path), **_entry(data, key, path)}


def _check_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise failure("Credentials cannot be read", f"{path} is not a file.")
    if stat.S_IMODE(status.st_mode) & _OTHERS or status.st_uid not in (os.geteuid(), 0):
        raise failure(
            "Credentials are not private",
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others than you can get at the keys in it.",
            hint=f"chmod 600 {path}",
        )


def _parsed(content: bytes, path: Path) -> Mapping[str, object]:
    if len(content) > _MAX_BYTES:
        raise failure("Credentials cannot be read", f"{path} is larger than {_MAX_BYTES // 1024} KiB.")
    try:
        data = json.loads(content)
    except json.JSONDecodeError as problem:
        raise failure(
            "Credentials cannot be read", f"{path}:{problem.lineno}:{problem.colno}: {problem.msg}.", hint=_FORM
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise failure("Credentials cannot be read", f"{path} is no JSON text.", hint=_FORM) from None
    if not isinstance(data, dict):
        raise failure("Credentials cannot be read", f"{path} does not hold one JSON object.", hint=_FORM)
    return data


_FORM: Final = 'It has the form {"lambda": {"api_key": "…"}}.'


def _entry(data: Mapping[str, object], key: str, path: Path) -> dict[str, str]:
    entry = data.get(key, {})
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise failure("Credentials cannot be read", f'{path}: "{key}" is not an object of texts.', hint=_FORM)
    return entry
