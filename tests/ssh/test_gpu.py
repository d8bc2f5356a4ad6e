"""The GPUs of a machine against those paid for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.model import Gpu
from brevplan.engine.health import judge, model_of
from brevplan.engine.reach import FoundGpu
from brevplan.ssh.gpu import parse_gpus
from brevplan.ssh.reach import SshReach
from tests.ssh.build import H100, Clock, machine


def paid(name: str, count: int, gigabytes: int, manufacturer: str = "NVIDIA") -> Gpu:
    return Gpu(name=name, count=count, memory=Bytes(gigabytes, "GB"), manufacturer=manufacturer)


@pytest.mark.parametrize(
    ("shown", "mib", "name", "gigabytes"),
    [
        ("NVIDIA H100 80GB HBM3", 81559, "H100", 80),
        ("NVIDIA H100 PCIe", 81559, "H100", 80),
        ("NVIDIA H100 NVL", 95830, "H100", 94),
        ("NVIDIA H200", 143771, "H200", 141),
        ("NVIDIA B200", 183359, "B200", 180),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100", 80),
        ("NVIDIA A100-SXM4-40GB", 40960, "A100", 40),
        ("NVIDIA A100 80GB PCIe", 81920, "A100", 80),
        ("NVIDIA L40S", 46068, "L40S", 48),
        ("NVIDIA L40", 46068, "L40", 48),
        ("NVIDIA L4", 23034, "L4", 24),
        ("NVIDIA A10G", 23028, "A10G", 24),
        ("Tesla T4", 15360, "T4", 16),
        ("Tesla V100-SXM2-16GB", 16384, "V100", 16),
        ("NVIDIA RTX A6000", 49140, "A6000", 48),
        ("NVIDIA RTX A6000", 49140, "RTX A6000", 48),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX6000Ada", 48),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX4090", 24),
        ("Quadro RTX 6000", 24576, "RTX 6000", 24),
        ("NVIDIA GH200 480GB", 97871, "GH200", 96),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "RTX PRO 6000", 96),
    ],
)
def test_a_driver_s_name_and_memory_match_what_is_sold(shown: str, mib: int, name: str, gigabytes: int) -> None:
    found = [FoundGpu(shown, mib)] * 4
    assert judge(found, [paid(name, 4, gigabytes)]) == ""


def test_models_that_share_a_beginning_are_not_the_same() -> None:
    names = ["NVIDIA L40", "NVIDIA L40S", "NVIDIA L4", "NVIDIA A10", "NVIDIA A100-SXM4-40GB", "NVIDIA A10G"]
    assert len({model_of(name) for name in names}) == len(names)
    assert "paid for are 1 L40S, the machine shows 1 L40" in judge(
        [FoundGpu("NVIDIA L40", 46068)], [paid("L40S", 1, 48)]
    )


def test_too_few_too_many_or_none_are_told() -> None:
    one = FoundGpu("NVIDIA H100 80GB HBM3", 81559)
    assert judge([one] * 7, [paid("H100", 8, 80)]) == "paid for are 8 H100, the machine shows 7 H100"
    assert judge([one] * 9, [paid("H100", 8, 80)]) == "paid for are 8 H100, the machine shows 9 H100"
    assert judge([], [paid("H100", 8, 80)]) == "paid for are 8 H100, the machine shows no GPU"


def test_the_smaller_memory_of_the_same_model_is_told() -> None:
    found = [FoundGpu("NVIDIA A100-SXM4-80GB", 81920), FoundGpu("NVIDIA A100-SXM4-40GB", 40960)]
    assert judge(found, [paid("A100", 2, 80)]) == "an A100 has 40960 MiB of memory, and 80 GB are paid for"


def test_two_models_in_one_machine_are_judged_each() -> None:
    found = [FoundGpu("NVIDIA L4", 23034), FoundGpu("NVIDIA L40S", 46068)]
    assert judge(found, [paid("L40S", 1, 48), paid("L4", 1, 24)]) == ""


def test_nothing_paid_for_and_other_makers_are_not_judged() -> None:
    assert judge([], []) == ""
    assert judge([], [paid("MI300X", 8, 192, manufacturer="AMD")]) == ""


def test_an_unknown_memory_is_not_judged() -> None:
    assert judge([FoundGpu("NVIDIA L4", 23034)], [Gpu(name="L4", count=1, memory=Bytes())]) == ""


def test_only_whole_lines_count_as_gpus() -> None:
    output = "Unable to determine the device handle for GPU0: 0000:3B:00.0: Unknown Error\n"
    output += "NVIDIA L4, 23034\nNVIDIA L4, [N/A]\n"
    assert parse_gpus(output) == [FoundGpu("NVIDIA L4", 23034)]


def test_a_machine_shows_its_gpus_and_a_broken_driver_none_whatever_its_exit_status(tmp_path: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock())
        async with machine(tmp_path) as there:
            found = await reach.gpus(there.door)
            assert len(found) == 2
            assert judge(found, [H100]) == ""
            broken = there.home / "broken-gpu"
            broken.touch()
            assert await reach.gpus(there.door) == []
            broken.write_text("Unable to determine the device handle\nNVIDIA H100 80GB, 81559\n")
            assert "2 H100, the machine shows 1 H100" in judge(await reach.gpus(there.door), [H100])
            (there.home / "bin/nvidia-smi").unlink()
            assert judge(await reach.gpus(there.door), [H100]) != ""

    asyncio.run(run())
