"""The built-in functions, driven through the gate by the tables in `cases/functions`.

A case is one line of JSON: `call` and `args`, then what it `gives` or a part of the message it `fails` with, and
`why` it is there. Plain JSON is itself (a list is a tuple, an object an object); everything else is spelled
`{"$list": [...]}`, `{"$set": ...}`, `{"$map": ...}`, `{"$secret": value}`, `{"$ephemeral": value}`,
`{"$unknown": "list(string)"}` and `{"$inf": "+"}`. `type` is the type of the result, given where it does not follow
from the value.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import pytest

from brevplan.lang.functions import registry
from brevplan.lang.gate import Environment, FunctionError, invoke
from brevplan.lang.numbers import parse_number
from brevplan.lang.types import ANY, BOOL, NUMBER, STRING, ListType, MapType, ObjectType, SetType, TupleType, Type
from brevplan.lang.values import (
    List,
    Map,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    ephemeral,
    type_of,
)

CASES = Path(__file__).parent / "cases" / "functions"
FILES = {
    "hello.txt": b"hello\n",
    "accent.txt": "caf\u0065\u0301".encode(),
    "binary.dat": b"\xff\xfe\x00",
    "empty.txt": b"",
    "/home/user/notes.txt": b"home",
    "site/index.html": b"<p>",
    "site/css/main.css": b"p {}",
}
NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LATER = datetime(2024, 5, 7, 0, 0, 0, 999, tzinfo=UTC)


class MemoryFiles:
    """Files in a dictionary. `glob` knows only what the tests ask for."""

    def read_bytes(self, path: str) -> bytes:
        if path == "site":
            raise IsADirectoryError(21, "Is a directory", path)
        if path == "locked.txt":
            raise PermissionError(13, "Permission denied", path)
        if path not in FILES:
            raise FileNotFoundError(2, "No such file or directory", path)
        return FILES[path]

    def is_file(self, path: str) -> bool:
        if path == "site":
            raise IsADirectoryError(path)
        return path in FILES

    def glob(self, directory: str, pattern: str) -> list[str]:
        if directory != "site":
            raise FileNotFoundError(directory)
        return ["css/main.css", "index.html"] if pattern == "**" else ["index.html"]

    def absolute(self, path: str) -> str:
        return f"/srv/{path}"

    def expand_home(self, path: str) -> str:
        return "/home/user" + path[1:]


def environment(*, applying: bool = True) -> Environment:
    return Environment(MemoryFiles(), NOW, applying, lambda count: bytes(range(count)), clock=lambda: LATER)


def call(name: str, *arguments: Value, applying: bool = True) -> Value:
    function = registry.lookup(name)
    assert function is not None
    return invoke(function, environment(applying=applying), arguments)


def read_type(text: str) -> Type:
    """Read a type as the language writes it, for the few forms that the cases use."""
    text = text.strip()
    primitive = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": ANY}.get(text)
    if primitive is not None:
        return primitive
    kind, _, rest = text.partition("(")
    inner = rest.removesuffix(")").strip()
    if kind in ("list", "set", "map"):
        return {"list": ListType, "set": SetType, "map": MapType}[kind](read_type(inner))
    parts = list(split_types(inner[1:-1]))
    if kind == "tuple":
        return TupleType(tuple(map(read_type, parts)))
    return ObjectType({name.strip(): read_type(type_) for name, _, type_ in (part.partition("=") for part in parts)})


def split_types(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    if text[start:].strip():
        yield text[start:]


def decode(data: Any) -> Value:
    """Make the value that a case spells."""
    if isinstance(data, list):
        return Tuple(map(decode, data))
    if not isinstance(data, dict):
        return data  # type: ignore[no-any-return]
    element = read_type(data["of"]) if "of" in data else None
    match next(iter(data), ""):
        case "$list":
            return List(map(decode, data["$list"]), element)
        case "$set":
            return Set(map(decode, data["$set"]), element)
        case "$map":
            return Map({name: decode(item) for name, item in data["$map"].items()}, element)
        case "$unknown":
            known = {name: data[name] for name in ("not_null", "prefix", "least", "most") if name in data}
            return Unknown(read_type(data["$unknown"]), "instance.web.id", **known)
        case "$secret":
            return Secret(decode(data["$secret"]))
        case "$ephemeral":
            return ephemeral(decode(data["$ephemeral"]))
        case "$inf":
            return inf if data["$inf"] == "+" else -inf
    return Object({name: decode(item) for name, item in data.items()})


def shape(value: Value) -> object:
    """Give a form in which only values that are alike to the last mark compare equal."""
    match value:
        case Secret():
            return ("marked", value.marks, shape(value.value))
        case Unknown():
            return ("unknown", str(value.type))
        case Sequence_():
            return (type(value).__name__, [shape(item) for item in value])
        case Mapping_():
            return (type(value).__name__, [(name, shape(item)) for name, item in value.items.items()])
        case _:
            return ("number" if isinstance(value, Fraction) else type(value).__name__, value)


def load_cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.json")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if line.startswith("{"):
                case = json.loads(line.rstrip(","), parse_float=parse_number)
                yield pytest.param(case, id=f"{path.stem}:{number}:{case['call']}")


@pytest.mark.parametrize("case", list(load_cases()))
def test_function(case: dict[str, Any]) -> None:
    check_case(case)


def check_case(case: dict[str, Any]) -> None:
    function = registry.lookup(case["call"])
    assert function is not None
    arguments = [decode(argument) for argument in case["args"]]
    if "fails" in case:
        with pytest.raises(FunctionError) as caught:
            invoke(function, environment(), arguments)
        assert case["fails"] in caught.value.message, case["why"]
        return
    result = invoke(function, environment(), arguments)
    assert shape(result) == shape(decode(case["gives"])), case["why"]
    if "type" in case:
        assert str(type_of(result)) == case["type"], case["why"]


def with_marks(data: Any, name: str) -> Any:
    """Spell a case anew with another mark in the place of every `$secret`."""
    if isinstance(data, dict):
        return {name if key == "$secret" else key: with_marks(item, name) for key, item in data.items()}
    return [with_marks(item, name) for item in data] if isinstance(data, list) else data


ABOUT_MARKS = {"sensitive", "nonsensitive", "issensitive", "ephemeralasnull"}


def cases_with_secrets() -> Iterator[Any]:
    for parameters in load_cases():
        case = parameters.values[0]
        if "$secret" in json.dumps(case, default=str) and case["call"] not in ABOUT_MARKS:
            yield parameters


@pytest.mark.parametrize("case", list(cases_with_secrets()))
def test_function_lets_the_ephemeral_mark_through_as_it_does_the_sensitive_one(case: dict[str, Any]) -> None:
    check_case(with_marks(case, "$ephemeral"))


@pytest.mark.parametrize("name", ["timestamp", "uuid"])
def test_impure_function_while_planning_is_unknown(name: str) -> None:
    result = call(name, applying=False)
    assert isinstance(result, Unknown)
    assert result.type == STRING
    assert result.because == f"{name}() is known at apply"


def test_bcrypt_while_planning_is_unknown_but_checks_its_arguments() -> None:
    assert isinstance(call("bcrypt", "secret", applying=False), Unknown)
    with pytest.raises(FunctionError, match="between 4 and 31"):
        call("bcrypt", "secret", 40, applying=False)


def test_timestamp_while_applying_is_the_time_of_the_apply() -> None:
    assert call("timestamp") == "2024-05-07T00:00:00Z"
    assert call("plantimestamp") == "2024-05-06T07:08:09Z"


def test_timestamp_without_a_clock_reads_the_machine() -> None:
    function = registry.lookup("timestamp")
    assert function is not None
    text = invoke(function, Environment(MemoryFiles(), NOW, True), ())
    assert isinstance(text, str)
    assert datetime.fromisoformat(text) > NOW


def test_uuid_is_a_random_one_of_version_four() -> None:
    assert call("uuid") == "00010203-0405-4607-8809-0a0b0c0d0e0f"


def test_bcrypt_makes_a_hash_that_fits_its_text() -> None:
    import bcrypt

    hashed = call("bcrypt", "pass wörd", 4)
    assert isinstance(hashed, str)
    assert hashed.startswith("$2a$04$")
    assert bcrypt.checkpw("pass wörd".encode(), hashed.encode())
    assert str(call("bcrypt", "x")).startswith("$2a$10$")


def test_base64gzip_comes_back() -> None:
    packed = call("base64gzip", "héllo " * 100)
    assert packed == call("base64gzip", "héllo " * 100)
    assert call("base64gunzip", packed) == "héllo " * 100


def test_base64gunzip_of_a_bomb_stops() -> None:
    with pytest.raises(FunctionError, match="larger than"):
        call("base64gunzip", call("base64gzip", "0" * (65 << 20)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tonumber", [Secret("hunter2")]),
        ("abs", [Secret("hunter2")]),
        ("jsondecode", [Secret("hunter2")]),
        ("regex", ["x", Secret("hunter2")]),
        ("regex", [Secret("hunter2["), ""]),
        ("cidrhost", [Secret("hunter2"), 1]),
        ("join", [",", Secret(Tuple([Tuple(["hunter2"])]))]),
        ("sum", [Tuple([Secret("hunter2")])]),
        ("lookup", [Object({}), Secret("hunter2")]),
        ("file", [Secret("hunter2")]),
    ],
)
def test_message_about_a_secret_does_not_tell_it(name: str, arguments: list[Value]) -> None:
    with pytest.raises(FunctionError) as caught:
        call(name, *arguments)
    assert "hunter2" not in str(caught.value)
    assert "a secret is among them" in caught.value.message
    assert caught.value.__cause__ is None


def test_message_about_a_map_with_secret_values_still_tells_the_missing_key() -> None:
    with pytest.raises(FunctionError, match=r'there is no key "passwrd".*Did you mean "password"'):
        call("lookup", Object({"password": Secret("hunter2")}), "passwrd")


@cache
def rsa_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


def pem(key: Any, form: str = "PKCS8") -> str:
    from cryptography.hazmat.primitives import serialization as s

    text: bytes = key.private_bytes(s.Encoding.PEM, getattr(s.PrivateFormat, form), s.NoEncryption())
    return text.decode()


def encrypt(data: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    return base64.b64encode(rsa_key().public_key().encrypt(data, PKCS1v15())).decode()


@pytest.mark.parametrize("form", ["TraditionalOpenSSL", "PKCS8", "OpenSSH"])
def test_rsadecrypt_with_every_form_of_key_gives_the_text(form: str) -> None:
    assert call("rsadecrypt", encrypt("gëheim".encode()), pem(rsa_key(), form)) == "gëheim"


def test_rsadecrypt_with_a_secret_key_gives_a_secret() -> None:
    assert shape(call("rsadecrypt", encrypt(b"x"), Secret(pem(rsa_key())))) == shape(Secret("x"))


def test_rsadecrypt_of_altered_text_fails() -> None:
    data = bytearray(base64.b64decode(encrypt(b"x")))
    data[5] ^= 1
    with pytest.raises(FunctionError, match="cannot be decrypted"):
        call("rsadecrypt", base64.b64encode(data).decode(), pem(rsa_key()))


def test_rsadecrypt_of_bytes_that_are_no_text_fails() -> None:
    with pytest.raises(FunctionError, match="not UTF-8"):
        call("rsadecrypt", encrypt(b"\xff"), pem(rsa_key()))


def test_rsadecrypt_of_text_of_another_size_fails() -> None:
    with pytest.raises(FunctionError, match="this key decrypts 256"):
        call("rsadecrypt", "aGk=", pem(rsa_key()))


def test_rsadecrypt_with_a_key_of_another_kind_fails() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(FunctionError, match="not an RSA key"):
        call("rsadecrypt", "aGk=", pem(ec.generate_private_key(ec.SECP256R1())))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        pytest.param("yamldecode", [BOMB], "stands for more than 1000000 values", id="aliases of aliases"),
        pytest.param("yamldecode", ["[" * 20_000], "nested too deeply", id="deep YAML"),
        pytest.param("jsondecode", ["[" * 100_000], "nested too deeply", id="deep JSON"),
        pytest.param("setproduct", [List(range(2000)), List(range(2000))], "4000000 combinations", id="combinations"),
        pytest.param("regex", ["(a|aa)+$", "a" * 20_000 + "b"], "does not match", id="catastrophic pattern"),
        pytest.param("format", ["%1000000000s", "a"], "at most 100000 characters", id="width"),
        pytest.param("parseint", ["9" * 100_000, 10], "more than 65536 bits", id="digits"),
        pytest.param("indent", [1_000_000_000, "a\nb"], "at most 10000 spaces", id="indentation"),
    ],
)
def test_input_beyond_sense_is_refused_at_once(name: str, arguments: list[Value], message: str) -> None:
    started = time.monotonic()
    with pytest.raises(FunctionError, match=message):
        call(name, *arguments)
    assert time.monotonic() - started < 5


def test_every_name_has_its_function_in_its_module() -> None:
    for name in set(registry.names()) - registry.SPECIAL_FORMS:
        function = registry.lookup(name)
        assert function is not None
        assert function.name == name
        assert function.summary


def test_every_function_in_a_module_has_its_name() -> None:
    for module in registry._FAMILIES:
        assert sorted(registry._family(module)) == sorted(registry._FAMILIES[module].split())


def test_lookup_takes_the_core_namespace_and_no_other() -> None:
    assert registry.lookup("core::upper") is registry.lookup("upper")
    assert registry.lookup("other::upper") is None
    assert registry.lookup("Upper") is None
    assert registry.lookup("try") is None


def test_names_hold_special_forms_but_nothing_retired() -> None:
    names = registry.names()
    assert names == sorted(names)
    assert {"try", "can", "templatefile", "templatestring", "type", "upper"} <= set(names)
    assert "list" not in names


def test_registry_imports_no_family_before_its_first_call() -> None:
    program = (
        "import sys; from brevplan.lang.functions import registry; registry.names(); registry.lookup('upper');"
        "print(*sorted(m.rpartition('.')[2] for m in sys.modules if m.startswith('brevplan.lang.functions.')));"
        "print(*{'re2', 'yaml', 'bcrypt', 'cryptography', 'regex'} & sys.modules.keys())"
    )
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert lines[0].split() == ["arguments", "partial", "registry", "strings", "text"]
    assert lines[1] == ""
