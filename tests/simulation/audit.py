"""The independent auditor: compares cloud, state and configuration once all is quiet, by reading the files itself.

It uses none of the code that it judges.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.simulation.setup import Expected
from tests.simulation.site import MARK


@dataclass(frozen=True, slots=True)
class Life:
    """One machine as the cloud's books have it, gone or not. `gone_at` is None while it stands."""

    cloud_id: str
    ref_id: str
    mark: str
    born_at: float
    gone_at: float | None
    type: str
    status: str
    tags: Mapping[str, str]

    @property
    def is_ours(self) -> bool:
        return self.mark == MARK

    @property
    def was_billed(self) -> bool:
        """A launch that a fence kept from landing was never there."""
        return self.gone_at is None or self.gone_at > self.born_at


def lives(path: Path) -> list[Life]:
    """Give every machine that ever was in a cloud."""
    found = []
    for table in ("machines", "gone"):
        for ref_id, born_at, gone_at, body in _rows(path, f"SELECT ref_id, born_at, gone_at, body FROM {table}"):
            data = json.loads(body)
            mark, tags = data.get("cloud_cred_ref_id", ""), data.get("tags", {})
            kind, status = data["instance_type"], data["status"]
            found.append(Life(data["cloud_id"], ref_id, mark, born_at, gone_at, kind, status, tags))
    return sorted(found, key=lambda life: life.cloud_id)


def audit(
    clouds: Mapping[str, Path],
    state: Path,
    expected: Mapping[str, Expected],
    *,
    tags: bool,
    may_overlap: bool,
    by_hand: Collection[str] = (),
) -> Iterator[str]:
    """Give what is wrong. `clouds` are the accounts by name, of which "right" is the declared one.

    `by_hand` are the machines that somebody else ended: nobody waited for their end.
    """
    right = lives(clouds["right"])
    rows = _state_rows(state)
    yield from _wrong_machines([life for life in right if life.gone_at is None and life.is_ours], rows, expected, tags)
    yield from _wrong_rows(rows, state)
    yield from _damage(state)
    if not may_overlap:
        yield from _overlaps([life for life in right if life.cloud_id not in by_hand])
    for life in right:
        if not life.is_ours and life.gone_at is not None:
            yield f"{life.cloud_id} belongs to somebody else ({life.mark}) and is gone"
    for name, path in clouds.items():
        if name != "right" and path.exists():
            for life in lives(path):
                yield f"{life.cloud_id} was made in the account that the {name} key leads to"


def _wrong_machines(
    ours: list[Life], rows: list[dict[str, Any]], expected: Mapping[str, Expected], tags: bool
) -> Iterator[str]:
    address_of = {row["cloud_id"]: row["address"] for row in rows if row["role"] == "current" and row["cloud_id"]}
    found: dict[str, list[Life]] = defaultdict(list)
    for life in ours:
        if life.cloud_id not in address_of:
            yield f"orphan: {life.cloud_id} ({life.ref_id}) is billed and in no state"
        else:
            found[address_of[life.cloud_id]].append(life)
    for address, wanted in expected.items():
        if len(found[address]) != 1:
            yield f"{address} has {len(found[address])} machines: {[life.cloud_id for life in found[address]]}"
        for life in found[address]:
            yield from _differences(address, life, wanted, tags)
    for address in found.keys() - expected.keys():
        yield f"{address} is not declared, and has {[life.cloud_id for life in found[address]]}"


def _differences(address: str, life: Life, wanted: Expected, tags: bool) -> Iterator[str]:
    if life.type != wanted.type:
        yield f"{address} is a {life.type}, not a {wanted.type}"
    if wanted.power is not None and life.status != wanted.power:
        yield f"{address} is {life.status}, not {wanted.power}"
    if tags and wanted.tag is not None and life.tags.get("team") != wanted.tag:
        yield f"{address} has the tags {dict(life.tags)}, not {wanted.tag}"


def _wrong_rows(rows: list[dict[str, Any]], state: Path) -> Iterator[str]:
    for row in rows:
        if row["role"] != "current":
            yield f"{row['address']} {row['cloud_id']} is left as {row['role']}"
        if not row["settled"]:
            yield f"{row['address']} {row['cloud_id']} is not settled"
    for (ref_id,) in _rows(state, "SELECT ref_id FROM intents WHERE state = 'open'"):
        yield f"the launch {ref_id} is left open"


def _damage(state: Path) -> Iterator[str]:
    ((found,),) = _rows(state, "PRAGMA integrity_check")
    if found != "ok":
        yield f"the state is damaged: {found}"


def _overlaps(machines: list[Life]) -> Iterator[str]:
    """Two machines of one address were never billed at the same time."""
    by_digest: dict[str, list[Life]] = defaultdict(list)
    for life in machines:
        if life.is_ours and life.was_billed:
            by_digest[life.ref_id.rsplit("-", 2)[-2]].append(life)
    for group in by_digest.values():
        group.sort(key=lambda life: life.born_at)
        for first, second in pairwise(group):
            if first.gone_at is None or first.gone_at > second.born_at + 1e-6:
                yield f"{first.cloud_id} and {second.cloud_id} of one address were billed at the same time"


def _state_rows(path: Path) -> list[dict[str, Any]]:
    names = ("address", "role", "kind", "cloud_id", "ref_id", "settled")
    rows = _rows(path, f"SELECT {', '.join(names)} FROM resources WHERE kind = 'instance'")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()
