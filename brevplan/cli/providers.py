"""`brevplan providers`: what each cloud can do, and whether it really does."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from brevplan.cli.options import to_amount
from brevplan.cli.terminal import Terminal
from brevplan.contract.client import Capability
from brevplan.contract.conformance.item import Outcome, Result, Suite
from brevplan.diagnostics import failure
from brevplan.operations.providers import Need, Provider
from brevplan.operations.providers import providers as find
from brevplan.operations.verify import Hooks, Offered, Verified, Wanted, verify
from brevplan.operations.world import system_world
from brevplan.render.tables import render_table

_SIGNS = {Outcome.PASSED: "ok", Outcome.FAILED: "FAILED", Outcome.NOT_APPLICABLE: "n/a", Outcome.SKIPPED: "skipped"}

_LEFT = "Stopped at once: what was launched and not said to be gone goes on running. Terminate it by hand."


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_context
def providers(context: click.Context, as_json: bool, no_color: bool) -> int:
    """List the clouds and the configured provider blocks: what each can do, and what it needs."""
    if context.invoked_subcommand is not None:
        return 0
    terminal: Terminal = context.obj
    terminal.json = as_json
    found = find(terminal.directory, terminal.environment)
    if as_json:
        terminal.json_line({"format_version": "1.0", "providers": [_json(one) for one in found]})
        return 0
    headers = ["PROVIDER", "CREATE", "STOP/START", "REBOOT", "RESIZE", "TAGS", "IMAGES", "USER DATA", "FIREWALL",
               "RECOVERABLE", "GRACE", "NEEDS"]  # fmt: skip
    terminal.lines(render_table(headers, [_row(one) for one in found]))
    return 0


def _row(one: Provider) -> list[object]:
    return [
        one.name,
        "idempotent" if one.has(Capability.CREATE_IDEMPOTENT) else "yes",
        one.has(Capability.STOP_START),
        one.has(Capability.REBOOT),
        one.has(Capability.RESIZE_VOLUME),
        one.tags,
        one.has(Capability.IMAGES),
        one.has(Capability.USER_DATA),
        one.traits.firewall_pattern.value,
        one.traits.recoverable,
        f"{one.traits.grace_window_s:g}s",
        ", ".join(map(_need, one.needs)) or "nothing",
    ]


def _need(need: Need) -> str:
    ways = f"{need.argument} or ${need.environment}" if need.environment else need.argument
    return f"{ways} (set)" if need.is_set else ways


def _json(one: Provider) -> dict[str, Any]:
    traits = one.traits
    return {
        "name": one.name,
        "provider": one.provider,
        "configured": one.is_configured,
        "capabilities": sorted(traits.capabilities),
        "tags": one.tags,
        "reports": sorted(traits.reports),
        "firewall": traits.firewall_pattern.value,
        "recoverable": traits.recoverable,
        "grace_window_seconds": traits.grace_window_s,
        "needs": [{"argument": need.argument, "environment": need.environment, "set": need.is_set}
                  for need in one.needs],
    }  # fmt: skip


@providers.command("verify")
@click.option("--max-price", metavar="USD", help="Launch nothing that costs more than this an hour.")
@click.option("--instance-type", default="", metavar="TYPE", help="Launch this type, not the cheapest.")
@click.option("--only", type=click.Choice([suite.value for suite in Suite]), help="Only this suite; catalogue reads.")
@click.option("--yes", "approved", is_flag=True, help="Launch without asking.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.argument("name", metavar="NAME")
@click.pass_obj
def verify_(
    terminal: Terminal, max_price: str | None, instance_type: str, only: str | None, approved: bool, no_color: bool,
    name: str,
) -> int:  # fmt: skip
    """Put the conformance suite to a provider, or to a configured block such as shadeform.burst.

    Machines that it launches are terminated again, whatever happens.
    """
    suite = Suite(only) if only is not None else None
    wanted = Wanted(name, suite, to_amount(max_price, "-max-price"), instance_type)
    try:
        done = asyncio.run(_verify(terminal, wanted, approved))
    except asyncio.CancelledError:
        terminal.error_line("Interrupted: nothing more was asked.")
        return 1
    finally:
        terminal.signals.ask(None)
    return _finish(terminal, done)


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
        "Each is terminated at the end. A type that is out of stock is asked for too, and has to be refused."
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


def _finish(terminal: Terminal, done: Verified) -> int:
    if done.declined:
        terminal.error_line("\nCancelled: nothing was launched.")
        return 1
    failed = done.count(Outcome.FAILED)
    terminal.line(
        f"\n{done.count(Outcome.PASSED)} passed, {failed} failed, {done.count(Outcome.SKIPPED)} skipped, "
        f"{done.count(Outcome.NOT_APPLICABLE)} not applicable."
    )
    return 1 if failed else 0
