"""What a cloud can be made to lack: tags, idempotency, fences; and lists that leave machines out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brevplan.contract.client import Capability, Connection, UpdateTags
from brevplan.contract.errors import Rejected
from brevplan.contract.model import InstanceFilter, RefId
from brevplan.engine.pacing import AccountPacer
from brevplan.providers.local import LocalClient, UntaggedClient
from brevplan.simcloud.faults import Fault
from brevplan.simcloud.model import Behaviour
from tests.simcloud.build import HandClock, attrs, cloud


def test_the_same_launch_again_makes_two_where_nothing_is_idempotent(tmp_path: Path) -> None:
    sim = cloud(tmp_path, HandClock(), idempotent=False)
    assert sim.create(attrs("a")).cloud_id != sim.create(attrs("a")).cloud_id
    other = cloud(tmp_path, HandClock())
    assert other.create(attrs("b")).cloud_id == other.create(attrs("b")).cloud_id


def test_without_tags_neither_tags_nor_the_address_come_back(tmp_path: Path) -> None:
    made = cloud(tmp_path, HandClock(), tags=False).create(attrs("a", tags={"team": "ml"}, address="instance.a"))
    assert (dict(made.tags), made.address) == ({}, "")
    assert (made.ref_id, made.cloud_cred_ref_id) == ("a", "bp-test")


def test_a_late_launch_lands_where_there_are_no_fences(tmp_path: Path) -> None:
    clock = HandClock()
    sim = cloud(tmp_path, clock, fences=False, idempotent=False)
    sim.create(attrs("a"), Fault(late_s=60))
    with pytest.raises(Rejected):
        sim.fence("a")
    clock.passed += 61
    assert len(sim.instances(InstanceFilter())) == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_list_leaves_out_its_share_and_a_get_does_not(tmp_path: Path, share: float) -> None:
    sim = cloud(tmp_path, HandClock())
    ids = [sim.create(attrs(f"n{number}")).cloud_id for number in range(200)]
    shown = {machine.cloud_id for machine in sim.instances(InstanceFilter(), Fault(leaves_out=share, salt=7))}
    assert abs(len(shown) - 200 * (1 - share)) < 30
    assert all(sim.get(cloud_id).cloud_id == cloud_id for cloud_id in ids)


def test_a_machine_may_boot_longer_than_the_others(tmp_path: Path) -> None:
    sim = cloud(tmp_path, HandClock(), boot_s=1.0)
    sim.create(attrs("a"), Fault(boot_s=500.0))
    assert sim.store.machines()[0].ready_at - sim.store.machines()[0].born_at == 500.0


def client(folder: Path, kind: type[UntaggedClient], **lacks: bool) -> UntaggedClient:
    clock = HandClock()
    connection = Connection({"path": "cloud.db"}, {}, str(folder), AccountPacer(clock), clock)
    return kind(connection, alter=lambda how: Behaviour(**lacks))


def test_traits_say_what_is_missing(tmp_path: Path) -> None:
    plain = client(tmp_path, UntaggedClient, tags=False, idempotent=False)
    full = client(tmp_path, LocalClient)
    missing = full.traits.capabilities - plain.traits.capabilities
    assert missing == {Capability.TAGS, Capability.CREATE_IDEMPOTENT}
    assert full.traits.reports - plain.traits.reports == {"tags"}
    assert (plain.traits.mutable_tags, plain.traits.recoverable) == (False, "partial")
    assert isinstance(full, UpdateTags)
    assert not isinstance(plain, UpdateTags)


async def _fenced(one: UntaggedClient) -> bool:
    return await one.fence(RefId("a"))


def test_a_client_says_that_there_is_no_fence(tmp_path: Path) -> None:
    assert not asyncio.run(_fenced(client(tmp_path, LocalClient, fences=False)))
    assert asyncio.run(_fenced(client(tmp_path, LocalClient)))
