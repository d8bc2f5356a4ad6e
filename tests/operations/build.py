"""Builders for the tests of operations: a folder with a configuration, its values, its plan file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, Source
from brevplan.lang.values import Value
from brevplan.operations import planfile, variables
from brevplan.operations.apply import Applied, Hooks, apply
from brevplan.operations.given import Given
from brevplan.operations.plan import plan
from brevplan.operations.planfile import Content, PlanFile
from brevplan.operations.planning import Request
from brevplan.operations.project import KINDS, load_project, load_sources
from brevplan.render.plan_json import plan_document
from tests.world import Lab


def collected(
    text: str,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    given: Sequence[Given] = (),
    files: Mapping[str, str] | None = None,
) -> tuple[dict[str, Value], list[Diagnostic]]:
    """Give the values of the variables that `text` declares."""
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    config = load_sources(folder, [Source("main.hcl", text)]).config
    diagnostics = Diagnostics()
    return variables.collect(config, folder, environment or {}, given, diagnostics), diagnostics.items


def written(lab: Lab, **fields: Any) -> Path:
    """Plan what stands in the folder's `main.hcl` into a file; give its path."""
    (lab.folder / "main.hcl").write_text(lab.text)
    path = lab.folder / "a.plan"

    async def run() -> Content:
        project = load_project(lab.folder)
        request = lab.request(**fields)
        async with plan(project, request, lab.outside) as found:
            document = plan_document(
                found.folded.plan, {name: kind.schema for name, kind in KINDS.items()}, config=project.config,
                variables=found.values, version="0", timestamp="2026-01-01T00:00:00Z",
            )  # fmt: skip
            return planfile.build(found, request, "0", document, "lineage")

    planfile.write(path, asyncio.run(run()))
    return path


def carried_out(
    lab: Lab, path: Path, *, environment: Mapping[str, str] | None = None, given: tuple[Given, ...] = ()
) -> Applied:
    """Apply a plan file as the command does; raise what that raises."""

    async def run() -> Applied:
        approved: PlanFile = planfile.read(path)
        request = replace(Request(environment=environment or {}), given=given)
        approved.check_given(request)
        hooks = Hooks(lambda found: True, lab.events.append, lab.said.append)
        return await apply(
            approved.project(lab.folder), approved.request(request), lab.outside, hooks, approved=approved
        )

    return asyncio.run(run())


def refused(lab: Lab, path: Path, **fields: Any) -> list[str]:
    """Give what is said when a plan file is not applied; fail when it is."""
    try:
        done = carried_out(lab, path, **fields)
    except DiagnosticsError as problem:
        return [f"{item.summary}: {item.detail} {item.hint}" for item in problem.diagnostics]
    raise AssertionError(f"it was applied: {done}")


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found
