"""The identity of types, and filters as every provider must understand them."""

from __future__ import annotations

from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
    NotFound,
    NotReady,
    OutOfStock,
    RateLimited,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.model import (
    CloudId,
    Gpu,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    instance_type_id,
    matches,
    type_id,
    type_matches,
    wants_all,
    with_type_id,
)


def a_type(**fields: Any) -> InstanceType:
    return InstanceType(**{"type": "gpu_8x", "location": "us-west-1", "provider": "p", **fields})


def a_machine(**fields: Any) -> Instance:
    base = {"cloud_id": CloudId("i-1"), "status": LifecycleStatus.RUNNING, "location": "us-west-1"}
    return Instance(**{**base, **fields})


@pytest.mark.parametrize(
    ("location", "zone", "native", "made"),
    [
        ("us-west-1", "", "gpu_8x_a100", "us-west-1-noSub-gpu_8x_a100"),
        ("us-west-1", "a", "gpu_8x_a100", "us-west-1-a-gpu_8x_a100"),
    ],
)
def test_type_id(location: str, zone: str, native: str, made: str) -> None:
    assert type_id(location, zone, native) == made


def test_a_type_gets_its_id_from_its_first_zone_and_keeps_one_it_has() -> None:
    assert with_type_id(a_type()).id == "us-west-1-noSub-gpu_8x"
    assert with_type_id(a_type(available_azs=("b", "a"))).id == "us-west-1-b-gpu_8x"
    assert with_type_id(a_type(id="mine")).id == "mine"


def test_a_machine_has_the_id_of_its_type() -> None:
    machine = a_machine(instance_type="gpu_8x")
    assert instance_type_id(machine) == with_type_id(a_type()).id
    assert instance_type_id(a_machine(instance_type_id="given")) == "given"


@pytest.mark.parametrize(
    ("locations", "everything"),
    [((), True), (("all",), True), (("us", "*"), True), (("us",), False), (("ALL",), False)],
)
def test_wants_all(locations: tuple[str, ...], everything: bool) -> None:
    assert wants_all(locations) is everything


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (InstanceFilter(), True),
        (InstanceFilter(cloud_ids=("i-1", "i-2")), True),
        (InstanceFilter(cloud_ids=("i-2",)), False),
        (InstanceFilter(locations=("us-west-1",)), True),
        (InstanceFilter(locations=("us-east-1",)), False),
        (InstanceFilter(locations=("us-east-1", "all")), True),
        (InstanceFilter(tags={"team": ("ml",)}), True),
        (InstanceFilter(tags={"team": ("web", "ml")}), True),
        (InstanceFilter(tags={"team": ("web",)}), False),
        (InstanceFilter(tags={"team": ()}), True),  # the tag must be there, with whatever value
        (InstanceFilter(tags={"gone": ()}), False),
        (InstanceFilter(tags={"team": ("ml",), "env": ("stage",)}), False),  # joined by AND
        (InstanceFilter(tags={"team": ("ml",), "env": ("prod",)}), True),
        (InstanceFilter(cloud_ids=("i-1",), locations=("us-east-1",)), False),
    ],
)
def test_matches(wanted: InstanceFilter, passes: bool) -> None:
    assert matches(a_machine(tags={"team": "ml", "env": "prod"}), wanted) is passes


GPU = Gpu(name="H100", count=8, memory=Bytes(80, "GB"))


@pytest.mark.parametrize(
    ("item", "wanted", "passes"),
    [
        (a_type(), InstanceTypeFilter(), True),
        (a_type(), InstanceTypeFilter(instance_types=("gpu_8x",)), True),
        (a_type(), InstanceTypeFilter(instance_types=("gpu_1x",)), False),
        (a_type(), InstanceTypeFilter(locations=("us-east-1",)), False),
        (a_type(), InstanceTypeFilter(locations=("*",)), True),
        # one wanted architecture is enough
        (a_type(architectures=("arm64", "x86_64")), InstanceTypeFilter(architectures=("x86_64",)), True),
        (a_type(architectures=("arm64",)), InstanceTypeFilter(architectures=("x86_64",)), False),
        (a_type(architectures=()), InstanceTypeFilter(architectures=("x86_64",)), False),
        (a_type(gpus=(GPU,)), InstanceTypeFilter(manufacturers=("NVIDIA",)), True),
        (a_type(gpus=(GPU,)), InstanceTypeFilter(manufacturers=("AMD",)), False),
        (a_type(), InstanceTypeFilter(manufacturers=("AMD",)), True),  # a CPU type passes a GPU filter
    ],
)
def test_type_matches(item: InstanceType, wanted: InstanceTypeFilter, passes: bool) -> None:
    assert type_matches(item, wanted) is passes


@pytest.mark.parametrize(
    ("problem", "sent", "retryable"),
    [
        (OutOfStock("x"), Sent.REFUSED, False),
        (AuthFailed("x"), Sent.REFUSED, False),
        (Rejected("x"), Sent.REFUSED, False),
        (InstanceNotFound("x"), Sent.REFUSED, False),
        (RateLimited("x"), Sent.REFUSED, True),
        (NotReady("x"), Sent.REFUSED, True),
        (Unavailable("x"), Sent.MAYBE, True),
        (CloudError("x"), Sent.MAYBE, False),
        (Unavailable("x", sent=Sent.NO), Sent.NO, True),
    ],
)
def test_an_error_says_whether_there_can_be_a_machine(problem: CloudError, sent: Sent, retryable: bool) -> None:
    assert (problem.sent, problem.retryable) == (sent, retryable)


def test_an_error_names_where_it_came_from() -> None:
    problem = NotFound("gone", provider="lambda", operation="get", http_status=404, code="nope")
    assert str(problem) == "lambda get: gone (HTTP 404, nope)"
    assert str(NotFound("gone")) == "gone"
