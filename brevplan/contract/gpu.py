"""GPUs as users write them, `H100`, `A100-80GB`, `H100:8`, and as they are called alike at every cloud."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import InstanceType

_PATTERN: Final = re.compile(
    r"(?=[A-Z])(?P<name>(?:(?:GEFORCE|QUADRO|TESLA|RTX|PRO)[ _-]?)*[A-Z0-9][A-Z0-9 ]*?)"
    r"(?:-(?P<memory>\d+)GB)?(?::(?P<count>\d+))?\Z",
    re.IGNORECASE,
)


_ON_GRACE: Final = ("GB", "GH")

_NAMES: Final = (
    (re.compile(r"RTXPRO(?:SERVER)?(\d{4}).*"), r"RTX PRO \1"),
    (re.compile(r"RTX(\d{4})ADA(?:GENERATION)?"), r"RTX \1 ADA"),
    (re.compile(r"(?:RTX)?A(4000|4500|5000|6000)"), r"A\1"),
    (re.compile(r"(?:GEFORCE|QUADRO)?RTX(\d{4}(?:TI|SUPER)?)"), r"RTX \1"),
    (re.compile(r"TESLA([A-Z]\d+)"), r"\1"),
)
"""What a spelling without blanks means; whatever none of these fits is a name by itself."""

_NOMINAL_GB: Final = {
    "A10": 24, "A10G": 24, "A6000": 48, "B200": 180, "B300": 288, "GH200": 96, "H100": 80, "H200": 141, "L4": 24,
    "L40": 48, "L40S": 48, "RTX 4090": 24, "RTX 5090": 32, "RTX PRO 6000": 96, "T4": 16,
}  # fmt: skip
"""Of GPUs that are built with one size of memory."""
_NEAR: Final = 0.12

_SXM: Final = {"A100": "SXM4", "B200": "SXM6", "B300": "SXM6", "H100": "SXM5", "H200": "SXM5", "V100": "SXM2"}


def canonical_name(text: str) -> str:
    """Give the one name of a GPU, however a cloud spells it: `RTX_A6000` and `A6000` are the same card."""
    words = re.sub(r"[\s_-]+", " ", text.upper()).strip().removeprefix("NVIDIA ")
    plain = words.replace(" ", "")
    for pattern, name in _NAMES:
        if found := pattern.fullmatch(plain):
            return found.expand(name)
    return words


def nominal_gb(name: str, told: int) -> int:
    """Give the size that is on the box, in GB, of a GPU by its canonical name; where none is known, what a cloud told.

    Clouds tell what can be used of it, or GiB, or nothing (0); far from the box it is a part of a GPU.
    """
    nominal = _NOMINAL_GB.get(name, told)
    return nominal if not told or abs(told - nominal) <= _NEAR * nominal else told


def interconnect(text: str, name: str) -> str:
    """Write `pcie` and `sxm4` as everybody does; a bare `sxm` is the generation that the GPU has."""
    lowered = text.strip().lower()
    if lowered == "pcie":
        return "PCIe"
    if lowered == "sxm":
        return _SXM.get(name, "SXM")
    return lowered.upper() if lowered.startswith("sxm") else text


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
        return cls(canonical_name(found["name"]), memory, int(found["count"] or 1))

    def matches(self, item: InstanceType) -> bool:
        return any(
            canonical_name(gpu.name) == self.name
            and gpu.count == self.count
            and (self.memory_gb is None or gpu.memory == Bytes(self.memory_gb, "GB"))
            for gpu in item.gpus
        )
