"""Sizes can be compared with every sign."""

from brevplan.contract.bytes import Bytes


def test_all_comparisons() -> None:
    one, other = Bytes(1, "GB"), Bytes(1, "TB")
    assert one <= other
    assert other >= one
    assert not other <= one
