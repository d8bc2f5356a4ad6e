"""How fast a large configuration is read: parsed, from the cache, and as `validate` beside Terraform's.

`python -m bench.parsing FILE FOLDER` measures one file in a process of its own and prints the numbers as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from bench import projects
from bench.life import brevplan, terraform
from bench.measure import Cost, Workbench
from brevplan.diagnostics import Source
from brevplan.lang.collector import collector_paused
from brevplan.operations.parse_cache import ParseCache
from brevplan.operations.project import load_sources, parse_source

_ROOT: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor time to read one file, the best of several times."""

    megabytes: float
    parse_s: float
    cached_s: float

    def speeds(self) -> tuple[float, float]:
        """Give the megabytes of text a second, parsed and from the cache."""
        return self.megabytes / self.parse_s, self.megabytes / self.cached_s


@dataclass(frozen=True, slots=True)
class Parsing:
    """One configuration of `count` literal blocks."""

    count: int
    reading: Reading
    validate_cold: Cost
    validate_cached: Cost
    terraform_validate: Cost | None


def measure_parsing(bench: Workbench, count: int, *, times: int, limit_s: float, beside: bool) -> Parsing:
    """Measure a configuration in a fresh folder; `beside` compares with Terraform where it is on the PATH."""
    where = bench.project(f"parsing-{count}", projects.literal(count))
    found = Parsing(
        count,
        _reading_of(bench, where / "main.hcl"),
        *_validate(bench, where, times=times, limit_s=limit_s),
        _terraform_validate(bench, count, limit_s=limit_s) if beside else None,
    )
    shutil.rmtree(where)
    return found


def _reading_of(bench: Workbench, path: Path) -> Reading:
    """Measure in a process of its own: what this one holds would count as every later command's peak memory."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.parsing", str(path), str(path.parent / "parsed")],
        cwd=_ROOT, env=bench.environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return Reading(**json.loads(done.stdout))


def _validate(bench: Workbench, where: Path, *, times: int, limit_s: float) -> tuple[Cost, Cost]:
    words = brevplan().words["validate"]
    shutil.rmtree(bench.cache, ignore_errors=True)
    return bench.run(words, where, limit_s=limit_s), bench.best(words, where, limit_s=limit_s, times=times)


def _terraform_validate(bench: Workbench, count: int, *, limit_s: float) -> Cost | None:
    tool = terraform()
    if tool is None:
        return None
    where = bench.project(f"parsing-{count}-terraform", tool.write["literal"](count), file=tool.file)
    cost = bench.run(tool.words["validate"], where, limit_s=limit_s)
    shutil.rmtree(where)
    return cost


def read_file(path: Path, folder: Path, *, times: int = 3) -> Reading:
    """Measure in this process."""
    source = Source("main.hcl", path.read_text())
    parse_s = min(_seconds(lambda: parse_source(source)) for _ in range(times))
    load_sources(path.parent, [source], cache=ParseCache(folder))
    cached_s = min(_seconds(lambda: _from_cache(source, folder)) for _ in range(times))
    return Reading(len(source.text.encode()) / 1e6, parse_s, cached_s)


def _from_cache(source: Source, folder: Path) -> None:
    def parse(source: Source) -> NoReturn:
        raise AssertionError(f"{source.name} is not in the cache")

    ParseCache(folder).parse(source, parse)


def _seconds(work: Callable[[], object]) -> float:
    with collector_paused():
        started = time.process_time()
        work()
        return time.process_time() - started


if __name__ == "__main__":
    print(json.dumps(asdict(read_file(Path(sys.argv[1]), Path(sys.argv[2])))))
