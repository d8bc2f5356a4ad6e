"""The budgets, and whether a run of the benchmark met them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.life import Life
from bench.measure import Cost
from bench.parsing import Parsing

START_S: Final = 0.15
NOOP_S: Final = {("count", 100): 0.4, ("count", 10_000): 1.2, ("literal", 10_000): 2.5}
APPLY_CPU_S: Final = {1_000: 2.0}
WRITTEN_RATIO: Final = 10.0
PEAK_MIB: Final = {("count", 10_000): 250.0, ("literal", 10_000): 450.0}
PARSE_S: Final = {10_000: 5.0}
CACHED_S: Final = {10_000: 1.0}
PARSE_S_PER_MB: Final = 1.0
CACHED_S_PER_MB: Final = 0.125
LIST_CALLS: Final = 1
GROWTH: Final = 1.3
"""How much dearer one more machine may be at the larger size: 1 is linear, the rest is noise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget against one measurement."""

    what: str
    limit: float
    measured: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit

    def __str__(self) -> str:
        sign = "met   " if self.is_met else "MISSED"
        return f"{sign}  {self.what:<58} {self.measured:>8.3g} {self.unit} (budget {self.limit:g} {self.unit})"


def judge(
    starts: dict[str, Cost],
    lives: Sequence[Life],
    list_calls: dict[int, int],
    heavy_imports: Sequence[str],
    parsings: Sequence[Parsing],
) -> Iterator[Verdict]:
    for name in ("--help", "version"):
        yield Verdict(name, START_S, starts[name].cpu_s, "s")
    yield Verdict("modules for planning graphs loaded by an empty plan", 0, len(heavy_imports), "modules")
    for parsing in parsings:
        yield from of_parsing(parsing)
    ours = [life for life in lives if life.tool == "brevplan"]
    for life in ours:
        yield from _of_life(life)
    for form in ("count", "literal"):
        yield from _growth([life for life in ours if life.form == form])
    for count, calls in list_calls.items():
        yield Verdict(f"calls at the cloud in a no-op plan of {count}", LIST_CALLS, calls, "calls")


def of_parsing(parsing: Parsing) -> Iterator[Verdict]:
    reading, name = parsing.reading, f"{parsing.count} literal blocks"
    for what, seconds, limits, limit_per_mb in (
        ("parsed", reading.parse_s, PARSE_S, PARSE_S_PER_MB),
        ("from the cache", reading.cached_s, CACHED_S, CACHED_S_PER_MB),
    ):
        if parsing.count in limits:
            yield Verdict(f"{name} {what}", limits[parsing.count], seconds, "s")
        yield Verdict(f"{name} {what}, a megabyte", limit_per_mb, seconds / reading.megabytes, "s")


def _of_life(life: Life) -> Iterator[Verdict]:
    name = f"{life.count} machines, {life.form} form"
    limit = NOOP_S.get((life.form, life.count))
    noop = life.cpu("no-op plan")
    if limit is not None and noop is not None:
        yield Verdict(f"no-op plan of {name}", limit, noop, "s")
    apply = life.cpu("apply")
    if life.form == "count" and life.count in APPLY_CPU_S and apply is not None:
        yield Verdict(f"apply of {name}", APPLY_CPU_S[life.count], apply, "s")
    if life.form == "count" and life.state_bytes:
        ratio = life.state_written / life.state_bytes
        yield Verdict(f"bytes written to the state by apply of {name}", WRITTEN_RATIO, ratio, "× its size")
    memory = PEAK_MIB.get((life.form, life.count))
    if memory is not None:
        yield Verdict(f"peak memory over all commands, {name}", memory, life.peak_mib, "MiB")


def _growth(lives: Sequence[Life]) -> Iterator[Verdict]:
    """Compare what one more machine costs between the two largest sizes with what it costs between the two before."""
    ordered = sorted(lives, key=lambda life: life.count)
    for small, middle, large in zip(ordered, ordered[1:], ordered[2:], strict=False):
        for step in ("validate", "no-op plan", "apply"):
            times = [life.cpu(step) for life in (small, middle, large)]
            if any(found is None for found in times):
                continue
            first, second, third = (found for found in times if found is not None)
            before = (second - first) / (middle.count - small.count)
            after = (third - second) / (large.count - middle.count)
            if before > 0:
                what = f"{step}, cost of one more machine at {large.count} against {middle.count} ({large.form})"
                yield Verdict(what, GROWTH, after / before, "×")
