"""`python -m bench.run`: what the commands cost on the embedded cloud, against the budgets and beside Terraform."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.budgets import Verdict, judge
from bench.life import STEPS, Life, Tool, brevplan, calls_of_a_plan, live, terraform
from bench.measure import BREVPLAN, Cost, Workbench
from bench.parsing import Parsing, measure_parsing

RESULTS: Final = Path(__file__).with_name("results")
GRAPH_LIBRARY: Final = "networkx"


def main(argv: Sequence[str] | None = None) -> int:
    given = _arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no command is left running behind
    sizes = sorted({int(text) for text in given.sizes.split(",")})
    times = 1 if given.quick else 3
    folder = Path(tempfile.mkdtemp(prefix="brevplan-bench-"))
    bench = Workbench(folder)
    live(bench, brevplan(), "count", 3, times=1, limit_s=given.limit)  # leaves every module compiled
    starts = _starts(bench, times + 2)
    heavy = _heavy_imports(bench)
    _print_starts(starts)
    parsings = [
        measure_parsing(bench, count, times=times, limit_s=given.limit, beside=given.terraform_up_to > 0)
        for count in sizes
    ]
    _print_parsings(parsings)
    lives: list[Life] = []
    for form in ("count", "literal"):
        for count in sizes:
            ours = live(bench, brevplan(), form, count, times=times, limit_s=given.limit)
            theirs = _theirs(bench, form, count, times, given)
            lives += [ours, *([theirs] if theirs is not None else [])]
            _print_life(ours, theirs)
    list_calls = {count: calls_of_a_plan(bench, count) for count in sizes if count <= 1000}
    if terraform() is None:
        print("\nterraform is not on the PATH: no comparison.")
    verdicts = list(judge(starts, lives, list_calls, heavy, parsings))
    print("\nBudgets, by processor time:")
    for verdict in verdicts:
        print(f"  {verdict}")
    failures = [f"{life.tool}, {life.form} form of {life.count}: {life.failure}" for life in lives if life.failure]
    for failure in failures:
        print(f"  not finished: {failure}")
    print(f"\nWritten to {_write(starts, parsings, lives, list_calls, verdicts)}")
    if any("see " in failure for failure in failures):
        return 1
    shutil.rmtree(folder)
    return 1 if given.strict and not all(verdict.is_met for verdict in verdicts) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--sizes", default="100,1000,10000", help="machines, comma-separated")
    parser.add_argument("--quick", action="store_true", help="every command once")
    parser.add_argument(
        "--terraform-up-to", type=int, default=1000, metavar="N",
        help="most machines to compare with Terraform, which takes minutes for 10,000 (default 1000; 0: never)",
    )  # fmt: skip
    parser.add_argument("--limit", type=float, default=120.0, help="most seconds for one command")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a budget is missed")
    return parser.parse_args(argv)


def _starts(bench: Workbench, times: int) -> dict[str, Cost]:
    """Measure what every command pays: the start alone, and a plan with nothing to do."""
    where = bench.project("empty", "")
    words = {name: (BREVPLAN, name) for name in ("--help", "version", "plan")}
    found = {name: bench.best(command, where, limit_s=60, times=times) for name, command in words.items()}
    return {"--help": found["--help"], "version": found["version"], "empty plan": found["plan"]}


def _heavy_imports(bench: Workbench) -> list[str]:
    """Name the modules of the graph library that a plan with nothing to do loads: there should be none."""
    code = "import sys; from brevplan.cli.main import main; sys.argv = ['brevplan', 'plan']; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], cwd=bench.folder / "empty", env=bench.environment,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return [name for name in names if name.split(".")[0] == GRAPH_LIBRARY]


def _theirs(bench: Workbench, form: str, count: int, times: int, given: argparse.Namespace) -> Life | None:
    tool: Tool | None = terraform()
    if tool is None or count > given.terraform_up_to:
        return None
    return live(bench, tool, form, count, times=times, limit_s=given.limit)


def _print_starts(starts: dict[str, Cost]) -> None:
    print(f"{'':<24}{'wall s':>9}{'cpu s':>9}{'MiB':>8}")
    for name, cost in starts.items():
        print(f"{name:<24}{cost.wall_s:>9.3f}{cost.cpu_s:>9.3f}{cost.peak_mib:>8.0f}")


def _print_parsings(parsings: Sequence[Parsing]) -> None:
    print(f"\n{'literal blocks':<16}{'MB':>7}{'parsed':>18}{'from the cache':>18}   validate, cpu s")
    print(f"{'':<23}{'s':>8}{'MB/s':>10}{'s':>8}{'MB/s':>10}{'first':>8}{'again':>8}{'terraform':>11}")
    for found in parsings:
        reading = found.reading
        parsed, cached = reading.speeds()
        theirs = f"{found.terraform_validate.cpu_s:>11.3f}" if found.terraform_validate is not None else f"{'-':>11}"
        print(
            f"{found.count:<16}{reading.megabytes:>7.2f}{reading.parse_s:>8.3f}{parsed:>10.1f}{reading.cached_s:>8.3f}"
            f"{cached:>10.1f}{found.validate_cold.cpu_s:>8.3f}{found.validate_cached.cpu_s:>8.3f}{theirs}",
            flush=True,
        )


def _print_life(ours: Life, theirs: Life | None) -> None:
    print(f"\n{ours.count} machines, {ours.form} form")
    beside = f"{'terraform cpu s':>18}{'brevplan/terraform':>20}" if theirs is not None else ""
    print(f"  {'':<22}{'wall s':>9}{'cpu s':>9}{'MiB':>8}{'MB to files':>13}{beside}")
    for step in STEPS:
        cost = ours.costs.get(step)
        if cost is None:
            continue
        row = (
            f"  {step:<22}{cost.wall_s:>9.3f}{cost.cpu_s:>9.3f}{cost.peak_mib:>8.0f}"
            f"{cost.written_to_files / 1e6:>13.2f}"
        )
        print(row + (_beside(cost, theirs.costs.get(step)) if theirs is not None else ""), flush=True)
    if ours.state_bytes:
        print(
            f"  state {ours.state_bytes / 1e6:.2f} MB, {ours.state_written / 1e6:.2f} MB written to it: "
            f"{ours.state_written / ours.state_bytes:.1f} × its size"
        )
    for life in (ours, theirs):
        if life is not None and life.failure:
            print(f"  {life.tool}: {life.failure}")


def _beside(ours: Cost, theirs: Cost | None) -> str:
    if theirs is None:
        return f"{'-':>18}{'-':>20}"
    if theirs.timed_out:
        return f"{f'> {theirs.cpu_s:.1f}':>18}{f'< {ours.cpu_s / theirs.cpu_s:.2f}':>20}"
    return f"{theirs.cpu_s:>18.3f}{ours.cpu_s / theirs.cpu_s:>20.2f}"


def _write(
    starts: dict[str, Cost],
    parsings: Sequence[Parsing],
    lives: Sequence[Life],
    list_calls: dict[int, int],
    verdicts: Sequence[Verdict],
) -> Path:
    now = datetime.now(UTC)
    document = {
        "at": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "starts": {name: asdict(cost) for name, cost in starts.items()},
        "parsings": [asdict(parsing) for parsing in parsings],
        "lives": [asdict(life) for life in lives],
        "calls_of_a_plan": list_calls,
        "budgets": [asdict(verdict) | {"met": verdict.is_met} for verdict in verdicts],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
