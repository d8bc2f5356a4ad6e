"""`brevplan state pull` and `state push`: the whole state as one JSON document, out and in again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brevplan.diagnostics import failure
from brevplan.engine.ports import ReplaceState, Role, Snapshot
from brevplan.operations.parse_cache import parse_cache
from brevplan.operations.planning import Request, state_failure
from brevplan.operations.project import KINDS
from brevplan.operations.stored import opened
from brevplan.operations.surgery import Say, Surgery, operating
from brevplan.operations.world import Outside
from brevplan.state.document import encode
from brevplan.state.document_reader import decode
from brevplan.state.errors import StateError


@dataclass(frozen=True, slots=True)
class Pushed:
    resources: int
    serial: int


def pull(directory: Path, request: Request) -> str:
    """Give the document of a folder's state, as it is at one moment; raise `DiagnosticsError` where there is none."""
    with opened(directory, parse_cache(request.environment)) as store:
        if store is None:
            raise failure(
                "No state",
                "There is no state to pull.",
                hint="The first apply makes it. -chdir=DIR works in another directory.",
            )
        return encode(store.snapshot())


def push(directory: Path, text: str, request: Request, world: Outside, say: Say, *, force: bool = False) -> Pushed:
    """Put a document in the place of the state; raise `DiagnosticsError` when it must not be, and nothing was changed.

    The document is read to its end before anything is opened for writing.
    """
    try:
        new = decode(text, KINDS)
    except StateError as problem:
        raise state_failure(problem) from None
    with operating(directory, "state push", request, world, say, create=True) as work:
        if not force:
            _check_relation(new, work.store.snapshot())
        count = sum(record.role is Role.CURRENT for record in new.records)
        work.finish([ReplaceState(new)], f"{count} resource instance(s) from a document with serial {new.serial}")
        return Pushed(count, _serial(work))


def _serial(work: Surgery) -> int:
    return work.store.meta().serial


_FORCE: Final = "Look at both with brevplan state pull. -force puts it in the place of what is there all the same."


def _check_relation(new: Snapshot, old: Snapshot) -> None:
    """Refuse what did not come of the present state; an empty one may be replaced by anything."""
    if old.is_empty:
        return
    if new.lineage != old.lineage:
        raise failure(
            "Failed to write state",
            f"Cannot import state with lineage {json.dumps(new.lineage)} over unrelated state with lineage "
            f"{json.dumps(old.lineage)}.",
            hint=_FORCE,
        )
    if new.serial < old.serial:
        raise failure(
            "Failed to write state",
            f"Cannot import state with serial {new.serial} over newer state with serial {old.serial}.",
            hint=_FORCE,
        )
    lost = sorted({intent.ref_id for intent in old.intents} - {intent.ref_id for intent in new.intents})
    if lost:
        raise failure(
            "Failed to write state",
            f"The document knows nothing of {len(lost)} launch{'es' * (len(lost) != 1)} that the state looks for "
            f"({lost[0]}{', …' * (len(lost) > 1)}): what they made would be bought again.",
            hint="Pull the state anew and make the change in that. -force drops the launches all the same.",
        )
