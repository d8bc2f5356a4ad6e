"""What makes one argument of an `instance` valid, and what is said when it is not."""

from __future__ import annotations

import pytest

from brevplan.kinds.instance_schema import SCHEMA
from brevplan.lang.values import Object, Tuple, Value
from tests.world import KEY

RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY="


def said(name: str, value: Value) -> str:
    check = SCHEMA.attributes[name].check
    assert check is not None
    return check(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_key", KEY),
        ("public_key", KEY.rsplit(" ", 1)[0]),
        ("public_key", f"  {KEY} with more words\n"),
        ("public_key", RSA),
        ("public_key", ECDSA),
        ("disk_size", "1B"),
        ("disk_size", "500GiB"),
        ("name", "a"),
        ("name", "A.b_c-9"),
        ("name", "a" * 63),
        ("power_state", "running"),
        ("power_state", "stopped"),
        ("options", Object({})),
        ("instance_type", "x"),
    ],
)
def test_good(name: str, value: Value) -> None:
    assert said(name, value) == ""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("public_key", "", "an OpenSSH public key on one line"),
        ("public_key", "~/.ssh/id_ed25519.pub", "an OpenSSH public key on one line"),
        ("public_key", "ssh-dss AAAA", "an OpenSSH public key on one line"),
        ("public_key", f"{KEY}\n{KEY}", "an OpenSSH public key on one line"),
        ("public_key", 'command="x" ' + KEY, "an OpenSSH public key on one line"),
        ("public_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "private key, which must never leave"),
        ("public_key", "ssh-ed25519 AAAAB", "damaged"),
        ("public_key", "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7", "damaged or cut short"),
        ("public_key", "ssh-ed25519 AAAA", "damaged or cut short"),
        ("disk_size", "500", "is not a size"),
        ("disk_size", "0GB", "a size above zero"),
        ("disk_size", "1.5TB", "is not a size"),
        ("name", "", "1 to 63"),
        ("name", "a" * 64, "1 to 63"),
        ("name", "-a", "1 to 63"),
        ("name", "a-", "1 to 63"),
        ("name", "a b", "1 to 63"),
        ("name", "é", "1 to 63"),
        ("name", "a\n", "1 to 63"),
        ("power_state", "on", '"running" or "stopped" is needed, not "on"'),
        ("power_state", "suspended", "is needed"),
        ("options", Tuple(()), "a map is needed"),
        ("location", "", "an empty text"),
        ("image_id", "", "an empty text"),
    ],
)
def test_wrong(name: str, value: Value, says: str) -> None:
    assert says in said(name, value)


@pytest.mark.parametrize("name", ["user_data", "tags", "public_key", "firewalls"])
def test_policies_are_three_words(name: str) -> None:
    check = SCHEMA.blocks["on_change"].attributes[name].check
    assert check is not None
    assert [check(word) for word in ("ignore", "replace", "error")] == ["", "", ""]
    assert check("warn")
    assert check("")


def test_what_is_sensitive_required_and_kept() -> None:
    specs = SCHEMA.attributes.values()
    assert {spec.name for spec in specs if spec.sensitive} == {"user_data"}
    assert {spec.name for spec in specs if spec.required} == {"instance_type", "location", "public_key"}
    assert "name" in {spec.name for spec in specs if spec.kept}
