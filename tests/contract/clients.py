"""One client for each provider of the registry, connected to its simulated face, for the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from brevplan.contract.client import Clock, CloudClient, Connection, Urgency
from brevplan.providers.aws import connect as connect_aws
from brevplan.providers.fluidstack import connect as connect_fluidstack
from brevplan.providers.launchpad import connect as connect_launchpad
from brevplan.providers.local import LocalClient
from brevplan.providers.nebius import connect as connect_nebius
from brevplan.providers.shadeform import connect as connect_shadeform
from tests.providers.aws_bench import Bench as AwsBench
from tests.providers.aws_bench import front_of, moto_process
from tests.providers.fluidstack_bench import PRICES
from tests.providers.fluidstack_bench import Bench as FluidStackBench
from tests.providers.lambda_bench import LAMBDA, LambdaBench, violations
from tests.providers.launchpad_bench import Bench as LaunchpadBench
from tests.providers.nebius_bench import Bench as NebiusBench
from tests.providers.nebius_bench import native
from tests.providers.shadeform_bench import Bench
from tests.providers.test_local import HandClock


@dataclass
class Connected:
    """A client, the clock it lives by (a virtual one where the face allows it), and what is known of its catalogue."""

    client: CloudClient
    clock: Clock
    stable_ids: tuple[str, ...]


class OpenPacer:
    async def admit(self, urgency: Urgency) -> None: ...


def connection(folder: Path, clock: Clock, **settings: Any) -> Connection:
    return Connection(settings=settings, environment={}, directory=str(folder), pacer=OpenPacer(), clock=clock)


@asynccontextmanager
async def fluidstack(folder: Path) -> AsyncIterator[Connected]:
    bench = FluidStackBench(folder, how={"boot_s": 30.0, "stop_s": 10.0, "list_lag_s": 5.0, "end_s": 20.0})
    client = connect_fluidstack(bench.connection(prices=PRICES))
    yield Connected(client, bench.clock, ("us-east-1-noSub-gpu_8x_h100_sxm5", "us-east-1-noSub-gpu_8x_b200_sxm6"))
    await client.aclose()
    assert bench.wire.violations == []


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Connected]:
    clock = HandClock()
    client = LocalClient(connection(folder, clock, boot_time="30s", list_lag="5s"))
    yield Connected(client, clock, ("us-west-1-noSub-gpu_8x_h100_sxm5", "us-east-1-noSub-gpu_8x_b200_sxm6"))
    await client.aclose()


@asynccontextmanager
async def shadeform(folder: Path) -> AsyncIterator[Connected]:
    bench = Bench(folder, how={"boot_s": 30.0, "list_lag_s": 5.0, "end_s": 20.0})
    client = connect_shadeform(bench.connection())
    yield Connected(client, bench.clock, ("gpu_8x_h100_sxm5_us-west-1", "gpu_8x_b200_sxm6_us-east-1"))
    await client.aclose()
    assert bench.wire.violations == []


@asynccontextmanager
async def lambda_cloud(folder: Path) -> AsyncIterator[Connected]:
    bench = LambdaBench(folder, replace(LAMBDA, boot_s=30.0, list_lag_s=5.0))
    yield Connected(bench.client, bench.clock, ("us-west-1-noSub-gpu_8x_h100_sxm5", "us-east-1-noSub-gpu_8x_b200_sxm6"))
    await bench.client.aclose()
    assert violations(bench.transport.inner) == []


@asynccontextmanager
async def launchpad(folder: Path) -> AsyncIterator[Connected]:
    bench = LaunchpadBench(folder, how={"boot_s": 30.0, "list_lag_s": 5.0, "end_s": 20.0})
    client = connect_launchpad(bench.connection())
    yield Connected(client, bench.clock, ("us-west-1-noSub-oci.h100x8.sxm", "us-east-1-noSub-oci.b200x8.sxm"))
    await client.aclose()
    assert bench.wire.violations == []


@asynccontextmanager
async def nebius(folder: Path) -> AsyncIterator[Connected]:
    bench = NebiusBench(folder, how={"boot_s": 10.0, "list_lag_s": 3.0, "stop_s": 5.0, "end_s": 6.0})
    client = connect_nebius(bench.connection())
    h100, b200 = native("gpu_8x_h100_sxm5"), native("gpu_8x_b200_sxm6", "us-east-1")
    try:
        yield Connected(client, bench.clock, (f"us-west-1-noSub-{h100}", f"us-east-1-noSub-{b200}"))
    finally:
        await client.aclose()
        bench.stop()


@asynccontextmanager
async def aws(folder: Path) -> AsyncIterator[Connected]:
    with moto_process() as moto, front_of(moto) as front:
        bench = AwsBench(front)
        client = connect_aws(bench.connection())
        yield Connected(client, bench.clock, ("us-east-1-noSub-p5.48xlarge", "us-west-2-noSub-g5.xlarge"))
        await client.aclose()


CLIENTS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Connected]]] = {
    "aws": aws,
    "fluidstack": fluidstack,
    "lambda": lambda_cloud,
    "launchpad": launchpad,
    "local": local,
    "nebius": nebius,
    "shadeform": shadeform,
}
"""By the provider's name in the registry. A new cloud adds its line here."""
