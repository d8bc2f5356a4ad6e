"""How `brevplan providers verify` talks: the question, each item as it is decided, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from brevplan.cli.terminal import Terminal
from brevplan.contract.conformance.item import Outcome, Result, Suite
from brevplan.diagnostics import failure
from brevplan.operations.verify import Hooks, Offered, Verified, Wanted, verify
from brevplan.operations.world import system_world

_SIGNS = {Outcome.PASSED: "ok", Outcome.FAILED: "FAILED", Outcome.NOT_APPLICABLE: "n/a", Outcome.SKIPPED: "skipped"}
_LEFT = "Stopped at once: what was launched and not said to be gone goes on running. Terminate it by hand."


def carry_out(
    terminal: Terminal, name: str, only: str | None, max_price: Decimal | None, instance_type: str, approved: bool
) -> int:
    """Verify and show; give the exit code. Raises `DiagnosticsError`."""
    wanted = Wanted(name, Suite(only) if only is not None else None, max_price, instance_type)
    try:
        done = asyncio.run(_verify(terminal, wanted, approved))
    except asyncio.CancelledError:
        terminal.error_line("Interrupted: nothing more was asked.")
        return 1
    finally:
        terminal.signals.ask(None)
    return finish(terminal, done)


async def _verify(terminal: Terminal, wanted: Wanted, approved: bool) -> Verified:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def hear() -> None:
        loop.call_soon_threadsafe(stop)

    def stop() -> None:
        terminal.error_line("\nStopping: what was launched is being terminated. Once more stops at once.")
        task.cancel()

    hooks = Hooks(
        approve=lambda offered: _approve(terminal, offered, approved),
        report=lambda result: _show(terminal, result),
        tell=terminal.error_line,
        begins=lambda: terminal.signals.ask(hear, _LEFT),
    )
    return await verify(terminal.directory, terminal.environment, system_world(), wanted, hooks)


def _approve(terminal: Terminal, offered: Offered, approved: bool) -> bool:
    item = offered.item
    price = f"${item.base_price.amount:.2f}/hr" if item.base_price is not None else "a price that is not known"
    number = len(offered.suites)
    machines = "one machine" if number == 1 else f"{number} machines, one after the other"
    terminal.error_line(
        f"This launches {machines}, at {offered.account}: {item.type} in {item.location}, {price} each while it runs. "
        "Each is terminated at the end. Launches that have to be refused are tried too."
    )
    if approved:
        return True
    if not terminal.can_ask:
        raise failure(
            "Nobody to ask", "Launching needs approval, and input is not a terminal.",
            hint="Add -yes, or -only=catalogue, which launches nothing.",
        )  # fmt: skip
    return terminal.ask("Shall brevplan launch this?", 'Only "yes" is taken for an answer.')


def _show(terminal: Terminal, result: Result) -> None:
    reason = f": {result.reason}" if result.reason else ""
    sign = _SIGNS[result.outcome]
    terminal.line(f"{sign:<8}{result.suite:<10} {result.item.id:<11} {result.item.title}{reason}")
    terminal.out.flush()


def finish(terminal: Terminal, done: Verified) -> int:
    """Show what it comes to; give the exit code."""
    if done.declined:
        terminal.error_line("\nCancelled: nothing was launched.")
        return 1
    failed = done.count(Outcome.FAILED)
    terminal.line(
        f"\n{done.count(Outcome.PASSED)} passed, {failed} failed, {done.count(Outcome.SKIPPED)} skipped, "
        f"{done.count(Outcome.NOT_APPLICABLE)} not applicable."
    )
    return 1 if failed else 0
