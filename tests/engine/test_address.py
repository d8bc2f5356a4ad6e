"""Addresses: written, read back, ordered."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.engine.address import Address

# keys that need an escape other than \" and \\ are in pending/address_keys.py
PLAIN = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029$%")
NAMES = st.from_regex(r"[a-zé_][a-z0-9é_-]{0,8}", fullmatch=True)
KEYS = st.none() | st.integers(0, 10**6) | st.text(PLAIN, max_size=12) | st.sampled_from(['"', "\\", '\\"', "]", "a.b"])
ADDRESSES = st.builds(Address, NAMES, NAMES, KEYS, st.booleans())


@given(ADDRESSES)
def test_what_is_written_is_read_back(address: Address) -> None:
    assert Address.parse(str(address)) == address


@given(st.lists(ADDRESSES, max_size=6))
def test_any_addresses_can_be_ordered(addresses: list[Address]) -> None:
    ordered = sorted(addresses)
    assert ordered == sorted(reversed(addresses))
    assert all(not after < before for before, after in itertools.pairwise(ordered))


def test_indexes_are_ordered_as_numbers() -> None:
    texts = ["instance.a[10]", "instance.a[9]", 'instance.a["b"]', "instance.a", "data.images.x", "firewall.z"]
    assert [str(address) for address in sorted(map(Address.parse, texts))] == [
        "firewall.z", "instance.a", "instance.a[9]", "instance.a[10]", 'instance.a["b"]', "data.images.x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "instance", "instance.", ".web", "instance.web[", "instance.web[]", "instance.web[a]", "instance.web[-1]",
     'instance.web["a]', "instance.web[0][1]", "instance.web.id", "9x.web", "instance.web[0] x", "module.a"],
)  # fmt: skip
def test_anything_else_says_how_an_address_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address: write KIND\.NAME"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        ("instance.web", "instance.web[3]", True),
        ("instance.web", "instance.web", True),
        ("instance.web[3]", "instance.web[3]", True),
        ("instance.web[3]", "instance.web", False),
        ("instance.web[3]", "instance.web[4]", False),
        ("instance.web", "instance.web2", False),
        ("instance.web", "data.instance.web", False),
        ('instance.web["0"]', "instance.web[0]", False),
    ],
)
def test_covers(one: str, other: str, covered: bool) -> None:
    assert Address.parse(one).covers(Address.parse(other)) is covered
