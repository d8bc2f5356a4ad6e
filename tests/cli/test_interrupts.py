"""What a stopped run says of the steps that it waits for."""

import pytest

from brevplan.cli.interrupts import shortened
from brevplan.engine.address import Address


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "instance.m[0]"),
        (2, "instance.m[0] and instance.m[1]"),
        (5, "instance.m[0], instance.m[1], instance.m[2], instance.m[3] and instance.m[4]"),
        (7, "instance.m[0], instance.m[1], instance.m[2], instance.m[3], instance.m[4] and 2 more"),
        (1205, "instance.m[0], instance.m[1], instance.m[2], instance.m[3], instance.m[4] and 1,200 more"),
    ],
)
def test_a_few_are_named_and_the_others_counted(count: int, text: str) -> None:
    assert shortened([Address("instance", "m", number) for number in range(count)]) == text
