"""GPU names: what they mean, and which types they match."""

from __future__ import annotations

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.gpu import GpuQuery
from brevplan.contract.model import Gpu, InstanceType


def machine(name: str, count: int, memory_gb: int) -> InstanceType:
    gpu = Gpu(name=name, count=count, memory=Bytes(memory_gb, "GB"))
    return InstanceType(type="t", location="x", provider="p", gpus=(gpu,))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("H100", GpuQuery("H100", None, 1)),
        ("h100:8", GpuQuery("H100", None, 8)),
        ("A100-80GB", GpuQuery("A100", 80, 1)),
        ("a100-80gb:4", GpuQuery("A100", 80, 4)),
        (" L40S ", GpuQuery("L40S", None, 1)),
        ("RTX A6000:2", GpuQuery("RTX A6000", None, 2)),
    ],
)
def test_parse(text: str, query: GpuQuery) -> None:
    assert GpuQuery.parse(text) == query


@pytest.mark.parametrize("text", ["", ":8", "8", "H100:", "H100:x", "A100-80", "A100-GB", "H100:8:8", "H100*"])
def test_parse_of_anything_else_says_how_a_gpu_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="names no GPU: write NAME"):
        GpuQuery.parse(text)


@pytest.mark.parametrize(
    ("text", "item", "fits"),
    [
        ("H100", machine("H100", 1, 80), True),
        ("H100", machine("H100", 8, 80), False),  # the count is exact, and 1 when left out
        ("H100:8", machine("h100", 8, 80), True),
        ("A100-80GB", machine("A100", 1, 80), True),
        ("A100-80GB", machine("A100", 1, 40), False),
        ("A100", machine("A100", 1, 40), True),
        ("H100", machine("GH100", 1, 80), False),
    ],
)
def test_matches(text: str, item: InstanceType, fits: bool) -> None:
    assert GpuQuery.parse(text).matches(item) is fits


def test_a_type_without_a_gpu_matches_nothing() -> None:
    assert not GpuQuery.parse("H100").matches(InstanceType(type="cpu", location="x", provider="p"))
