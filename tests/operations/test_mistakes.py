"""What is said about the mistakes that people make most: the whole of `lang/cases/mistakes.txt`, held word for word.

Behind "=== name" stands a configuration, and behind "-->" each message: the place, what is wrong and why, the text
underlined there, the values shown, and the hint. `--update-golden` writes what is said now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from brevplan.diagnostics import Diagnostic
from brevplan.operations.validate import validate

CASES = Path(__file__).parent.parent / "lang" / "cases" / "mistakes.txt"


def read() -> dict[str, tuple[str, str]]:
    """Give the configuration and the messages of each case."""
    parts = f"\n{CASES.read_text(encoding='utf-8')}".split("\n=== ")[1:]
    cases = {}
    for part in parts:
        name, _, rest = part.partition("\n")
        text, _, said = rest.partition("-->\n")
        cases[name] = (text, said.strip("\n"))
    return cases


def told(problem: Diagnostic) -> Iterator[str]:
    assert problem.span is not None, problem.summary
    yield f"{problem.span.line}:{problem.span.column} {problem.summary}: {problem.detail}"
    yield f"  at: {problem.span.text.splitlines()[0] if problem.span.text else '(end)'}"
    yield from (f"  {name} is {value}" for name, value in problem.values)
    if problem.hint:
        yield f"  hint: {problem.hint}"


def messages(folder: Path, text: str) -> str:
    (folder / "main.hcl").write_text(text, encoding="utf-8")
    return "\n".join(line for problem in validate(folder, {}) for line in told(problem))


def test_mistakes_are_told_as_written(tmp_path: Path, update_golden: bool) -> None:
    cases = read()
    now = {name: (text, messages(tmp_path, text)) for name, (text, _) in cases.items()}
    if update_golden:
        parts = [f"=== {name}\n{text}-->\n{said}\n" for name, (text, said) in now.items()]
        CASES.write_text("\n".join(parts), encoding="utf-8")
        return
    assert now == cases


def test_there_are_sixty_mistakes_and_each_is_told_at_its_place() -> None:
    cases = read()
    assert len(cases) >= 60
    assert [name for name, (_, said) in cases.items() if not said] == []
    assert "hunter2" not in "".join(said for _, said in cases.values())
