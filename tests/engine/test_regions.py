"""A regional account is listed where its machines are, and a new place is no lost machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from brevplan.contract.client import Traits, Urgency
from brevplan.contract.model import ApiType, CloudId, Instance, InstanceFilter, LifecycleStatus
from brevplan.engine.accounts import Account
from brevplan.engine.calls import Patience
from brevplan.engine.pacing import AccountPacer
from tests.world import VirtualClock


@dataclass
class Regional:
    """A client of which only the list is of interest."""

    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def list_instances(self, wanted: InstanceFilter, *, urgency: Urgency) -> list[Instance]:
        self.asked.append(wanted.locations)
        every = [Instance(cloud_id=CloudId(f"i-{place}"), status=LifecycleStatus.RUNNING, location=place)
                 for place in ("a", "b", "c")]  # fmt: skip
        return [one for one in every if not wanted.locations or one.location in wanted.locations]


def account(client: Regional, api_type: ApiType) -> Account:
    clock = VirtualClock()
    pacer = AccountPacer(clock)
    traits = Traits("regional", frozenset(), frozenset(), api_type=api_type)
    given: Any = client
    spec: Any = None
    return Account("regional", spec, given, traits, "f", "t", "", pacer, Patience(clock, pacer, lambda: 0.5), clock)


def test_places_are_the_filter_of_every_list() -> None:
    client = Regional()
    one = account(client, ApiType.LOCATIONAL)

    async def main() -> None:
        await one.fetch()
        one.look_at(["b", "a"])
        await one.fetch()

    asyncio.run(main())
    assert client.asked == [(), ("a", "b")]


def test_a_global_account_is_listed_whole() -> None:
    client = Regional()
    one = account(client, ApiType.GLOBAL)
    one.look_at(["a"])
    asyncio.run(one.fetch())
    assert client.asked == [()]


def test_what_other_places_showed_is_not_missing_from_these() -> None:
    one = account(Regional(), ApiType.LOCATIONAL)

    async def main() -> frozenset[str]:
        await one.next_snapshot()
        one.look_at(["a"])
        found = await one.next_snapshot()
        assert set(found.machines) == {"i-a"}
        return found.lacks

    assert asyncio.run(main()) == frozenset()
