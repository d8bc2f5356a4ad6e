"""The moto server that the tests of AWS share: one process, started for the first of them, emptied for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.aws_bench import Front, front_of, moto_process


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    with moto_process() as address:
        yield address


@pytest.fixture
def front(moto: tuple[str, int]) -> Iterator[Front]:
    with front_of(moto) as made:
        yield made
