"""Every client of the registry passes the conformance suite, and every item of it catches a client that is broken."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace as with_fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from brevplan.contract.conformance.item import Outcome, Result, Suite
from brevplan.contract.conformance.launching import choose
from brevplan.contract.conformance.scene import Limits, Setup
from brevplan.contract.conformance.suites import ITEMS, run
from brevplan.contract.errors import RateLimited, Sent, Unavailable
from brevplan.contract.model import InstanceType
from brevplan.providers import registry
from brevplan.simcloud import catalogue
from tests.bench.test_matrix import rows
from tests.contract import broken
from tests.contract.broken import Bench, Break
from tests.contract.clients import CLIENTS
from tools.matrix import ABILITIES, abilities, results_of

NOT_FOR_BREVPLAN = ("C-61..C-70", "C-71..C-90", "X-25")
BREAKS: list[tuple[Suite, str, Break]] = [
    (suite, name, breaks)
    for suite, table in (
        (Suite.CATALOGUE, broken.CATALOGUE),
        (Suite.LIFECYCLE, broken.LIFECYCLE),
        (Suite.FIREWALL, broken.FIREWALL),
    )
    for name, breaks in table.items()
]


def asked(setup: Setup, suites: Iterable[Suite] = tuple(Suite)) -> list[Result]:
    return asyncio.run(run(setup, suites))


def of(results: list[Result], item: str) -> Result:
    return next(result for result in results if result.item.id == item)


def wrong(results: list[Result]) -> list[str]:
    return [f"{one.suite} {one.item.id}: {one.reason}" for one in results if one.outcome is Outcome.FAILED]


def living(bench: Bench) -> list[str]:
    return [machine.body.cloud_id for machine in bench.client.cloud.store.machines()]


# Every provider


def test_every_provider_of_the_registry_is_put_to_the_suite() -> None:
    assert sorted(CLIENTS) == sorted(registry.MODULES)


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_provider_passes_and_the_readme_says_what_it_can(name: str, tmp_path: Path) -> None:
    results = results_of(name, tmp_path)
    assert wrong(results) == []
    skipped = [f"{one.item.id}: {one.reason}" for one in results if one.outcome is Outcome.SKIPPED]
    assert skipped == []
    assert {one.item.id for one in results} >= {"C-20", "C-28", "C-55", "X-10"}
    assert rows()[name][: len(ABILITIES) + 1] == abilities(results), "make matrix writes the table anew"


# Every item


def test_a_client_without_fault_passes_every_item(tmp_path: Path) -> None:
    results = asked(Bench(tmp_path).setup)
    assert wrong(results) == []
    others = {one.item.id for one in results if one.outcome is not Outcome.PASSED}
    assert others == {"C-35", *NOT_FOR_BREVPLAN}


def test_every_item_has_a_client_that_it_catches() -> None:
    every = {result.id for items in ITEMS.values() for result in items} | {"C-55", "X-10"}
    assert every - {name for _, name, _ in BREAKS} == {"X-8", *NOT_FOR_BREVPLAN}


def test_the_published_items_are_all_there() -> None:
    """C-56 to C-59 are the items of the firewall suite that have numbers of their own already."""
    every = {item.id for items in ITEMS.values() for item in items} | {"C-55"}
    numbers = {*range(1, 61)} - {52, *range(56, 60)}
    assert {f"C-{number}" for number in numbers} <= every
    assert {f"C-52{letter}" for letter in "abcdef"} <= every


@pytest.mark.parametrize(("suite", "item", "breaks"), BREAKS, ids=[name for _, name, _ in BREAKS])
def test_item_catches_a_broken_client(suite: Suite, item: str, breaks: Break, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    breaks(bench)
    caught = of(asked(bench.setup, [suite]), item)
    assert caught.outcome is Outcome.FAILED
    assert caught.reason
    assert "Error:" not in caught.reason or item in ("C-44", "C-46"), "the suite itself has failed"


def test_x8_without_stock_everything_that_needs_a_machine_is_skipped(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.each_type(is_available=False)(bench)
    results = asked(bench.setup, [Suite.LIFECYCLE])
    assert of(results, "X-8").outcome is Outcome.SKIPPED
    assert of(results, "X-8").reason == "nothing that may be launched is in stock"
    assert of(results, "C-28").outcome is Outcome.SKIPPED
    assert of(results, "C-42").outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, "asia-south1-noSub-cpu_4x_general"),
        ({"instance_type": "gpu_1x_a10", "location": "us-west-1"}, "us-west-1-noSub-gpu_1x_a10"),
        ({"instance_type": "gpu_8x_h100_sxm5", "max_price": Decimal(23)}, None),
        ({"instance_type": "gpu_8x_b200_sxm6"}, None),
        ({"max_price": Decimal("0.11")}, None),
    ],
)
def test_x9_price_ceiling_and_preferred_type(given: dict[str, Any], chosen: str | None, tmp_path: Path) -> None:
    offer = choose(catalogue.offers(), with_fields(Bench(tmp_path).setup, **given))
    assert (offer.id if offer is not None else None) == chosen


def test_x9_a_type_without_a_price_is_not_under_a_ceiling(tmp_path: Path) -> None:
    free = replace(catalogue.offers()[0], base_price=None)
    assert choose([free], Bench(tmp_path).setup) == free
    assert choose([free], with_fields(Bench(tmp_path).setup, max_price=Decimal(1000))) is None


# What was launched is ended


LEAVING = ("C-54", "X-22", "C-55", "X-10", "C-27", "P-3")
"""The breaks that themselves leave a machine, or had one before."""


@pytest.mark.parametrize(
    ("suite", "breaks"),
    [(suite, breaks) for suite, name, breaks in BREAKS if name not in LEAVING],
    ids=[name for _, name, _ in BREAKS if name not in LEAVING],
)
def test_x10_whatever_is_judged_no_machine_is_left(suite: Suite, breaks: Break, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    breaks(bench)
    asked(bench.setup, [suite])
    assert living(bench) == []


def test_x10_a_lost_answer_is_looked_for_and_ended(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def bend(real: Any) -> Any:
        async def method(attrs: Any) -> Any:
            await real(attrs)
            raise Unavailable("the answer was lost", sent=Sent.MAYBE)

        return method

    bench.bend("create_instance", bend)
    results = asked(bench.setup, [Suite.LIFECYCLE])
    assert of(results, "C-28").reason == "the answer was lost"
    assert of(results, "C-55").outcome is Outcome.PASSED
    assert living(bench) == []


def test_cancelled_the_suite_ends_what_it_launched(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    told: list[str] = []
    bench.extra["tell"] = told.append

    async def main() -> None:
        task = asyncio.create_task(run(bench.setup, [Suite.LIFECYCLE], lambda result: stop(result)))

        def stop(result: Result) -> None:
            if result.item.id == "C-42":
                task.cancel()

        await task

    async def yields(seconds: float) -> None:
        bench.clock.passed += seconds
        await asyncio.sleep(0)

    bench.clock.sleep = yields  # type: ignore[method-assign]  # a cancel is heard where the loop gets its turn
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert living(bench) == []
    assert told[-2:] == ["Terminating i-00000001.", "i-00000001 is gone."]


def test_a_machine_that_cannot_be_ended_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    told: list[str] = []
    bench.extra["tell"] = told.append
    broken.bent("terminate_instance", broken.does_nothing)(bench)
    results = asked(bench.setup, [Suite.LIFECYCLE])
    assert "i-00000001 is still there: terminate it by hand, or it goes on costing." in told
    assert "i-00000001" in of(results, "C-55").reason


# How it asks


def test_failures_that_pass_are_asked_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    calls = itertools.count(1)

    def bend(real: Any) -> Any:
        async def method(**named: Any) -> Any:
            if next(calls) < 3:
                raise RateLimited("too many", retry_after=7.0)
            return await real(**named)

        return method

    bench.bend("get_locations", bend)
    assert of(asked(bench.setup, [Suite.CATALOGUE]), "C-1").outcome is Outcome.PASSED
    assert bench.clock.passed == 14.0


def _first_sold_out(found: list[InstanceType]) -> list[InstanceType]:
    return [replace(found[0], is_available=False), *found[1:]]


def test_c8_stock_that_moves_once_is_no_difference(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.nth_types(1, _first_sold_out)(bench)
    result = of(asked(bench.setup, [Suite.CATALOGUE]), "C-8")
    assert (result.outcome, result.reason) == (Outcome.PASSED, "at the second try: the stock had moved")


def test_c8_stock_that_moves_at_every_call_is_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.nth_types(2, _first_sold_out)(bench)
    result = of(asked(bench.setup, [Suite.CATALOGUE]), "C-8")
    assert (result.outcome, result.reason) == (Outcome.FAILED, "differ from call to call: " + catalogue.offers()[0].id)


def test_c11_prices_are_compared_by_value(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.asked_types(
        lambda found, wanted: [
            replace(item, base_price=replace(item.base_price, amount=item.base_price.amount + Decimal("0.000")))
            for item in found
            if item.base_price is not None
        ]
    )(bench)
    assert of(asked(bench.setup, [Suite.CATALOGUE]), "C-11").outcome is Outcome.PASSED


def test_a_defect_of_the_client_is_a_failure_and_not_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.bent("get_locations", broken.raises(KeyError("data")))(bench)
    results = asked(bench.setup, [Suite.CATALOGUE])
    assert of(results, "C-1").reason == "KeyError: 'data'"
    assert of(results, "C-4").outcome is Outcome.PASSED


def test_without_hosts_nothing_is_asked_of_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hosts = None
    results = asked(bench.setup)
    assert wrong(results) == []
    assert of(results, "C-44").outcome is Outcome.NOT_APPLICABLE
    assert of(results, "C-52b").outcome is Outcome.NOT_APPLICABLE


def test_what_installs_software_is_asked_only_on_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.extra["thorough"] = False
    results = asked(bench.setup, [Suite.LIFECYCLE])
    assert {one.item.id for one in results if one.outcome is Outcome.SKIPPED} == {f"C-52{one}" for one in "bcdef"}
    assert not [command for command in bench.hosts.commands if "docker" in command or "microk8s" in command]


def test_a_port_on_which_nothing_listens_proves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    broken.answers("/dev/tcp/127.0.0.1", (1, ""))(bench)
    bench.hosts.answers = {"/dev/tcp/127.0.0.1": (1, ""), **bench.hosts.answers}
    assert of(asked(bench.setup, [Suite.LIFECYCLE]), "C-52a").outcome is Outcome.SKIPPED
    assert "kill 4242" in bench.hosts.commands


def test_limits_end_every_wait(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.extra["limits"] = Limits(running=30, shown=2, ssh=1, stopped=1, terminated=1)
    broken.got(status="pending")(bench)
    result = of(asked(bench.setup, [Suite.LIFECYCLE]), "C-42")
    assert result.reason == "i-00000001 is pending and not running after 30 s"
