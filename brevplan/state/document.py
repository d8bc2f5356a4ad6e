"""A state as JSON, for `state pull` and `state push`: its form, and the way out. A snapshot has one text only.

What stands for secrets stays what it is: digests, which the salt beside them makes comparable.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from brevplan.engine.ports import Intent, IntentState, Record, Role, Snapshot

VERSION: Final = "1.0"


class Part(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class AccountPart(Part, frozen=True):
    alias: str
    provider: str
    fingerprint: str
    tenant: str
    endpoint: str


class ResourcePart(Part, frozen=True):
    address: str
    role: Role
    kind: str
    key: str
    provider: str
    account: str
    ref_id: str
    cloud_id: str
    settled: bool
    seen: bool
    protected: bool
    reads: list[str]
    attributes: dict[str, Any]


class IntentPart(Part, frozen=True):
    address: str
    state: IntentState
    ref_id: str
    provider: str
    account: str
    run_id: str
    opened_at: str
    protected: bool
    reads: list[str]
    request: dict[str, Any]
    replaces: str


class WorkspacePart(Part, frozen=True):
    name: str
    resources: list[ResourcePart]
    intents: list[IntentPart]
    outputs: dict[str, dict[str, Any]]


class Document(Part, frozen=True):
    format_version: str
    project: str
    lineage: str
    serial: int
    salt: str
    accounts: list[AccountPart]
    workspaces: list[WorkspacePart]


# writing


def encode(snapshot: Snapshot) -> str:
    """Give the document of a snapshot, with a line end behind it."""
    names = {row.workspace for row in snapshot.records} | {row.workspace for row in snapshot.intents}
    document = Document(
        VERSION,
        snapshot.project,
        snapshot.lineage,
        snapshot.serial,
        snapshot.salt,
        [AccountPart(row.alias, row.provider, row.fingerprint, row.tenant, row.endpoint) for row in snapshot.accounts],
        [_workspace(snapshot, name) for name in sorted(names | snapshot.outputs.keys())],
    )
    data = msgspec.json.encode(document, order="deterministic")
    return msgspec.json.format(data, indent=2).decode() + "\n"


def _workspace(snapshot: Snapshot, name: str) -> WorkspacePart:
    return WorkspacePart(
        name,
        [_resource(row) for row in snapshot.records if row.workspace == name],
        [_attempt(row) for row in snapshot.intents if row.workspace == name],
        {output: dict(data) for output, data in snapshot.outputs.get(name, {}).items()},
    )


def _resource(row: Record) -> ResourcePart:
    return ResourcePart(
        str(row.address), row.role, row.kind, row.key, row.alias, row.account, row.ref_id, row.cloud_id, row.settled,
        row.seen, row.protected, list(row.reads), dict(row.attributes),
    )  # fmt: skip


def _attempt(row: Intent) -> IntentPart:
    return IntentPart(
        str(row.address), row.state, row.ref_id, row.alias, row.account, row.run_id, row.opened_at, row.protected,
        list(row.reads), dict(row.request), row.replaces,
    )  # fmt: skip
