"""A project on disk: which files belong to it, read and loaded into a `Config`."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, Source, failure
from brevplan.engine.config import Config
from brevplan.engine.kind import DataKind, Kind, Schema
from brevplan.engine.loading.module import Known
from brevplan.engine.loading.tree import Folder, load
from brevplan.kinds.catalogue import ImagesData, InstanceData, InstanceTypesData, LocationsData
from brevplan.kinds.firewall import FirewallKind
from brevplan.kinds.instance import InstanceKind
from brevplan.lang import ast
from brevplan.lang.collector import collector_paused
from brevplan.lang.json_shape import EVERY, VALUES, Shape
from brevplan.operations.parse_cache import NO_CACHE, ParseCache
from brevplan.operations.requirements import check_version
from brevplan.providers import registry
from brevplan.version import VERSION

KINDS: Final[Mapping[str, Kind]] = {"firewall": FirewallKind(), "instance": InstanceKind()}
DATA_KINDS: Final[Mapping[str, DataKind]] = {
    "images": ImagesData(),
    "instance": InstanceData(),
    "instance_types": InstanceTypesData(),
    "locations": LocationsData(),
}
_FOREIGN: Final = (".pkr.hcl", ".nomad.hcl", ".vars.hcl", ".pkr.hcl.json", ".nomad.hcl.json", ".vars.hcl.json")
MAX_SOURCE_BYTES: Final = 64 * 1024 * 1024

_RULES: Final = {"precondition": Shape(), "postcondition": Shape()}
_META_SHAPES: Final = {
    "lifecycle": Shape(blocks=_RULES, bare={"ignore_changes", "replace_triggered_by"}),
    "timeouts": Shape(literal=EVERY),
    "dynamic": Shape(labels=1, blocks={"content": Shape()}, bare={"iterator"}),
}


def _declared(schemas: Mapping[str, Schema]) -> Shape:
    bare = {"depends_on", "provider"}
    return Shape(
        labels=2,
        bare=bare,
        by_label={
            name: Shape(blocks={**{block: Shape() for block in schema.blocks}, **_META_SHAPES}, bare=bare)
            for name, schema in schemas.items()
        },
    )


_DATA: Final = _declared({name: kind.schema for name, kind in DATA_KINDS.items()})

JSON_SHAPE: Final = Shape(
    is_file=True,
    blocks={
        "brevplan": Shape(
            blocks={"backend": Shape(labels=1, literal=EVERY)},
            bare={"default_provider"},
            literal={"project", "required_version"},
        ),
        "provider": Shape(labels=1, literal={"alias"}),
        "variable": Shape(
            labels=1,
            blocks={"validation": Shape()},
            bare={"type"},
            literal={"default", "description"},
            nulls={"default"},
        ),
        "locals": Shape(nulls=EVERY),
        "resource": _declared({name: kind.schema for name, kind in KINDS.items()}),
        "data": _DATA,
        "output": Shape(
            labels=1,
            blocks={"precondition": Shape()},
            bare={"depends_on"},
            literal={"description"},
            nulls={"value"},
        ),
        "module": Shape(labels=1, bare={"depends_on", "providers"}, literal={"source", "version"}),
        "moved": Shape(bare={"from", "to"}),
        "import": Shape(bare={"to", "provider"}),
        "removed": Shape(blocks={"lifecycle": Shape()}, bare={"from"}),
        "check": Shape(labels=1, blocks={"assert": Shape(), "data": _DATA}),
        "policy": Shape(labels=1),
    },
)
"""What the JSON syntax cannot say of itself: which members are blocks, and which texts are no templates."""


@dataclass(slots=True)
class Project:
    """A loaded configuration with the texts that it came from."""

    directory: Path
    config: Config
    sources: list[Source]
    bodies: list[ast.Body]
    diagnostics: Diagnostics

    @property
    def root_sources(self) -> list[Source]:
        """The files of the root module."""
        return [source for source in self.sources if "/" not in source.name]

    @property
    def state_path(self) -> Path:
        return self.directory / self.config.settings.backend_path


def configuration_files(directory: Path) -> list[Path]:
    """Give the files that make the configuration of a folder, in order of name."""
    found = []
    for path in sorted(directory.iterdir()):
        name = path.name
        if name.startswith(".") or name == "terragrunt.hcl" or name.endswith(_FOREIGN):
            continue
        if name.endswith((".hcl", ".hcl.json")) and (path.is_file() or _leads_nowhere(path)):
            found.append(path)
    return found


def _leads_nowhere(path: Path) -> bool:
    """Tell whether a link leads to nothing, or to itself: reading it says which."""
    return path.is_symlink() and not os.path.exists(path)


def read_source(path: Path, shown: str) -> Source:
    """Read a text file; raise `DiagnosticsError` when it cannot be read as UTF-8."""
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise failure("File too large", f"{shown} has more than {MAX_SOURCE_BYTES // 1024 // 1024} MiB.")
        return Source(shown, path.read_bytes().decode("utf-8"))
    except OSError as problem:
        raise failure("File cannot be read", f"{shown}: {problem.strerror or problem}.") from None
    except UnicodeDecodeError as problem:
        raise failure(
            "File is not UTF-8", f"{shown}: the byte at offset {problem.start} is not part of UTF-8 text."
        ) from None


def parse_source(source: Source) -> tuple[ast.Body, list[Diagnostic]]:
    """Parse a configuration file by the syntax that its name tells."""
    return _parsed(source, JSON_SHAPE)


def parse_values(source: Source) -> tuple[ast.Body, list[Diagnostic]]:
    """Parse a file of values of variables."""
    return _parsed(source, VALUES)


def _parsed(source: Source, shape: Shape) -> tuple[ast.Body, list[Diagnostic]]:
    if source.name.endswith(".json"):
        from brevplan.lang.json_syntax import parse_json  # only where it is written

        return parse_json(source, shape)
    from brevplan.lang.parser import parse  # a run that finds all its files parsed needs neither parser nor tables

    return parse(source)


def load_project(
    directory: Path, *, strict: bool = True, required: bool = True, cache: ParseCache = NO_CACHE
) -> Project:
    """Read and load the configuration of a folder; raise `DiagnosticsError` with every mistake found.

    Not `strict`, mistakes of structure are left in the project's diagnostics, for more to be found beside them. Not
    `required`, a folder without configuration is an empty one.
    """
    if not directory.is_dir():
        raise failure("No such directory", f"{directory} is not a directory.")
    try:
        files = configuration_files(directory)
    except OSError as problem:
        raise failure("Directory cannot be read", f"{directory}: {problem.strerror}.") from None
    if not files and required:
        raise failure(
            "No configuration",
            "There is no .hcl or .hcl.json file in this directory.",
            hint="brevplan init writes a first one; -chdir=DIR works in another directory.",
        )
    return load_sources(directory, [read_source(path, path.name) for path in files], strict=strict, cache=cache)


def load_sources(
    directory: Path,
    sources: Iterable[Source],
    *,
    strict: bool = True,
    complete: bool = False,
    cache: ParseCache = NO_CACHE,
) -> Project:
    """Load texts as one configuration; raise `DiagnosticsError`.

    Those whose names have no slash are the root module's, the others belong to the folders of modules. Folders of
    which nothing is given are read from the disk, unless the sources are said to be `complete`.
    """
    diagnostics = Diagnostics()
    folders = _Folders(directory, list(sources), diagnostics, cache, complete=complete)
    root = folders.root()
    with collector_paused():
        config = load(root, folders.read, known(), diagnostics)
    check_version(config.settings.required_version, VERSION, config.settings.span, diagnostics)
    if strict:
        diagnostics.raise_if_errors()
    if not diagnostics.has_errors:
        cache.keep(config, folders.bodies)
    return Project(directory, config, folders.sources, folders.bodies, diagnostics)


def known() -> Known:
    """Give the kinds and the clouds that there are."""
    return Known(
        KINDS,
        {name: kind.schema for name, kind in DATA_KINDS.items()},
        registry.Arguments(),
    )


class _Folders:
    """The folders of a configuration, parsed as they are asked for."""

    def __init__(
        self, directory: Path, given: list[Source], diagnostics: Diagnostics, cache: ParseCache, *, complete: bool
    ) -> None:
        self.directory, self.diagnostics, self.complete, self.cache = directory, diagnostics, complete, cache
        self.given: dict[str, list[Source]] = {"": []}
        for source in given:
            self.given.setdefault(posixpath.dirname(source.name), []).append(source)
        self.sources: list[Source] = []
        self.bodies: list[ast.Body] = []
        self.parsed: dict[str, Folder] = {}

    def root(self) -> Folder:
        """Parse the root module; raise `DiagnosticsError` when a file of it cannot be read at all."""
        found, unread = [], False
        for source in self.given[""]:
            known = len(self.diagnostics)
            body = self.parse(source)
            unread |= source.name.endswith(".json") and len(self.diagnostics) > known and not body.blocks
            found.append(body)
        if unread:
            # what the file would have declared is missing everywhere else: those messages would only be in the way
            self.diagnostics.raise_if_errors()
        return Folder(os.path.realpath(self.directory), found)

    def read(self, path: str) -> Folder:
        """Parse the files of a module's folder, once; raise `ValueError` when there are none."""
        if path not in self.parsed:
            sources = self.given.get(path)
            if sources is None:
                sources = self.on_disk(path)
            bodies = [self.parse(source) for source in sources]
            self.parsed[path] = Folder(os.path.realpath(self.directory / path), bodies)
        return self.parsed[path]

    def on_disk(self, path: str) -> list[Source]:
        try:
            files = configuration_files(self.directory / path) if not self.complete else []
        except OSError as problem:
            raise ValueError(f"{path}: {problem.strerror or problem}.") from None
        if not files:
            raise ValueError(f"{path} has no .hcl or .hcl.json file.")
        try:
            return [read_source(file, f"{path}/{file.name}") for file in files]
        except DiagnosticsError as problem:
            self.diagnostics.extend(problem.diagnostics)
            return []

    def parse(self, source: Source) -> ast.Body:
        body, problems = self.cache.parse(source, parse_source)
        self.diagnostics.extend(problems)
        self.sources.append(source)
        self.bodies.append(body)
        return body
