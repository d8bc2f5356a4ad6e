"""A wrong key and a rotated key: nothing that is recorded elsewhere is bought again. One test a sentence.

The account of the embedded cloud is its file, so another file behind the same block is another account.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.errors import AuthFailed, Unavailable
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.providers.local import LocalClient
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.store import Store
from tests.world import Lab, actions, configuration

FIREWALL = 'resource "firewall" "f" {{\n  ingress {{\n    from_port = {}\n  }}\n}}\n'
ACCEPTED = frozenset({"local"})
DENIED = Fault(before=AuthFailed("the key was revoked", http_status=401))


class OfTenant(LocalClient):
    """The same cloud file, seen by another tenant: what a key of another account, or a renumbered one, looks like."""

    tenant = ""

    async def tenant_id(self) -> str:
        return self.tenant or await super().tenant_id()


class Keys(Lab):
    """A lab whose key can be changed between two runs."""

    tenant = ""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder, text)
        self.outside = replace(self.outside, spec_of=self._with_key)

    def _with_key(self, name: str) -> ProviderSpec:
        return replace(self._spec(name), connect=self._connect_with_key)

    def _connect_with_key(self, connection: Connection) -> LocalClient:
        client = OfTenant(connection, self.faults)
        client.tenant = self.tenant
        return client


def lab_of(folder: Path, count: int = 3, port: int = 443) -> Keys:
    lab = Keys(folder, text(count, port=port))
    lab.apply()
    return lab


def text(count: int, path: str = "local-cloud.db", port: int = 443, body: str = "") -> str:
    return configuration(count, provider=f'path = "{path}"', body=body, rest=FIREWALL.format(port))


def living(lab: Lab, path: str) -> list[str]:
    store = Store(lab.folder / path)
    try:
        return [str(machine.body.cloud_id) for machine in store.machines()]
    finally:
        store.close()


def is_blocked(lab: Lab, count: int = 3) -> bool:
    plan = lab.plan()
    reasons = [change.blocked for change in plan.blocked]
    return len(reasons) == count and all("-accept-account=local" in reason for reason in reasons)


def test_a_wrong_key_leaves_everything_recorded_unverified(tmp_path: Path) -> None:
    """1: "If it differs from the recorded one, everything recorded there is *unverified*"."""
    lab = lab_of(tmp_path)
    lab.text = text(3, "wrong.db")
    assert is_blocked(lab)
    assert lab.apply().result is None
    assert living(lab, "wrong.db") == []


def test_a_wrong_key_buys_nothing_however_often_other_things_are_applied(tmp_path: Path) -> None:
    """1: "So a wrong or rotated key never re-buys a fleet": not after the rest of a plan was carried out either."""
    lab = lab_of(tmp_path)
    for port in (444, 445, 446):
        lab.text = text(3, "wrong.db", port)
        assert is_blocked(lab)
        done = lab.apply()
        assert done.result is not None, "the firewall is changed"
    assert living(lab, "wrong.db") == []
    lab.text = text(3, port=446)
    assert actions(lab.plan()) == {}


def test_a_wrong_key_makes_nothing_new_either(tmp_path: Path) -> None:
    """2: "*Unverified* is never a create": not of an address that is declared only now."""
    lab = lab_of(tmp_path)
    lab.text = text(5, "wrong.db")
    assert is_blocked(lab, 5)
    lab.apply()
    assert living(lab, "wrong.db") == []


@pytest.mark.parametrize("mode", [Mode.DESTROY, Mode.REFRESH_ONLY])
def test_a_wrong_key_neither_ends_nor_forgets_anything(tmp_path: Path, mode: Mode) -> None:
    """2: "*Unverified* is never a create, a replace or a destroy"."""
    lab = lab_of(tmp_path)
    recorded = lab.recorded()
    lab.text = text(3, "wrong.db")
    lab.apply(Options(mode=mode))
    assert lab.recorded() == recorded
    lab.text = text(3)
    assert actions(lab.plan()).keys() <= {"firewall.f"}, "it lives in the state alone"


def test_machines_of_others_with_the_same_ids_are_not_taken_for_ours(tmp_path: Path) -> None:
    """1: "until one of the recorded machines … is seen there": an id alone is somebody else's in another account."""
    (tmp_path / "theirs").mkdir()
    theirs = Lab(tmp_path / "theirs", configuration(3).replace('"lab"', '"theirs"'))
    theirs.apply()
    shutil.copy(tmp_path / "theirs" / "local-cloud.db", tmp_path / "wrong.db")
    lab = lab_of(tmp_path)
    lab.text = text(3, "wrong.db")
    assert is_blocked(lab)
    lab.apply(Options(mode=Mode.DESTROY))
    assert living(lab, "wrong.db") == ["i-00000001", "i-00000002", "i-00000003"]


def test_an_accepted_account_of_others_is_used_beside_their_machines(tmp_path: Path) -> None:
    """1: "or the user says `-accept-account=ALIAS`": then the fleet is made there, and nobody else's is touched."""
    (tmp_path / "theirs").mkdir()
    Lab(tmp_path / "theirs", configuration(3).replace('"lab"', '"theirs"')).apply()
    shutil.copy(tmp_path / "theirs" / "local-cloud.db", tmp_path / "new.db")
    lab = lab_of(tmp_path)
    lab.text = text(3, "new.db")
    accepted = lab.plan(accepted_accounts=ACCEPTED)
    assert actions(accepted) == {f"instance.m[{n}]": "create" for n in range(3)}
    assert all(change.cloud_id == "" for change in accepted.effective)
    shrunk = text(0, "new.db")
    lab.text = shrunk
    assert actions(lab.plan(accepted_accounts=ACCEPTED)) == {}


def test_a_key_of_another_workspace_is_a_wrong_key(tmp_path: Path) -> None:
    """1: "one of our marks": the marks of another workspace, which has an account of its own, are not ours."""
    stage = Keys(tmp_path, text(3, "stage.db"))
    prod = Keys(tmp_path, text(3, "prod.db"))
    in_workspace(stage, "stage")
    in_workspace(prod, "prod")
    stage.apply()
    prod.apply()
    stage.apply()
    prod.text = text(3, "stage.db")
    assert is_blocked(prod)
    prod.apply()
    assert len(living(prod, "stage.db")) == len(living(prod, "prod.db")) == 3


def in_workspace(lab: Keys, name: str) -> None:
    make = lab.request
    lab.request = lambda *given, **fields: make(*given, **{"workspace": name, **fields})  # type: ignore[method-assign]


def test_a_new_key_of_the_same_account_changes_nothing(tmp_path: Path) -> None:
    """1: the "account fingerprint (tenant id and endpoint)" does not hang on the key."""
    lab = lab_of(tmp_path)
    lab.tenant = ""  # the same tenant behind a new key
    assert actions(lab.plan()) == {}
    assert not lab.plan().blocked


def test_an_account_under_a_new_id_that_shows_our_machines_is_the_same(tmp_path: Path) -> None:
    """1: "until one of the recorded machines or one of our marks is seen there"."""
    lab = lab_of(tmp_path)
    lab.tenant = "renumbered"
    assert actions(lab.plan()) == {}
    assert not lab.plan().blocked
    lab.text = text(4)
    lab.apply()
    assert len(lab.machines()) == 4
    assert actions(lab.plan()) == {}


def test_a_key_that_lists_nothing_blocks_all(tmp_path: Path) -> None:
    """2: "so does an empty or much shorter one … when the first gets show one of them alive"."""
    lab = lab_of(tmp_path, 8)
    lab.text = text(9)
    lab.text = lab.text.replace('path = "local-cloud.db"', 'path = "local-cloud.db"\n  list_lag = "1h"')
    plan = lab.plan()
    assert plan.effective == []
    assert "lacks 8 of 8" in plan.blocked[0].blocked
    lab.apply()
    assert len(lab.machines()) == 8


@pytest.mark.parametrize("error", [AuthFailed("wrong key"), Unavailable("down", http_status=503)], ids=["auth", "503"])
def test_a_list_that_fails_blocks_and_comes_back(tmp_path: Path, error: AuthFailed | Unavailable) -> None:
    """2: "A failed, partial or malformed list makes its machines *unverified*"; nothing is left of it afterwards."""
    lab = lab_of(tmp_path)
    lab.faults.choose = lambda call: Fault(before=error) if call.operation == "list_instances" else NO_FAULT
    plan = lab.plan()
    assert len(plan.blocked) == 3
    assert plan.effective == []
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    assert actions(lab.plan()) == {}


def after(number: int, operation: str = "") -> Callable[[Call], Fault]:
    """Revoke the key once so many calls were made."""
    seen = [0]

    def choose(call: Call) -> Fault:
        seen[0] += not operation or call.operation == operation
        return DENIED if seen[0] > number else NO_FAULT

    return choose


@pytest.mark.parametrize("number", range(1, 14))
def test_a_key_revoked_in_the_middle_of_an_apply(tmp_path: Path, number: int) -> None:
    """3.4: `refused` "closes the intent": what was made is recorded, the rest is made once the key is back."""
    lab = lab_of(tmp_path, 2)
    lab.text = text(6, body='tags = { team = "ml" }')
    lab.faults.choose = after(number)
    try:
        lab.apply()
    except DiagnosticsError:
        assert number < 4, "before anything was begun: the catalogue could not be read"
    assert len(lab.machines()) == len(lab.recorded())
    lab.faults.choose = lambda call: NO_FAULT
    lab.apply()
    assert len(lab.machines()) == 6
    assert sorted(lab.recorded().values()) == sorted(machine.body.cloud_id for machine in lab.machines())
    assert actions(lab.plan()) == {}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_key_revoked_in_the_middle_of_a_destroy(tmp_path: Path, number: int) -> None:
    """4: "A refused or lagging terminate … stays recorded", and the next run goes on with it."""
    lab = lab_of(tmp_path)
    lab.faults.choose = after(number, "terminate_instance")
    lab.apply(Options(mode=Mode.DESTROY))
    assert len(lab.machines()) == 3 - number
    lab.faults.choose = lambda call: NO_FAULT
    lab.apply(Options(mode=Mode.DESTROY))
    assert lab.machines() == []
    assert lab.recorded() == {}


def test_an_accepted_account_and_then_the_old_one_again(tmp_path: Path) -> None:
    """1: what was made in the one account is not bought again in the other, whichever the key leads to."""
    lab = lab_of(tmp_path)
    lab.text = text(3, "new.db")
    accept(lab)
    assert living(lab, "new.db") == ["i-00000001", "i-00000002", "i-00000003"]
    assert actions(lab.plan()) == {}
    lab.text = text(3)
    before = living(lab, "local-cloud.db")
    plan = lab.plan()
    assert plan.effective == []
    assert len(plan.blocked) == 3
    lab.apply()
    assert living(lab, "local-cloud.db") == before
    lab.text = text(3, "new.db")
    assert actions(lab.plan()) == {}


def accept(lab: Keys) -> None:
    make = lab.request
    lab.request = lambda *given, **fields: make(  # type: ignore[method-assign]
        *given, **{"accepted_accounts": ACCEPTED, **fields}
    )
    lab.apply()
    lab.request = make  # type: ignore[method-assign]
