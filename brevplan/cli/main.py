"""The entry point: finds the command, and turns every way of ending into an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from typing import Final

import click

from brevplan.cli.arguments import normalise, split_chdir, with_environment
from brevplan.cli.signals import Terminated
from brevplan.cli.terminal import Terminal
from brevplan.diagnostics import DiagnosticsError, Severity, error, suggest
from brevplan.lang.collector import live_briefly

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "init": ("init", "Write a first configuration and check the providers"),
    "validate": ("validate", "Check the configuration, offline"),
    "plan": ("plan", "Show what would change, and what it costs"),
    "apply": ("apply", "Make the clouds match the configuration"),
    "destroy": ("apply", "Destroy everything that the state holds"),
    "show": ("show", "Show the state or a plan file"),
    "output": ("show", "Show output values"),
    "state": ("state", "Look into the state, and change it by hand"),
    "console": ("console", "Evaluate expressions over the configuration and the state"),
    "graph": ("graph", "Draw what depends on what"),
    "import": ("import_", "Record a machine that is there at a declared address"),
    "discover": ("discover", "List the machines that the state does not know"),
    "rebuild": ("rebuild", "Restore a lost or damaged state from configuration and clouds"),
    "offers": ("offers", "List what can be rented, cheapest first"),
    "providers": ("providers", "List the clouds and what they can do; verify that they do"),
    "history": ("history", "List past runs"),
    "fmt": ("fmt", "Write files in the canonical style"),
    "force-unlock": ("unlock", "Take the state's lock from a process that hangs"),
    "ssh": ("ssh", "Log in to a machine, or run a command there"),
    "ssh-config": ("ssh", "Write the machines into the SSH configuration"),
    "simulate": ("simulate", "Serve simulated clouds over HTTP, to practise on"),
    "version": ("version", "Show the version"),
}
"""Command → module of `brevplan.cli` and one line of help, so that `--help` imports none of them."""


class Commands(click.Group):
    """Imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"brevplan.cli.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command = getattr(module, f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise DiagnosticsError(
                [
                    error(
                        "Unknown command",
                        f'There is no command "{args[0]}".',
                        hint=suggest(args[0], COMMANDS) or "brevplan -h lists them.",
                    )
                ]
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[-chdir=DIR]",
    subcommand_metavar="COMMAND [OPTIONS]",
)
def cli() -> None:
    """Declare GPU instances and firewall rules in HCL, and make the clouds match.

    Options may be written with one dash or two.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # a plan makes many small values that live to its end: looking through them again and again frees nothing
    live_briefly()
    _mend_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    terminal = Terminal(dict(os.environ), words)
    terminal.signals.listen(terminal.err)
    code = run(words, terminal)
    try:
        terminal.flush()
    except OSError:
        _quiet_stdout()  # a full disk or a reader that is gone: there is nowhere left to say so
        code = code or 1
    sys.exit(code)


def _mend_streams() -> None:
    """Let closed streams be empty ones, and write what a narrow encoding cannot as `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # lives as long as we do
        elif mode == "w":
            stream.reconfigure(errors="replace")


def run(words: Sequence[str], terminal: Terminal) -> int:
    """Run the command line; give the exit code. No exception leaves it unless the debug log is on."""
    try:
        chdir, rest = split_chdir(words)
        terminal.chdir = chdir
        if terminal.environment.get("BREVPLAN_LOG"):
            from brevplan.cli.logs import configure  # off in most runs

            configure(terminal.environment, terminal.directory)
        rest = normalise(with_environment(rest, terminal.environment))
        if rest and rest[0] == "--version":
            rest[0] = "version"
        result = cli.main(rest or ["--help"], "brevplan", standalone_mode=False, obj=terminal)
    except DiagnosticsError as problem:
        terminal.show(problem.diagnostics)
        return 1 if any(item.severity is Severity.ERROR for item in problem.diagnostics) else 0
    except click.ClickException as problem:
        terminal.show(
            [error("Wrong usage", _sentence(problem.format_message().replace("--", "-")), hint=_usage(problem))]
        )
        return 1
    except (click.Abort, KeyboardInterrupt, Terminated) as problem:
        _tell_interrupted(terminal, "" if isinstance(problem, click.Abort) else "\n")
        return 1
    except BrokenPipeError:
        _quiet_stdout()
        return 128 + signal.SIGPIPE
    except OSError as problem:
        text = error("System error", f"{problem}.", hint="Nothing is lost: mend that and run the command again.")
        try:
            terminal.show([text])
        except OSError:  # it is the output that cannot be written: what is left is the other stream
            terminal.json = False
            with suppress(OSError):
                terminal.show([text])
            _quiet_stdout()
        return 1
    except MemoryError:
        terminal.show([error("Out of memory", "The machine has no memory left for this.")])
        return 1
    except Exception as problem:  # the edge: a defect is told in one line, and whole in the debug log
        if terminal.log_level in ("debug", "trace"):
            raise
        from brevplan.cli.logs import write_crash

        kept = write_crash(problem, terminal.environment, terminal.directory)
        where = f"Its traceback is in {kept}." if kept is not None else "BREVPLAN_LOG=debug shows its traceback."
        terminal.show(
            [
                error(
                    "Internal error",
                    f"{type(problem).__name__}: {problem}",
                    hint=f"This is a defect of brevplan, and nothing is lost. {where}",
                )
            ]
        )
        return 1
    return result if isinstance(result, int) else 0


def _tell_interrupted(terminal: Terminal, line_end: str) -> None:
    if terminal.json:
        terminal.show([error("Interrupted", "It was broken off before it was done. Nothing is lost.")])
    else:
        terminal.error_line(f"{line_end}Interrupted: nothing is lost.")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _usage(problem: click.ClickException) -> str:
    context = getattr(problem, "ctx", None)
    return f"{context.command_path} -h lists the options." if context is not None else ""


def _quiet_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader of our output is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
