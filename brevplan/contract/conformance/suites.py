"""Runs suites of items over one client, in order, and cleans up behind each, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from brevplan.contract.client import Capability
from brevplan.contract.conformance import catalogue, firewall, lifecycle
from brevplan.contract.conformance.item import Ended, Item, NotApplicable, Outcome, Result, Suite
from brevplan.contract.conformance.scene import Scene, Setup
from brevplan.contract.errors import CloudError

Report = Callable[[Result], None]


async def _no_vpc(scene: Scene) -> None:
    raise NotApplicable("brevplan's contract has no VPC operations")


async def _no_kubernetes(scene: Scene) -> None:
    raise NotApplicable("brevplan's contract has no Kubernetes operations")


async def _no_merge(scene: Scene) -> None:
    raise NotApplicable("brevplan's contract has no merge: the engine compares what is recorded and observed")


ITEMS: Final[Mapping[Suite, Sequence[Item]]] = {
    Suite.CATALOGUE: catalogue.ITEMS,
    Suite.LIFECYCLE: (
        *lifecycle.ITEMS,
        Item("C-61..C-70", "virtual networks", _no_vpc),
        Item("C-71..C-90", "managed Kubernetes", _no_kubernetes),
        Item("X-25", "merging a record with a fresh one", _no_merge),
    ),
    Suite.FIREWALL: firewall.ITEMS,
}
"""What each suite asks, in order; suites that make machines end with `lifecycle.AFTER`.

X-26 to X-28, X-31 and X-32 are about one provider's module or about our own values: no questions to a living client.
"""


def suites_for(setup: Setup) -> list[Suite]:
    """Give the suites that have something to ask: without hosts and native rules, none of the firewall's is left."""
    has_rules = Capability.MODIFY_FIREWALL in setup.client.traits.capabilities
    return [suite for suite in Suite if suite is not Suite.FIREWALL or has_rules or setup.hosts is not None]


async def run(
    setup: Setup, suites: Iterable[Suite] = tuple(Suite), report: Report = lambda result: None
) -> list[Result]:
    """Ask everything; report each result as it is known. What was launched is ended, also when this is cancelled."""
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        report(result)

    for suite in suites:
        scene = Scene(setup)
        try:
            for item in ITEMS[suite]:
                tell(await _asked(suite, item, scene))
        finally:
            await scene.clean_up()
        if scene.refs:
            for item in lifecycle.AFTER:
                tell(await _asked(suite, item, scene))
    return results


async def _asked(suite: Suite, item: Item, scene: Scene) -> Result:
    try:
        note = await item.ask(scene)
    except Ended as ended:
        return Result(suite, item, ended.outcome, str(ended))
    except CloudError as problem:
        return Result(suite, item, Outcome.FAILED, str(problem))
    except Exception as problem:  # the client is what is judged: a defect of it is an answer, not the end of the run
        return Result(suite, item, Outcome.FAILED, f"{type(problem).__name__}: {problem}")
    return Result(suite, item, Outcome.PASSED, note or "")
