"""A state as JSON, read back for `state push`: nothing in it is trusted, and every refusal names the place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from brevplan.engine.address import Address
from brevplan.engine.identity import WORKSPACE_NAME
from brevplan.engine.kind import Kind
from brevplan.engine.outputs import stored_value
from brevplan.engine.ports import AccountRow, Intent, Record, Role, Snapshot
from brevplan.engine.secrets import unseal
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.types import ANY
from brevplan.lang.values import has_secret
from brevplan.state.document import VERSION, Document, ResourcePart, WorkspacePart
from brevplan.state.errors import StateError

MOST_LEVELS: Final = 100
"""How deep data may be nested: what is written must be readable again, whoever reads it."""
_MOST_SERIAL: Final = 2**53

T = TypeVar("T")


class DocumentError(StateError):
    """A text is no state. `detail` begins with the place in it: `$.workspaces[0].resources[2].role`."""

    summary = "Invalid state document"


def decode(text: str, kinds: Mapping[str, Kind]) -> Snapshot:
    """Read a document; raise `DocumentError` naming the first place that is not as it must be."""
    data = _parsed(text)
    _check_version(data)
    _check_values(data, "$", 0)
    try:
        document = msgspec.convert(data, Document, strict=True)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at ")
        _refuse(where.strip("`") or "$", what.replace("`", '"'))
    return _Reader(document, kinds).snapshot()


def _refuse(where: str, what: str) -> NoReturn:
    raise DocumentError(f"{where}: {what}.", "brevplan state pull shows how one is written. Nothing was changed.")


class _Doubled(dict[str, Any]):
    """An object that has a key twice."""

    key: str = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = _Doubled(found)
    names = [name for name, _ in pairs]
    doubled.key = next(name for name in names if names.count(name) > 1)
    return doubled


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as problem:
        _refuse("$", f"it is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}")
    except RecursionError:
        _refuse("$", f"it is nested too deeply: {MOST_LEVELS} levels are the most")
    except ValueError as problem:
        _refuse("$", f"it is not JSON: {problem}")


def _check_version(data: Any) -> None:
    """Look at the version first: all else may differ in another one."""
    if not isinstance(data, dict):
        _refuse("$", "an object is needed")
    version = data.get("format_version")
    if version is None:
        _refuse("$", 'it has no "format_version", so that it is no state of brevplan')
    if version != VERSION:
        _refuse(
            "$.format_version", f"{json.dumps(version)[:40]} is not known; this version reads {json.dumps(VERSION)}"
        )


def _check_values(data: Any, where: str, level: int) -> None:
    """Find what JSON can say and a state cannot hold."""
    if level > MOST_LEVELS:
        _refuse(where, f"it is nested too deeply: {MOST_LEVELS} levels are the most")
    if isinstance(data, dict):
        if isinstance(data, _Doubled):
            _refuse(where, f"the key {json.dumps(data.key)} stands there twice")
        for name, item in data.items():
            _check_values(name, where, level)
            _check_values(item, f"{where}.{name}", level + 1)
    elif isinstance(data, list):
        for number, item in enumerate(data):
            _check_values(item, f"{where}[{number}]", level + 1)
    elif isinstance(data, float) and not math.isfinite(data):
        _refuse(where, "the number is too large")
    elif isinstance(data, str) and not data.isascii() and re.search("[\ud800-\udfff]", data):
        _refuse(where, "the text holds half a character (a lone surrogate)")


class _Reader:
    """Checks what types alone do not say, place by place."""

    def __init__(self, document: Document, kinds: Mapping[str, Kind]) -> None:
        self.document, self.kinds = document, kinds
        self.keys: dict[str, str] = {}
        self.attempts: dict[str, str] = {}
        self.machines: dict[tuple[str, str], str] = {}

    def snapshot(self) -> Snapshot:
        document = self.document
        if not document.lineage:
            _refuse("$.lineage", "it is empty")
        if not document.salt:
            _refuse("$.salt", "it is empty")
        if not 0 <= document.serial <= _MOST_SERIAL:
            _refuse("$.serial", "a whole number from 0 on is needed")
        accounts = self.accounts()
        names: dict[str, str] = {}
        records: list[Record] = []
        intents: list[Intent] = []
        for number, workspace in enumerate(document.workspaces):
            where = f"$.workspaces[{number}]"
            if not WORKSPACE_NAME.match(workspace.name):
                _refuse(f"{where}.name", "letters, digits, '-' and '_' make the name of a workspace")
            _once(names, workspace.name, f"{where}.name")
            records += self.resources(workspace, where)
            intents += self.intents(workspace, where)
            self.check_outputs(workspace, where)
        return Snapshot(
            document.project, document.lineage, document.serial, document.salt, tuple(records), tuple(intents),
            accounts, {workspace.name: workspace.outputs for workspace in document.workspaces if workspace.outputs},
        )  # fmt: skip

    def accounts(self) -> tuple[AccountRow, ...]:
        seen: dict[str, str] = {}
        for number, item in enumerate(self.document.accounts):
            _once(seen, item.alias, f"$.accounts[{number}].alias")
        return tuple(
            AccountRow(item.alias, item.fingerprint, item.provider, item.tenant, item.endpoint)
            for item in self.document.accounts
        )

    def resources(self, workspace: WorkspacePart, where: str) -> Iterator[Record]:
        current: dict[str, str] = {}
        for number, item in enumerate(workspace.resources):
            place = f"{where}.resources[{number}]"
            address = self.address(item.address, f"{place}.address")
            if item.role is Role.CURRENT:
                _once(current, str(address), f"{place}.address", "there is a current one already, at ")
            self.check_row(item, address, place)
            yield Record(
                item.key, workspace.name, address, item.role, item.kind,
                self.attributes(item.kind, item.attributes, f"{place}.attributes"), item.provider, item.account,
                item.ref_id, item.cloud_id, item.settled, item.seen, item.protected,
                self.reads(item.reads, f"{place}.reads"),
            )  # fmt: skip

    def check_row(self, item: ResourcePart, address: Address, place: str) -> None:
        if item.kind != address.kind:
            _refuse(f"{place}.kind", f'"{item.kind}" is not what {address} is')
        if not item.key or item.key.startswith("#"):
            _refuse(f"{place}.key", "a ref_id, or another name of the row's own, is needed")
        _once(self.keys, item.key, f"{place}.key")
        if not self.kinds[item.kind].needs_provider:
            return
        for name, value in (("cloud_id", item.cloud_id), ("provider", item.provider), ("account", item.account)):
            if not value:
                _refuse(f"{place}.{name}", "it is empty, and a machine has one")
        if item.role is not Role.FORGOTTEN:
            words = "the same machine is recorded already, at "
            _once(self.machines, (item.account, item.cloud_id), f"{place}.cloud_id", words)

    def intents(self, workspace: WorkspacePart, where: str) -> Iterator[Intent]:
        for number, item in enumerate(workspace.intents):
            place = f"{where}.intents[{number}]"
            address = self.address(item.address, f"{place}.address")
            if not item.ref_id:
                _refuse(f"{place}.ref_id", "it is empty")
            _once(self.attempts, item.ref_id, f"{place}.ref_id")
            yield Intent(
                item.ref_id, workspace.name, address, item.provider, item.account, item.run_id, item.state,
                self.attributes(address.kind, item.request, f"{place}.request"),
                self.reads(item.reads, f"{place}.reads"), item.protected, item.opened_at, item.replaces,
            )  # fmt: skip

    def address(self, text: str, where: str) -> Address:
        with _place(where):
            address = Address.parse(text)
        if address.is_data or address.kind not in self.kinds:
            _refuse(where, f'"{text}" is of no kind that a state holds: {", ".join(sorted(self.kinds))}')
        return address

    def reads(self, texts: Collection[str], where: str) -> tuple[str, ...]:
        found = []
        for number, text in enumerate(texts):
            with _place(f"{where}[{number}]"):
                found.append(str(Address.parse(text)))
        return tuple(found)

    def attributes(self, kind: str, attributes: dict[str, Any], where: str) -> dict[str, Any]:
        specs = self.kinds[kind].schema.attributes
        for name, data in attributes.items():
            type_ = specs[name].type if name in specs else ANY
            with _place(f"{where}.{name}"):
                value = unseal(data, type_)
                if not has_secret(value):  # of a digest nothing more can be said
                    convert(value, type_)
        return attributes

    def check_outputs(self, workspace: WorkspacePart, where: str) -> None:
        for name, data in workspace.outputs.items():
            place = f"{where}.outputs.{name}"
            if data.keys() != {"value", "type", "sensitive"} or not isinstance(data["sensitive"], bool):
                _refuse(place, '"value", "type" and "sensitive" (true or false) are needed')
            with _place(place):
                stored_value(data)


def _once(seen: dict[T, str], item: T, where: str, words: str = "it stands there already, at ") -> None:
    first = seen.setdefault(item, where)
    if first != where:
        _refuse(where, f"{words}{first}")


@contextmanager
def _place(where: str) -> Iterator[None]:
    """Say where what is read in the block stands."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, AttributeError, ConversionError) as problem:
        _refuse(where, str(problem).rstrip(".") or "it cannot be read")
