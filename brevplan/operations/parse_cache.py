"""Parsed files, kept in the user's cache folder, so that a file that did not change is not parsed again.

An entry is found by the digest of the text and of whatever else decides which tree it gives. It may be damaged or made
by somebody else; then it is as if it were not there, and the file is parsed. So it is when the folder cannot be read
or written: a cache that fails costs time and nothing else.

A file that holds a literal for something sensitive is never kept, whose text would outlive the file itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Source
from brevplan.engine.config import Config
from brevplan.lang import ast
from brevplan.lang.tree_format import FORMAT
from brevplan.lang.tree_reader import decode
from brevplan.operations.user_folders import cache_folder
from brevplan.version import VERSION

SUFFIX: Final = ".tree"
PARTIAL: Final = ".partial"
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
MAX_ENTRY_BYTES: Final = MAX_TOTAL_BYTES // 4
MAX_ENTRIES: Final = 4096
"""A folder of many small files takes as long to look through as it takes to parse some of them."""

DECIDING: Final = ("lang/*.py", "lang/grammar.json", "kinds/*.py", "operations/project.py")
"""The parts of the package that decide which tree a text gives; for JSON these are the schemas too."""

_DIGEST_BYTES: Final = 32

Parse = Callable[[Source], tuple[ast.Body, list[Diagnostic]]]


@dataclass(slots=True)
class ParseCache:
    """The cache of one run. It notes what it was asked for until `keep` says what may stay."""

    folder: Path | None
    _parsed: dict[Path, ast.Body] = field(default_factory=dict)
    _found: dict[Path, ast.Body] = field(default_factory=dict)

    def parse(self, source: Source, parse: Parse) -> tuple[ast.Body, list[Diagnostic]]:
        """Give the tree of a configuration file: the one that is kept, else what `parse` makes of it."""
        if self.folder is None:
            return parse(source)
        path = self.folder / _name_of(source)
        kept = _read(path, source)
        if kept is not None:
            self._found[path] = kept
            return kept, []
        body, problems = parse(source)
        if not problems:
            self._parsed[path] = body
        return body, problems

    def keep(self, config: Config, bodies: Sequence[ast.Body]) -> None:
        """Keep what was parsed without a mistake, but for files that hold a literal for something sensitive.

        `bodies` are all files of the configuration: one may make sensitive what stands in another, and then an older
        entry of that one goes as well.
        """
        if self.folder is not None and self._parsed:
            with contextlib.suppress(RecursionError):  # a tree at the edge of what can be walked is parsed every time
                self._keep(self.folder, config, bodies)
        self._parsed.clear()

    def _keep(self, folder: Path, config: Config, bodies: Sequence[ast.Body]) -> None:
        from brevplan.operations.sensitive import spans, trace  # only after a change, and it knows the kinds

        taint = trace(config, bodies)
        for path, body in self._found.items():
            if spans(body, taint):
                _remove(path)
        kept = {path: body for path, body in self._parsed.items() if not spans(body, taint)}
        if kept and _prepare(folder):
            for path, body in kept.items():
                _write(path, body)
            prune(folder)


NO_CACHE: Final = ParseCache(None)


def parse_cache(environment: Mapping[str, str]) -> ParseCache:
    """Give the cache of the user whose environment it is; without a home there is none."""
    return ParseCache(cache_folder(environment, "parsed"))


def prune(folder: Path, *, max_bytes: int = MAX_TOTAL_BYTES, max_entries: int = MAX_ENTRIES) -> None:
    """Remove the entries that were not used for longest, until the folder is within its bounds."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((SUFFIX, PARTIAL)):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, entry.path, status.st_size))
    total, count = sum(size for _, _, size in found), len(found)
    for _, path, size in sorted(found):
        if total <= max_bytes and count <= max_entries:
            return
        _remove(Path(path))
        total, count = total - size, count - 1


def digest_of_parser(package: Path) -> str:
    """Give the digest of all that decides which tree a text gives."""
    digest = hashlib.sha256(f"{FORMAT} {VERSION}".encode())
    for pattern in DECIDING:
        for path in sorted(package.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"\n{path.name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


@cache
def _own_digest() -> str:
    return digest_of_parser(Path(__file__).parent.parent)


def _name_of(source: Source) -> str:
    syntax = "json" if source.name.endswith(".json") else "native"
    digest = hashlib.sha256(f"{_own_digest()} {syntax}\n".encode())
    digest.update(source.text.encode())
    return digest.hexdigest() + SUFFIX


def _read(path: Path, source: Source) -> ast.Body | None:
    try:
        content = _own_content(path)
    except OSError:
        return None
    checksum, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return decode(packed, source) if checksum == _checksum(path, packed) else None


def _own_content(path: Path) -> bytes:
    """Read a file of ours, and let it count as used; raise `OSError` for any other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not _is_own(status) or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY_BYTES:
            raise PermissionError(path)
        content = stream.read()
        with contextlib.suppress(OSError):
            os.utime(descriptor)
        return content


def _is_own(status: os.stat_result) -> bool:
    """Say whether nobody else can have written it."""
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _checksum(path: Path, packed: bytes) -> bytes:
    """The name is part of it: an entry is of no use under another one's name."""
    return hashlib.sha256(path.name.encode() + packed).digest()


def _prepare(folder: Path) -> bool:
    """Make the folder; say whether it is ours to write in."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(status)


def _write(path: Path, body: ast.Body) -> None:
    """Write an entry, whole or not at all."""
    from brevplan.lang.tree_writer import encode  # most runs parse nothing

    packed = encode(body)
    if len(packed) + _DIGEST_BYTES > MAX_ENTRY_BYTES:
        return
    partial = path.with_name(f"{path.stem}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_checksum(path, packed))
            stream.write(packed)
        partial.replace(path)
    except OSError:
        _remove(partial)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
