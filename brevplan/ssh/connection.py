"""One SSH connection: how it is opened, what can go wrong with it, and a script run over it. The door to asyncssh.

A kept host key is checked before anything is sent; without one, whoever answers is taken and its key given back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from brevplan.contract.client import Clock
from brevplan.engine.reach import AuthRefused, CommandFailed, Door, HostKeyChanged, ReachError, Unreachable
from brevplan.ssh.door import bare_key, check_door

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

ATTEMPT_S: Final = 30.0
GLITCH_S: Final = 6.0
_WHOLE: Final = "# brevplan: the script is whole"

# A script is taken in whole before any of it runs: a connection that breaks half-way runs nothing.
_RUNNER: Final = (
    'f=$(mktemp) && cat > "$f" && s=0;'
    f' if [ "$(tail -n 1 "$f")" = "{_WHOLE}" ]; then sh "$f" </dev/null || s=$?; else s=74; fi;'
    ' rm -f "$f"; exit $s'
)


@dataclass(frozen=True, slots=True)
class Answer:
    exit_status: int
    stdout: str
    stderr: str


@asynccontextmanager
async def connected(door: Door, *, attempt_s: float = ATTEMPT_S) -> AsyncIterator[SSHClientConnection]:
    """Connect within `attempt_s` seconds; raise `ReachError` of the kind that says whether to try again."""
    check_door(door)
    connection = await _opened(door, attempt_s)
    try:
        yield connection
    finally:
        connection.abort()


async def _opened(door: Door, attempt_s: float) -> SSHClientConnection:
    import asyncssh

    try:
        async with asyncio.timeout(attempt_s):
            return await asyncssh.connect(door.host, door.port, username=door.user, **_options(door))
    except TimeoutError:
        raise Unreachable(f"{door} did not answer within {attempt_s:.0f} s") from None
    except asyncssh.PermissionDenied:
        raise AuthRefused(f"{door} does not accept the key of {_key_source(door)}") from None
    except asyncssh.HostKeyNotVerifiable:
        raise changed_host_key(door) from None
    except asyncssh.KeyExchangeFailed as error:
        if door.host_key:
            raise changed_host_key(door) from None
        raise Unreachable(f"{door}: {error.reason}") from None
    except asyncssh.Error as error:
        raise Unreachable(f"{door} ended the connection: {error.reason or 'no reason given'}") from None
    except OSError as error:
        raise Unreachable(f"{door}: {_plain(error)}") from None


def _options(door: Door) -> dict[str, Any]:
    import asyncssh

    options: dict[str, Any] = {
        "config": None,
        "known_hosts": None,
        "connect_timeout": None,
        "login_timeout": None,
        "keepalive_interval": 15,
        "preferred_auth": "publickey",
    }
    if door.host_key:
        options["known_hosts"] = ([asyncssh.import_public_key(bare_key(door.host_key))], [], [])
    if door.private_key_file:
        options["client_keys"] = [_private_key(door.private_key_file)]
        options["agent_path"] = None
    return options


def _private_key(name: str) -> Any:
    import asyncssh

    path = os.path.expanduser(name)
    try:
        return asyncssh.read_private_key(path)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        # Told by its words alone: "Passphrase must be specified to import encrypted private keys".
        if "passphrase" in str(error).lower():
            raise ReachError(
                f"the private key {name} is locked with a passphrase; run ssh-add {name} and leave private_key_file out"
            ) from None
        raise ReachError(f"{name} is not a private key that can be read; write one such as ~/.ssh/id_ed25519") from None
    except OSError as error:
        raise ReachError(f"the private key {name} cannot be read: {_plain(error)}") from None


def changed_host_key(door: Door) -> HostKeyChanged:
    return HostKeyChanged(
        f"{door} shows another host key than at first contact, so nothing was sent to it: either the machine was"
        " installed anew, or another one answers at its address"
    )


def _key_source(door: Door) -> str:
    return door.private_key_file or "the SSH agent or ~/.ssh"


def _plain(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


async def run_script(door: Door, script: str, *, clock: Clock, limit_s: float, as_root: bool = False) -> Answer:
    """Run a shell script there over a new connection; raise `CommandFailed` when it does not end well.

    Neither script nor keys show in any process argument. Opening a session is tried again for 6 seconds, running
    the script never.
    """
    runner = _RUNNER if not as_root or door.user == "root" else f"sudo -n sh -c {_quoted(_RUNNER)}"
    answer = await run_command(door, runner, clock=clock, limit_s=limit_s, given=f"{script}\n{_WHOLE}\n")
    if answer.exit_status == 0:
        return answer
    reason = last_line(answer.stderr) or last_line(answer.stdout) or "it said nothing"
    if as_root and answer.stderr.lstrip().startswith("sudo:"):
        reason += "; brevplan needs sudo without a password there"
    raise CommandFailed(
        f"{door}: a command ended with status {answer.exit_status}: {reason}", answer.exit_status, answer.stderr
    )


async def run_command(door: Door, command: str, *, clock: Clock, limit_s: float, given: str = "") -> Answer:
    """Run one command over a new connection and give what came of it; `limit_s` bounds its running."""
    pause = 0.25
    end = clock.monotonic() + GLITCH_S
    while True:
        try:
            async with connected(door) as connection:
                return await run_on(connection, door, command, limit_s=limit_s, given=given)
        except SessionNotOpened as glitch:
            if clock.monotonic() + pause > end:
                raise Unreachable(str(glitch)) from None
            await clock.sleep(pause)
            pause = min(3.0, pause * 2)


class SessionNotOpened(Unreachable):
    """The connection stood, and no session could be opened on it: nothing has run."""


async def run_on(
    connection: SSHClientConnection, door: Door, command: str, *, limit_s: float, given: str = ""
) -> Answer:
    """Run a command on a connection that stands."""
    import asyncssh

    try:
        async with asyncio.timeout(limit_s):
            try:
                process = await connection.create_process(command, encoding="utf-8", errors="replace")
            except (asyncssh.ChannelOpenError, asyncssh.ConnectionLost) as error:
                raise SessionNotOpened(f"{door} opened no session: {error.reason}") from None
            async with process:
                stdout, stderr = await process.communicate(given)
    except TimeoutError:
        raise Unreachable(f"{door}: a command did not end within {limit_s:.0f} s") from None
    except asyncssh.Error as error:
        raise Unreachable(f"{door} ended the connection: {error.reason or 'no reason given'}") from None
    except OSError as error:
        raise Unreachable(f"{door}: {_plain(error)}") from None
    if process.exit_status is None:
        raise Unreachable(f"{door}: the connection ended before the command did")
    return Answer(process.exit_status, str(stdout or ""), str(stderr or ""))


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def last_line(text: str) -> str:
    """Give the last line that says something, no longer than a person reads."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    printable = "".join(character for character in (lines[-1] if lines else "") if character.isprintable())
    return printable[:200]
