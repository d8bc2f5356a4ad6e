"""`providers verify` as a person meets it: the question before anything is launched, and Ctrl-C in the middle."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from brevplan.cli.providers import verify_
from brevplan.cli.terminal import Terminal
from brevplan.cli.verify import finish
from brevplan.contract.conformance.item import Outcome, Result, Suite
from brevplan.contract.conformance.suites import ITEMS
from brevplan.operations.verify import Verified
from brevplan.simcloud.store import Store
from tests.cli.test_processes import COMMAND, _answer

SLOW = 'provider "local" { boot_time = "120s" }\n'


def machines(folder: Path) -> list[str]:
    return [machine.body.cloud_id for machine in Store(folder / "local-cloud.db").machines(include_gone=True)]


def living(folder: Path) -> list[str]:
    return [machine.body.cloud_id for machine in Store(folder / "local-cloud.db").machines()]


def test_verify_asks_before_it_launches_and_takes_no_for_an_answer(tmp_path: Path) -> None:
    code, shown = _answer(tmp_path, "no", "providers", "verify", "local")
    assert code == 1
    assert "cpu_4x_general in asia-south1, $0.12/hr each while it runs" in shown
    assert shown.index("$0.12/hr") < shown.index("Shall brevplan launch this?")
    assert "Cancelled: nothing was launched." in shown
    assert machines(tmp_path) == []


def test_verify_does_it_for_a_yes(tmp_path: Path) -> None:
    code, shown = _answer(tmp_path, "yes", "providers", "verify", "local", "-only=lifecycle")
    assert code == 0
    assert "0 failed, 0 skipped" in shown
    assert len(machines(tmp_path)) == 1
    assert living(tmp_path) == []


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.FAILED, 1), (Outcome.SKIPPED, 0), (Outcome.NOT_APPLICABLE, 0)])
def test_verify_ends_with_1_when_an_item_failed(outcome: Outcome, code: int) -> None:
    out = io.StringIO()
    item = ITEMS[Suite.CATALOGUE][0]
    results = [Result(Suite.CATALOGUE, item, Outcome.PASSED), Result(Suite.CATALOGUE, item, outcome, "why")]
    assert finish(Terminal({}, [], out), Verified(results)) == code
    assert "1 passed" in out.getvalue()
    assert f"1 {outcome}" in out.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_verify_broken_off_ends_what_it_launched(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "main.hcl").write_text(SLOW)
    words = [*COMMAND, f"-chdir={tmp_path}", "providers", "verify", "local", "-yes"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not ((tmp_path / "local-cloud.db").exists() and living(tmp_path)):
            assert time.monotonic() < deadline, "nothing was launched"
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Stopping: what was launched is being terminated." in err
    assert "i-00000001 is gone.\nInterrupted: nothing more was asked.\n" in err
    assert "Traceback" not in out + err
    assert living(tmp_path) == []


def test_listing_providers_loads_no_suite() -> None:
    code = (
        "import sys; from brevplan.cli.main import run; from brevplan.cli.terminal import Terminal; "
        "run(['providers'], Terminal({}, [])); "
        "print([name for name in sys.modules if name.startswith('brevplan.contract.conformance')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_takes_the_suites_that_there_are() -> None:
    only = next(option for option in verify_.params if option.name == "only")
    assert isinstance(only.type, click.Choice)
    assert list(only.type.choices) == [suite.value for suite in Suite]
