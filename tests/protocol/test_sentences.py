"""The table of what the protocol promises and what proves it: no promise without a proof, no test without a promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
TABLE = HERE / "sentences.txt"
OPEN = ("later: ",)


@dataclass(frozen=True)
class Line:
    section: str
    promise: str
    proofs: tuple[str, ...]


def lines() -> list[Line]:
    found = []
    for text in TABLE.read_text(encoding="utf-8").splitlines():
        if text and not text.startswith("#"):
            section, promise, proofs = (part.strip() for part in text.split(" | "))
            names = (proofs,) if proofs.startswith(OPEN) else tuple(proofs.split(", "))
            found.append(Line(section, promise, names))
    return found


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def exists(proof: str) -> bool:
    if proof.startswith(OPEN):
        return True
    if proof.endswith(".txt"):
        return (TESTS / "scenarios" / proof).is_file()
    name, _, test = proof.partition("::")
    return any(test in names_in(path) for path in TESTS.rglob(name))


@pytest.mark.parametrize("line", lines(), ids=lambda line: f"{line.section} {line.promise}"[:60])
def test_every_promise_names_proofs_that_exist(line: Line) -> None:
    assert line.proofs
    assert [proof for proof in line.proofs if not exists(proof)] == []


def test_every_test_of_the_protocol_proves_a_promise() -> None:
    named = {proof for line in lines() for proof in line.proofs}
    tests = {
        f"{path.name}::{test}"
        for path in HERE.glob("test_*.py")
        if path.name != Path(__file__).name
        for test in names_in(path)
    }
    assert sorted(tests - named) == []


def test_every_section_is_there() -> None:
    assert {line.section.partition(".")[0] for line in lines()} == {*"1234567", "all"}
