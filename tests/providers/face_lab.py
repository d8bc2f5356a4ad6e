"""The engine's laboratory at a cloud that is reached over its API, and what every such cloud is asked alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from brevplan.contract.client import CloudClient, Connection
from brevplan.contract.provider import ProviderSpec
from brevplan.providers import registry
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import NO_FAULT, Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.providers.spec import SpecTransport
from tests.world import Lab, actions

LOST = Fault(after=Trouble(Way.DROPPED))

BROKEN_LAUNCHES = pytest.mark.parametrize(
    "fault",
    [LOST, Fault(after=Trouble(Way.TRUNCATED)), Fault(after=Trouble(Way.STATUS, 502)),
     Fault(before=Trouble(Way.DROPPED)), Fault(before=Trouble(Way.STATUS, 500))],
    ids=["dropped", "truncated", "502", "dropped before", "500 before"],
)  # fmt: skip
"""Launches whose answer says nothing of what became of them."""


class FaceLab(Lab):
    """A lab whose cloud is reached over an API. `usual` is how that cloud behaves unless told otherwise."""

    usual: ClassVar[Mapping[str, Any]]
    endpoint: ClassVar[str]
    wire: SpecTransport

    def __init__(self, folder: Path, given: str, how: Mapping[str, Any] | None) -> None:
        super().__init__(folder, given)
        behaviour = Behaviour(idempotent=False, fences=False, **(how or self.usual))
        self.sim = SimCloud(folder / "local-cloud.db", self.clock, behaviour)
        self.sim.faults = self.faults

    def client(self, connection: Connection) -> CloudClient:
        raise NotImplementedError

    def _spec(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._reach)

    def _reach(self, connection: Connection) -> CloudClient:
        settings = {**connection.settings, "endpoint": self.endpoint}
        return self.client(replace(connection, settings=settings, extra={"transport": self.wire}))

    def is_converged(self, machines: int) -> bool:
        """Check that cloud, state and configuration agree, and that a plan says so."""
        self.faults.choose = lambda call: NO_FAULT
        assert len(self.machines()) == machines
        assert len(self.recorded()) == machines
        plan = self.plan()
        assert actions(plan) == {}
        assert plan.orphans == []
        return True


def applied(lab: Lab, **how: Any) -> None:
    """Apply, and expect that all of it was done."""
    done = lab.apply(**how)
    assert done.result is not None
    assert (done.result.failed, done.result.complete) == ([], True)


def is_adopted_whole(lab: Lab) -> bool:
    """Make two machines, lose the state, and check that the next apply takes in the same two, found by their marks."""
    applied(lab)
    before = lab.recorded()
    (lab.folder / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import", "instance.m[1]": "import"}
    applied(lab)
    assert lab.recorded() == before
    return True
