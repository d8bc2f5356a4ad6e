"""Functions that make digests and identities, and the one that decrypts."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import NUMBER, STRING
from brevplan.lang.values import Number, Unknown, Value

from .arguments import whole
from .encoding import decode_base64
from .text import normal, quoted

_NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
_UUID = re.compile(
    r"(?:urn:uuid:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}|[0-9a-f]{32}",
    re.IGNORECASE,
)
_BCRYPT_LETTERS = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)
_MAX_PASSWORD = 72


def _digest(algorithm: str, show: Callable[[bytes], str]) -> Callable[[Environment, str], Value]:
    def body(_: Environment, text: str) -> Value:
        return show(hashlib.new(algorithm, text.encode(), usedforsecurity=False).digest())

    return body


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _random(environment: Environment, count: int) -> bytes:
    return (environment.random_bytes or secrets.token_bytes)(count)


def _uuid(environment: Environment) -> Value:
    if not environment.applying:
        return Unknown(STRING, because="uuid() is known at apply", not_null=True)
    return str(uuid.UUID(bytes=_random(environment, 16), version=4))


def _uuidv5(_: Environment, namespace: str, name: str) -> Value:
    space = _NAMESPACES.get(namespace)
    if space is None:
        if not _UUID.fullmatch(namespace):
            raise FunctionError(f'{quoted(namespace)} is no namespace; use "dns", "url", "oid", "x500" or a UUID', 0)
        space = uuid.UUID(namespace)
    return str(uuid.uuid5(space, name))


def _bcrypt(environment: Environment, text: Value, *cost: Number) -> Value:
    rounds = whole(cost[0], "cost", 1) if cost else 10
    if not 4 <= rounds <= 31:
        raise FunctionError(f"the cost must be between 4 and 31, not {rounds}", 1)
    if isinstance(text, str) and len(text.encode()) > _MAX_PASSWORD:
        raise FunctionError(f"bcrypt takes at most {_MAX_PASSWORD} bytes", 0)
    if isinstance(text, Unknown) or not environment.applying:
        return Unknown(STRING, because="bcrypt() is known at apply", not_null=True)
    import bcrypt  # only configurations that hash passwords pay for it

    assert isinstance(text, str)
    # a salt has its own base64 alphabet, without padding
    salt = base64.b64encode(_random(environment, 16)).rstrip(b"=").translate(_BCRYPT_LETTERS)
    return bcrypt.hashpw(text.encode(), f"$2a${rounds:02d}$".encode() + salt).decode()


def _rsadecrypt(_: Environment, ciphertext: str, private_key: str) -> Value:
    data = decode_base64(ciphertext)
    numbers = _private_numbers(private_key)
    modulus: int = numbers.public_numbers.n
    size = (modulus.bit_length() + 7) // 8
    if len(data) != size:
        raise FunctionError(f"the text has {len(data)} bytes, and this key decrypts {size}", 0)
    message = _unpadded(pow(int.from_bytes(data), numbers.d, modulus).to_bytes(size))
    try:
        return normal(message.decode())
    except UnicodeDecodeError:
        raise FunctionError("the decrypted bytes are not UTF-8 text", 0) from None


def _private_numbers(text: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    load = load_ssh_private_key if "BEGIN OPENSSH" in text else load_pem_private_key
    try:
        key = load(text.encode(), None)
    except TypeError:
        raise FunctionError("the private key is protected by a password; a key without one is required", 1) from None
    except Exception:  # the loader raises errors of many libraries
        raise FunctionError("the private key is not valid PEM text", 1) from None
    if not isinstance(key, RSAPrivateKey):
        raise FunctionError("the private key is not an RSA key", 1)
    return key.private_numbers()


def _unpadded(block: bytes) -> bytes:
    """Take the padding of PKCS #1 v1.5 off.

    Not by the library: it answers wrong padding with random bytes, as a server must, where a user needs an error.
    """
    filler, separator, message = block[2:].partition(b"\0")
    if block[:2] != b"\0\x02" or not separator or len(filler) < 8:
        raise FunctionError("the text cannot be decrypted with this key", 0)
    return message


_TEXT = (Parameter("text", STRING),)

FUNCTIONS: tuple[Function, ...] = (
    Function("md5", _TEXT, _digest("md5", bytes.hex), STRING, summary="the MD5 digest of the text"),
    Function("sha1", _TEXT, _digest("sha1", bytes.hex), STRING, summary="the SHA-1 digest of the text"),
    Function("sha256", _TEXT, _digest("sha256", bytes.hex), STRING, summary="the SHA-256 digest of the text"),
    Function("sha512", _TEXT, _digest("sha512", bytes.hex), STRING, summary="the SHA-512 digest of the text"),
    Function("base64sha256", _TEXT, _digest("sha256", _base64), STRING, summary="the SHA-256 digest in base64"),
    Function("base64sha512", _TEXT, _digest("sha512", _base64), STRING, summary="the SHA-512 digest in base64"),
    Function("uuid", (), _uuid, STRING, summary="a random identity, new in every run"),
    Function(
        "uuidv5",
        (Parameter("namespace", STRING), Parameter("name", STRING)),
        _uuidv5,
        STRING,
        summary="the identity that belongs to a name",
    ),
    Function(
        "bcrypt",
        (Parameter("text", STRING, sees_unknown=True), Parameter("cost", NUMBER)),
        _bcrypt,
        STRING,
        optional=1,
        summary="a salted hash of a password",
    ),
    Function(
        "rsadecrypt",
        (Parameter("ciphertext", STRING), Parameter("private_key", STRING)),
        _rsadecrypt,
        STRING,
        summary="the text that was encrypted for an RSA key",
    ),
)
