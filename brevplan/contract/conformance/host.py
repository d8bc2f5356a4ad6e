"""The items that look at the machine itself: reached over SSH, its image, and what its firewall lets through."""

from __future__ import annotations

import re
from typing import Final

from brevplan.contract.conformance.item import Failed, Item, NotApplicable, Skipped, expect
from brevplan.contract.conformance.scene import Hosts, Scene, Shell
from brevplan.contract.model import LifecycleStatus

_ATTEMPT_PAUSE_S: Final = 1.0
_SETTLE_S: Final = 0.5
CONNECT_S: Final = 5.0
CONNECTS: Final = 3
_ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_UBUNTU = re.compile(r"Ubuntu (20|22|24)\.04")
_RECEIVED = re.compile(r"(\d+) (?:packets )?received")
_WELCOME: Final = "Welcome to nginx"


def hosts_of(scene: Scene) -> Hosts:
    if scene.setup.hosts is None:
        raise NotApplicable("nothing was handed in that reaches a machine")
    return scene.setup.hosts


def _shell(scene: Scene) -> Shell:
    return hosts_of(scene).shell(scene.machine)


async def _out(scene: Scene, command: str) -> str:
    """Run a command that has to succeed; give its stdout."""
    status, text = await _shell(scene).run(command)
    expect(status == 0, f"exit status {status} of: {command}")
    return text.strip()


# Reached


async def _c42(scene: Scene) -> None:
    await scene.wait_for(LifecycleStatus.RUNNING, scene.setup.limits.running)


async def _c43(scene: Scene) -> None:
    machine = scene.machine
    expect(machine.ssh_user, "there is no SSH user")
    expect(machine.ssh_port, "the SSH port is 0")
    expect(machine.public_ip or "public_ip" not in scene.traits.promises, "there is no public IP")


async def answers(scene: Scene) -> None:
    """Wait until a trivial command succeeds over SSH."""
    shell = _shell(scene)
    deadline = scene.clock.monotonic() + scene.setup.limits.ssh
    while True:
        try:
            status, _ = await shell.run("echo ready")
            reason = f"exit status {status}"
        except OSError as problem:
            status, reason = -1, str(problem) or type(problem).__name__
        if status == 0:
            return
        expect(scene.clock.monotonic() < deadline, f"no SSH within {scene.setup.limits.ssh:.0f} s: {reason}")
        await scene.clock.sleep(_ATTEMPT_PAUSE_S)


async def _c45(scene: Scene) -> None:
    await scene.read()


# The image


async def _c46(scene: Scene) -> None:
    await _shell(scene).run("command -v cloud-init >/dev/null && timeout 600 cloud-init status --wait")


async def _c47(scene: Scene) -> None:
    name = await _out(scene, "uname -m")
    expect(name in _ARCHITECTURES, f'the architecture is "{name}"')


async def _c48(scene: Scene) -> str:
    name = await _out(scene, '. /etc/os-release && echo "$PRETTY_NAME"')
    expect(_UBUNTU.search(name), f'the system is "{name}", not Ubuntu 20.04, 22.04 or 24.04')
    return name


async def _c49(scene: Scene) -> None:
    home, user = await _out(scene, 'echo "$HOME"'), scene.machine.ssh_user
    fitting = ("/home/ubuntu",) if user == "ubuntu" else ("/root", f"/home/{user}")
    expect(any(path in home for path in fitting), f'the home directory of {user} is "{home}"')


async def _c50(scene: Scene) -> None:
    _, text = await _shell(scene).run("systemctl is-system-running")
    expect(text.strip() in ("running", "degraded"), f'systemd is "{text.strip()}"')


async def _c51(scene: Scene) -> None:
    await _out(scene, "sudo -n true")


async def _x17(scene: Scene) -> None:
    found = _ARCHITECTURES.get(await _out(scene, "uname -m"), "unknown")
    wanted = scene.known(scene.offer, "X-8").architectures
    expect(found in wanted, f"the machine is {found}, its type {', '.join(wanted)}")


# The firewall

_RESPONDER: Final = (
    "nohup timeout 90 python3 -c 'import socketserver as s; "
    's.ThreadingTCPServer.allow_reuse_address = True; s.ThreadingTCPServer(("0.0.0.0", {port}), '
    'type("H", (s.BaseRequestHandler,), dict(handle=lambda self: self.request.sendall(b"ok")))).serve_forever()\' '
    ">/dev/null 2>&1 & echo $!"
)
_LOCALLY: Final = "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} && head -c 2 <&3'"


async def blocked(scene: Scene) -> None:
    """Listen on the test port on the machine; nobody outside may get through."""
    if await _connects(scene, CONNECTS):
        raise Failed(f"port {scene.setup.port} can be reached from outside, and no rule opens it")


async def open_to_all(scene: Scene) -> None:
    """Listen on the test port on the machine; one connection from outside has to get through."""
    if not await _connects(scene, 1):
        raise Failed(f"port {scene.setup.port} cannot be reached from outside, and a rule opens it")


async def _connects(scene: Scene, times: int) -> bool:
    port = scene.setup.port
    process = await _out(scene, _RESPONDER.format(port=port))
    try:
        await scene.clock.sleep(_SETTLE_S)
        status, _ = await _shell(scene).run(_LOCALLY.format(port=port))
        if status != 0:  # a port on which nobody listens is shut by itself, which proves nothing
            raise Skipped(f"nothing could be made to listen on port {port} of the machine")
        return await _reaches(scene, port, times)
    finally:
        if process.isdigit():
            await _shell(scene).run(f"kill {process}")


async def _reaches(scene: Scene, port: int, times: int) -> bool:
    for _ in range(times):
        if await hosts_of(scene).connects(scene.machine.public_ip, port, CONNECT_S):
            return True
    return False


async def ssh_port_open(scene: Scene) -> None:
    port = scene.machine.ssh_port
    expect(await _reaches(scene, port, 1), f"the SSH port, {port}, cannot be reached")


def _thorough(scene: Scene) -> Shell:
    shell = _shell(scene)
    if not scene.setup.thorough:
        raise Skipped("it installs software on the machine and takes minutes: only on request")
    return shell


_DOCKER: Final = (
    "sudo -n docker ps >/dev/null 2>&1 || (sudo -n apt-get update -q && sudo -n apt-get install -qy docker.io) "
    ">/dev/null 2>&1; sudo -n docker ps"
)


async def _with_docker(scene: Scene) -> None:
    _thorough(scene)
    await _out(scene, _DOCKER)


async def _c52b(scene: Scene) -> None:
    await _with_docker(scene)
    port = scene.setup.port
    try:
        await _out(scene, f"sudo -n docker run -d --name bp-web -p {port}:80 nginx:alpine")
        locally = f"curl -fsS -o /dev/null http://127.0.0.1:{port}"
        await _out(scene, f"for n in $(seq 30); do {locally} && exit 0; sleep 1; done; exit 1")
        through = await _reaches(scene, port, CONNECTS)
        expect(not through, f"port {port} of a container can be reached from outside, and no rule opens it")
    finally:
        await _shell(scene).run("sudo -n docker rm -f bp-web")


async def _c52c(scene: Scene) -> None:
    await _with_docker(scene)
    _, text = await _shell(scene).run("sudo -n docker run --rm alpine:3 ping -c 3 8.8.8.8")
    received = _RECEIVED.search(text)
    expect(received and int(received[1]) > 0, "a container gets no reply from outside")


async def _c52d(scene: Scene) -> None:
    await _with_docker(scene)
    try:
        await _out(scene, "sudo -n docker network create bp-net && "
                   "sudo -n docker run -d --name bp-web --network bp-net nginx:alpine && sleep 2")  # fmt: skip
        fetch = "sudo -n docker run --rm --network bp-net alpine:3 wget -qO- -T 10 http://bp-web"
        _, text = await _shell(scene).run(fetch)
        expect(_WELCOME in text, "one container does not reach another by its name")
    finally:
        await _shell(scene).run("sudo -n docker rm -f bp-web; sudo -n docker network rm bp-net")


_K8S: Final = (
    "(command -v microk8s || sudo -n snap install microk8s --classic) >/dev/null 2>&1; "
    "sudo -n microk8s status --wait-ready --timeout 120 && sudo -n microk8s enable dns && "
    "sudo -n microk8s kubectl -n kube-system wait pod --all --for=condition=Ready --timeout=120s"
)
_KUBECTL: Final = "sudo -n microk8s kubectl"
_DONE: Final = "--for=jsonpath='{.status.phase}'=Succeeded --timeout=180s"


async def _c52e(scene: Scene) -> None:
    _thorough(scene)
    await _out(scene, _K8S)
    try:
        await _out(scene, f"{_KUBECTL} run bp-ping --image=alpine:3 --restart=Never -- ping -c 3 8.8.8.8 && "
                   f"{_KUBECTL} wait pod/bp-ping {_DONE}")  # fmt: skip
        log = await _out(scene, f"{_KUBECTL} logs bp-ping")
        received = _RECEIVED.search(log)
        expect(received and int(received[1]) == 3, "a pod does not get all of three replies from outside")
    finally:
        await _shell(scene).run(f"{_KUBECTL} delete pod bp-ping --ignore-not-found --now")


async def _c52f(scene: Scene) -> None:
    _thorough(scene)
    await _out(scene, _K8S)
    remove = f"{_KUBECTL} delete pod/bp-web pod/bp-client service/bp-web --ignore-not-found --now"
    await _shell(scene).run(remove)
    fetch = "for n in $(seq 10); do wget -qO- -T 3 http://bp-web && exit 0; sleep 3; done; exit 1"
    try:
        await _out(scene, f"{_KUBECTL} run bp-web --image=nginx:alpine --port=80 && "
                   f"{_KUBECTL} wait pod/bp-web --for=condition=Ready --timeout=180s && "
                   f"{_KUBECTL} expose pod bp-web --port=80 && "
                   f"{_KUBECTL} wait endpoints/bp-web --for=jsonpath='{{.subsets[0].addresses}}' --timeout=60s && "
                   f"{_KUBECTL} run bp-client --image=alpine:3 --restart=Never -- sh -c '{fetch}' && "
                   f"{_KUBECTL} wait pod/bp-client {_DONE}")  # fmt: skip
        expect(_WELCOME in await _out(scene, f"{_KUBECTL} logs bp-client"), "one pod does not reach another")
    finally:
        await _shell(scene).run(remove)


REACHED: Final = (
    Item("C-42", "it runs in time", _c42, launches=True),
    Item("C-43", "SSH user, port and address are there", _c43, launches=True),
    Item("C-44", "it answers over SSH in time", answers, launches=True),
    Item("C-45", "it can be read again", _c45, launches=True),
)

IMAGE: Final = (
    Item("C-46", "its first boot is waited for", _c46, launches=True),
    Item("C-47", "its architecture is a known one", _c47, launches=True),
    Item("C-48", "its system is Ubuntu", _c48, launches=True),
    Item("C-49", "the user has a home", _c49, launches=True),
    Item("C-50", "systemd runs", _c50, launches=True),
    Item("C-51", "the user may use sudo", _c51, launches=True),
    Item("X-17", "its architecture is one of its type's", _x17, launches=True),
)

FIREWALL: Final = (
    Item("C-52a", "a port that no rule opens is shut", blocked, launches=True),
    Item("C-52b", "so is the port of a container", _c52b, launches=True),
    Item("C-52c", "a container reaches the outside", _c52c, launches=True),
    Item("C-52d", "containers reach each other", _c52d, launches=True),
    Item("C-52e", "a pod reaches the outside", _c52e, launches=True),
    Item("C-52f", "pods reach each other", _c52f, launches=True),
)
