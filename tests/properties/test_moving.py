"""Moves by hand in any order, some cut off, the state lost in between: the same machines, and nothing to plan."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.address import Address
from brevplan.operations.moving import move
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from tests.world import KEY, Lab

NAMES = ("a", "b", "c")
KEYS = (None, "x", "y")
ADDRESSES = [Address("instance", name, key) for name in NAMES for key in KEYS]


@dataclass
class Story:
    """A laboratory with what its configuration declares; every machine keeps its id through all of it."""

    lab: Lab
    declared: set[Address] = field(default_factory=set)

    def write(self) -> None:
        parts = ['brevplan {\n  project = "lab"\n}\nprovider "local" {}\n']
        for name in NAMES:
            keys = sorted(str(address.key) for address in self.declared if address.name == name and address.key)
            single = Address("instance", name) in self.declared
            assert not (keys and single)
            each = f"for_each = toset({json.dumps(keys)})" if keys else ""
            if keys or single:
                parts.append(
                    f'resource "instance" "{name}" {{\n{each}\ninstance_type = "gpu_1x_a10"\n'
                    f'location = "us-west-1"\npublic_key = "{KEY}"\n}}\n'
                )
        self.lab.text = "".join(parts)
        (self.lab.folder / "main.hcl").write_text(self.lab.text)

    def expected(self, source: Address, target: Address) -> dict[Address, Address] | None:
        """Say what a move does by the rules; None when it is refused."""
        if source in self.declared:
            moves = {source: target}
        elif source.key is None and target.key is None:
            moves = {old: target.instance(old.key) for old in self.declared if source.covers(old)}
        else:
            return None
        left = self.declared - moves.keys()
        if not moves or source == target or left & set(moves.values()):
            return None
        is_whole = any(old.key is not None for old in moves) and source.key is None
        return None if is_whole and any(target.covers(address) for address in left) else moves

    def can_be_written(self, moves: dict[Address, Address]) -> bool:
        after = (self.declared - moves.keys()) | set(moves.values())
        singles = {address.name for address in after if address.key is None}
        return not any(address.key is not None and address.name in singles for address in after)

    def something(self, number: int) -> Address:
        """Give an address that there is, or its block, and now and then any other."""
        known = sorted(self.declared | {address.block for address in self.declared})
        return known[number % len(known)] if number < 10 else ADDRESSES[number % len(ADDRESSES)]

    def somewhere(self, number: int) -> Address:
        """Give an address that is free, and now and then any other."""
        free = [address for address in ADDRESSES if address not in self.declared]
        return free[number % len(free)] if number < 10 else ADDRESSES[number % len(ADDRESSES)]

    def mv(self, source: Address, target: Address) -> None:
        request = self.lab.request()
        asyncio.run(move(self.lab.folder, str(source), str(target), request, self.lab.outside, self.lab.said.append))

    def refused(self, source: Address, target: Address) -> bool:
        try:
            self.mv(source, target)
        except DiagnosticsError:
            return True
        return False

    def cut_off(self, source: Address, target: Address) -> None:
        """Let another run take the state over after the first tag was rewritten."""

        def take_over(call: Call) -> Fault:
            if call.operation == "update_mark":
                store = self.lab.state()
                store.raise_epoch()
                store.close()
            return NO_FAULT

        self.lab.faults.choose = take_over
        assert self.refused(source, target)
        self.lab.faults.choose = lambda call: NO_FAULT

    def is_quiet(self) -> None:
        plan = self.lab.plan()
        assert (plan.effective, plan.blocked, plan.orphans) == ([], [], []), self.lab.text
        assert set(self.lab.recorded()) == set(map(str, self.declared))

    def ids(self) -> set[str]:
        return {str(machine.body.cloud_id) for machine in self.lab.machines()}


FIRST = st.sampled_from([{"a": (None,)}, {"a": ("x", "y")}, {"a": ("x",), "b": (None,)}])
EVENTS = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans(), st.sampled_from(["", "lost", "apply"])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, print_blob=True)
@given(FIRST, EVENTS)
def test_any_sequence_of_moves_and_applies_keeps_every_machine(
    first: dict[str, tuple[str | None, ...]], events: list[tuple[int, int, bool, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Lab(Path(folder), ""))
        story.declared = {Address("instance", name, key) for name, keys in first.items() for key in keys}
        story.write()
        story.lab.apply()
        made = story.ids()
        for one, other, cut, then in events:
            source, target = story.something(one), story.somewhere(other)
            moves = story.expected(source, target)
            if moves is None:
                assert story.refused(source, target), (source, target, story.lab.text)
            elif story.can_be_written(moves):
                if cut:
                    story.cut_off(source, target)
                    story.is_quiet()
                story.mv(source, target)
                story.declared = (story.declared - moves.keys()) | set(moves.values())
                story.write()
            story.is_quiet()
            if then == "lost":
                (story.lab.folder / "brevplan.db").unlink()
            if then:
                story.lab.apply()
                story.is_quiet()
            assert story.ids() == made
