"""Real time and real chance: the adapters of the clock, id and file ports."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import os
import random
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from brevplan.contract.provider import ProviderSpec
from brevplan.engine.ports import World
from brevplan.operations.file_patterns import matching_files
from brevplan.providers import registry
from brevplan.ssh.reach import SshReach
from brevplan.state.store import StateStore

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RandomIds:
    def attempt(self) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(6))

    def run(self) -> str:
        return f"run-{secrets.token_hex(6)}"


def jitter() -> float:
    return random.random()  # spreads retries; nothing secret


class OpenStore(Protocol):
    """How the state file is opened: None when there is none and none is to be made. Raises `StateError`."""

    def __call__(self, path: Path, *, create: bool) -> StateStore | None: ...


@dataclass(frozen=True, slots=True)
class Outside(World):
    """Time, chance, clouds and the disk: everything that a simulation puts in place of the real ones."""

    spec_of: Callable[[str], ProviderSpec] = registry.spec
    jitter: Callable[[], float] = jitter
    open_store: OpenStore = StateStore.open


def system_world() -> Outside:
    clock = SystemClock()
    return Outside(clock, RandomIds(), SshReach(clock))


class ProjectFiles:
    """Files of a project for the language: relative paths start at the project's folder.

    Every file read is remembered with the digest of its content, so that a plan file can say what it was made of.
    """

    MAX_BYTES: Final = 64 * 1024 * 1024

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.digests: dict[str, str] = {}
        self._content: dict[str, bytes] = {}

    def _path(self, path: str) -> Path:
        return self.directory / Path(path).expanduser()

    def read_bytes(self, path: str) -> bytes:
        if path not in self._content:
            place = self._path(path)
            if place.is_file() and place.stat().st_size > self.MAX_BYTES:
                raise OSError(27, f"it is larger than {self.MAX_BYTES // 1024 // 1024} MiB")
            content = place.read_bytes()
            self._content[path] = content
            self.digests[path] = hashlib.sha256(content).hexdigest()
        return self._content[path]

    def is_file(self, path: str) -> bool:
        place = self._path(path)
        if place.is_dir():
            raise IsADirectoryError(path)
        return place.is_file()

    def glob(self, directory: str, pattern: str) -> list[str]:
        return matching_files(self._path(directory), pattern)

    def absolute(self, path: str) -> str:
        return os.path.normpath(self.directory.absolute() / path)

    def expand_home(self, path: str) -> str:
        return str(Path(path).expanduser())


def user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def host_name() -> str:
    return socket.gethostname()


def tracked_by_git(directory: Path, names: Sequence[str]) -> list[str]:
    """Give those of the files that git tracks: states and plans hold what does not belong into a repository."""
    if not any((parent / ".git").exists() for parent in (directory.absolute(), *directory.absolute().parents)):
        return []
    try:
        found = subprocess.run(
            ["git", "-C", str(directory), "ls-files", "-z", "--", *names],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted(name for name in found.stdout.split("\0") if name)


def git_commit(directory: Path) -> str:
    """Give the commit of the project's checkout, with `+` when it has changes; empty outside of one."""
    if not any((parent / ".git").exists() for parent in (directory.absolute(), *directory.absolute().parents)):
        return ""
    try:
        head = subprocess.run(
            ["git", "-C", str(directory), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        dirty = subprocess.run(
            ["git", "-C", str(directory), "status", "--porcelain", "--untracked-files=no", "."],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
