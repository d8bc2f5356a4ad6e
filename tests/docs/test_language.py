"""`docs/language.md` names everything that the language has, and its tables of examples give what they say.

A table with the columns `example` and `result` is checked: both are expressions, and must come to the same value of the
same type. A result may also be `error: …` with what is said, or a value that no expression gives, as it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.loading.calls import META_ARGUMENTS as CALL_ARGUMENTS
from brevplan.engine.loading.module import TOP_LEVEL
from brevplan.engine.loading.resources import META_ARGUMENTS, META_BLOCKS
from brevplan.lang.functions.registry import names
from brevplan.lang.printing import print_value
from brevplan.lang.values import same, type_of
from brevplan.operations.console import Session, open_session
from brevplan.operations.planning import Request
from brevplan.render.values import render_type
from tests.docs.test_documents import ROOT, blocks_of

DOCUMENT = (ROOT / "docs" / "language.md").read_text()
LIFECYCLE = ["create_before_destroy", "prevent_destroy", "ignore_changes", "replace_triggered_by"]
RULES = ["precondition", "postcondition"]
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`+ ?(.*?) ?`+\Z", re.DOTALL)
PRINTED = ("(known after apply)", "(sensitive value)")


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip().strip("|"))]


def examples(document: str) -> Iterator[tuple[str, str]]:
    """Give what the tables of a document say: each example with its result."""
    is_checked = False
    for line in document.splitlines():
        if not line.startswith("|"):
            is_checked = False
            continue
        row = cells(line)
        if row[-2:] == ["example", "result"]:
            is_checked = True
        elif is_checked and set(line) > set("| -"):
            yield code(row[-2]), code(row[-1])


def code(cell: str) -> str:
    found = _CODE.match(cell)
    assert found, f"this cell holds no code: {cell}"
    return found[1]


def chapter(title: str) -> str:
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


EXAMPLES = list(examples(DOCUMENT))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("language")
    for block in blocks_of(DOCUMENT):
        if block.file.startswith("motd"):
            (folder / block.file).write_text(block.text)
    return open_session(folder, Request(environment={}))


@pytest.mark.parametrize(("example", "result"), EXAMPLES, ids=[example for example, _ in EXAMPLES])
def test_example_gives_its_result(session: Session, example: str, result: str) -> None:
    if result.startswith("error: "):
        with pytest.raises(DiagnosticsError) as caught:
            session.evaluate(example)
        assert caught.value.diagnostics[0].detail == result.removeprefix("error: ")
        return
    answer = session.answer(example)
    if answer.asks_type:
        assert render_type(answer.type) == result
    elif result in PRINTED:
        assert print_value(answer.value) == result
    else:
        expected = session.evaluate(result)
        assert same(answer.value, expected), print_value(answer.value)
        assert type_of(answer.value) == type_of(expected)


def test_every_function_has_a_row_with_an_example() -> None:
    lines = chapter("Functions").splitlines()
    rows = {found[1]: line for line in lines if (found := re.match(r"\| `(\w+)\(", line))}
    assert sorted(rows) == names()
    for name, line in rows.items():
        assert f"{name}(" in cells(line)[-2], f"the example of {name} does not call it"


def test_every_block_has_a_heading_or_is_said_to_be_missing() -> None:
    for block in TOP_LEVEL:
        heading = "## Modules" if block == "module" else f"### `{block}`"
        assert f"\n{heading}\n" in DOCUMENT or f"| `{block}` | is not there yet" in DOCUMENT, block


@pytest.mark.parametrize("name", sorted({*META_ARGUMENTS, *META_BLOCKS, *LIFECYCLE, *RULES}))
def test_every_meta_argument_is_in_the_tables(name: str) -> None:
    assert re.search(rf"^\| `{name}`", chapter("Meta-arguments"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(CALL_ARGUMENTS) - {"version"}))
def test_every_argument_of_a_module_call_is_in_the_table(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \| ", chapter("Modules"), re.MULTILINE)


def test_links_within_the_documents_lead_somewhere() -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if "://" not in target:
                file, _, anchor = target.partition("#")
                place = path.parent / file if file else path
                assert not anchor or anchor in anchors(place), f"{path.name}: {target}"
                assert place.exists(), f"{path.name}: {target}"


def anchors(path: Path) -> set[str]:
    """Give the names of a document's headings as links write them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
