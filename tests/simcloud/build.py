"""Builders for the tests of the simulated cloud: a clock that is set by hand, and requests with few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brevplan.contract.model import CreateInstanceAttrs, RefId
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import Faults
from brevplan.simcloud.model import Behaviour


class HandClock:
    """Time that passes only when it is told to; a sleep takes no real time."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


def attrs(ref_id: str = "bp-test-aaaaaaaaaaaa-000001", **fields: Any) -> CreateInstanceAttrs:
    given = {
        "cloud_cred_ref_id": "bp-test",
        "instance_type": "gpu_1x_a10",
        "location": "us-west-1",
        "public_key": "ssh-ed25519 AAAA test",
        **fields,
    }
    return CreateInstanceAttrs(ref_id=RefId(ref_id), **given)


def cloud(folder: Path, clock: HandClock, faults: Faults | None = None, **how: Any) -> SimCloud:
    return SimCloud(folder / "cloud.db", clock, Behaviour(**how), faults)
