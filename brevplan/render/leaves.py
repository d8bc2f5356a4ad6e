"""Values as JSON data with their secrets and unknowns told apart: the leaves of every machine-readable format."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from brevplan.engine.codec import encode_type
from brevplan.engine.kind import AttributeSpec, Schema
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import Mapping_, Secret, Sequence_, Unknown, Value, has_secret, has_unknown, type_of


def shown_data(value: Value) -> Any:
    """Give JSON data. A secret or unknown member is left out; in a list, where places count, it is null."""
    if isinstance(value, Mapping_):
        return {name: shown_data(item) for name, item in value.items.items() if not isinstance(item, (Secret, Unknown))}
    if isinstance(value, Sequence_):
        return [shown_data(item) for item in value.items]
    if isinstance(value, (Secret, Unknown)):
        return None
    return number_data(value) if isinstance(value, Fraction) else value


def number_data(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def secret_mask(value: Value) -> Any:
    """Give true for a secret, the same for its parts, and false or nothing for what may be seen."""
    if isinstance(value, Secret):
        return True
    return _mask(value, secret_mask)


def unknown_mask(value: Value) -> Any:
    """Give true for what is not known yet, the same for its parts, and false or nothing for what is known."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Secret):
        # whether a part of a secret is known would tell of its shape
        return has_unknown(value.value)
    return _mask(value, unknown_mask)


def _mask(value: Value, member: Any) -> Any:
    if isinstance(value, Mapping_):
        masks = {name: member(item) for name, item in value.items.items()}
        return {name: mask for name, mask in masks.items() if mask is not False}
    if isinstance(value, Sequence_):
        return [member(item) for item in value.items]
    return False


def object_data(attributes: Mapping[str, Value]) -> dict[str, Any]:
    """Give the attributes of a resource as JSON data, secrets and unknowns left out, in order of name."""
    return {
        name: shown_data(attributes[name])
        for name in sorted(attributes)
        if not isinstance(attributes[name], (Secret, Unknown))
    }


def object_mask(attributes: Mapping[str, Value], member: Any) -> dict[str, Any]:
    """Give `secret_mask` or `unknown_mask` over the attributes of a resource."""
    masks = ((name, member(attributes[name])) for name in sorted(attributes))
    return {name: mask for name, mask in masks if mask is not False}


def guarded(attributes: Mapping[str, Value], schema: Schema | None) -> Mapping[str, Value]:
    """Make what a schema calls sensitive a secret, also where it comes from the cloud as plain text."""
    if schema is None:
        return attributes
    return mark_sensitive(attributes, schema.attributes)


def mark_sensitive(attributes: Mapping[str, Value], specs: Mapping[str, AttributeSpec]) -> Mapping[str, Value]:
    names = [name for name, spec in specs.items() if spec.sensitive and attributes.get(name) is not None]
    return {**attributes, **{name: Secret(attributes[name]) for name in names}} if names else attributes


def output_data(value: Value, *, sensitive: bool = False, type_: Type = ANY) -> dict[str, Any]:
    """Give one output as `output -json` has it; the value of a secret is left out.

    `type_` is what the output was when it was stored, where that is known.
    """
    inner = value.value if isinstance(value, Secret) else value
    hidden = sensitive or has_secret(value)
    data: dict[str, Any] = {"sensitive": hidden, "type": encode_type(type_of(inner) if type_ is ANY else type_)}
    if not hidden and not isinstance(value, Unknown):
        data["value"] = shown_data(value)
    return data
