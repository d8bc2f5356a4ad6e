"""The moto server that the tests of AWS share, and how many calls of all were held against a description."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.aws_bench import Front, front_of, moto_process
from tests.providers.spec import CHECKED


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell whoever asks for it (`make matrix`)."""
    file = os.environ.get("BREVPLAN_COUNT_CALLS")
    if file:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        Path(f"{file}.{worker}").write_text(json.dumps(dict(CHECKED)))


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    """Give one process, started for the first that wants it, and emptied for each."""
    with moto_process() as address:
        yield address


@pytest.fixture
def front(moto: tuple[str, int]) -> Iterator[Front]:
    with front_of(moto) as made:
        yield made
