"""A machine's own firewall, changed in place over SSH.

The machine applies the rules and waits to be told to keep them. What tells it is a new connection, made under the new
rules: where that cannot be made, nobody tells it, and the machine goes back to its former rules by itself.
"""

from __future__ import annotations

import asyncio
from typing import Final

from brevplan.contract.client import Clock
from brevplan.contract.model import FirewallRules
from brevplan.contract.ufw import ROLLED_BACK, change_script, confirm_script
from brevplan.engine.reach import CommandFailed, Door, HostKeyChanged, ReachError
from brevplan.ssh.connection import ATTEMPT_S, run_script

APPLY_S: Final = 960.0
"""How long a change may take: the machine gives its own start 300 s, another change 120, and setting the rules 500."""


async def change_firewall(door: Door, rules: FirewallRules, *, clock: Clock, patience_s: int) -> None:
    """Make the rules exactly these; raise `ReachError` when the machine has gone, or will go, back to the former."""
    ports = (door.port,)
    script = change_script(rules, ports, patience_s=patience_s)
    await run_script(door, script, clock=clock, limit_s=APPLY_S, as_root=True)
    await _prove(door, confirm_script(rules, ports), clock, patience_s)


async def _prove(door: Door, script: str, clock: Clock, patience_s: int) -> None:
    end = clock.monotonic() + patience_s
    last: ReachError | None = None
    while (left := end - clock.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(ATTEMPT_S, left)):
                await run_script(door, script, clock=clock, limit_s=ATTEMPT_S, as_root=True)
            return
        except TimeoutError:
            continue
        except HostKeyChanged:
            raise
        except CommandFailed as error:
            if error.exit_status == ROLLED_BACK:
                raise ReachError(f"{door}: the new firewall rules were not confirmed in time; {_BACK}") from None
            last = error
        except ReachError as error:
            last = error
        await clock.sleep(min(1.0, max(0.0, end - clock.monotonic())))
    raise ReachError(
        f"{door}: no way in under the new firewall rules, so the machine goes back to the former ones by itself;"
        f" check that a rule lets SSH in from here ({last or 'no answer'})"
    )


_BACK: Final = "the machine has put the former ones back"
