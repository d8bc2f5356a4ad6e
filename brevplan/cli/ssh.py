"""`brevplan ssh` and `brevplan ssh-config`."""

from __future__ import annotations

import os

import click

from brevplan.cli.logs import data_directory
from brevplan.cli.options import variable_options, writer_request
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import failure
from brevplan.engine.bench import EVERYTHING
from brevplan.operations.ssh import ssh_command, write_ssh_config


@click.command()
@variable_options
@click.argument("address")
@click.argument("command", nargs=-1, metavar="[-- COMMAND]")
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def ssh(terminal: Terminal, address: str, command: tuple[str, ...], given: tuple[str, ...], no_color: bool) -> int:
    """Log in to a machine, or run a command there; its exit code is ours, 255 where there is no connection."""
    request = writer_request(terminal, given, "0s", EVERYTHING)
    data = data_directory(terminal.environment, terminal.directory).absolute()
    words = ssh_command(terminal.directory, address, command, request, data)
    terminal.flush()
    try:
        os.execvpe(words[0], words, dict(terminal.environment))
    except OSError as problem:
        raise failure(
            "OpenSSH's client cannot be started", f"{words[0]}: {problem.strerror}.",
            hint="Debian and Ubuntu have it in the package openssh-client.",
        ) from None  # fmt: skip


@click.command()
@variable_options
@click.option("--no-color", is_flag=True, hidden=True)
@click.pass_obj
def ssh_config(terminal: Terminal, given: tuple[str, ...], no_color: bool) -> int:
    """Write the machines into the SSH configuration, so that ssh, scp and editors know them by their addresses."""
    done = write_ssh_config(terminal.directory, writer_request(terminal, given, "0s", EVERYTHING))
    number = len(done.addresses)
    home = terminal.environment.get("HOME", "")
    path = f"~{str(done.path).removeprefix(home)}" if home and str(done.path).startswith(f"{home}/") else str(done.path)
    terminal.line(f"Wrote {number} machine{'s' * (number != 1)} to {path}.")
    terminal.lines(f"  ssh {address}" for address in done.addresses)
    return 0
