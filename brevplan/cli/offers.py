"""`brevplan offers`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from brevplan.cli.options import to_amount
from brevplan.cli.terminal import Terminal
from brevplan.operations.offers import Offer
from brevplan.operations.offers import offers as find
from brevplan.operations.world import system_world
from brevplan.render.tables import render_table


@click.command()
@click.option("--gpu", default="", metavar="NAME[-nGB][:COUNT]", help="Only these GPUs, for example H100:8.")
@click.option("--max-price", metavar="USD", help="At most this much an hour.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def offers(terminal: Terminal, gpu: str, max_price: str | None, as_json: bool, no_color: bool) -> int:
    """List what can be rented, cheapest first."""
    limit = to_amount(max_price, "-max-price")
    found = asyncio.run(find(terminal.directory, terminal.environment, system_world(), gpu=gpu, max_price=limit))
    code = 1 if found.problems else 0
    if as_json:
        terminal.json_line({"format_version": "1.0", "offers": [_json(offer) for offer in found.items]})
        terminal.show(found.problems)
        return code
    terminal.show(found.problems)
    if not found.items:
        terminal.line("Nothing matches.")
        return code
    headers = ["PRICE/HR", "TYPE", "LOCATION", "GPU", "VCPU", "MEMORY", "STOCK", "PROVIDER"]
    terminal.lines(render_table(headers, [_row(offer) for offer in found.items]))
    for provider, age in sorted({(offer.provider, int(offer.age_s)) for offer in found.items}):
        if age >= 1:
            terminal.line(f"\nThe catalogue of {provider} was read {age} s ago.")
    return code


def _row(offer: Offer) -> list[str]:
    item = offer.item
    gpus = ", ".join(f"{gpu.count}x {gpu.name} {gpu.memory.value}{gpu.memory.unit}" for gpu in item.gpus) or "-"
    price = f"${item.base_price.amount:.2f}" if item.base_price is not None else "unknown"
    stock = "none" if not item.is_available else (str(item.stock) if item.stock is not None else "yes")
    return [price, item.type, item.location, gpus, str(item.vcpu), str(item.memory), stock, offer.provider]


def _json(offer: Offer) -> dict[str, Any]:
    item = offer.item
    gpu = item.gpus[0] if item.gpus else None
    return {
        "provider": offer.provider,
        "instance_type": item.type,
        "location": item.location,
        "gpu": gpu.name if gpu is not None else None,
        "gpu_count": gpu.count if gpu is not None else 0,
        "gpu_memory_bytes": gpu.memory.total if gpu is not None else None,
        "vcpu": item.vcpu,
        "memory_bytes": item.memory.total,
        "hourly_price": float(item.base_price.amount) if item.base_price is not None else None,
        "available": item.is_available,
        "stock": item.stock,
        "stoppable": item.stoppable,
        "spot": item.spot,
        "architectures": list(item.architectures),
        "instance_type_id": item.id,
    }
