"""Whole stories on the embedded cloud: each text file of this folder is one. `stage.py` says how they are written."""

from pathlib import Path

import pytest
from stage import Scenario, Stage, difference

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario_comes_out_as_written(path: Path, tmp_path: Path, update_golden: bool) -> None:
    expected = Scenario.parse(path.read_text(encoding="utf-8"))
    played = Stage(tmp_path).play(expected)
    if update_golden:
        path.write_text(played.text(), encoding="utf-8")
        return
    found = difference(expected, played)
    assert not found, f"{expected.why.strip()}\n{found}"


def test_every_scenario_says_why() -> None:
    assert [path.name for path in FILES if not Scenario.parse(path.read_text(encoding="utf-8")).why.strip()] == []
