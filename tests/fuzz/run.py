"""Hold very many made-up texts against the laws of the language: `make fuzz`.

    python -m tests.fuzz.run [--inputs 200000] [--seed 1] [--only NUMBER]

Every input is made by a seed and its own number, so that it can be made again alone. What breaks a law is printed with
the line that replays it, and saved in `fuzz-failures/`; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from tests.fuzz.laws import check
from tests.fuzz.texts import SORTS

FAILURES = Path("fuzz-failures")
MOST_SECONDS = 5.0
MOST_MEMORY = 2 << 30
MOST_FAILURES = 20


class TookTooLong(Exception):
    """An input used more processor time than any may."""


def made(seed: int, number: int) -> tuple[str, str]:
    """Give the sort and the text of an input."""
    sort = list(SORTS)[number % len(SORTS)]
    return sort, SORTS[sort](Random(f"{seed}:{number}"))


@contextmanager
def bounded_time() -> Iterator[None]:
    """Raise `TookTooLong` in what runs too long."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TookTooLong(f"more than {MOST_SECONDS} s of processor time")

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def hold(seed: int, number: int, counts: Counter[tuple[str, str]]) -> bool:
    """Check one input; report and save it when a law is broken."""
    sort, text = made(seed, number)
    try:
        with bounded_time():
            counts[sort, check(sort, text)] += 1
    except Exception:  # whatever comes out is what is looked for
        FAILURES.mkdir(exist_ok=True)
        place = FAILURES / f"{seed}-{number}.txt"
        place.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
        print(f"\n{sort}: {text[:2000]!r}\n{traceback.format_exc(limit=-6)}")
        print(f"saved as {place}; again: python -m tests.fuzz.run --seed {seed} --only {number}", flush=True)
        counts[sort, "FAILED"] += 1
        return False
    return True


def report(counts: Counter[tuple[str, str]], seconds: float) -> None:
    for sort in SORTS:
        parts = [f"{count} {what}" for (kind, what), count in sorted(counts.items()) if kind == sort]
        print(f"{sort}: {', '.join(parts) or 'none'}")
    total = counts.total()
    print(f"{total} inputs in {seconds:.0f} s, {total / max(seconds, 0.001):.0f} a second")


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold made-up texts against the laws of the language.")
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of one input, to replay it")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
    counts: Counter[tuple[str, str]] = Counter()
    numbers = range(options.inputs) if options.only is None else [options.only]
    started, failed = time.monotonic(), 0
    for number in numbers:
        failed += not hold(options.seed, number, counts)
        if failed >= MOST_FAILURES:
            print(f"{failed} failures; the rest is left out")
            break
    report(counts, time.monotonic() - started)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
