"""What a change to the state by hand did, in Terraform's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from brevplan.engine.address import Address, Target
from brevplan.lang.printing import quote


def moved_lines(source: Target, target: Target, blocks: str, *, dry_run: bool = False) -> Iterator[str]:
    """Say what moved, and what to write down for those who do not have this state."""
    if dry_run:
        yield f"Would move {quote(str(source))} to {quote(str(target))}"
        return
    yield f"Move {quote(str(source))} to {quote(str(target))}"
    yield "Successfully moved 1 object(s)."
    yield "\nCommit this together with the renamed configuration: it tells those who do not have this state."
    yield f"\n{blocks.rstrip()}"


def removed_lines(names: Sequence[str], *, dry_run: bool = False) -> Iterator[str]:
    for name in names:
        yield f"{'Would remove' if dry_run else 'Removed'} {name}"
    if not dry_run:
        yield f"Successfully removed {len(names)} resource instance(s)."


def unprotected_lines(addresses: Sequence[Address], untouched: Sequence[Address]) -> Iterator[str]:
    for address in addresses:
        yield f"Unprotected {address}"
    for address in untouched:
        yield f"{address} was not protected"
    yield f"Successfully unprotected {len(addresses)} resource instance(s)."


def pushed_line(resources: int, serial: int) -> str:
    return f"Successfully pushed {resources} resource instance(s); the state has serial {serial}."
