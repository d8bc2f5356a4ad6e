"""`brevplan graph`."""

from __future__ import annotations

import click

from brevplan.cli.terminal import Terminal
from brevplan.operations.graph import dependencies, render_dot, render_mermaid
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.project import load_project


@click.command()
@click.option("--format", "shape", type=click.Choice(["dot", "mermaid"]), default="dot", help="dot or mermaid.")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def graph(terminal: Terminal, shape: str, no_color: bool) -> int:
    """Draw what depends on what."""
    edges = dependencies(load_project(terminal.directory, cache=parse_cache(terminal.environment)).config)
    terminal.line(render_dot(edges) if shape == "dot" else render_mermaid(edges))
    return 0
