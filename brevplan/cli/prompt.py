"""Asking for expressions on a terminal, with the keys of readline: history, completion, lines that go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from brevplan.cli.console_history import History
from brevplan.lang.open_input import Open, what_is_open

FIRST: Final = "> "
NEXT: Final = ": "


@dataclass(slots=True)
class Prompt:
    """Asks with `ask`, which is `input` or stands in for it: it raises `EOFError` for Ctrl-D."""

    ask: Callable[[str], str]
    history: History
    editor: ModuleType | None = None
    """The readline module, where there is one."""

    def expressions(self) -> Iterator[str]:
        """Give what is typed until Ctrl-D, an expression at a time; Ctrl-C drops what was typed so far."""
        while True:
            try:
                text = self._expression()
            except KeyboardInterrupt:
                print()
                continue
            except EOFError:
                return
            if text:
                yield text

    def _expression(self) -> str:
        """Ask for lines until brackets and heredocs are closed; an empty line gives up on a bracket."""
        text = self.ask(FIRST).strip()
        while (waiting := what_is_open(text)) is not Open.NOTHING:
            line = self.ask(NEXT)
            if not line.strip() and waiting is Open.BRACKET:
                break
            text = f"{text}\n{line}"
        return text

    def remember(self, text: str, *, is_private: bool) -> None:
        """Let the arrow keys find an expression again, and later consoles too."""
        self.history.add(text, is_private=is_private)
        if self.editor is not None and not is_private:
            for line in text.split("\n"):
                self.editor.add_history(line)


def readline_prompt(history: History, names: Sequence[str]) -> Prompt:
    """Make a prompt for the real terminal."""
    try:
        import readline
    except ImportError:  # an interpreter without it has a plain prompt
        return Prompt(input, history)
    readline.set_auto_history(False)  # what is kept is decided when it is known what was typed
    readline.set_completer_delims(" \t\n\"\\'`@$><=;|&{}()[],:?+*/%!^")
    readline.set_completer(completer(names))
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    for entry in history.entries():
        readline.add_history(entry)
    return Prompt(input, history, readline)


def completer(names: Sequence[str]) -> Callable[[str, int], str | None]:
    """Make what readline asks: the n-th name that begins with a text, a step of it at a time."""

    def complete(text: str, state: int) -> str | None:
        depth = text.count(".") + 1
        found = dict.fromkeys(_cut(name, depth) for name in names if name.startswith(text))
        return list(found)[state] if state < len(found) else None

    return complete


def _cut(name: str, depth: int) -> str:
    """Cut a name behind so many of its steps: `instance.` before `instance.web`."""
    steps = name.split(".")
    return name if len(steps) <= depth else ".".join(steps[:depth]) + "."
