"""`python -m tests.simulation.run`: play schedules by their seeds; print seed and trace of each failure.

python -m tests.simulation.run --seeds 0:100000        the schedules of these seeds
python -m tests.simulation.run --seeds 4711 --trace    one of them again, with everything that happened
python -m tests.simulation.run --seeds 0:500 --without fence    what the auditor sees when a guard is missing
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.mutations import Guard
from tests.simulation.schedule import Verdict, play

MOST_SHOWN = 10


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds, default=range(1000), help="FIRST:END, or one seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trace", action="store_true", help="print what happened also where nothing went wrong")
    parser.add_argument("--without", type=Guard, choices=list(Guard), help="take this guard away")
    given = parser.parse_args(argv)
    began = time.monotonic()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    for verdict in played(given.seeds, given.without, given.jobs):
        counts += verdict.counts
        if verdict.problems:
            failed.append(verdict.seed)
        if given.trace or (verdict.problems and len(failed) <= MOST_SHOWN):
            show(verdict, given.without)
    print(summary(given.seeds, failed, counts, time.monotonic() - began, given.without))
    return 1 if failed else 0


def seeds(text: str) -> range:
    """Read `FIRST:END` or one seed."""
    first, _, end = text.partition(":")
    return range(int(first), int(end) if end else int(first) + 1)


def played(wanted: range, without: Guard | None, jobs: int) -> Iterator[Verdict]:
    if jobs == 1 or len(wanted) < 20:
        yield from (play(seed, without) for seed in wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(_play_briefly, without=without), wanted, chunksize=25)


def _play_briefly(seed: int, without: Guard | None) -> Verdict:
    verdict = play(seed, without)
    if not verdict.problems:
        verdict.trace.clear()  # nobody looks at it, and it would have to go to another process
    return verdict


def show(verdict: Verdict, without: Guard | None) -> None:
    print(f"seed {verdict.seed}: {'; '.join(verdict.problems) or 'nothing wrong'}")
    print("\n".join(verdict.trace))
    again = f" --without '{without.value}'" if without is not None else ""
    print(f"again: python -m tests.simulation.run --seeds {verdict.seed} --trace{again}\n", flush=True)


def summary(
    wanted: range, failed: list[int], counts: Counter[str], seconds: float, without: Guard | None = None
) -> str:
    lines = [f"{len(wanted)} schedules{f' without the {without.value}' if without else ''} in {seconds:.0f} s"]
    lines += [f"{number:>12,} {name}" for name, number in sorted(counts.items())]
    lines.append(f"{len(failed):>12,} failed{': seeds ' + ', '.join(map(str, failed[:20])) if failed else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
