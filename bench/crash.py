"""`python -m bench.crash`: kill the real `brevplan apply` at random moments; no machine may be lost or doubled.

Each trial is a fresh project of 40 machines on the embedded cloud. The first applies are killed with SIGKILL, then
apply is repeated until it succeeds, and the cloud's own file is compared with the state and the configuration. The
seed decides the trial's cloud and when the kills come, counted from the moment the run takes its lock; where
that finds the run depends on the machine, so a repeated seed repeats the odds and not the instruction.

Then the same without kills, at a cloud that loses the answers of a share of its changes. Beside the results stand those
of Terraform 1.11 on a simulated GPU cloud, measured once with 40 machines a trial.

With `--provider lambda` or `shadeform` the cloud is one of `brevplan simulate`, over HTTP, which stays up while the
applies are killed: 20 machines a trial behind a firewall. In the end they are destroyed, and nothing may be left of
them: no machine, no key, no ruleset.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from bench import projects
from bench.clouds import beside, living, ref_id_of, shown_id, simulated
from bench.measure import BREVPLAN, Workbench
from brevplan.engine.address import Address
from brevplan.engine.identity import address_digest, ref_digest
from brevplan.engine.ports import Role
from brevplan.simcloud.store import Store
from brevplan.state.store import StateStore

MOST_APPLIES: Final = 5
LIMIT_S: Final = 60.0

QUIET: Final = "quiet"
LOSING: Final = "lost answers, no kill"
LOSING_RATE: Final = 0.15

CLOUDS: Final[Mapping[str, Mapping[str, str]]] = {
    QUIET: {},
    "boots": {"boot_time": "400ms"},
    "lags": {"list_lag": "300ms"},
    "loses answers": {"lost_response_rate": "0.1"},
    "boots, lags and loses answers": {"boot_time": "300ms", "list_lag": "200ms", "lost_response_rate": "0.05"},
}
"""What the clouds of the trials do, in turn."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where trials take place: at the embedded cloud, or at one of `brevplan simulate`."""

    provider: str = "local"

    @property
    def machines(self) -> int:
        return 40 if self.is_embedded else 20

    @property
    def is_embedded(self) -> bool:
        return self.provider == "local"

    @property
    def launch_s(self) -> float:
        """How long a launch takes, about: several requests over HTTP, or none."""
        return 0.01 if self.is_embedded else 0.3

    def file(self, folder: Path) -> Path:
        """Give the file of the cloud of a project."""
        return folder / "local-cloud.db" if self.is_embedded else folder / "clouds" / f"{self.provider}.db"

    @contextmanager
    def project(self, bench: Workbench, name: str, how: Mapping[str, str], seed: int = 0) -> Iterator[Path]:
        """Give the folder of a fresh project, whose cloud answers until the block ends."""
        if self.is_embedded:
            times = {key: value if key.endswith("_rate") else f'"{value}"' for key, value in how.items()}
            arguments = "".join(f"  {key} = {value}\n" for key, value in times.items()) + f"  seed = {seed}\n"
            yield bench.project(name, projects.counted(self.machines, arguments))
            return
        folder = bench.project(name, "")
        options = [f"-{key.replace('_', '-')}={value}" for key, value in how.items()]
        with simulated(
            folder, "-no-ssh", f"-seed={seed}", *options, environment=bench.environment, names=[self.provider]
        ) as served:
            text = projects.behind_firewall(self.machines, served.block(self.provider))
            (folder / "main.hcl").write_text(text)
            yield folder


EMBEDDED: Final = Ground()
GROUNDS: Final = ("local", "lambda", "shadeform")

TERRAFORM: Final = (
    "Terraform 1.11 on a simulated GPU cloud, killed while it made 40 machines: machines billed and in no state in\n"
    "30 of 30 trials, 277 in all; creates whose answer was lost: 54 of 54 became orphans"
)


@dataclass(slots=True)
class Trial:
    """One project, what was done to it, and what was found wrong with it afterwards."""

    seed: int
    cloud: str
    folder: Path
    kills: int = 0
    """Applies that were still running when their kill came."""
    made_at_kill: list[int] = field(default_factory=list)
    """Machines in the cloud after each kill."""
    applies: int = 0
    converged_s: float = 0.0
    ended: int = 0
    """Machines that were made and terminated on the way to those declared."""
    unanswered: int = 0
    """Launches whose answer was lost."""
    problems: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.crash", description=__doc__)
    parser.add_argument("--provider", choices=GROUNDS, default="local", help="whose API the cloud speaks")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--losing", type=int, default=20, help="trials with lost answers and without kills")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trial; the others count up")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="trials at the same time")
    given = parser.parse_args(argv)
    started = time.monotonic()
    ground = Ground(given.provider)
    trials = list(run_trials(given.seed, given.trials, given.losing, jobs=given.jobs, ground=ground))
    print(f"{summary(trials, ground)}\n{TERRAFORM}\n{time.monotonic() - started:.0f} s")
    return 1 if any(trial.problems for trial in trials) else 0


def run_trials(
    first_seed: int, count: int, losing: int = 0, *, jobs: int = 2, ground: Ground = EMBEDDED
) -> Iterator[Trial]:
    """Run trials with consecutive seeds, the last `losing` without kills. Folders that found nothing are removed."""
    folder = Path(tempfile.mkdtemp(prefix="brevplan-crash-"))
    bench = Workbench(folder)
    _compile(bench)
    wanted = [name for index, name in enumerate(CLOUDS) if index < count]
    work_s = {name: _time_of_work(bench, ground, index, CLOUDS[name]) for index, name in enumerate(wanted)}
    keep = False
    with ThreadPoolExecutor(jobs) as pool:
        last = first_seed + count
        killed = pool.map(lambda seed: run_trial(bench, seed, work_s, ground), range(first_seed, last))
        unanswered = pool.map(lambda seed: run_losing_trial(bench, seed, ground), range(last, last + losing))
        for trial in chain(killed, unanswered):
            if trial.problems:
                keep = True
                print(f"seed {trial.seed} ({trial.cloud}): {'; '.join(trial.problems)}; kept in {trial.folder}")
            else:
                shutil.rmtree(trial.folder)
            yield trial
    if not keep:
        shutil.rmtree(folder)


def run_trial(bench: Workbench, seed: int, work_s: Mapping[str, float], ground: Ground = EMBEDDED) -> Trial:
    """Kill one apply or a few, apply until one succeeds, and look."""
    chance = random.Random(seed)
    cloud = list(work_s)[seed % len(work_s)]
    with _trial(bench, ground, seed, cloud, CLOUDS[cloud]) as (trial, store):
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if _killed_apply(bench, trial.folder, _moment(chance, work_s[cloud], ground)):
                trial.kills += 1
                trial.made_at_kill.append(len(living(store)))
    return trial


def run_losing_trial(bench: Workbench, seed: int, ground: Ground = EMBEDDED) -> Trial:
    """Apply at a cloud that loses answers; whether the machine was made is a matter of chance."""
    with _trial(bench, ground, seed, LOSING, {"lost_response_rate": str(LOSING_RATE)}) as (trial, _):
        pass
    trial.unanswered = (trial.folder / "runs.log").read_text().count(": no answer (")
    return trial


@contextmanager
def _trial(
    bench: Workbench, ground: Ground, seed: int, cloud: str, how: Mapping[str, str]
) -> Iterator[tuple[Trial, Store]]:
    """Give a fresh project; after the block, converge and compare."""
    trial = Trial(seed, cloud, bench.folder / f"seed-{seed}")
    store = Store(ground.file(trial.folder))
    try:
        with ground.project(bench, trial.folder.name, how, seed):
            yield trial, store
            _converge(bench, trial)
            trial.problems += audit(bench, trial.folder, store, ground)
            trial.ended = len(store.machines(include_gone=True)) - len(store.machines())
            if not ground.is_embedded:
                trial.problems += audit_of_the_end(bench, trial.folder, store, ground)
    except (RuntimeError, subprocess.SubprocessError) as problem:
        trial.problems.append(str(problem))
    finally:
        store.close()


def _converge(bench: Workbench, trial: Trial) -> None:
    started = time.monotonic()
    for _ in range(MOST_APPLIES):
        trial.applies += 1
        if _brevplan(bench, trial.folder, "apply", "-auto-approve").returncode == 0:
            break
    else:
        trial.problems.append(f"apply did not succeed in {MOST_APPLIES} runs")
    trial.converged_s = time.monotonic() - started


def audit(bench: Workbench, folder: Path, store: Store, ground: Ground = EMBEDDED) -> list[str]:
    """Compare the cloud with the state and the configuration; give what is wrong."""
    there = _living(store, ground)
    state = StateStore.open(folder / "brevplan.db", create=False)
    if state is None:
        return ["there is no state"]
    try:
        records, intents = state.records(), state.intents()
    finally:
        state.close()
    wanted = set(_wanted(ground))
    recorded = {record.cloud_id: str(record.address) for record in records if record.role is Role.CURRENT}
    recorded.pop("", None)  # firewalls have none
    others = [record for record in records if record.role is not Role.CURRENT]
    problems = [f"{len(there)} machines are in the cloud, not {len(wanted)}"] if len(there) != len(wanted) else []
    problems += [f"orphan {cloud_id} ({address})" for cloud_id, address in there.items() if cloud_id not in recorded]
    problems += [f"{address} is recorded as {item}, which is gone" for item, address in recorded.items()
                 if item not in there]  # fmt: skip
    problems += [f"{count} machines are at {address}" for address, count in Counter(there.values()).items()
                 if count > 1]  # fmt: skip
    problems += [f"{address} is not recorded" for address in sorted(wanted.difference(recorded.values()))]
    problems += [f"{record.address} is left as {record.role.value}" for record in others]
    problems += [f"the launch {intent.ref_id} is left open" for intent in intents if intent.state.value == "open"]
    problems += [f"{record.address} is not settled" for record in records if not record.settled]
    marks = {ref_id_of(machine) for machine in living(store)}
    problems += [f"{item} is kept for no machine" for item in beside(store, ground.provider)
                 if item.split()[-1] not in marks]  # fmt: skip
    listed = _brevplan(bench, folder, "state", "list", "instance.node").stdout.split()
    if sorted(listed) != sorted(wanted):
        problems.append(f"state list shows {len(listed)} addresses, not the {len(wanted)} declared")
    planned = _brevplan(bench, folder, "plan", "-detailed-exitcode")
    if planned.returncode != 0:
        problems.append(f"plan -detailed-exitcode exits {planned.returncode}: {planned.stdout.strip()[-300:]}")
    return problems


def audit_of_the_end(bench: Workbench, folder: Path, store: Store, ground: Ground) -> list[str]:
    """Destroy everything; give what is left of it, at the cloud and in the state."""
    for _ in range(MOST_APPLIES):
        done = _brevplan(bench, folder, "destroy", "-auto-approve")
        if done.returncode == 0:
            break
    else:
        return [f"destroy did not succeed in {MOST_APPLIES} runs: {done.stderr.strip()[-300:]}"]
    problems = [f"{machine.body.cloud_id} is left after destroy" for machine in living(store)]
    problems += [f"{item} is left after destroy" for item in beside(store, ground.provider)]
    listed = _brevplan(bench, folder, "state", "list").stdout.split()
    return problems + [f"{address} is left in the state after destroy" for address in listed]


def _wanted(ground: Ground) -> dict[str, str]:
    """Give the declared addresses, each with the digest that its machine's mark holds."""
    addresses = [f"instance.node[{index}]" for index in range(ground.machines)]
    return {address: address_digest("default", Address.parse(address)) for address in addresses}


def _living(store: Store, ground: Ground) -> dict[str, str]:
    """Give the addresses of the machines that stand, by the id that the cloud's API gives them."""
    addresses = {digest: address for address, digest in _wanted(ground).items()}
    return {
        shown_id(ground.provider, machine.body.cloud_id): addresses.get(ref_digest(ref_id_of(machine)) or "", "")
        for machine in living(store)
    }


@dataclass(frozen=True, slots=True)
class Moment:
    """When a kill comes: so long after the run has said so many lines, counted from when it opened its state."""

    lines: int
    delay_s: float


def _moment(chance: random.Random, work_s: float, ground: Ground) -> Moment:
    """Draw a moment: one in three from the whole run, the others from where machines are being made."""
    if chance.random() < 1 / 3:
        return Moment(0, chance.uniform(0.0, work_s))
    # two lines a machine: it is asked for, and it is there
    return Moment(chance.randrange(1, 2 * ground.machines), chance.uniform(0.0, ground.launch_s))


def _killed_apply(bench: Workbench, folder: Path, moment: Moment) -> bool:
    """Start an apply and kill it at the moment; tell whether it was still running."""
    log = folder / "killed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BREVPLAN, "apply", "-auto-approve"], cwd=folder, env=bench.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=output,
        )  # fmt: skip
        try:
            _wait_for_lock(process, folder)
            _wait_for_lines(process, log, moment.lines)
            process.wait(moment.delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_S)
    return process.returncode == -signal.SIGKILL


def _wait_for_lock(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a run of this process has opened the state: what comes before writes nothing and is not of interest.

    A later run finds the file there, and is waited for by the time its descriptor takes to appear.
    """
    state = (folder / "brevplan.db").resolve()
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if state in _open_files(process.pid):
            return
        time.sleep(0.001)


def _wait_for_lines(process: subprocess.Popen[bytes], log: Path, lines: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if log.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.0005)


def _open_files(pid: int) -> set[Path]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.add(Path(os.readlink(link)))
    except OSError:
        pass  # a descriptor, or the process, went away meanwhile
    return found


def _time_of_work(bench: Workbench, ground: Ground, index: int, how: Mapping[str, str]) -> float:
    """Measure how long an undisturbed apply runs after it has opened its state."""
    with ground.project(bench, f"undisturbed-{index}", how) as folder:
        taken = _time_of_apply(bench, folder)
    shutil.rmtree(folder)
    return taken


def _time_of_apply(bench: Workbench, folder: Path) -> float:
    process = subprocess.Popen(
        [BREVPLAN, "apply", "-auto-approve"], cwd=folder, env=bench.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait_for_lock(process, folder)
    started = time.monotonic()
    process.wait(LIMIT_S)
    return time.monotonic() - started


def _compile(bench: Workbench) -> None:
    """Run each command once, so that the modules are compiled and the kills find the work."""
    folder = bench.project("compiled-by", projects.counted(1))
    for words in (("apply", "-auto-approve"), ("plan",), ("state", "list")):
        done = _brevplan(bench, folder, *words)
        if done.returncode != 0:
            raise RuntimeError(f"brevplan {words[0]} does not work here: {done.stderr.strip()[-500:]}")
    shutil.rmtree(folder)


def _brevplan(bench: Workbench, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [BREVPLAN, *words], cwd=folder, env=bench.environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    with (folder / "runs.log").open("a") as log:
        log.write(f"$ brevplan {' '.join(words)}\n{done.stdout}{done.stderr}exit {done.returncode}\n")
    return done


def summary(trials: Sequence[Trial], ground: Ground = EMBEDDED) -> str:
    """Say by kind of cloud how the trials went."""
    lines = [f"{'':<32}{'trials':>7}{'killed':>8}{'mid-way':>9}{'applies':>9}{'seconds':>9}{'ended':>7}"
             f"{'unanswered':>12}{'wrong':>7}"]  # fmt: skip
    for name in [*CLOUDS, LOSING, "all"]:
        some = [trial for trial in trials if name in ("all", trial.cloud)]
        if not some:
            continue
        midway = sum(1 for trial in some for made in trial.made_at_kill if 0 < made < ground.machines)
        lines.append(
            f"{name:<32}{len(some):>7}{sum(trial.kills for trial in some):>8}{midway:>9}"
            f"{max(trial.applies for trial in some):>9}"
            f"{statistics.median(trial.converged_s for trial in some):>9.2f}"
            f"{sum(trial.ended for trial in some):>7}{sum(trial.unanswered for trial in some):>12}"
            f"{sum(1 for trial in some if trial.problems):>7}"
        )
    text = "\n".join(lines)
    return (
        f"{text}\nkilled: applies that a kill ended; mid-way: kills with some of the machines made; applies: most runs "
        "until one succeeded;\nseconds: median until then; ended: machines made and terminated on the way;\n"
        "unanswered: launches whose answer was lost, told in the trials without kills; "
        "wrong: trials with a machine lost, doubled or unrecorded"
    )


if __name__ == "__main__":
    sys.exit(main())
