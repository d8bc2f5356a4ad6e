"""`brevplan simulate`: the simulated clouds over HTTP, for trying a configuration, and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from errno import EADDRINUSE

from brevplan.diagnostics import failure, suggest
from brevplan.operations.world import Outside
from brevplan.simcloud.practice import ARGUMENTS, FACES, KEY_ARGUMENTS, Practice, Wishes, type_names

__all__ = ["ARGUMENTS", "KEY_ARGUMENTS", "Wishes", "check_providers", "check_types", "simulate"]


def check_providers(names: Sequence[str]) -> list[str]:
    """Give the providers to serve, all of them where none is named; raise `DiagnosticsError`."""
    for name in names:
        if name not in FACES:
            hint = suggest(name, sorted(FACES)) or f"There are: {', '.join(sorted(FACES))}."
            raise failure("Unknown provider", f'"{name}" has no simulated cloud.', hint=hint)
    return sorted(set(names)) or sorted(FACES)


def check_types(names: Iterable[str]) -> frozenset[str]:
    """Give the names of types of the simulated catalogue; raise `DiagnosticsError` for one that is not in it."""
    wanted, known = frozenset(names), type_names()
    for name in sorted(wanted - known):
        raise failure(
            "Unknown instance type", f'"{name}" is no type of the simulated catalogue.',
            hint=suggest(name, sorted(known)) or "brevplan offers, without any provider configured, lists them.",
        )  # fmt: skip
    return wanted


async def simulate(
    names: Sequence[str],
    wishes: Wishes,
    world: Outside,
    ready: Callable[[dict[str, str], int | None], None],
    stopper: Callable[[Callable[[], None]], None],
) -> None:
    """Serve until `stopper`'s callback is called; raise `DiagnosticsError` where that cannot be.

    `ready` is given the endpoints by provider and the port of SSH, once they answer.
    """
    try:
        practice = Practice(names, wishes, world.clock)
        over = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(over.set)

        stopper(end)
        endpoints = await practice.start()
    except ImportError as problem:
        raise failure(
            "Extra is missing", f"The simulated clouds need {problem.name}.", hint="pip install 'brevplan[simulate]'"
        ) from None
    except OSError as problem:
        hint = "-port=0 takes a free port." if problem.errno == EADDRINUSE else "-path says where the clouds are kept."
        told = f"{problem.strerror or problem}: {problem.filename}" if problem.filename else problem.strerror or problem
        raise failure("Simulated clouds cannot be served", f"{told}.", hint=hint) from None
    try:
        ready(endpoints, practice.ssh_port)
        await over.wait()
    finally:
        await practice.stop()
