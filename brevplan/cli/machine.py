"""JSON lines with their time: what `-json` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brevplan.diagnostics import Diagnostic
from brevplan.render import ui


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def diagnostic_line(item: Diagnostic) -> dict[str, Any]:
    return ui.diagnostic_line(item, timestamp())
