"""`brevplan simulate`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from brevplan.cli.terminal import Terminal
from brevplan.contract.duration import parse_duration
from brevplan.diagnostics import failure
from brevplan.operations.simulate import ARGUMENTS, KEY_ARGUMENTS, Wishes, check_providers, check_types
from brevplan.operations.simulate import simulate as serve
from brevplan.operations.world import system_world


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8321, metavar="P", help="The port; 0 for a free one.")
@click.option("--provider", "names", multiple=True, metavar="NAME", help="Only this provider; may be repeated.")
@click.option("--path", default=".brevplan/simulate", metavar="DIR", help="Where the clouds keep what they hold.")
@click.option("--key", default="simulated", metavar="KEY", help="The API key that they take.")
@click.option("--ssh-port", type=click.IntRange(1, 65535), default=22, metavar="P", help="The port of SSH (22).")
@click.option("--no-ssh", is_flag=True, help="Machines that cannot be reached over SSH.")
@click.option("--boot-time", default="0s", metavar="D", help="How long a machine boots.")
@click.option("--list-lag", default="0s", metavar="D", help="How far lists are behind.")
@click.option("--fail-rate", type=click.FloatRange(0, 1), default=0.0, metavar="R", help="Share of calls that fail.")
@click.option("--lost-response-rate", type=click.FloatRange(0, 1), default=0.0, metavar="R",
              help="Share of changing calls whose answer is lost.")  # fmt: skip
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of the failures.")
@click.option("--out-of-stock", default="", metavar="TYPE,…", help="Types that cannot be had.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Rate limit of each cloud.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def simulate(terminal: Terminal, /, names: tuple[str, ...], path: str, key: str, no_color: bool, **how: Any) -> int:
    """Serve simulated clouds over HTTP, each speaking its provider's API, until Ctrl-C."""
    wanted = check_providers(names)
    if not key.strip():
        raise failure("Invalid option", "-key is empty: the clouds would let everybody in.", hint="-key=simulated")
    wishes = Wishes(
        Path(terminal.directory, path).absolute(),
        key,
        how["port"],
        None if how["no_ssh"] else how["ssh_port"],
        _duration("-boot-time", how["boot_time"]),
        _duration("-list-lag", how["list_lag"]),
        how["fail_rate"],
        how["lost_response_rate"],
        how["seed"],
        check_types(filter(None, how["out_of_stock"].split(","))),
        how["requests_per_minute"],
    )

    def ready(endpoints: dict[str, str], port_of_ssh: int | None) -> None:
        terminal.line("# Simulated clouds; Ctrl-C ends them. Point a provider at one:")
        for name, endpoint in endpoints.items():
            terminal.lines(_block(name, endpoint, wishes))
        if port_of_ssh not in (None, 22):
            terminal.line(f"\n# SSH of machines is on port {port_of_ssh}: ssh {{ port = {port_of_ssh} }}")
        terminal.flush()

    asyncio.run(serve(wanted, wishes, system_world(), ready, terminal.signals.ask))
    return 0


def _block(name: str, endpoint: str, wishes: Wishes) -> Iterator[str]:
    """Give the provider block that leads to a simulated cloud, with the limits that this one has."""
    yield f'\nprovider "{name}" {{'
    yield f"  {KEY_ARGUMENTS.get(name, 'api_key'):<19} = {json.dumps(wishes.key)}"
    yield f'  endpoint            = "{endpoint}"'
    for argument, written in ARGUMENTS.get(name, {}).items():
        yield f"  {argument:<19} = {written}"
    yield f"  requests_per_minute = {wishes.requests_per_minute or 6000}"
    yield f"  creates_per_minute  = {wishes.requests_per_minute or 6000}"
    yield f'  grace_window        = "{wishes.list_lag_s + 1:g}s"'
    yield "}"


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise failure("Invalid option", f"{option}: {problem}.", hint="For example: 30s") from None
