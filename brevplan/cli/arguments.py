"""Terraform's way of writing options, turned into click's: `-out=F`, `-refresh=false`, `-auto-approve=no-destroy`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from brevplan.diagnostics import failure
from brevplan.operations.given import Given

FLAGS: Final = frozenset(
    {
        "json", "no-color", "destroy", "refresh-only", "detailed-exitcode", "concise", "md", "allow-no-stock",
        "ignore-orphans", "check", "diff", "recursive", "raw", "force", "compact-warnings", "dry-run",
        "yes",
    }
)  # fmt: skip
"""Options that are true or false: `-json`, and also `-json=true`."""

_OPTIONAL_VALUE: Final = {
    "adopt": "imports.hcl", "auto-approve": "true", "refresh": "true", "input": "true", "lock": "true", "write": "true",
    "list": "true",
}  # fmt: skip
"""Options whose value may be left out, and what it then is."""

_GIVEN: Final = {"--var": "value:", "--var-file": "file:"}
"""`-var` and `-var-file` become one option, so that their order among each other is kept."""


def normalise(argv: Sequence[str]) -> list[str]:
    """Write every long option with two dashes and give left-out values; what follows `--` stays as it is."""
    result: list[str] = []
    words = iter(enumerate(argv))
    for position, word in words:
        if word == "--":
            return [*result, *argv[position:]]
        written = _word(word)
        name, equals, value = written[0].partition("=") if written else ("", "", "")
        if name in _GIVEN:
            if not equals:
                following = next(words, None)
                if following is None:
                    raise failure("Wrong usage", f"{name[1:]} needs a value.")
                value = following[1]
            written = [f"--given={_GIVEN[name]}{value}"]
        result.extend(written)
    return result


def read_given(texts: Iterable[str]) -> tuple[Given, ...]:
    """Read what `-var` and `-var-file` were turned into, in the order of the command line."""
    return tuple(
        Given(text.removeprefix("file:"), is_file=True)
        if text.startswith("file:")
        else Given(text.removeprefix("value:"))
        for text in texts
    )


def _word(word: str) -> list[str]:
    if not word.startswith("-") or len(word) < 3:
        return [word]
    name, equals, value = word.lstrip("-").partition("=")
    if not name or not name[0].isalpha():
        return [word]
    if name in FLAGS and equals:
        if value in ("true", "1"):
            return [f"--{name}"]
        if value in ("false", "0"):
            return []
        raise failure("Invalid option", f"-{name} is true or false, not {value!r}.")
    if name in _OPTIONAL_VALUE and not equals:
        return [f"--{name}={_OPTIONAL_VALUE[name]}"]
    return [f"--{name}{equals}{value}"]


def split_chdir(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Take `-chdir=DIR` from before the command."""
    chdir = ""
    rest = list(argv)
    while rest and rest[0].lstrip("-").startswith("chdir"):
        word = rest.pop(0)
        _, equals, chdir = word.partition("=")
        if not equals:
            if not rest:
                raise failure("Invalid option", "-chdir needs a directory: -chdir=DIR")
            chdir = rest.pop(0)
    return chdir, rest


def with_environment(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Put the words of BREVPLAN_CLI_ARGS behind the command."""
    try:
        extra = shlex.split(environment.get("BREVPLAN_CLI_ARGS", ""))
    except ValueError as problem:
        raise failure("Invalid BREVPLAN_CLI_ARGS", f"{problem}.") from None
    return [argv[0], *extra, *argv[1:]] if argv and extra else list(argv)
