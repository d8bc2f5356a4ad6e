"""The port `engine.reach.Reach` over real SSH connections: each call connects anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from brevplan.contract.client import Clock
from brevplan.contract.errors import CloudError
from brevplan.contract.model import FirewallRules
from brevplan.engine.reach import Door, FoundGpu, MachineGone, ReachError, Unreachable
from brevplan.ssh.authorized_keys import authorized_keys_script
from brevplan.ssh.connection import ATTEMPT_S, connected, last_line, run_command, run_on, run_script
from brevplan.ssh.firewall import change_firewall
from brevplan.ssh.gpu import QUERY, parse_gpus

PAUSE_S: Final = 1.0
WATCH_S: Final = 5.0
COMMAND_S: Final = 120.0

_WORD: Final = "brevplan-ready"


class SshReach:
    """Reaches machines over SSH. `patience_s`: how long a machine waits for its new firewall to be confirmed."""

    def __init__(self, clock: Clock, *, patience_s: int = 45) -> None:
        self._clock = clock
        self._patience_s = patience_s

    async def ready(
        self,
        door: Door,
        *,
        timeout: float,
        progress: Callable[[str], None],
        gone: Callable[[], Awaitable[str]] | None = None,
    ) -> str:
        trying = asyncio.ensure_future(self._until_it_answers(door, timeout, progress))
        watching = asyncio.ensure_future(self._until_gone(gone)) if gone is not None else None
        tasks: set[asyncio.Future[str]] = {trying} if watching is None else {trying, watching}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if trying.done() or watching is None:
                return await trying
            raise MachineGone(f"{door} will not answer any more: {await watching}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def gpus(self, door: Door) -> list[FoundGpu]:
        answer = await run_command(door, QUERY, clock=self._clock, limit_s=COMMAND_S)
        return parse_gpus(answer.stdout)

    async def set_firewall(self, door: Door, rules: FirewallRules) -> None:
        await change_firewall(door, rules, clock=self._clock, patience_s=self._patience_s)

    async def set_authorized_keys(self, door: Door, keys: Sequence[str]) -> None:
        await run_script(door, authorized_keys_script(keys), clock=self._clock, limit_s=COMMAND_S)

    # Waiting

    async def _until_it_answers(self, door: Door, timeout: float, progress: Callable[[str], None]) -> str:
        end = self._clock.monotonic() + timeout
        said = ""
        while True:
            try:
                return await self._attempt(door, max(0.1, min(ATTEMPT_S, end - self._clock.monotonic())))
            except ReachError as error:
                if not error.retryable:
                    raise
                if self._clock.monotonic() + PAUSE_S >= end:
                    raise type(error)(f"no SSH within {timeout:.0f} s: {error}") from None
                if str(error) != said:
                    said = str(error)
                    progress(said)
            await self._clock.sleep(PAUSE_S)

    async def _attempt(self, door: Door, limit_s: float) -> str:
        try:
            async with asyncio.timeout(limit_s), connected(door, attempt_s=limit_s) as connection:
                answer = await run_on(connection, door, f"echo {_WORD}", limit_s=limit_s)
                key = connection.get_server_host_key()
        except TimeoutError:
            raise Unreachable(f"{door} did not answer within {limit_s:.0f} s") from None
        # An image may answer every command with advice, such as to log in as somebody else.
        if answer.exit_status != 0 or _WORD not in answer.stdout.split():
            reason = last_line(answer.stdout) or last_line(answer.stderr) or f"exit status {answer.exit_status}"
            raise Unreachable(f"{door} runs no command yet: {reason}")
        if key is None:
            raise Unreachable(f"{door} showed no host key")
        return " ".join(key.export_public_key("openssh").decode().split()[:2])

    async def _until_gone(self, gone: Callable[[], Awaitable[str]]) -> str:
        while True:
            await self._clock.sleep(WATCH_S)
            try:
                reason = await gone()
            except CloudError as error:
                if not error.retryable:
                    raise
                continue
            if reason:
                return reason
