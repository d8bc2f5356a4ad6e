"""GPU names as users write them: `H100`, `A100-80GB`, `H100:8`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import InstanceType

_PATTERN: Final = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9 ]*?)(?:-(?P<memory>\d+)GB)?(?::(?P<count>\d+))?\Z", re.IGNORECASE
)


_ON_GRACE: Final = ("GB", "GH")


def architectures_beside(*gpu_names: str) -> tuple[str, ...]:
    """Tell what a machine with these GPUs runs on, where an API does not: Grace stands beside a GH200 and a GB200."""
    return ("arm64",) if any(name.startswith(_ON_GRACE) for name in gpu_names) else ("x86_64",)


@dataclass(frozen=True, slots=True)
class GpuQuery:
    """`NAME[-nGB][:COUNT]`: the count is exact (default 1), the memory the nominal decimal GB of one GPU."""

    name: str
    memory_gb: int | None
    count: int

    @classmethod
    def parse(cls, text: str) -> GpuQuery:
        """Read a query; raise `ValueError` saying how one is written."""
        found = _PATTERN.match(text.strip())
        if found is None:
            raise ValueError(f'"{text}" names no GPU: write NAME, NAME-nGB or NAME:COUNT, for example A100-80GB:8')
        memory = int(found["memory"]) if found["memory"] else None
        return cls(found["name"].upper(), memory, int(found["count"] or 1))

    def matches(self, item: InstanceType) -> bool:
        return any(
            gpu.name.upper() == self.name
            and gpu.count == self.count
            and (self.memory_gb is None or gpu.memory == Bytes(self.memory_gb, "GB"))
            for gpu in item.gpus
        )
