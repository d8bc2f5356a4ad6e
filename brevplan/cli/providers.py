"""`brevplan providers`: what each cloud can do, and whether it really does."""

from __future__ import annotations

from typing import Any

import click

from brevplan.cli.options import to_amount
from brevplan.cli.terminal import Terminal
from brevplan.contract.client import Capability
from brevplan.operations.providers import Need, Provider
from brevplan.operations.providers import providers as find
from brevplan.render.tables import render_table

_SUITES = ("catalogue", "lifecycle", "firewall")


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
@click.option("--only", type=click.Choice(_SUITES), help="Only this suite; catalogue reads.")
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
    from brevplan.cli.verify import carry_out  # the suite, and what it needs to launch machines

    return carry_out(terminal, name, only, to_amount(max_price, "-max-price"), instance_type, approved)
