"""GPU names: what they mean, and which types they match."""

from __future__ import annotations

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.gpu import GpuQuery, canonical_name, interconnect, nominal_gb
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
        ("RTX A6000:2", GpuQuery("A6000", None, 2)),
        ("rtx_a6000-48GB", GpuQuery("A6000", 48, 1)),
        ("RTX-PRO-6000", GpuQuery("RTX PRO 6000", None, 1)),
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


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("H100", "H100"),
        ("NVIDIA H100", "H100"),
        ("RTX_PRO_6000", "RTX PRO 6000"),
        ("RTXPRO6000", "RTX PRO 6000"),
        ("RTX PRO Server 6000", "RTX PRO 6000"),
        ("rtx-pro-6000-blackwell", "RTX PRO 6000"),
        ("RTX 6000", "RTX 6000"),
        ("Quadro RTX 6000", "RTX 6000"),
        ("RTX 6000 Ada", "RTX 6000 ADA"),
        ("RTX A6000", "A6000"),
        ("A6000", "A6000"),
        ("RTX4090", "RTX 4090"),
        ("GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("A100", "A100"),
        ("GH200", "GH200"),
        ("", ""),
    ],
)
def test_a_card_has_one_name_however_it_is_spelled(spelling: str, name: str) -> None:
    assert canonical_name(spelling) == name
    assert canonical_name(name) == name


@pytest.mark.parametrize(
    ("name", "told", "size"),
    [("B200", 192, 180), ("B200", 0, 180), ("B300", 270, 288), ("H200", 144, 141), ("A10G", 22, 24), ("L4", 3, 3),
     ("A100", 40, 40), ("A100", 80, 80), ("V100", 16, 16), ("MI300X", 192, 192), ("MI300X", 0, 0)],
)  # fmt: skip
def test_a_card_has_one_size_where_it_is_built_with_one(name: str, told: int, size: int) -> None:
    assert nominal_gb(name, told) == size


@pytest.mark.parametrize(
    ("text", "name", "written"),
    [("pcie", "H100", "PCIe"), ("PCIe", "H100", "PCIe"), ("sxm", "H100", "SXM5"), ("SXM", "A100", "SXM4"),
     ("sxm4", "A100", "SXM4"), ("sxm", "X1", "SXM"), ("NVLink", "H100", "NVLink"), ("", "H100", "")],
)  # fmt: skip
def test_how_a_card_is_built_in_is_written_in_one_way(text: str, name: str, written: str) -> None:
    assert interconnect(text, name) == written


def test_a_type_without_a_gpu_matches_nothing() -> None:
    assert not GpuQuery.parse("H100").matches(InstanceType(type="cpu", location="x", provider="p"))
