"""Whoever waits for a write, or for a list, hears of whatever goes wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from brevplan.engine.committer import Committer
from brevplan.engine.ports import DropRecord, StateLost, Write
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.world import Lab, configuration


class Broken:
    def transact(self, writes: Sequence[Write]) -> None:
        raise KeyError("a defect")


def test_a_defect_while_writing_reaches_everybody_who_waits() -> None:
    async def both() -> list[object]:
        committer = Committer(Broken())
        found = await asyncio.wait_for(
            asyncio.gather(committer.commit(DropRecord("a")), committer.commit(), return_exceptions=True), 5
        )
        with pytest.raises(StateLost):
            await committer.commit(DropRecord("b"))
        return list(found)

    assert [type(problem) for problem in asyncio.run(both())] == [StateLost, StateLost]


def test_a_defect_while_listing_leaves_nobody_waiting(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='boot_time = "10s"'))
    lists = []

    def break_the_second_list(call: Call) -> Fault:
        if call.operation == "list_instances":
            lists.append(call)
            if len(lists) == 2:
                raise KeyError("a defect")
        return NO_FAULT

    lab.faults.choose = break_the_second_list
    done = lab.apply()
    assert done.result is not None
    assert done.result.complete
