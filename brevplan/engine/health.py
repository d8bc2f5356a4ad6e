"""The GPUs that a machine has against those paid for. Pure.

Only NVIDIA's are looked for. Memory is paid for in nominal decimal GB and found in MiB, part of it reserved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from brevplan.contract.model import Gpu
from brevplan.engine.reach import FoundGpu

TOLERANCE: Final = 0.10

# Words that tell maker, board, memory, generation or form, not the model.
_NOT_THE_MODEL: Final = frozenset(
    {"NVIDIA", "TESLA", "GEFORCE", "QUADRO", "GRID", "HGX", "DGX"}
    | {"PCIE", "PCI", "NVL", "SERVER", "WORKSTATION", "EDITION"}
    | {"GENERATION", "BLACKWELL", "GRACE", "HOPPER", "SUPERCHIP"}
)
_FORM: Final = re.compile(r"(SXM\d*|HBM\d*E?|\d+(GB|GIB|G)|\d+[QCAB])\Z")
_RTX_A: Final = re.compile(r"A\d{3,4}\Z")


def model_of(name: str) -> str:
    """Give the bare model in upper case: `H100` of `NVIDIA H100 80GB HBM3`, `A6000` of `NVIDIA RTX A6000`."""
    words = [word for word in re.split(r"[\s_-]+", name.upper()) if word]
    kept = [word for word in words if word not in _NOT_THE_MODEL and not _FORM.match(word)]
    if len(kept) > 1 and kept[0] == "RTX" and _RTX_A.match(kept[1]):
        kept = kept[1:]
    return "".join(kept)


def judge(found: Sequence[FoundGpu], expected: Sequence[Gpu]) -> str:
    """Say in what the GPUs found fall short of those paid for, or are others; an empty text when all is well."""
    wanted = [gpu for gpu in expected if gpu.manufacturer.upper() == "NVIDIA" and gpu.count]
    paid: Counter[str] = Counter()
    for gpu in wanted:
        paid[model_of(gpu.name)] += gpu.count
    there = Counter(model_of(gpu.name) for gpu in found)
    if wanted and paid != there:
        return f"paid for are {_listed(paid)}, the machine shows {_listed(there)}"
    for gpu in wanted:
        wrong = _wrong_memory(gpu, wanted, found)
        if wrong:
            return wrong
    return ""


def _wrong_memory(gpu: Gpu, wanted: Sequence[Gpu], found: Iterable[FoundGpu]) -> str:
    model = model_of(gpu.name)
    sizes = {other.memory.total for other in wanted if model_of(other.name) == model}
    if not all(sizes):
        return ""  # The catalogue does not say how much it is.
    for one in found:
        total = one.memory_mib * 2**20
        if model_of(one.name) == model and not any(abs(total - size) <= TOLERANCE * size for size in sizes):
            return f"an {model} has {one.memory_mib} MiB of memory, and {gpu.memory} are paid for"
    return ""


def _listed(models: Counter[str]) -> str:
    return ", ".join(f"{count} {model}" for model, count in sorted(models.items())) or "no GPU"
