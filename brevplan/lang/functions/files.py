"""Functions that read files and take paths apart. All reading goes through the environment's `Files`."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Callable

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import BOOL, STRING, SetType
from brevplan.lang.values import Set, Value

from .text import normal, quoted


def _read(environment: Environment, path: str) -> bytes:
    where = _expand(environment, path)
    try:
        return environment.files.read_bytes(where)
    except FileNotFoundError:
        raise FunctionError(
            f"there is no file {quoted(path)}; it must exist before the plan starts, and not be made by a resource", 0
        ) from None
    except IsADirectoryError:
        raise FunctionError(f"{quoted(path)} is a folder, not a file", 0) from None
    except (OSError, ValueError) as problem:
        raise FunctionError(f"cannot read {quoted(path)}: {_reason(problem)}", 0) from None


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _expand(environment: Environment, path: str) -> str:
    if path[:1] != "~":
        return path
    if path[1:2] not in ("", "/"):
        raise FunctionError(f'{quoted(path)}: only your own home folder can be meant: "~" or "~/..."', 0)
    try:
        return environment.files.expand_home(path)
    except (OSError, ValueError, RuntimeError) as problem:
        raise FunctionError(f"cannot tell the home folder: {_reason(problem)}", 0) from None


def _file(environment: Environment, path: str) -> Value:
    try:
        return normal(_read(environment, path).decode())
    except UnicodeDecodeError:
        raise FunctionError(f"{quoted(path)} is not UTF-8 text; filebase64() reads other files", 0) from None


def _filebase64(environment: Environment, path: str) -> Value:
    return base64.b64encode(_read(environment, path)).decode()


def _fileexists(environment: Environment, path: str) -> Value:
    try:
        return environment.files.is_file(_expand(environment, path))
    except IsADirectoryError:
        raise FunctionError(f"{quoted(path)} is a folder, not a file; fileset() looks into folders", 0) from None
    except (OSError, ValueError) as problem:
        raise FunctionError(f"cannot look at {quoted(path)}: {_reason(problem)}", 0) from None


def _fileset(environment: Environment, directory: str, pattern: str) -> Value:
    _check_pattern(pattern)
    try:
        found = environment.files.glob(_expand(environment, directory), pattern)
    except FileNotFoundError:
        found = []
    except (OSError, ValueError) as problem:
        raise FunctionError(f"cannot look for {quoted(pattern)} in {quoted(directory)}: {_reason(problem)}") from None
    return Set(map(normal, found), STRING)


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern that never closes what it opens, which matching would quietly take for plain text."""
    plain = re.sub(r"\\.", "", pattern)
    outside = re.sub(r"\[[!^]?[^\]]+\]", "", plain)
    missing = "]" if "[" in outside else "}" if outside.count("{") > outside.count("}") else ""
    if missing:
        raise FunctionError(f'the pattern {quoted(pattern)} is not valid: a "{missing}" is missing', 1)


def _pathexpand(environment: Environment, path: str) -> Value:
    return _expand(environment, path)


def _abspath(environment: Environment, path: str) -> Value:
    try:
        return environment.files.absolute(path)
    except (OSError, ValueError) as problem:
        raise FunctionError(f"cannot make {quoted(path)} absolute: {_reason(problem)}", 0) from None


def _basename(_: Environment, path: str) -> Value:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def _dirname(_: Environment, path: str) -> Value:
    folder = path.rpartition("/")
    cleaned = posixpath.normpath(folder[0] + folder[1]) if folder[1] else "."
    # POSIX keeps two leading slashes apart from one; paths here do not
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _digest(algorithm: str, show: Callable[[bytes], str]) -> Callable[[Environment, str], Value]:
    def body(environment: Environment, path: str) -> Value:
        return show(hashlib.new(algorithm, _read(environment, path), usedforsecurity=False).digest())

    return body


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_PATH = (Parameter("path", STRING),)

FUNCTIONS: tuple[Function, ...] = (
    Function("file", _PATH, _file, STRING, summary="the text of a file"),
    Function("filebase64", _PATH, _filebase64, STRING, summary="the content of a file in base64"),
    Function("fileexists", _PATH, _fileexists, BOOL, summary="whether there is such a file"),
    Function(
        "fileset",
        (*_PATH, Parameter("pattern", STRING)),
        _fileset,
        SetType(STRING),
        summary="the files of a folder whose names match a pattern",
    ),
    Function("filemd5", _PATH, _digest("md5", bytes.hex), STRING, summary="the MD5 digest of a file"),
    Function("filesha1", _PATH, _digest("sha1", bytes.hex), STRING, summary="the SHA-1 digest of a file"),
    Function("filesha256", _PATH, _digest("sha256", bytes.hex), STRING, summary="the SHA-256 digest of a file"),
    Function("filesha512", _PATH, _digest("sha512", bytes.hex), STRING, summary="the SHA-512 digest of a file"),
    Function("filebase64sha256", _PATH, _digest("sha256", _base64), STRING, summary="the same in base64"),
    Function("filebase64sha512", _PATH, _digest("sha512", _base64), STRING, summary="the same in base64"),
    Function("pathexpand", _PATH, _pathexpand, STRING, summary="the path with ~ replaced by the home folder"),
    Function("abspath", _PATH, _abspath, STRING, summary="the path from the root"),
    Function("basename", _PATH, _basename, STRING, summary="the last part of a path"),
    Function("dirname", _PATH, _dirname, STRING, summary="a path without its last part"),
)
