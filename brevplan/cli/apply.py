"""`brevplan apply` and `brevplan destroy`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from brevplan.cli.interrupts import Interrupts
from brevplan.cli.options import PlanArguments, plan_options, to_request
from brevplan.cli.terminal import Terminal
from brevplan.cli.view import PlanView
from brevplan.diagnostics import DiagnosticsError, error, failure
from brevplan.engine.events import Notice
from brevplan.operations import planfile
from brevplan.operations.apply import Applied, Hooks
from brevplan.operations.apply import apply as carry_out
from brevplan.operations.planning import Planned, Request, load_checked
from brevplan.operations.world import system_world


@click.command()
@plan_options
@click.option("--auto-approve", default="false", metavar="[=no-destroy]", help="Do not ask.")
@click.argument("planfile_path", metavar="[PLANFILE]", required=False)
@click.pass_obj
def apply(terminal: Terminal, /, auto_approve: str, planfile_path: str | None, **options: Any) -> int:
    """Make the clouds match the configuration, or carry out a plan file."""
    return _apply(terminal, auto_approve, planfile_path, PlanArguments(**options), "apply")


@click.command()
@plan_options
@click.option("--auto-approve", default="false", metavar="", help="Do not ask.")
@click.pass_obj
def destroy(terminal: Terminal, /, auto_approve: str, **options: Any) -> int:
    """Destroy everything that the state holds: the same as apply -destroy."""
    return _apply(terminal, auto_approve, None, PlanArguments(**{**options, "destroying": True}), "destroy")


def _apply(terminal: Terminal, auto_approve: str, path: str | None, arguments: PlanArguments, command: str) -> int:
    terminal.json = arguments.as_json
    request = to_request(arguments, terminal)
    if auto_approve not in ("true", "false", "no-destroy"):
        raise failure("Invalid option", f'-auto-approve may be alone or =no-destroy, not "{auto_approve}".')
    if terminal.json and auto_approve == "false" and path is None:
        raise failure(
            "Nobody to ask", "With -json there is no prompt.", hint="Add -auto-approve, or apply a plan file."
        )
    with PlanView(terminal, concise=arguments.concise) as view:
        return asyncio.run(_run(terminal, request, view, auto_approve, path, command))


async def _run(
    terminal: Terminal, request: Request, view: PlanView, auto_approve: str, path: str | None, command: str
) -> int:
    world = system_world()
    approved = planfile.read(Path(terminal.directory, path)) if path is not None else None
    if approved is not None:
        _check_planfile(approved, request)
        request = approved.request(request)
        project = approved.project(terminal.directory)
    else:
        project = load_checked(terminal.directory, request, world.clock.now())
    interrupts = Interrupts(terminal.signals, view.event)
    hooks = Hooks(
        lambda found: _approve(terminal, view, found, auto_approve, approved is not None),
        interrupts.event,
        (lambda text: view.event(Notice(text))) if terminal.json else terminal.error_line,
        interrupts.running,
    )
    done = await carry_out(project, request, world, hooks, command=command, approved=approved)
    return _finish(terminal, view, done, command if approved is None else "apply")


def _check_planfile(approved: planfile.PlanFile, request: Request) -> None:
    options = request.options
    if options.targets or options.excludes or options.replaced or options.reaped:
        raise failure("Options contradict each other", "A plan file holds its own targets: options cannot change them.")
    approved.check_given(request)
    if not approved.content.applyable:
        raise failure(
            "Plan cannot be applied", f"{approved.path} has nothing that can be applied.", hint="Make a new plan."
        )


def _approve(terminal: Terminal, view: PlanView, found: Planned, auto_approve: str, is_approved: bool) -> bool:
    plan = found.folded.plan
    view.diagnostics(found.diagnostics.items)
    if is_approved:
        return True
    view.plan(found)
    if not plan.has_changes:
        return True
    if auto_approve == "true":
        return True
    if auto_approve == "no-destroy":
        losses = [str(change.address) for change in plan.effective if change.destroys or change.power_loses_data]
        if losses:
            raise DiagnosticsError(
                [
                    error(
                        "Plan destroys",
                        f"-auto-approve=no-destroy does not let this happen: {', '.join(losses[:5])}"
                        f"{', …' if len(losses) > 5 else ''}.",
                        hint="Look at the plan, and approve it with -auto-approve or at the prompt.",
                    )
                ]
            )
        return True
    if not terminal.can_ask:
        raise failure(
            "Nobody to ask", "The plan needs approval, and input is not a terminal.",
            hint="Add -auto-approve, or make a plan with -out and apply that.",
        )  # fmt: skip
    verb = "destroy all of this" if plan.mode.value == "destroy" else "do this"
    return terminal.ask(f"Shall brevplan {verb}?", 'Only "yes" is taken for an answer.')


def _finish(terminal: Terminal, view: PlanView, done: Applied, command: str) -> int:
    if done.declined:
        terminal.error_line(f"\n{command.capitalize()} cancelled: nothing was changed.")
        return 1
    if done.already:
        terminal.line(f"Nothing to do: this plan was already applied in run {done.already}.")
        return 0
    view.result(done, command)
    blocked = bool(done.plan.blocked)
    failed = done.result is not None and not done.result.complete
    return 1 if blocked or failed else 0
