"""`make matrix`: what each cloud can do, by the tests that prove it, as a table in the README.

Abilities and items come of the conformance suite, put to each provider's client at its simulated API. Whether a machine
is adopted after its answer was lost, and how many calls were held against the provider's own interface description,
come of the tests of the providers, which are run for it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from brevplan.contract.conformance.item import Outcome, Result
from brevplan.contract.conformance.scene import Setup
from brevplan.contract.conformance.suites import run, suites_for
from brevplan.contract.model import FirewallPattern, RefId
from brevplan.providers import registry
from tests.contract.clients import CLIENTS

ROOT: Final = Path(__file__).parents[1]
COUNTED: Final = "BREVPLAN_COUNT_CALLS"
"""Names a file into which the tests write how many calls were held against a description."""

ABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "list": ("P-3", "C-38", "C-40"),
    "create": ("C-28", "C-33"),
    "stop/start": ("X-18",),
    "tags changed": ("P-13",),
    "firewall changed": ("X-24",),
    "resize": ("P-15",),
    "reboot": ("X-21",),
    "images": ("P-17",),
    "prices": ("C-21",),
}
"""Each with the items of the conformance suite that prove it."""

PATTERNS: Final = {
    FirewallPattern.ALLOWLIST: "a list of addresses",
    FirewallPattern.NATIVE: "the cloud's own",
    FirewallPattern.USER_DATA: "a start-up script",
}
"""How rules come into force when a machine is made."""

_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuY6PuXNmyrB4jqJ5YVhE0W0nqXUGGy1jdz4ZyM1QyR matrix"
_BEGIN, _END = "<!-- matrix -->", "<!-- end of matrix -->"
_OTHERWISE: Final = {"aws": "all, by its SDK", "local": "no API", "nebius": "all, by its SDK"}
"""How calls are checked where there is no description for HTTP."""
_LOST: Final = re.compile(
    r"lost_answer_(neither|of_a_list|of_a_launch)|answer_that_cannot_be_read|launch_(without_an_answer|that_was_lost)"
)
"""How tests are called that lose the answer to a launch."""


def results_of(name: str, folder: Path) -> list[Result]:
    """Put the conformance suite to a provider's client at its simulated API."""

    async def ask() -> list[Result]:
        numbers = itertools.count()
        async with CLIENTS[name](folder) as connected:
            setup = Setup(
                connected.client, connected.clock, lambda: RefId(f"bp-matrix-aaaaaaaaaaaa-{next(numbers):06d}"),
                "bp-matrix", _KEY, stable_ids=connected.stable_ids,
            )  # fmt: skip
            return await run(setup, suites_for(setup))

    return asyncio.run(ask())


def abilities(results: Sequence[Result]) -> list[str]:
    """Give the cells that the conformance suite decides: the abilities, then the counts of items."""
    outcomes: dict[str, set[Outcome]] = {}
    for result in results:
        outcomes.setdefault(result.item.id, set()).add(result.outcome)
    cells = [_cell(set().union(*(outcomes.get(item, set()) for item in items))) for items in ABILITIES.values()]
    counts = Counter(result.outcome for result in results)
    passed, failed = counts[Outcome.PASSED], counts[Outcome.FAILED]
    others = len(results) - passed - failed
    return [*cells, f"{passed} / {others} / {failed}"]


def _cell(outcomes: set[Outcome]) -> str:
    if Outcome.FAILED in outcomes:
        return "fails"
    return "yes" if Outcome.PASSED in outcomes else "no"


def header() -> list[str]:
    return [
        "cloud",
        *ABILITIES,
        "items passed / not applicable / failing",
        "firewall at create",
        "found after a lost answer",
        "calls checked",
    ]


def table(rows: Iterable[Sequence[str]]) -> str:
    """Write rows as a Markdown table, the first one being its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Run the tests of the providers; give by provider how many lost answers were made good, and calls checked."""
    report, counts = folder / "report.xml", folder / "calls.json"
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        f"--junitxml={report}",
        "tests/providers",
        "tests/protocol/test_create.py",
    ]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, COUNTED: str(counts)}, timeout=1500, check=False)
    if done.returncode != 0:
        raise SystemExit("the tests of the providers fail: there is nothing to say of them")
    lost: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        module, name = str(case.get("classname")).rpartition(".")[2], str(case.get("name"))
        good = case.find("skipped") is None and _LOST.search(name)
        if good and module.endswith("_lifecycle"):
            lost[module.removeprefix("test_").removesuffix("_lifecycle")] += 1
        elif good and module == "test_create":
            lost["local"] += 1
    checked: Counter[str] = Counter()
    for one in folder.glob(f"{counts.name}.*"):  # one a process
        checked.update(json.loads(one.read_text()))
    return dict(lost), dict(checked)


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lost, checked = measured(folder)
        rows = [header()]
        for name in sorted(CLIENTS):
            (folder / name).mkdir()
            found = f"{lost[name]} tests" if lost.get(name) else "no"
            calls = f"{checked[name]:,}" if checked.get(name) else _OTHERWISE.get(name, "none")
            cells = abilities(results_of(name, folder / name))
            rows.append([f"`{name}`", *cells, PATTERNS[registry.spec(name).traits.firewall_pattern], found, calls])
    text = table(rows)
    print(text)
    readme = ROOT / "README.md"
    document = readme.read_text(encoding="utf-8")
    before, _, rest = document.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
