"""Does the language mean what Terraform means by it? Every case of `tests/lang/cases` that is an expression, and many
made-up ones, are put to `terraform console` and to ours; values, types and failures are compared.

    python -m tools.conformance [--generated 2000] [--seed 1]

`tests/lang/cases/differences.json` lists what differs on purpose. Whatever else differs is printed, and so is an entry
of the list that no longer differs; both end with exit code 1. Without Terraform there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from brevplan.lang.printing import name_of, quote
from tests.fuzz.expressions import sure_expression
from tools.consoles import Answer, OurConsole, TerraformConsole

CASES = Path(__file__).parent.parent / "tests" / "lang" / "cases"
DIFFERENCES = CASES / "differences.json"
LOCALS = """locals {
  k = {
    name     = "kit"
    "null"   = null
    object   = { name = "kit", list = [1, 2] }
    objects  = [{ name = "a" }, { name = "b" }]
    template = "Hi $${name}"
  }
  s = {
    text     = sensitive("hunter2")
    number   = sensitive(1)
    bool     = sensitive(true)
    list     = sensitive(["hunter2", "b"])
    numbers  = sensitive([1, 2])
    object   = sensitive({ name = "hunter2" })
    objects  = sensitive([{ name = "hunter2" }])
    template = sensitive("hunter2 $${name}")
  }
}
"""
FILES = {
    "hello.txt": b"hello\n",
    "accent.txt": b"cafe\xcc\x81",
    "binary.dat": b"\xff\xfe\x00",
    "empty.txt": b"",
    "site/index.html": b"<p>",
    "site/css/main.css": b"p {}",
    "greeting.tpl": b"Hello ${name}!\n",
    "single.tpl": b"${x}",
    "loop.tpl": b"%{ for item in items ~}\n- ${item}\n%{ endfor ~}\n",
    "broken.tpl": b"line\n${1 +}\n",
    "recursive.tpl": b'${templatefile("greeting.tpl", {})}',
}
_NEEDS_ANOTHER_WORLD = re.compile(
    r"\bu\.|partial|s\.unknown|timestamp\(|uuid\(|bcrypt\(|\btype\(|/home/user|locked\.txt|nosuch"
)
_STEP_OF_NAMES = re.compile(r"(?<![\w.\"$])([ks])(?=\.[a-z])")
_SEQUENCE = re.compile(r"([$%])\1\{")


@dataclass(frozen=True, slots=True)
class Question:
    """An expression to be put to both, and where it comes from."""

    expression: str
    origin: str


def questions() -> Iterator[Question]:
    """Give the cases that need nothing which only the tests can set up, such as an unknown value."""
    for path in sorted(CASES.glob("evaluate/*.json")):
        for number, case in enumerate(json.loads(path.read_text(encoding="utf-8")), 2):
            expression = _STEP_OF_NAMES.sub(r"local.\1", case["expr"])
            if not _NEEDS_ANOTHER_WORLD.search(case["expr"]) and not re.search(r"\bfor [ks]\b", expression):
                yield Question(expression, f"evaluate/{path.name}:{number}")
    for path in sorted(CASES.glob("functions/*.json")):
        for number, case in enumerate(json.loads(path.read_text(encoding="utf-8"), parse_float=_Written), 2):
            arguments = [_expression(argument) for argument in case["args"]]
            expression = f"{case['call']}({', '.join(filter(None, arguments))})"
            if None not in arguments and not _NEEDS_ANOTHER_WORLD.search(expression):
                yield Question(expression, f"functions/{path.name}:{number}")


def made_up(count: int, seed: int) -> Iterator[Question]:
    """Give expressions of the generator, the same ones for the same seed."""
    random = Random(seed)
    for number in range(count):
        yield Question(sure_expression(random), f"generated:{number}")


class _Written(str):
    """A number as it stands in the case."""

    __slots__ = ()


def _expression(data: Any) -> str | None:
    """Write the argument of a case as an expression; None when no expression gives it."""
    match data:
        case None:
            return "null"
        case bool():
            return "true" if data else "false"
        case int() | _Written():
            return str(data)
        case str():
            return quote(data)
        case list():
            return _joined("[{}]", [_expression(item) for item in data])
        case {"of": _} | {"$unknown": _}:
            return None
        case {"$list": items} | {"$set": items}:
            word = "tolist" if "$list" in data else "toset"
            return _joined(word + "([{}])", [_expression(item) for item in items])
        case {"$map": items}:
            inner = _expression(items)
            return None if inner is None else f"tomap({inner})"
        case {"$secret": item}:
            inner = _expression(item)
            return None if inner is None else f"sensitive({inner})"
        case {"$inf": sign}:
            return "(1/0)" if sign == "+" else "(-1/0)"
        case _:
            return _object(data)


def _object(data: Mapping[str, Any]) -> str | None:
    values = [_expression(item) for item in data.values()]
    parts = [None if text is None else f"{name_of(name)} = {text}" for name, text in zip(data, values, strict=True)]
    return _joined("{{{}}}", parts)


def _joined(form: str, parts: list[str | None]) -> str | None:
    known = [part for part in parts if part is not None]
    return form.format(", ".join(known)) if len(known) == len(parts) else None


def alike(theirs: Answer, ours: Answer) -> bool:
    """Tell whether two answers are the same, whatever the layout."""
    if theirs.printed is None or ours.printed is None:
        return theirs.printed is ours.printed
    # Null has no type of its own here, so next to one the types are not compared.
    has_same_type = theirs.type == ours.type or "null" in theirs.printed
    # Ours escapes what would be a template sequence when typed in again, theirs does not.
    if theirs.json is not None and ours.json is not None:
        return has_same_type and _plain(theirs.json) == _plain(_SEQUENCE.sub(r"\1{", ours.json))
    printed = _plain(_SEQUENCE.sub(r"\1{", ours.printed))
    return has_same_type and _plain(theirs.printed) == printed


def _plain(text: str) -> str:
    text = re.sub(r"\b(?:to\w+\(null\)|null)(?: /\*.*?\*/)?", "null", text)
    text = re.sub(r"(?<![\w.-])-0(?![\w.])", "0", text)  # zero has no sign here
    text = re.sub(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\x([0-9a-f]{2})", _decoded, text)
    return re.sub(r"(?m)^\s+", "", re.sub(r'" +=', '" =', text).strip())


def _decoded(match: re.Match[str]) -> str:
    return chr(int(match[match.lastindex or 0], 16))


def lay_out(folder: Path) -> None:
    """Write the files that the cases read, and the values that they name, for both."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("main.tf", "main.hcl"):
        (folder / name).write_text(LOCALS, encoding="utf-8")


def known_differences() -> dict[str, str]:
    """Give the reason of each difference that is on purpose, by its expression."""
    entries = json.loads(DIFFERENCES.read_text(encoding="utf-8"))
    return {entry["expr"]: entry["why"] for entry in entries}


def compare(asked: list[Question], known: Mapping[str, str], folder: Path) -> list[str]:
    """Put the questions to both; give what is to be complained about."""
    lay_out(folder)
    ours = OurConsole.open(folder)
    theirs = TerraformConsole.open(folder).answers(list(dict.fromkeys(question.expression for question in asked)))
    complaints = []
    for question in asked:
        expression = question.expression
        answer = ours.answer(expression)
        is_same = alike(theirs[expression], answer)
        if is_same is (expression in known):
            verdict = "no longer differs, though it is listed" if is_same else "differs"
            complaints.append(
                f"{question.origin} {verdict}: {expression}\n  Terraform: {theirs[expression]}\n  brevplan:  {answer}"
            )
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the language with Terraform's.")
    parser.add_argument("--generated", type=int, default=2000, help="how many made-up expressions")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if shutil.which("terraform") is None:
        print("There is no terraform on PATH, so there is nothing to compare with.")
        return 0
    started = time.monotonic()
    cases, generated = list(questions()), list(made_up(options.generated, options.seed))
    known = known_differences()
    with tempfile.TemporaryDirectory() as folder:
        complaints = compare([*cases, *generated], known, Path(folder).resolve())
    gone = known.keys() - {question.expression for question in cases}
    complaints += [f"listed as a difference, but no case asks for it: {expression}" for expression in sorted(gone)]
    print(*complaints, sep="\n")
    seconds = time.monotonic() - started
    print(
        f"{len(cases)} cases and {len(generated)} generated expressions in {seconds:.0f} s: "
        f"{len(known)} differ on purpose, {len(complaints)} complaints"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
