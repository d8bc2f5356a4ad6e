"""`brevplan simulate` as a user runs it: what it prints works as printed, and it ends and goes on as it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.clouds import Served, beside, living, simulated
from bench.measure import BREVPLAN
from brevplan.simcloud.store import Store

LIMIT_S = 30
KEY_PUB = (Path(__file__).parents[2] / "examples" / "quickstart" / "key.pub").read_text().strip()
NAMES = ("lambda", "shadeform")
BOTH = pytest.mark.parametrize("name", NAMES)


def run(folder: Path, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, and check how it ends."""
    done = subprocess.run(
        [BREVPLAN, *words], cwd=folder, env=os.environ | more, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def declare(folder: Path, block: str, count: int = 1, body: str = "") -> None:
    (folder / "main.hcl").write_text(
        f'brevplan {{\n  project = "practice"\n}}\n\n{block}\n'
        f'resource "instance" "node" {{\n  count         = {count}\n  instance_type = "gpu_1x_a10"\n'
        f'  location      = "us-west-1"\n  public_key    = "{KEY_PUB}"\n{body}}}\n'
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machines(served: Served, name: str) -> list[str]:
    store = Store(served.folder / f"{name}.db")
    try:
        return [machine.body.cloud_id for machine in living(store)]
    finally:
        store.close()


def status(url: str, header: str, value: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={header: value}), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with simulated(tmp_path, "-no-ssh") as clouds:
        yield clouds


# What it prints


def test_it_prints_one_block_for_each_cloud(served: Served) -> None:
    lines = served.said.splitlines()
    assert lines[0] == "# Simulated clouds; Ctrl-C ends them. Point a provider at one:"
    assert sorted(served.endpoints) == ["lambda", "shadeform"]
    port = served.endpoints["lambda"].split("/")[2]
    assert served.endpoints == {"lambda": f"http://{port}/lambda/api/v1", "shadeform": f"http://{port}/shadeform/v1"}
    assert port.startswith("127.0.0.1:")


@BOTH
def test_block_works_as_printed(name: str, tmp_path: Path, served: Served) -> None:
    declare(tmp_path, served.block(name))
    run(tmp_path, "fmt", "-check")
    shown = run(tmp_path, "plan", "-detailed-exitcode", code=2).stdout
    assert "Plan: 1 to add, 0 to change, 0 to destroy." in shown
    assert "gpu_1x_a10" in run(tmp_path, "offers", "-gpu=A10:1").stdout


@BOTH
def test_machines_come_and_go_and_leave_nothing(name: str, tmp_path: Path, served: Served) -> None:
    declare(tmp_path, served.block(name), count=2)
    run(tmp_path, "apply", "-auto-approve")
    run(tmp_path, "plan", "-detailed-exitcode")
    assert len(machines(served, name)) == 2
    run(tmp_path, "destroy", "-auto-approve")
    store = Store(served.folder / f"{name}.db")
    try:
        assert living(store) == []
        assert beside(store, name) == []
    finally:
        store.close()


# Who is let in


@pytest.mark.parametrize(
    ("name", "header", "form"), [("lambda", "Authorization", "Bearer {}"), ("shadeform", "X-API-KEY", "{}")]
)
def test_only_the_key_opens(name: str, header: str, form: str, served: Served) -> None:
    url = f"{served.endpoints[name]}/instances"
    assert status(url, header, form.format("simulated")) == 200
    assert status(url, header, form.format("another")) == 401
    assert status(url, "Accept", "*/*") == 401


@BOTH
def test_wrong_key_is_a_sentence(name: str, tmp_path: Path, served: Served) -> None:
    declare(tmp_path, served.block(name).replace('"simulated"', '"mistyped-key"'))
    done = run(tmp_path, "plan", code=1)
    assert "API key" in done.stdout
    assert "Plan: 0 to add" in done.stdout
    assert "mistyped-key" not in done.stdout + done.stderr


@BOTH
def test_key_of_choice(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-key=mine") as served:
        assert '= "mine"' in served.block(name)
        declare(tmp_path, served.block(name))
        run(tmp_path, "plan", "-detailed-exitcode", code=2)


# Which clouds, where


@BOTH
def test_one_provider_alone(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", names=[name]) as served:
        assert list(served.endpoints) == [name]
        (other,) = set(NAMES) - {name}
        where = served.endpoints[name].partition(f"/{name}")[0]
        assert status(f"{where}/{other}/v1/instances", "X-API-KEY", "simulated") == 404


def test_unknown_provider_is_a_sentence(tmp_path: Path) -> None:
    told = run(tmp_path, "simulate", "-provider=lamda", code=1).stderr
    assert '"lamda" has no simulated cloud.' in told
    assert 'Did you mean "lambda"?' in told


def test_port_of_choice_and_a_taken_one(tmp_path: Path) -> None:
    port = free_port()
    with simulated(tmp_path, "-no-ssh", f"-port={port}") as served:
        assert f":{port}/" in served.endpoints["lambda"]
        told = run(tmp_path, "simulate", "-no-ssh", f"-port={port}", "-path=second", code=1).stderr
        assert "Simulated clouds cannot be served" in told
        assert f"port {port} cannot be listened on" in told
        assert "-port=0 takes a free port." in told


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """A folder before all others on the path holds a module that is not to be had, as where nobody installed it."""
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "uvicorn.py").write_text(
        "raise ModuleNotFoundError('No module named uvicorn', name='uvicorn')"
    )
    path = os.pathsep.join([str(tmp_path / "before"), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = run(tmp_path, "simulate", "-port=0", code=1, PYTHONPATH=path).stderr
    assert "The simulated clouds need uvicorn." in told
    assert "pip install 'brevplan[simulate]'" in told


@pytest.mark.parametrize(
    ("option", "word"), [("-boot-time=soon", "-boot-time: "), ("-fail-rate=2", "2"), ("-port=99999", "99999")]
)
def test_wrong_option_is_a_sentence(option: str, word: str, tmp_path: Path) -> None:
    assert word in run(tmp_path, "simulate", option, code=1).stderr


# How it ends, and goes on


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_at_once_and_quietly(how: signal.Signals, served: Served) -> None:
    said = served.said
    before = time.monotonic()
    assert served.end(how) == 0
    assert time.monotonic() - before < 10
    assert served.said == said


@BOTH
def test_restarted_it_still_has_its_machines(name: str, tmp_path: Path) -> None:
    port = f"-port={free_port()}"
    with simulated(tmp_path, "-no-ssh", port) as served:
        declare(tmp_path, served.block(name), count=2)
        run(tmp_path, "apply", "-auto-approve")
    assert "no connection" in run(tmp_path, "plan", code=1).stdout
    with simulated(tmp_path, "-no-ssh", port) as again:
        run(tmp_path, "plan", "-detailed-exitcode")
        assert len(machines(again, name)) == 2


@BOTH
def test_killed_and_at_another_port_it_still_has_its_machines(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh") as served:
        declare(tmp_path, served.block(name))
        run(tmp_path, "apply", "-auto-approve")
        served.end(signal.SIGKILL)
    with simulated(tmp_path, "-no-ssh") as again:
        declare(tmp_path, again.block(name))
        run(tmp_path, "plan", "-detailed-exitcode")


# How its clouds behave


@BOTH
def test_boot_time(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-boot-time=2s") as served:
        declare(tmp_path, served.block(name))
        before = time.monotonic()
        shown = run(tmp_path, "apply", "-auto-approve")
        assert time.monotonic() - before >= 2
        assert "to run (" in shown.stdout + shown.stderr


@BOTH
def test_out_of_stock(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-out-of-stock=gpu_1x_a10,gpu_1x_l4") as served:
        declare(tmp_path, served.block(name))
        told = run(tmp_path, "apply", "-auto-approve", code=1)
        assert "gpu_1x_a10" in told.stderr + told.stdout
        assert machines(served, name) == []


@BOTH
def test_failing_calls_and_lost_answers_are_overcome(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-fail-rate=0.1", "-lost-response-rate=0.1", "-seed=3") as served:
        declare(tmp_path, served.block(name), count=3)
        for _ in range(5):
            done = subprocess.run(
                [BREVPLAN, "apply", "-auto-approve"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=LIMIT_S, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stderr.decode()
        assert len(machines(served, name)) == 3


@BOTH
def test_a_call_that_fails_is_told_as_what_it_is(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-fail-rate=1") as served:
        declare(tmp_path, served.block(name, "  max_retries = 0\n"))
        assert "HTTP 503" in run(tmp_path, "plan", code=1).stdout


@BOTH
def test_rate_limit_is_waited_out(name: str, tmp_path: Path) -> None:
    with simulated(tmp_path, "-no-ssh", "-requests-per-minute=5") as served:
        declare(tmp_path, served.block(name))
        codes = [status(f"{served.endpoints[name]}/instances", *_credential(name)) for _ in range(7)]
        assert codes.count(429) >= 2
        assert codes[0] == 200


def _credential(name: str) -> tuple[str, str]:
    return ("Authorization", "Bearer simulated") if name == "lambda" else ("X-API-KEY", "simulated")


# SSH


@BOTH
def test_machines_answer_over_ssh_with_the_key_that_they_were_made_with(name: str, tmp_path: Path) -> None:
    make_key(tmp_path)
    port = free_port()
    with simulated(tmp_path, f"-ssh-port={port}") as served:
        assert f"# SSH of machines is on port {port}: ssh {{ port = {port} }}" in served.said
        declare_with_ssh(tmp_path, served.block(name), port)
        run(tmp_path, "apply", "-auto-approve")
        run(tmp_path, "plan", "-detailed-exitcode")
        shown = run(tmp_path, "output", "-raw", "ip").stdout
        assert shown.startswith("127.")
        run(tmp_path, "destroy", "-auto-approve")


def make_key(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "import asyncssh, sys; key = asyncssh.generate_private_key('ssh-ed25519'); "
         "key.write_private_key('key'); key.write_public_key('key.pub')"],
        cwd=folder, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    (folder / "key").chmod(0o600)


def declare_with_ssh(folder: Path, block: str, port: int) -> None:
    declare(
        folder, block,
        body=f'  ssh {{\n    port             = {port}\n    private_key_file = "key"\n    timeout          = "30s"\n'
             '    verify_gpu       = true\n  }\n',
    )  # fmt: skip
    text = (folder / "main.hcl").read_text().replace(f'"{KEY_PUB}"', 'file("key.pub")')
    (folder / "main.hcl").write_text(f'{text}output "ip" {{\n  value = instance.node[0].public_ip\n}}\n')


def test_without_ssh_nothing_is_said_of_it(served: Served) -> None:
    assert "SSH" not in served.said


UNPRIVILEGED = 65534
DROPPED = (
    f"import os, sys; os.setgroups([]); os.setgid({UNPRIVILEGED}); os.setuid({UNPRIVILEGED}); "
    "from brevplan.cli.main import main; main(sys.argv[1:])"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as somebody else")
def test_who_may_not_listen_on_22_gets_2222_and_is_told(tmp_path: Path) -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as stream:
        if int(stream.read()) <= 22:
            pytest.skip("anybody may listen on port 22 here")
    with simulated(tmp_path, names=["lambda"]) as served:  # a machine that is there before
        declare(tmp_path, served.block("lambda"))
        run(tmp_path, "apply", "-auto-approve")
    folder = Path("/tmp") / f"brevplan-{tmp_path.name}-{os.getpid()}"
    served.folder.rename(folder)
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        said = _said_by_somebody_else(folder)
        assert "# SSH of machines is on port 2222: ssh { port = 2222 }" in said
    finally:
        subprocess.run(["rm", "-rf", str(folder)], timeout=LIMIT_S, check=True)


def _said_by_somebody_else(folder: Path) -> str:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", DROPPED, "simulate", "-port=0", "-provider=lambda", f"-path={folder}"], cwd="/",
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while "ssh {" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if "ModuleNotFoundError" in log.read_text() or "Permission denied" in log.read_text():
            pytest.skip("somebody else cannot read this Python")
        return log.read_text()
    finally:
        process.terminate()
        process.wait(20)


# A cloud behind bastions


def test_machines_of_launchpad_say_themselves_at_which_port_they_answer(tmp_path: Path) -> None:
    make_key(tmp_path)
    port = free_port()
    with simulated(tmp_path, f"-ssh-port={port}", names=["launchpad"]) as served:
        declare_with_ssh(tmp_path, served.block("launchpad"), port)
        written = (tmp_path / "main.hcl").read_text()
        (line,) = [line for line in written.splitlines(keepends=True) if " ".join(line.split()) == f"port = {port}"]
        (tmp_path / "main.hcl").write_text(written.replace(line, "").replace("gpu_1x_a10", "oci.a10x1.pcie"))
        run(tmp_path, "apply", "-auto-approve")
        run(tmp_path, "plan", "-detailed-exitcode")
        assert len(machines(served, "launchpad")) == 1
        run(tmp_path, "destroy", "-auto-approve")
        assert machines(served, "launchpad") == []


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("-out-of-stock=gpu_1x_a1O", "gpu_1x_a10"),
        ("-out-of-stock=oci.a10x1.pcie", "simulated catalogue"),
        ("-key=", "-key is empty"),
        ("-path=/dev/null/x", "-path says where"),
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_is_served(tmp_path: Path, option: str, told: str) -> None:
    assert told in run(tmp_path, "simulate", "-port=0", "-no-ssh", option, code=1).stderr
