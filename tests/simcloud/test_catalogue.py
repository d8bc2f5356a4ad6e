"""The price list keeps its promises: names, regions, room, and the odd types that tests and users need."""

from __future__ import annotations

import pytest

from brevplan.contract.errors import ImageNotFound, Rejected
from brevplan.contract.model import type_id
from brevplan.simcloud import catalogue


def named(instance_type: str) -> list[str]:
    return [offer.location for offer in catalogue.offers() if offer.type == instance_type]


def test_offers_have_all_that_conformance_asks_for() -> None:
    for offer in catalogue.offers():
        assert offer.id == type_id(offer.location, "", offer.type)
        assert offer.provider
        assert offer.cloud
        assert offer.vcpu > 0
        assert offer.memory
        assert offer.base_price is not None
        assert offer.base_price.amount > 0
        for gpu in offer.gpus:
            assert gpu.count > 0
            assert gpu.memory.unit == "GB"
            assert " " not in gpu.name
            assert gpu.name.isupper()
        for disk in offer.storage:
            assert disk.min_size is None or disk.price_per_gb_hour is not None


def test_offers_are_sorted_and_unique() -> None:
    keys = [(offer.type, offer.location) for offer in catalogue.offers()]
    assert keys == sorted(set(keys))


def test_offers_are_wide_enough() -> None:
    assert len({offer.type for offer in catalogue.offers()}) >= 12
    assert {gpu.name for offer in catalogue.offers() for gpu in offer.gpus} >= {
        "A10", "A100", "A6000", "B200", "GH200", "H100", "H200", "L4", "L40S", "V100"
    }  # fmt: skip
    assert {"us-west-1", "us-east-1"} <= set(named("gpu_8x_h100_sxm5"))


def test_every_region_has_room_for_twenty_thousand() -> None:
    for location in catalogue.LOCATIONS:
        assert any(offer.location == location.name and (offer.stock or 0) >= 20_000 for offer in catalogue.offers())


def test_the_odd_types_are_there() -> None:
    offers = catalogue.offers()
    assert all(not offer.is_available for offer in offers if offer.type == "gpu_8x_b200_sxm6")
    assert [offer for offer in offers if offer.type == "gpu_8x_b200_sxm6"]
    assert any(not offer.stoppable for offer in offers)
    assert any(offer.stop_loses_data for offer in offers)
    assert any(offer.elastic_root_volume for offer in offers)
    assert any(not offer.elastic_root_volume for offer in offers)
    assert any(not offer.gpus for offer in offers)
    assert any(offer.architectures == ("arm64",) for offer in offers)


def test_locations_have_countries() -> None:
    assert [location.name for location in catalogue.LOCATIONS] == [
        "asia-south1", "europe-west4", "us-east-1", "us-west-1"
    ]  # fmt: skip
    assert all(len(location.country) == 3 and location.country.isupper() for location in catalogue.LOCATIONS)


@pytest.mark.parametrize(
    ("instance_type", "location", "says"),
    [
        ("gpu_1x_a11", "us-west-1", "did you mean gpu_1x_a10"),
        ("gpu_1x_a10", "us-west-2", "did you mean us-west-1"),
        ("gpu_8x_v100_sxm2", "us-west-1", "only in us-east-1"),
        ("zzz", "us-west-1", "known are cpu_4x_general"),
    ],
)
def test_find_offer_of_a_wrong_name_says_what_is_near(instance_type: str, location: str, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        catalogue.find_offer(instance_type, location)


def test_find_image_follows_the_architecture() -> None:
    intel, arm = catalogue.find_offer("gpu_1x_a10", "us-west-1"), catalogue.find_offer("gpu_1x_gh200", "us-west-1")
    assert catalogue.find_image("", intel) == "ubuntu-22.04-cuda-x86-64"
    assert catalogue.find_image("", arm) == "ubuntu-22.04-cuda-arm64"
    with pytest.raises(Rejected, match="is for x86_64"):
        catalogue.find_image("ubuntu-24.04-x86-64", arm)
    with pytest.raises(ImageNotFound, match=r"did you mean ubuntu-22\.04-x86-64"):
        catalogue.find_image("ubuntu-22.04-x86", intel)
