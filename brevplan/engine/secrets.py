"""What stands for a secret where it must not stand itself: a keyed digest, good for telling equal from different."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import msgspec

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.types import ListType, Type
from brevplan.lang.values import (
    List,
    Map,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Tuple,
    Unknown,
    Value,
    from_python,
    has_secret,
    has_unknown,
    reveal_deep,
    same,
    to_python,
)

SEALED_KEY: Final = "$digest"
NUMBER_KEY: Final = "$number"
"""Marks a fraction that a JSON number would round: written as numerator/denominator."""
_SEALED_TEXT: Final = "\x00sealed:"
_JSON = msgspec.json.Encoder(order="deterministic")


def digest(value: Value, salt: str) -> str:
    """Give the digest of a known value under the salt of a state."""
    plain = _JSON.encode(to_python(reveal_deep(value)))
    return hashlib.blake2b(plain, key=salt.encode()[:64], digest_size=20).hexdigest()


def seal(value: Value, salt: str) -> Any:
    """Give JSON data of a value for the state: every secret in it replaced by its digest."""
    if isinstance(value, Secret):
        inner = value.value
        if isinstance(inner, str) and inner.startswith(_SEALED_TEXT):
            return {SEALED_KEY: inner.removeprefix(_SEALED_TEXT)}
        return {SEALED_KEY: digest(inner, salt)} if not isinstance(inner, Unknown) else None
    if isinstance(value, Fraction):
        short = float(value)
        return short if from_python(short) == value else {NUMBER_KEY: f"{value.numerator}/{value.denominator}"}
    if isinstance(value, Mapping_):
        return {_escaped(name): seal(item, salt) for name, item in value.items.items()}
    if isinstance(value, Sequence_):
        return [seal(item, salt) for item in value.items]
    return to_python(value)


def _escaped(name: str) -> str:
    """Keep a user's own key from being taken for one of our marks."""
    return f"${name}" if name.startswith("$") else name


def unseal(data: Any, type_: Type) -> Value:
    """Make a value of JSON data from the state; a digest becomes a secret that only `unchanged` can compare."""
    if data is None or data.__class__ in (str, bool, int):
        return data
    if data.__class__ is list and not data and isinstance(type_, ListType):
        return _empty_list(type_)
    if isinstance(data, dict) and data.keys() == {SEALED_KEY}:
        return Secret(f"{_SEALED_TEXT}{data[SEALED_KEY]}")
    value = from_python(_plain(data))
    try:
        return convert(value, type_)
    except ConversionError:
        # written by another version: shown and compared as it is
        return value


@lru_cache(maxsize=64)
def _empty_list(type_: ListType) -> Value:
    return List((), type_.element)


def _plain(data: Any) -> Any:
    """Undo the marks of `seal` at every depth."""
    if isinstance(data, dict):
        if data.keys() == {SEALED_KEY}:
            return Secret(f"{_SEALED_TEXT}{data[SEALED_KEY]}")
        if data.keys() == {NUMBER_KEY}:
            return Fraction(data[NUMBER_KEY])
        return {name.removeprefix("$") if name.startswith("$$") else name: _plain(item) for name, item in data.items()}
    if isinstance(data, list):
        return [_plain(item) for item in data]
    return data


def stands_for(data: Any, value: Value) -> bool:
    """Tell quickly whether JSON data of the state is this value; False may also mean that it takes a closer look."""
    kind = value.__class__
    if kind is str or kind is bool or kind is int or value is None:
        return data.__class__ is kind and data == value
    if kind is Fraction:
        return data.__class__ is float and _number(data) == value
    if isinstance(value, Sequence_):
        return data.__class__ is list and len(data) == len(value.items) and all(map(stands_for, data, value.items))
    if isinstance(value, Mapping_):
        return (
            data.__class__ is dict
            and data.keys() == value.items.keys()
            and all(stands_for(data[name], item) for name, item in value.items.items())
        )
    return False


@lru_cache(maxsize=1024)
def _number(data: float) -> Value:
    return from_python(data)


def is_sealed(value: Value) -> bool:
    return isinstance(value, Secret) and isinstance(value.value, str) and value.value.startswith(_SEALED_TEXT)


def unchanged(desired: Value, current: Value, salt: str) -> bool:
    """Tell whether two values are the same, where the current one may be known by its digest only."""
    if desired.__class__ is str and current.__class__ is str:
        return desired == current
    if desired is current:
        return not has_unknown(desired)
    if isinstance(desired, Unknown) or isinstance(current, Unknown):
        return False
    if is_sealed(current):
        assert isinstance(current, Secret)
        if desired is None:
            return False
        if is_sealed(desired):
            return desired == current
        return current.value == _SEALED_TEXT + digest(desired, salt)
    if isinstance(desired, Secret):
        return unchanged(desired.value, current, salt)
    if isinstance(current, Secret):
        return unchanged(desired, current.value, salt)
    if isinstance(desired, Mapping_) and isinstance(current, Mapping_):
        return desired.items.keys() == current.items.keys() and all(
            unchanged(item, current.items[name], salt) for name, item in desired.items.items()
        )
    if isinstance(desired, Sequence_) and isinstance(current, Sequence_):
        return len(desired) == len(current) and all(
            unchanged(a, b, salt) for a, b in zip(desired.items, current.items, strict=True)
        )
    return same(desired, current)


def mark_like(value: Value, pattern: Value) -> Value:
    """Make secret in a value what is secret in another one of the same shape; all of it where the shapes differ."""
    if isinstance(pattern, Secret):
        return Secret(value) if value is not None else None
    if not has_secret(pattern):
        return value
    if isinstance(value, Mapping_) and isinstance(pattern, Mapping_):
        items = {name: mark_like(item, pattern.items.get(name)) for name, item in value.items.items()}
        return Map(items, value.element) if isinstance(value, Map) else Object(items)
    if isinstance(value, (List, Tuple)) and isinstance(pattern, Sequence_) and len(value) == len(pattern):
        pairs = zip(value.items, pattern.items, strict=True)
        marked = [mark_like(item, like) for item, like in pairs]
        return List(marked, value.element) if isinstance(value, List) else Tuple(marked)
    return Secret(value)


def holds_digest(data: Any) -> bool:
    """Tell whether JSON data of the state stands for something secret, at any depth."""
    if isinstance(data, dict):
        return SEALED_KEY in data or any(map(holds_digest, data.values()))
    return isinstance(data, list) and any(map(holds_digest, data))


def seal_attributes(attributes: Mapping[str, Value], salt: str) -> dict[str, Any]:
    return {name: seal(value, salt) for name, value in attributes.items() if value is not None}
