"""What `discover` shows: a table of the machines that no row is about, and their price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from brevplan.engine.address import Address
from brevplan.engine.discovery import UNACCOUNTED, Discovered, Standing, hourly_price, hourly_total
from brevplan.render.money import dollars, hourly
from brevplan.render.tables import render_table

_HEADERS = ["PROVIDER", "ID", "NAME", "TYPE", "LOCATION", "STATUS", "PRICE/HR", "WHAT IT IS"]


def render_discovered(found: Sequence[Discovered]) -> Iterator[str]:
    """Give the table, and what the unaccounted-for costs."""
    if not found:
        yield "Nothing lives in the configured accounts that is not recorded."
        return
    yield from render_table(_HEADERS, [_row(item) for item in found], right=["PRICE/HR"])
    number = sum(item.standing in UNACCOUNTED for item in found)
    if number:
        total, unknown = hourly_total(found)
        more = f" + {unknown} of unknown price" if unknown else ""
        yield f"\nNobody accounts for {number} machine{'s' if number > 1 else ''}: {hourly(total)}{more}"


def _row(item: Discovered) -> list[str]:
    machine = item.machine
    amount = hourly_price(machine)
    price = dollars(amount) if amount is not None else "unknown"
    return [
        item.alias, machine.cloud_id, machine.name or "-", machine.instance_type or "-", machine.location or "-",
        machine.status.value, price, what_it_is(item),
    ]  # fmt: skip


def what_it_is(item: Discovered) -> str:
    """Say in a few words whose a machine is."""
    at = f" {item.address}" if item.address is not None else ""
    match item.standing:
        case Standing.ADOPTABLE:
            return f"{item.address}: the next plan adopts it"
        case Standing.IMPORT:
            return f"{item.address}: named by an import block"
        case Standing.ATTEMPT:
            return f"an attempt at {item.address}: the next apply settles it"
        case Standing.DOUBLED:
            return f"ours, one of several that bear the mark of {item.address}"
        case Standing.ORPHAN:
            return f"ours, not declared{f', marked as{at}' if at else ''}"
        case Standing.FORGOTTEN:
            return f"let go{at}"
        case Standing.WORKSPACE:
            return f"of the workspace {item.owner}{f':{at}' if at else ''}"
        case Standing.PROJECT:
            return f"of the project {item.owner}{f':{at}' if at else ''}"
        case Standing.FOREIGN:
            return "foreign"


def discovered_document(found: Sequence[Discovered], adopted: Mapping[Address, Discovered]) -> dict[str, Any]:
    """Give the same for other programs."""
    total, unknown = hourly_total(found)
    by_id = {id(item): address for address, item in adopted.items()}
    return {
        "format_version": "1.0",
        "machines": [_document(item, by_id.get(id(item))) for item in found],
        "unaccounted": {
            "machines": sum(item.standing in UNACCOUNTED for item in found),
            "hourly_price": float(total),
            "unknown_prices": unknown,
        },
    }


def _document(item: Discovered, adopted: Address | None) -> dict[str, Any]:
    machine = item.machine
    amount = hourly_price(machine)
    return {
        "provider": item.alias,
        "id": machine.cloud_id,
        "ref_id": machine.ref_id or None,
        "name": machine.name or None,
        "instance_type": machine.instance_type or None,
        "location": machine.location or None,
        "status": machine.status.value,
        "hourly_price": float(amount) if amount is not None else None,
        "standing": item.standing.value,
        "address": str(item.address) if item.address is not None else None,
        "owner": item.owner or None,
        "adopted_as": str(adopted) if adopted is not None else None,
    }
