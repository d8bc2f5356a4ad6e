"""Marks: their shape, and that each address of each workspace has its own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.engine.address import Address
from brevplan.engine.identity import address_digest, address_tag, cred_ref_id, fingerprint, make_ref_id, ref_digest
from tests.engine.build import at
from tests.engine.test_address import ADDRESSES

PROJECTS = st.from_regex(r"[a-z0-9](?:-?[a-z0-9]){0,9}", fullmatch=True)
ATTEMPTS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=6, max_size=6)


@given(PROJECTS, st.text(max_size=8), ADDRESSES, ATTEMPTS)
def test_a_ref_id_has_the_shape_that_every_cloud_takes(
    project: str, workspace: str, address: Address, attempt: str
) -> None:
    ref_id = make_ref_id(project, workspace, address, attempt)
    assert re.fullmatch(r"[a-z0-9-]{1,48}", ref_id)
    assert "--" not in ref_id
    assert ref_digest(ref_id) == address_digest(workspace, address)


def test_the_longest_project_still_fits() -> None:
    ref_id = make_ref_id("a" * 20, "default", at("instance.web"), "aaaaaa")
    assert len(ref_id) <= 48
    assert len(cred_ref_id("a" * 20)) <= 32


def test_the_digest_never_changes_between_versions() -> None:
    # machines out there bear these: an edit of this test is the loss of every adopted fleet
    assert address_digest("default", at("instance.web[0]")) == "y5f6o22e7sng"
    assert address_digest("stage", at('instance.web["a"]')) == "4elsdffenote"


def test_workspace_name_kind_and_key_each_count() -> None:
    digests = [
        address_digest("default", at("instance.web")),
        address_digest("stage", at("instance.web")),
        address_digest("default", at("instance.web[0]")),
        address_digest("default", at('instance.web["0"]')),
        address_digest("default", at("instance.web2")),
        address_digest("default", at("firewall.web")),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    "text",
    ["", "bp-lab", "bp-lab-aaaaaaaaaaaa", "bp-lab-aaaaaaaaaaaa-aaaaa", "bp-lab-AAAAAAAAAAAA-aaaaaa",
     "bp--lab-aaaaaaaaaaaa-aaaaaa", "xbp-lab-aaaaaaaaaaaa-aaaaaa", "bp-lab-aaaaaaaaaaa1-aaaaaa"],
)  # fmt: skip
def test_what_is_not_ours_has_no_digest(text: str) -> None:
    assert ref_digest(text) is None


def test_the_tag_tells_the_workspace() -> None:
    assert address_tag("default", at("instance.web[0]")) == "instance.web[0]"
    assert address_tag("stage", at("instance.web[0]")) == "stage/instance.web[0]"


def test_two_accounts_never_agree() -> None:
    prints = {fingerprint("a", ""), fingerprint("b", ""), fingerprint("a", "x"), fingerprint("", "a")}
    assert len(prints) == 4
    assert fingerprint("a", "x") == fingerprint("a", "x")
