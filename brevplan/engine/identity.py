"""The names that we write at providers: what is ours, which address it serves, and which attempt made it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from brevplan.contract.model import RefId
from brevplan.engine.address import Address

_REF_ID: Final = re.compile(
    r"bp-(?P<project>[a-z0-9]+(?:-[a-z0-9]+)*)-(?P<digest>[a-z2-7]{12})-(?P<attempt>[a-z2-7]{6})\Z"
)

WORKSPACE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
"""What a workspace may be called: a name that stands before a slash in a tag."""


def cred_ref_id(project: str) -> str:
    """What every machine of a project bears, whatever its provider block is called."""
    return f"bp-{project}"


def address_digest(workspace: str, address: Address) -> str:
    """Give the 12 characters that stand for an address in a ref_id."""
    text = "\x1f".join((workspace, "", str(address)))
    raw = hashlib.sha256(text.encode()).digest()[:8]
    return base64.b32encode(raw).decode().lower()[:12]


def make_ref_id(project: str, workspace: str, address: Address, attempt: str) -> RefId:
    return RefId(f"bp-{project}-{address_digest(workspace, address)}-{attempt}")


def ref_digest(ref_id: str) -> str | None:
    """Give the address digest inside a ref_id, or None when it is not one of ours."""
    found = _REF_ID.match(ref_id)
    return found["digest"] if found else None


def address_tag(workspace: str, address: Address) -> str:
    """What is written beside the mark where tags are mutable: readable, and telling the workspace."""
    return str(address) if workspace == "default" else f"{workspace}/{address}"


def fingerprint(tenant: str, endpoint: str) -> str:
    """Give the account's fingerprint: two keys of one account agree, two accounts never do."""
    return hashlib.sha256(f"{tenant}\x1f{endpoint}".encode()).hexdigest()[:32]
