"""`brevplan plan`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from brevplan.cli.options import PlanArguments, plan_options, to_request
from brevplan.cli.terminal import Terminal
from brevplan.cli.view import PlanView
from brevplan.operations import planfile
from brevplan.operations.plan import plan as make_plan
from brevplan.operations.planning import Request, load_checked
from brevplan.operations.stored import read
from brevplan.operations.world import system_world
from brevplan.version import VERSION


@click.command()
@plan_options
@click.option("--out", metavar="FILE", help="Write the plan for apply.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option("--json-into", metavar="FILE", help="Write the JSON lines to a file, beside the text.")
@click.option("--md", is_flag=True, help="Print Markdown, for a pull request.")
@click.option("--generate-config-out", metavar="FILE", help="Write what import blocks name and nobody declares.")
@click.pass_obj
def plan(
    terminal: Terminal,
    /,
    out: str | None,
    detailed_exitcode: bool,
    json_into: str | None,
    md: bool,
    generate_config_out: str | None,
    **options: Any,
) -> int:
    """Show what would change, and what it costs. Only reads at the clouds."""
    arguments = PlanArguments(**options)
    terminal.json = arguments.as_json
    request = to_request(arguments, terminal)
    if generate_config_out is not None:
        from brevplan.operations.generating import check_target  # it brings the parser along

        path = Path(terminal.directory, generate_config_out)
        check_target(path)
        request = replace(request, generate_into=path)
    with PlanView(terminal, concise=arguments.concise, markdown=md, json_into=json_into) as view:
        return asyncio.run(_plan(terminal, request, view, out, detailed_exitcode))


async def _plan(terminal: Terminal, request: Request, view: PlanView, out: str | None, detailed: bool) -> int:
    world = system_world()
    project = load_checked(terminal.directory, request, world.clock.now())
    async with make_plan(project, request, world) as found:
        view.diagnostics(found.diagnostics.items)
        if out is not None:
            path = Path(terminal.directory, out)
            content = planfile.build(
                found, request, VERSION, view.document(found), read(terminal.directory, request).lineage
            )
            planfile.write(path, content)
        view.plan(found)
        if out is not None:
            view.saved(out, applyable=content.applyable)
        view.end()
        plan = found.folded.plan
        if plan.blocked:
            return 1
        return 2 if detailed and (plan.has_changes or plan.drift) else 0
