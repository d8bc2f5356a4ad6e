"""Lengths of time as users write them: `10m`, `1h30m`, `500ms`."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Give seconds; raise `ValueError` saying how to write it."""
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if stripped == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(f'"{text}" is not a duration: write a number and a unit, such as 30s, 10m or 1h30m')
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Write seconds in the shortest usual form: `12s`, `1m30s`, `2h`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    text = "".join(f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if amount)
    return text or "0s"
