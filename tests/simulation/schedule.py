"""A schedule: everything that a seed decides before a world begins, and the playing of it to the verdict.

First the unquiet part: edits, runs that die, are stopped, disturbed or crossed by others, other people's hands, a lost
state, a wrong key, with faults on every call. Then the quiet part: apply is repeated until there is nothing to do,
time passes so that all that is late has arrived, and once more. Then the auditor looks.
"""

from __future__ import annotations

import gc
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from brevplan.contract.errors import NotReady, OutOfQuota, OutOfStock
from brevplan.engine.address import Address
from brevplan.engine.bench import EVERYTHING, Options
from brevplan.engine.change import Mode
from brevplan.simcloud.faults import Chance, Fault, Trouble, Way
from tests.simulation.audit import audit
from tests.simulation.mutations import Guard
from tests.simulation.others import stranger
from tests.simulation.process import Accidents, Process
from tests.simulation.setup import Setup, drawn, edited
from tests.simulation.site import MARK, Character, Site

MOST_QUIET_RUNS = 12
HANDS = ("stop", "start", "destroy", "rename", "retag", "double")

DROPPED = Trouble(Way.DROPPED)
TROUBLES = (
    Fault(before=Trouble(Way.REFUSED)),
    Fault(before=DROPPED),
    Fault(after=DROPPED),
    Fault(before=Trouble(Way.STATUS, 429)),
    Fault(before=Trouble(Way.STATUS, 429, retry_after=3.0)),
    *(Fault(before=Trouble(Way.STATUS, status)) for status in (500, 502, 503, 504)),
    *(Fault(after=Trouble(Way.STATUS, status)) for status in (500, 502, 503, 504)),
    Fault(after=Trouble(Way.TRUNCATED)),
    Fault(after=Trouble(Way.MALFORMED)),
    Fault(delay_s=2.0),
    Fault(delay_s=45.0),
)
"""What may befall any call: the last one is longer than a call is waited for."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing of the unquiet part. `setup` is the configuration from then on."""

    kind: str
    setup: Setup
    accidents: Accidents = field(default_factory=Accidents)
    hand: str = ""
    pick: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    character: Character
    chances: tuple[Chance, ...]
    acts: tuple[Act, ...]
    doubles: bool
    """Whether something may double machines: then the user is asked which is the right one, and reaps the other."""

    @classmethod
    def of(cls, seed: int) -> Schedule:
        chance = Random(f"schedule {seed}")
        character = _character(chance)
        chances = tuple(_chances(chance, character))
        acts = tuple(_acts(chance, character))
        if any(act.kind in ("lose state", "clone") for act in acts):
            # what nobody remembers is found by its mark alone: a list that leaves it out buys it again
            chances = tuple(item for item in chances if not item.fault.leaves_out)
        if any(act.kind in ("cross", "force") for act in acts) and not character.fences:
            # a request that is under way for longer than the run beside looks for it is late as well
            chances = tuple(item for item in chances if item.fault.delay_s <= character.latest_s)
        doubles = (
            any(item.fault.twice for item in chances)
            or any(act.hand == "double" or act.kind in ("lose state", "clone") for act in acts)
        )  # fmt: skip
        return cls(seed, character, chances, acts, doubles)


@dataclass(slots=True)
class Verdict:
    seed: int
    problems: list[str]
    trace: list[str]
    counts: Counter[str]


def _character(chance: Random) -> Character:
    fences, idempotent = chance.random() < 0.6, chance.random() < 0.4
    lag = chance.choice((0.0, 0.0, 2.0, 10.0))
    grace = chance.choice((20.0, 30.0, 60.0))
    # where nothing keeps a late launch out, it must show within the window in which it is looked for
    latest = chance.choice((5.0, 90.0, 300.0)) if fences else max(0.0, grace - lag - 8.0)
    return Character(
        tags=chance.random() < 0.7,
        idempotent=idempotent,
        fences=fences,
        list_lag_s=lag,
        grace_window_s=grace,
        poll_s=chance.choice((2.0, 5.0)),
        boot_s=chance.choice((0.0, 0.0, 3.0, 20.0)),
        stop_s=chance.choice((0.0, 6.0)),
        end_s=chance.choice((0.0, 0.0, 8.0)),
        requests_per_minute=chance.choice((None, None, None, 120)),
        latest_s=latest,
    )


def _chances(chance: Random, character: Character) -> Iterator[Chance]:
    """Draw what goes wrong, and how often."""
    create, end = frozenset({"create_instance"}), frozenset({"terminate_instance"})
    for fault in chance.sample(TROUBLES, chance.randrange(4)):
        yield Chance(chance.choice((0.02, 0.1, 0.3)), fault)
    if chance.random() < 0.5:
        yield Chance(chance.choice((0.1, 0.5)), chance.choice((Fault(before=DROPPED), Fault(after=DROPPED))), create)
    if chance.random() < 0.4:
        late = Fault(after=DROPPED, late_s=chance.uniform(0.0, character.latest_s))
        yield Chance(chance.choice((0.1, 0.5)), late, create)
    rare = (
        Chance(0.3, Fault(before=OutOfStock("no more of these")), create),
        Chance(0.2, Fault(before=OutOfQuota("no more for you")), create),
        Chance(0.2, Fault(fails_after_s=3.0), create),
        Chance(0.2, Fault(vanish=True), create),
        Chance(0.1, Fault(twice=True), create),
        Chance(0.1, Fault(twice=True, after=DROPPED), create),
        Chance(0.2, Fault(boot_s=150.0), create),
        Chance(0.1, Fault(boot_s=1e7), create, last=3),
        Chance(0.5, Fault(before=NotReady("not now")), end, last=6),
        Chance(0.2, Fault(leaves_out=0.4), frozenset({"list_instances"})),
        Chance(0.2, Fault(leaves_out=1.0), frozenset({"list_instances"})),
    )
    yield from chance.sample(rare, chance.choice((0, 0, 1, 1, 2, 3)))


def _acts(chance: Random, character: Character) -> Iterator[Act]:
    setup = drawn(chance)
    for number in range(chance.choice((2, 3, 3, 4, 5))):
        if number and chance.random() < 0.6:
            setup = edited(setup, chance)
        if chance.random() < 0.25:
            yield Act("wait", setup, seconds=chance.choice((1.0, 30.0, 400.0)))
        if number and chance.random() < 0.2:
            yield Act("hand", setup, hand=chance.choice(HANDS), pick=chance.random())
        if number and chance.random() < 0.07:
            yield Act("lose state", setup)
        if chance.random() < 0.05:
            yield Act("turn the clock", setup, seconds=chance.choice((-86400.0, -30.0, 30.0, 1e6)))
        yield _run(chance, setup, number, character)


def _run(chance: Random, setup: Setup, number: int, character: Character) -> Act:
    kind = chance.choices(
        ("run", "die", "power", "stop", "disturb", "cross", "force", "wrong key", "plan", "destroy", "approved",
         "target", "clone"),
        (20, 40, 8, 8, 10, 5, 8, 6, 6, 8, 10, 5, 5),
    )[0]  # fmt: skip
    if not number and kind in ("wrong key", "clone"):
        kind = "die"
    at = chance.choice((chance.randint(1, 25), chance.randint(1, 60), chance.randint(1, 150)))
    match kind:
        case "die":
            return Act("run", setup, Accidents(dies_at=at))
        case "power":
            return Act("run", setup, Accidents(dies_at=at, power=True))
        case "stop":
            return Act("run", setup, Accidents(stops_at=at))
        case "disturb":
            hand = chance.choice(HANDS)
            return Act("run", setup, Accidents(hand_at=at), hand=hand, pick=chance.random())
        case "cross" | "force":
            # as late as that of a delayed request, see above
            stall_s = min(chance.choice((0.0, 10.0, 28.0)), character.latest_s)
            stall = Accidents(stalls_at=chance.randint(4, 30), stall_s=stall_s)
            return Act(kind, setup, stall, seconds=chance.choice((0.0, 0.3, 2.0, 12.0)))
        case "plan" | "destroy" | "approved" | "target":
            return Act(kind, setup, Accidents(dies_at=chance.choice((0, at))))
        case _:
            return Act(kind, setup)


# Playing


def play(seed: int, lacks: Guard | None = None) -> Verdict:
    """Play the schedule of a seed; the folders are on memory's disk where there is one."""
    with _own_garbage():
        return _played(seed, lacks)


def _played(seed: int, lacks: Guard | None) -> Verdict:
    schedule = Schedule.of(seed)
    with tempfile.TemporaryDirectory(prefix="brevplan-simulation-", dir=_fast_disk()) as folder:
        player = _Player(schedule, Site(Path(folder), seed, schedule.character, lacks))
        with closing(player.site):
            player.play()
        return Verdict(seed, player.site.problems, player.site.trace, player.counts)


@contextmanager
def _own_garbage() -> Iterator[None]:
    """Collect at the end what the block has made, and nothing else: thousands of schedules follow each other.

    Nothing of a schedule may be held any more by then, or it is never looked at again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(0)
        if was_on:
            gc.enable()


def _fast_disk() -> str | None:
    place = Path("/dev/shm")
    return str(place) if place.is_dir() else None


class _Player:
    def __init__(self, schedule: Schedule, site: Site) -> None:
        self.schedule, self.site = schedule, site
        self.setup = schedule.acts[0].setup
        self.creates_first = False
        self.counts: Counter[str] = Counter()
        self._numbers = 0
        site.doubles_expected = schedule.doubles

    def play(self) -> None:
        self._settle_others()
        self.site.unsettle(self.schedule.chances)
        for act in self.schedule.acts:
            self.setup = act.setup
            self.creates_first |= act.setup.creates_first
            self._act(act)
        self.site.unsettle(())
        self.site.clock.skew_s = 0.0
        self.site.note(None, "quiet from here on")
        self._converge()
        self.site.wait(self.schedule.character.latest_s + self.schedule.character.list_lag_s + 600.0)
        self._converge()
        self._audit()

    def _settle_others(self) -> None:
        """Somebody else has machines in the account."""
        store = self.site.store()
        now = self.site.true_clock.now().timestamp()
        with store.write():
            for mark in ("", "bp-other", f"{MARK}-two"):
                store.add(stranger(store.next_number("machine"), mark, now))

    def _act(self, act: Act) -> None:
        site = self.site
        match act.kind:
            case "wait":
                site.wait(act.seconds)
            case "hand":
                site.hand(act.hand, act.pick)
            case "lose state":
                self._lose_state()
            case "turn the clock":
                site.clock.skew_s = act.seconds
                site.note(None, f"the wall clock is off by {act.seconds:g} s")
            case "wrong key":
                self._with_wrong_key()
            case "cross" | "force":
                self._two(act)
            case "plan":
                self._run(act.accidents, command="plan")
            case "destroy":
                self._run(act.accidents, Options(mode=Mode.DESTROY))
            case "target":
                self._run(act.accidents, Options(targets=(Address("instance", self.setup.blocks[0][0]),)))
            case "approved":
                self._approve_and_carry_out(act.accidents)
            case "clone":
                self._from_a_clone()
            case _:
                accidents = act.accidents
                if accidents.hand_at:
                    accidents = replace(accidents, hand=lambda: site.hand(act.hand, act.pick))
                self._run(accidents)

    def _approve_and_carry_out(self, accidents: Accidents) -> None:
        """Write a plan down, and carry it out: what dies goes on with the same plan."""
        self._run(command="approve")
        if (self.site.folder / "approved.plan").exists():
            self._run(accidents, command="carry out")
            self._run(command="carry out")
            (self.site.folder / "approved.plan").unlink()

    def _from_a_clone(self) -> None:
        """Somebody applies the same configuration from another folder, with a state of its own."""
        # two states know nothing of each other's launches under way: they have landed
        self.site.wait(self.schedule.character.latest_s + self.schedule.character.list_lag_s + 1.0)
        folder = self.site.folder / "clone"
        folder.mkdir(exist_ok=True)
        self._run(folder=folder)
        self.site.wait(self.schedule.character.latest_s + self.schedule.character.list_lag_s + 1.0)

    def _run(self, accidents: Accidents | None = None, options: Options = EVERYTHING, **fields: Any) -> Process:
        process = self._process(accidents, options, **fields)
        self.site.run(process)
        self._count(process)
        return process

    def _process(
        self,
        accidents: Accidents | None = None,
        options: Options = EVERYTHING,
        command: str = "apply",
        folder: Path | None = None,
    ) -> Process:
        self._numbers += 1
        given = replace(accidents) if accidents is not None else Accidents()
        text = self.setup.text(self.schedule.character)
        return Process(self.site, f"run {self._numbers}", folder or self.site.folder, text, given, options, command)

    def _count(self, process: Process) -> None:
        self.counts["runs"] += 1
        self.counts["points"] += process.points
        if process.dead:
            self.counts["power cuts" if process.accidents.power else "kills"] += 1
        self.counts["launches"] += len(process.launched)

    def _two(self, act: Act) -> None:
        """A second run begins while the first goes on; with `force` it takes the lock away."""
        first, second = self._process(act.accidents), self._process()
        second.forces_lock = act.kind == "force"
        self.site.run(first, second, starts_s=(0.0, act.seconds))
        self._count(first)
        self._count(second)

    def _lose_state(self) -> None:
        # what is on its way is known to nobody after that: it lands first
        self.site.wait(self.schedule.character.latest_s + self.schedule.character.list_lag_s + 1.0)
        self.site.note(None, "the state is lost")
        for path in self.site.folder.glob("brevplan.db*"):
            path.unlink()

    def _with_wrong_key(self) -> None:
        if not self._has_rows():
            return
        self.site.key = "wrong"
        self.site.note(None, "from here on with the key of another account")
        self._run()
        self.site.key = "right"

    def _has_rows(self) -> bool:
        path = self.site.folder / "brevplan.db"
        if not path.exists():
            return False
        with closing(sqlite3.connect(path)) as connection:
            try:
                return bool(connection.execute("SELECT count(*) FROM resources WHERE cloud_id <> ''").fetchone()[0])
            except sqlite3.Error:
                return False

    # The quiet part

    def _converge(self) -> None:
        options = EVERYTHING
        for _ in range(MOST_QUIET_RUNS):
            process = self._run(options=options)
            self.counts["quiet runs"] += 1
            options = self._answer(process)
            if process.outcome == "nothing to do" and options == EVERYTHING:
                return
            self.site.wait(self.schedule.character.list_lag_s + 1.0)  # a person needs longer to run it again
        self.site.problem(f"not converged after {MOST_QUIET_RUNS} runs: {process.outcome}")

    def _orphans(self, process: Process) -> list[str]:
        if process.planned is None:
            return []
        living = {machine.body.cloud_id for machine in self.site.machines()}  # a late list shows what is gone by now
        return [orphan.cloud_id for orphan in process.planned.folded.plan.orphans if orphan.cloud_id in living]

    def _answer(self, process: Process) -> Options:
        """Be the user: reap what is too many, replace what has failed, where the schedule brings that about."""
        if process.planned is None:
            return EVERYTHING
        plan = process.planned.folded.plan
        reaped = set(self._orphans(process))
        if reaped and not self.site.doubles_expected:
            self.site.problem(f"orphans without a cause: {sorted(reaped)}")
        for change in plan.blocked:
            _, found, ids = change.blocked.partition("bear the mark of this address: ")
            if found:
                reaped |= set(ids.split(", ")[1:])
                if not self.site.doubles_expected:
                    self.site.problem(f"{change.address}: {change.blocked}")
        failed = [
            change.address
            for change in plan.changes
            if change.before is not None
            and change.before.get("status") == "failed"
            and not change.deposed
            and not change.creates
        ]
        if process.applied is not None and process.applied.result is not None:
            failed += [item.address for item in process.applied.result.failed if "not ready in time" in item.error]
        return Options(reaped=frozenset(reaped), replaced=tuple(failed))

    def _audit(self) -> None:
        site = self.site
        for problem in audit(
            {"right": site.folder / "right.db", "wrong": site.folder / "wrong.db"},
            site.folder / "brevplan.db",
            self.setup.expected(),
            tags=self.schedule.character.tags,
            may_overlap=self.creates_first or site.doubles_expected,
            by_hand=site.destroyed_by_hand,
        ):
            site.problem(problem)
