"""Plan files: data, mode 0600, that say exactly what was approved. Applied once, resumable, never with a secret in it.

The file holds the sources with sensitive literals cut out, the inputs that are not secret, salted scrypt digests of the
secret ones and digests of the files read. Applying it folds the same configuration over what is there now, and carries
out only what comes out the same.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from brevplan.diagnostics import DiagnosticsError, Source, error, failure
from brevplan.engine.address import Address, parse_target
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode, Plan
from brevplan.engine.codec import Fingerprint, decode_plan, decode_value, encode_plan, encode_value, fingerprint
from brevplan.engine.ports import rfc3339
from brevplan.lang import ast
from brevplan.lang.values import Value, has_ephemeral, has_secret, reveal_deep, to_python
from brevplan.operations.approval import Progress, key_of, remaining_options, restrict
from brevplan.operations.planning import Fixed, Planned, Request
from brevplan.operations.project import Project, load_sources, parse_source, read_source
from brevplan.operations.sensitive import Name, Taint, secret_texts, spans, trace
from brevplan.operations.world import ProjectFiles

FORMAT: Final = "brevplan-plan-1"
CUT: Final = '"(cut)"'


class Text(msgspec.Struct, frozen=True):
    """One source; `cut` says that sensitive literals were taken out of it, `digest` stands for all of them."""

    name: str
    text: str
    cut: bool = False
    digest: str = ""


class Content(msgspec.Struct, frozen=True):
    """A plan file as it is stored."""

    format: str
    version: str
    plan_id: str
    created_at: str
    directory_state: str
    salt: str
    lineage: str
    sources: tuple[Text, ...]
    values: dict[str, Any]
    secrets: dict[str, str]
    files: dict[str, str]
    options: dict[str, Any]
    digests: dict[str, Fingerprint]
    """By address and deposed ref: digests of the whole change and of what is to be."""
    applyable: bool
    plan: dict[str, Any]
    document: dict[str, Any]
    """The plan's representation for other tools."""
    tainted: tuple[Name, ...] = ()
    """What leads into something sensitive: its literals are cut out of the sources."""


def scrypt(text: str, salt: str) -> str:
    return hashlib.scrypt(text.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=24).hex()


def _plain(value: Value) -> str:
    return msgspec.json.encode(to_python(reveal_deep(value)), order="deterministic").decode()


def _proof(value: Value, salt: str) -> str:
    """Give what a value given again is compared with; an ephemeral one may be another each time."""
    return "" if has_ephemeral(value) else scrypt(_plain(value), salt)


def build(found: Planned, request: Request, version: str, document: dict[str, Any], lineage: str) -> Content:
    """Make the content of a plan file from a finished plan."""
    salt = secrets.token_hex(16)
    taint = trace(found.project.config, found.project.bodies)
    hidden = taint.variables_of(".") | {name for name, value in found.values.items() if has_secret(value)}
    taint = Taint(taint.names | {(".", "var", name) for name in hidden})
    plan = found.folded.plan
    plan.plan_id = plan.plan_id or f"plan-{secrets.token_hex(6)}"
    return Content(
        FORMAT,
        version,
        plan.plan_id,
        rfc3339(found.now),
        str(found.project.config.settings.backend_path),
        salt,
        lineage,
        tuple(
            _cut_source(source, body, taint, salt)
            for source, body in zip(found.project.sources, found.project.bodies, strict=True)
        ),
        {name: encode_value(value) for name, value in found.values.items() if name not in hidden},
        {name: _proof(value, salt) for name, value in found.values.items() if name in hidden},
        {name: scrypt(digest, salt) for name, digest in sorted(found.files.digests.items())},
        _encode_options(request.options, request),
        {key_of(change): fingerprint(change, salt) for change in plan.effective},
        plan.has_changes,
        encode_plan(plan),
        _scrubbed(document, secret_texts(found.project.bodies, taint)),
        tuple(sorted(taint.names)),
    )


def _scrubbed(data: Any, texts: frozenset[str]) -> Any:
    """Take texts that stand in sensitive literals out of the document for other tools."""
    if isinstance(data, dict):
        return {name: _scrubbed(item, texts) for name, item in data.items()}
    if isinstance(data, list):
        return [_scrubbed(item, texts) for item in data]
    return "(sensitive value)" if isinstance(data, str) and any(text in data for text in texts) else data


def _encode_options(options: Options, request: Request) -> dict[str, Any]:
    return {
        "mode": options.mode.value,
        "targets": [str(item) for item in options.targets],
        "excludes": [str(item) for item in options.excludes],
        "replaced": [str(item) for item in options.replaced],
        "reaped": sorted(options.reaped),
        "allow_no_stock": options.allow_no_stock,
        "ignore_orphans": options.ignore_orphans,
        "accepted_accounts": sorted(request.accepted_accounts),
    }


def write(path: Path, content: Content) -> None:
    """Write a plan file, mode 0600, whole or not at all."""
    if not path.name or path.is_dir():
        raise failure("Plan file cannot be written", f'"{path}" is not the name of a file.')
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.encode(content))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise failure("Plan file cannot be written", f"{path}: {problem.strerror}.") from None


@dataclass(slots=True)
class PlanFile:
    """A plan file that was read."""

    path: Path
    content: Content
    plan: Plan

    @property
    def plan_id(self) -> str:
        return self.content.plan_id

    def check(self) -> None:
        """Read everything once; raise `ValueError`, `KeyError` or `TypeError` when the file is not whole."""
        self.options()
        frozenset(self.content.options["accepted_accounts"])
        datetime.fromisoformat(self.content.created_at.replace("Z", "+00:00"))
        for data in self.content.values.values():
            decode_value(data)
        missing = [key_of(change) for change in self.plan.effective if key_of(change) not in self.content.digests]
        if missing:
            raise ValueError(f"no digest of {missing[0]}")

    def options(self) -> Options:
        raw = self.content.options
        return Options(
            Mode(raw["mode"]),
            tuple(map(parse_target, raw["targets"])),
            tuple(map(parse_target, raw["excludes"])),
            tuple(map(Address.parse, raw["replaced"])),
            frozenset(raw["reaped"]),
            bool(raw["allow_no_stock"]),
            bool(raw["ignore_orphans"]),
        )

    def request(self, request: Request) -> Request:
        """Give the request with the options that the plan was made with."""
        accepted = frozenset(self.content.options["accepted_accounts"]) | request.accepted_accounts
        return replace(request, options=self.options(), accepted_accounts=accepted, workspace=self.plan.workspace)

    def remaining(self, request: Request, progress: Progress) -> Request:
        """Give the request without what this plan has done already."""
        return replace(request, options=remaining_options(request.options, self.plan, progress))

    def check_given(self, request: Request) -> None:
        """Refuse values for variables that the plan holds already; raise `DiagnosticsError`."""
        names = [item.text.partition("=")[0].strip() for item in request.given if not item.is_file]
        wrong = [name for name in names if name in self.content.values]
        if wrong:
            raise DiagnosticsError(
                [
                    error(
                        "Variable is part of the plan",
                        f"-var {name}: the plan holds its value; only sensitive variables are given again.",
                    )
                    for name in wrong
                ]
            )

    def project(self, directory: Path) -> Project:
        """Load the sources of the plan; those that something was cut out of are read again from the folder."""
        return load_sources(directory, [self._source(directory, text) for text in self.content.sources], complete=True)

    def _source(self, directory: Path, text: Text) -> Source:
        if not text.cut:
            return Source(text.name, text.text)
        now = read_source(directory / text.name, text.name)
        body, _ = parse_source(now)
        taint = Taint(frozenset(self.content.tainted))
        again = _cut_source(now, body, taint, self.content.salt)
        if again.text != text.text:
            raise stale(f"the file {text.name} is another text than when the plan was made")
        if again.digest != text.digest:
            raise stale(f"a sensitive value in {text.name} is another one than when the plan was made")
        return now

    def fixed(self, project: Project, request: Request) -> Fixed:
        """Give the inputs that the plan fixes, after checking those that it holds no copy of."""
        files = ProjectFiles(project.directory)
        for name, digest in self.content.files.items():
            try:
                files.read_bytes(name)
            except OSError as problem:
                raise stale(
                    f"the file {name} was read for the plan, and cannot be read now ({problem.strerror})"
                ) from None
            if scrypt(files.digests[name], self.content.salt) != digest:
                raise stale(f"the file {name} is another one than when the plan was made")
        values = {name: decode_value(data) for name, data in self.content.values.items()}
        moment = datetime.fromisoformat(self.content.created_at.replace("Z", "+00:00"))
        return Fixed(values, moment, frozenset(self.content.secrets))

    def check_secrets(self, values: Mapping[str, Value]) -> None:
        """Compare the secrets given now with those of the plan; raise `DiagnosticsError` naming the variables."""
        wrong = [
            name
            for name, digest in self.content.secrets.items()
            if name not in values or (digest and scrypt(_plain(values[name]), self.content.salt) != digest)
        ]
        if wrong:
            raise DiagnosticsError(
                [
                    error(
                        "Sensitive input differs",
                        f'Variable "{name}" has another value than when the plan was made.',
                        hint=f"Give the same value: -var {name}=…, or $BREVPLAN_VAR_{name}.",
                    )
                    for name in wrong
                ]
            )

    def restrict(self, plan: Plan, progress: Progress) -> bool:
        """Leave in a fresh plan only what was approved and is left to do; False when nothing is."""
        return restrict(plan, self.plan, self.content.digests, self.content.salt, progress)


def stale(detail: str) -> DiagnosticsError:
    return DiagnosticsError([error("Plan is stale", f"{detail[:1].upper()}{detail[1:]}.", hint="Make a new plan.")])


def read(path: Path) -> PlanFile:
    """Read a plan file; raise `DiagnosticsError` when it is none, or one of another version."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise failure("Plan file cannot be read", f"{path}: {problem.strerror}.") from None
    try:
        content = msgspec.json.decode(raw, type=Content)
        found = PlanFile(path, content, decode_plan(content.plan))
        found.check()
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise failure(
            "Not a plan file", f"{path} is not a plan made by brevplan plan -out, or it is damaged ({problem})."
        ) from None
    if content.format != FORMAT:
        raise failure("Plan file of another version", f"{path} has the format {content.format}; make a new plan.")
    return found


def _cut_source(source: Source, body: ast.Body, taint: Taint, salt: str) -> Text:
    """Take every literal of something sensitive out of a text."""
    parts: list[str] = []
    hidden: list[str] = []
    position = 0
    for start, end in spans(body, taint):
        parts.append(source.text[position:start])
        parts.append(CUT)
        hidden.append(source.text[start:end])
        position = end
    if not hidden:
        return Text(source.name, source.text)
    parts.append(source.text[position:])
    return Text(source.name, "".join(parts), True, scrypt("\x00".join(hidden), salt))
