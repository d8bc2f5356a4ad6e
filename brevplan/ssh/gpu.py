"""The GPUs that a machine's driver shows.

What it prints decides, not its exit status: with one broken GPU it prints the others and may still end well.
"""

from __future__ import annotations

from typing import Final

from brevplan.engine.reach import FoundGpu

QUERY: Final = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits"


def parse_gpus(output: str) -> list[FoundGpu]:
    """Read the driver's lines `NVIDIA L4, 23034`; anything else that it prints is no GPU."""
    found: list[FoundGpu] = []
    for line in output.splitlines():
        name, comma, memory = (part.strip() for part in line.rpartition(","))
        if comma and name and memory.isascii() and memory.isdigit():
            found.append(FoundGpu(name, int(memory)))
    return found
