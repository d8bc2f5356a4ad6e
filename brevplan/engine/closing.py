"""The end of a run, when all machines have come and gone: rows to forget, one more list, outputs, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from brevplan.contract.errors import CloudError
from brevplan.contract.model import DEAD, RefId
from brevplan.diagnostics import Diagnostic, Diagnostics
from brevplan.engine.change import Action
from brevplan.engine.checks import check_all
from brevplan.engine.config import Config
from brevplan.engine.events import Event, Notice
from brevplan.engine.identity import cred_ref_id
from brevplan.engine.observed import Facts
from brevplan.engine.outputs import evaluate_output, store_output
from brevplan.engine.plan import Folded
from brevplan.engine.ports import DropRecord, Record
from brevplan.engine.workshop import Workshop
from brevplan.lang.values import Value, has_unknown


async def forget_gone(shop: Workshop, records: Iterable[Record], tell: Callable[[Event], None]) -> None:
    """Forget rows of machines that are gone and no longer wanted, and what stood beside these."""
    for record in records:
        account = shop.account_of(record)
        if account is not None and record.ref_id:
            try:
                await account.patience.retried(partial(account.client.release, RefId(record.ref_id)))
            except CloudError as problem:
                tell(Notice(f"{record.address}: what stood beside it could not be removed: {problem}"))
                continue
        await shop.committer.commit(DropRecord(record.key))


async def unexpected_machines(shop: Workshop, facts: Facts) -> list[str]:
    """List once more where machines were made: one at each address, and nothing of ours that nobody knows."""
    mine = cred_ref_id(facts.project)
    known = set(shop.bound_ids)
    known |= {(view.fingerprint, key) for view in facts.views.values() for key in view.machines}
    found: list[str] = []
    for alias in sorted(shop.touched):
        account = shop.accounts[alias]
        try:
            listed = await account.fetch()
        except CloudError as problem:
            found.append(f"the closing list of {alias} failed: {problem}")
            continue
        for machine in listed:
            ours = machine.cloud_cred_ref_id == mine and machine.status not in DEAD
            if ours and (account.fingerprint, machine.cloud_id) not in known:
                found.append(
                    f"{machine.cloud_id} at {alias} bears our mark ({machine.ref_id}) and was not expected; "
                    "the next plan shows what to do with it"
                )
    return found


def final_outputs(config: Config, folded: Folded, facts: Facts) -> tuple[dict[str, Value], dict[str, object]]:
    """Evaluate the outputs over what is there now; give their values, and all outputs in the form of the state."""
    values: dict[str, Value] = {}
    stored = dict(facts.prior_outputs)
    diagnostics = Diagnostics()
    folded.scope.board.forget_unknown()
    for name, planned in folded.plan.outputs.items():
        if planned.action is Action.DELETE:
            stored.pop(name, None)
            continue
        block = config.outputs[name]
        found = evaluate_output(block, folded.scope, diagnostics)
        if found is None or has_unknown(found[0]):
            continue
        values[name] = found[0]
        stored[name] = store_output(found[0], facts.salt, sensitive=block.sensitive)
    return values, stored


def new_warnings(folded: Folded) -> list[Diagnostic]:
    """Give what `check` blocks say of how things are now, and did not say of the plan."""
    diagnostics = Diagnostics()
    check_all(folded.scope, diagnostics)
    told = set(folded.diagnostics.items)
    return [item for item in diagnostics if item not in told]
