"""The state as JSON: the same bytes again after a way out and in, and a place named for everything that is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.engine.address import Address
from brevplan.engine.ports import (
    IntentState,
    OpenIntent,
    PutAccount,
    PutOutputs,
    PutRecord,
    ReplaceState,
    Role,
    Snapshot,
    Write,
)
from brevplan.operations.project import KINDS
from brevplan.state.document import encode
from brevplan.state.document_reader import MOST_LEVELS, DocumentError, decode
from tests.state.build import ACCOUNT, INTENT, opened, row

FIREWALL = row(
    9, key="state:default:firewall.web", address=Address("firewall", "web"), kind="firewall", alias="", account="",
    ref_id="", cloud_id="", attributes={"id": "firewall.web", "ingress": [{"from_port": 443}]}, reads=(),
)  # fmt: skip
WRITES: list[Write] = [
    PutAccount(ACCOUNT),
    PutRecord(row(0, attributes={"id": "i-0", "user_data": {"$digest": "ab"}, "hourly_price": 0.75})),
    PutRecord(row(1, address=Address("instance", "m", 'a"b', module=(("x", 1),)), role=Role.DESTROYING)),
    PutRecord(row(2, workspace="stage", address=Address("instance", "m", 0), attributes={"name": "ü", "options": {}})),
    PutRecord(row(3, role=Role.FORGOTTEN)),
    PutRecord(FIREWALL),
    OpenIntent(INTENT),
    OpenIntent(replace(INTENT, ref_id="bp-lab-y", state=IntentState.RETIRED, request={})),
    PutOutputs("default", {"o": {"value": 1, "type": "number", "sensitive": False}}),
    PutOutputs("third", {"s": {"value": {"$digest": "cd"}, "type": "string", "sensitive": True}}),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    store = opened(tmp_path_factory.mktemp("state") / "brevplan.db")
    store.transact(WRITES)
    found = store.snapshot()
    store.close()
    return found


@pytest.fixture(scope="module")
def good(snapshot: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode(snapshot))
    return found


def plain(snapshot: Snapshot) -> Snapshot:
    """Leave out what a document does not hold."""
    records = tuple(replace(record, version=0, has_secrets=True) for record in snapshot.records)
    return replace(snapshot, records=records)


def test_a_document_says_the_same_as_the_state(snapshot: Snapshot) -> None:
    text = encode(snapshot)
    assert plain(decode(text, KINDS)) == plain(snapshot)
    assert encode(decode(text, KINDS)) == text


def test_a_document_lists_every_workspace_with_all_that_is_in_it(good: dict[str, Any]) -> None:
    assert good["format_version"] == "1.0"
    assert [item["name"] for item in good["workspaces"]] == ["default", "stage", "third"]
    assert [row["address"] for row in good["workspaces"][0]["resources"]] == [
        "firewall.web", "instance.m[0]", "instance.m[3]", 'module.x[1].instance.m["a\\"b"]',
    ]  # fmt: skip
    assert good["workspaces"][0]["resources"][1]["attributes"]["user_data"] == {"$digest": "ab"}


def test_a_state_takes_a_document_over_and_keeps_its_history(snapshot: Snapshot, tmp_path: Path) -> None:
    store = opened(tmp_path / "brevplan.db")
    store.transact([PutRecord(row(0)), PutRecord(row(7)), OpenIntent(replace(INTENT, ref_id="bp-lab-z"))])
    store.transact([ReplaceState(snapshot)])
    found = store.snapshot()
    assert plain(found) == plain(snapshot)
    versions = {record.key: record.version for record in found.records}
    assert versions["k0"] == 2, "whoever approved a plan over the row is told"
    assert versions["k2"] == 1
    store.close()


def test_a_serial_never_falls(snapshot: Snapshot, tmp_path: Path) -> None:
    store = opened(tmp_path / "brevplan.db")
    store.transact([ReplaceState(replace(snapshot, serial=8))])
    store.transact([ReplaceState(replace(snapshot, serial=3))])
    assert store.meta().serial == 8
    store.close()


Change = Callable[[dict[str, Any]], object]


def at(data: Any, *steps: str | int) -> Any:
    for step in steps:
        data = data[step]
    return data


def put(*steps: str | int, value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        at(data, *steps[:-1])[steps[-1]] = value

    return change


def without(*steps: str | int) -> Change:
    return lambda data: at(data, *steps[:-1]).pop(steps[-1])


def again(*steps: str | int, **fields: Any) -> Change:
    """Append a copy of what is at a place to its list."""
    return lambda data: at(data, *steps[:-1]).append({**at(data, *steps), **fields})


MACHINE = ("workspaces", 0, "resources", 1)
ATTEMPT = ("workspaces", 0, "intents", 0)
WHERE = "$.workspaces[0].resources[1]"
WRONG: list[tuple[Change, str]] = [
    (without("format_version"), '$: it has no "format_version"'),
    (put("format_version", value="2.0"), '$.format_version: "2.0" is not known; this version reads "1.0"'),
    (put("format_version", value=1), "$.format_version: 1 is not known"),
    (without("lineage"), "$: Object missing required field"),
    (put("lineage", value=""), "$.lineage: it is empty"),
    (put("salt", value=""), "$.salt: it is empty"),
    (put("salt", value=None), "$.salt: "),
    (put("serial", value="7"), "$.serial: "),
    (put("serial", value=1.5), "$.serial: "),
    (put("serial", value=-1), "$.serial: a whole number from 0"),
    (put("serial", value=2**60), "$.serial: a whole number from 0"),
    (put("more", value=1), "$: Object contains unknown field"),
    (put("accounts", value={}), "$.accounts: "),
    (again("accounts", 0), "$.accounts[1].alias: it stands there already, at $.accounts[0].alias"),
    (put("workspaces", 1, "name", value="default"), "$.workspaces[1].name: it stands there already"),
    (put("workspaces", 0, "name", value="a/b"), "$.workspaces[0].name: letters"),
    (without(*MACHINE, "role"), f"{WHERE}: Object missing required field"),
    (put(*MACHINE, "role", value="main"), f"{WHERE}.role: "),
    (put(*MACHINE, "settled", value=1), f"{WHERE}.settled: "),
    (put(*MACHINE, "address", value="instance"), f"{WHERE}.address: "),
    (put(*MACHINE, "address", value="data.instance.m"), f"{WHERE}.address: "),
    (put(*MACHINE, "address", value="volume.m"), f'{WHERE}.address: "volume.m" is of no kind'),
    (put(*MACHINE, "kind", value="firewall"), f"{WHERE}.kind: "),
    (put(*MACHINE, "key", value=""), f"{WHERE}.key: "),
    (put(*MACHINE, "key", value="#0"), f"{WHERE}.key: "),
    (put(*MACHINE, "key", value="k3"), "$.workspaces[0].resources[2].key: it stands there already"),
    (put(*MACHINE, "cloud_id", value=""), f"{WHERE}.cloud_id: it is empty"),
    (put(*MACHINE, "account", value=""), f"{WHERE}.account: it is empty"),
    (put(*MACHINE, "provider", value=""), f"{WHERE}.provider: it is empty"),
    (put(*MACHINE, "cloud_id", value="i-1"), "resources[3].cloud_id: the same machine is recorded already"),
    (again(*MACHINE, key="k8", cloud_id="i-8"), "resources[4].address: there is a current one already, at " + WHERE),
    (put(*MACHINE, "reads", value=["firewall"]), f"{WHERE}.reads[0]: "),
    (put(*MACHINE, "reads", value="firewall.web"), f"{WHERE}.reads: "),
    (put(*MACHINE, "attributes", value=[]), f"{WHERE}.attributes: "),
    (put(*MACHINE, "attributes", "hourly_price", value="dear"), f"{WHERE}.attributes.hourly_price: "),
    (put(*MACHINE, "attributes", "tags", value=7), f"{WHERE}.attributes.tags: "),
    (put(*MACHINE, "attributes", "tags", value={"a": {"$number": "1/0"}}), f"{WHERE}.attributes.tags: "),
    (put(*MACHINE, "attributes", "x", value="\ud800"), f"{WHERE}.attributes.x: the text holds half a character"),
    (put(*ATTEMPT, "state", value="lost"), "$.workspaces[0].intents[0].state: "),
    (put(*ATTEMPT, "ref_id", value=""), "$.workspaces[0].intents[0].ref_id: it is empty"),
    (again(*ATTEMPT), "$.workspaces[0].intents[2].ref_id: it stands there already"),
    (put(*ATTEMPT, "request", "tags", value=7), "$.workspaces[0].intents[0].request.tags: "),
    (put("workspaces", 0, "outputs", "o", value={"value": 1}), "$.workspaces[0].outputs.o: "),
    (put("workspaces", 0, "outputs", "o", "sensitive", value="no"), "$.workspaces[0].outputs.o: "),
    (put("workspaces", 0, "outputs", "o", "value", value={"$number": "x"}), "$.workspaces[0].outputs.o: "),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words[:60] for _, words in WRONG])
def test_a_wrong_document_is_refused_with_its_place(good: dict[str, Any], change: Change, words: str) -> None:
    data = copy.deepcopy(good)
    change(data)
    with pytest.raises(DocumentError) as problem:
        decode(json.dumps(data), KINDS)
    assert words in problem.value.detail
    assert "Nothing was changed" in problem.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "$: it is not JSON"),
        ("{", "$: it is not JSON: "),
        ("[]", "$: an object is needed"),
        ("null", "$: an object is needed"),
        ('{"format_version": "1.0", "serial": NaN}', "NaN is no number of JSON"),
        ('{"format_version": "1.0", "serial": 1e999}', "$.serial: the number is too large"),
        ('{"format_version": "1.0", "serial": 1' + "0" * 5000 + "}", "$: it is not JSON: "),
        ('{"format_version": "1.0", "salt": "a", "salt": "b"}', '$: the key "salt" stands there twice'),
        ('{"format_version": "1.0", "x": {"y": [{"a": 1, "a": 2}]}}', '$.x.y[0]: the key "a" stands there twice'),
        ('{"format_version": "1.0", "x": ' + "[" * 500 + "]" * 500 + "}", f"{MOST_LEVELS} levels are the most"),
        ('{"format_version": "1.0", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", f"{MOST_LEVELS} levels"),
    ],
)
def test_a_text_that_no_state_can_come_of_is_refused(text: str, words: str) -> None:
    with pytest.raises(DocumentError) as problem:
        decode(text, KINDS)
    assert words in problem.value.detail


def places(data: Any, steps: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [steps] if steps else []
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, item in pairs:
        found += places(item, (*steps, step))
    return found


ODD = st.sampled_from([None, True, 0, -1, 1.5, "", "x", "instance.m[0]", [], {}, ["a"], {"$digest": 5}, {"$number": 3}])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_what_is_not_refused_can_be_written_and_read(data: st.DataObject, snapshot: Snapshot) -> None:
    """Damage by chance: a refusal that names a place, or a state that holds what the document says."""
    document = json.loads(encode(snapshot))
    for _ in range(data.draw(st.integers(1, 3))):
        steps = data.draw(st.sampled_from(places(document)))
        change = without(*steps) if data.draw(st.booleans()) else put(*steps, value=copy.deepcopy(data.draw(ODD)))
        change(document)
    found = outcome(json.dumps(document))
    if isinstance(found, Snapshot):
        assert encode(decode(encode(found), KINDS)) == encode(found)
    else:
        assert found.startswith("$")


def outcome(text: str) -> Snapshot | str:
    """Give what a text says, or where it was refused."""
    try:
        return decode(text, KINDS)
    except DocumentError as problem:
        return problem.detail
