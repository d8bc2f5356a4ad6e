"""Where a user's own files of brevplan lie, by the XDG base directory specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_folder(environment: Mapping[str, str], name: str) -> Path | None:
    """Give a folder of the user's cache; None for a user without a home."""
    base = _base(environment, "XDG_CACHE_HOME", ".cache")
    return base / "brevplan" / name if base is not None else None


def config_file(environment: Mapping[str, str], name: str) -> Path | None:
    """Give where a file of the user's configuration lies; None for a user without a home."""
    base = _base(environment, "XDG_CONFIG_HOME", ".config")
    return base / "brevplan" / name if base is not None else None


def _base(environment: Mapping[str, str], variable: str, usual: str) -> Path | None:
    given = environment.get(variable, "")
    if os.path.isabs(given):  # the specification has relative ones ignored
        return Path(given)
    home = environment.get("HOME", "")
    return Path(home, usual) if os.path.isabs(home) else None
