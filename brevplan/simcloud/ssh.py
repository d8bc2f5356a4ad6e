"""The shells of simulated machines: real SSH over loopback, real commands in a folder that stands for the machine.

A machine's folder is its home, and what `$BREVPLAN_ROOT` names: what a real machine has below `/` is below it. Its
`bin` comes first in PATH and holds stand-ins for what only a whole machine has; all else is what this computer has, run
by its user: so let nobody in but the holder of the machine's own key.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncssh

from brevplan.contract.model import Gpu
from brevplan.simcloud.stand_ins import ENFORCED_FILE, FILES, PROGRAMS, RULES_FILE

if TYPE_CHECKING:
    from asyncssh import SSHAcceptor, SSHKey, SSHReader, SSHServerConnection, SSHServerProcess, SSHWriter

_MACHINE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_RULE: Final = re.compile(
    r"allow (?:from (?P<source>\S+) to any port )?(?P<low>\d+)(?::(?P<high>\d+))?(?:/| proto )?(?P<protocol>tcp|udp)?"
    r"(?: comment .*)?\Z"
)


@dataclass(frozen=True, slots=True)
class _Open:
    acceptor: SSHAcceptor
    where: tuple[str, int]
    commands: _Commands
    connections: set[SSHServerConnection]


class MachineShells:
    """SSH servers of simulated machines, one a machine; `folder` holds one folder for each, by its id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, _Open] = {}

    async def open(
        self, machine_id: str, public_key_line: str, gpus: Sequence[Gpu], host: str = "127.0.0.1", port: int = 0
    ) -> tuple[str, int]:
        """Let the holder of a key into a machine, by any user name, and give host and port; open already, where it is.

        What the machine has on its disk from an earlier time stays, its host key among it.
        """
        if machine_id in self._open:
            return self._open[machine_id].where
        home = self.home(machine_id)
        _furnish(home, public_key_line, gpus)
        commands = _Commands(home)
        connections: set[SSHServerConnection] = set()
        acceptor = await asyncssh.listen(
            host,
            port,
            server_factory=lambda: _Server(home, connections),
            server_host_keys=[_host_key(home)],
            process_factory=commands.run,
            encoding=None,
            reuse_address=True,
        )
        where = (host, acceptor.get_port())
        self._open[machine_id] = _Open(acceptor, where, commands, connections)
        return where

    def home(self, machine_id: str) -> Path:
        """Give the folder of a machine, there or not."""
        if not _MACHINE.match(machine_id):
            raise ValueError(f"{machine_id!r} is not the id of a simulated machine")
        return self._folder / machine_id

    async def boot(self, machine_id: str, script: str) -> int:
        """Run a start-up script as a first start does; give its exit status."""
        home = self.home(machine_id)
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-s",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(home, "root"),
            cwd=home,
        )
        await process.communicate(script.encode())
        return process.returncode or 0

    async def close(self, machine_id: str) -> None:
        """Let nobody in any more, and end the connections that stand; a machine that is not open stays so."""
        entry = self._open.pop(machine_id, None)
        if entry is not None:
            entry.acceptor.close()
            await entry.acceptor.wait_closed()
            for connection in list(entry.connections):
                connection.abort()
                await connection.wait_closed()
            await entry.commands.end()

    async def aclose(self) -> None:
        for machine_id in list(self._open):
            await self.close(machine_id)


def environment(home: Path, user: str) -> dict[str, str]:
    """Give the environment of a command on a machine."""
    path = os.environ.get("PATH", os.defpath)
    return {
        "PATH": f"{home / 'bin'}:{path}",
        "HOME": str(home),
        "USER": user,
        "LOGNAME": user,
        "BREVPLAN_ROOT": str(home),
        "LANG": "C.UTF-8",
    }


def lets_in(home: Path, port: int, source: str) -> bool:
    """Tell whether the firewall of a machine, as its files have it, lets a TCP connection in."""
    if "ENABLED=yes" not in (home / "etc/ufw/ufw.conf").read_text():
        return True
    for line in (home / RULES_FILE).read_text().splitlines():
        rule = _RULE.match(line)
        if rule is None or rule["protocol"] == "udp":
            continue
        if not int(rule["low"]) <= port <= int(rule["high"] or rule["low"]):
            continue
        if rule["source"] in (None, "any") or ip_address(source) in ip_network(rule["source"]):
            return True
    return False


class _Server(asyncssh.SSHServer):
    """One connection to a machine: lets the keys in its authorized_keys in, and where told to, its firewall judge."""

    def __init__(self, home: Path, connections: set[SSHServerConnection]) -> None:
        self._home = home
        self._connections = connections
        self._own: SSHServerConnection | None = None

    def connection_made(self, conn: SSHServerConnection) -> None:
        self._own = conn
        self._connections.add(conn)
        source, port = conn.get_extra_info("peername")[0], conn.get_extra_info("sockname")[1]
        if (self._home / ENFORCED_FILE).exists() and not lets_in(self._home, port, source):
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._own is not None:
            self._connections.discard(self._own)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False

    def validate_public_key(self, username: str, key: SSHKey) -> bool:
        shown = key.export_public_key("openssh").decode().split()[:2]
        lines = (self._home / ".ssh/authorized_keys").read_text().splitlines()
        return any(line.split()[:2] == shown for line in lines)


class _Commands:
    """The commands of a machine that run."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, process: SSHServerProcess[bytes]) -> None:
        task = asyncio.ensure_future(self._run(process))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    async def end(self) -> None:
        """Wait until no command runs any more; the connections that they belong to are gone."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, process: SSHServerProcess[bytes]) -> None:
        arguments = ["-c", process.command] if process.command else []
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(self._home, process.get_extra_info("username")),
            cwd=self._home,
            start_new_session=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        giving = asyncio.ensure_future(_give(process.stdin, child.stdin))
        ending = asyncio.ensure_future(self._end_with(process, child))
        await asyncio.gather(_pass(child.stdout, process.stdout), _pass(child.stderr, process.stderr))
        status = await child.wait()
        giving.cancel()
        ending.cancel()
        await asyncio.gather(giving, ending, return_exceptions=True)
        child.stdin.close()
        if not process.channel.is_closing():
            process.exit(status if status >= 0 else 128 - status)

    async def _end_with(self, process: SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
        """End a command and what it started when its connection goes, but for what took a session of its own."""
        await process.channel.wait_closed()
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


async def _pass(
    source: asyncio.StreamReader | SSHReader[bytes], target: asyncio.StreamWriter | SSHWriter[bytes]
) -> None:
    """Hand on what comes until it ends; what nobody takes any more is read all the same, so that it does end."""
    while block := await source.read(1 << 16):
        with suppress(OSError):
            target.write(block)
            await target.drain()


async def _give(source: SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    await _pass(source, target)
    target.close()


def _furnish(home: Path, public_key_line: str, gpus: Sequence[Gpu]) -> None:
    for name, text in FILES.items():
        _write_once(home / name, text)
    _write_once(home / ".ssh/authorized_keys", f"{public_key_line.strip()}\n", mode=0o600)
    (home / "gpus.csv").write_text(_listing(gpus))
    (home / "bin").mkdir(exist_ok=True)
    for name, text in PROGRAMS.items():
        program = home / "bin" / name
        program.write_text(text)
        program.chmod(0o755)


def _write_once(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=mode)
        path.write_text(text)


def _listing(gpus: Sequence[Gpu]) -> str:
    """Write what the driver prints: its long names, and the memory that is left of the nominal, in MiB."""
    lines = []
    for gpu in gpus:
        maker = "" if gpu.name.upper().startswith("NVIDIA") else "NVIDIA "
        size = f" {gpu.memory.total // 10**9}GB" if gpu.memory else ""
        lines += [f"{maker}{gpu.name}{size}, {round(gpu.memory.total * 1.065 / 2**20)}\n"] * gpu.count
    return "".join(lines)


def _host_key(home: Path) -> SSHKey:
    """Give the host key of a machine, made at its first start and kept."""
    file = home / "etc/ssh/host_key"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(file)
    return asyncssh.read_private_key(file)
