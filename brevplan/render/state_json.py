"""The state in Terraform's JSON representation: `show -json` without a plan file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brevplan.engine.kind import Schema
from brevplan.engine.ports import Record, Role
from brevplan.lang.values import Value
from brevplan.render.leaves import mark_sensitive, object_data, object_mask, output_data, secret_mask
from brevplan.render.modules_json import nested
from brevplan.render.text import recorded_values


def state_document(
    records: Iterable[Record], outputs: Mapping[str, tuple[Value, bool]], schemas: Mapping[str, Schema], version: str
) -> dict[str, Any]:
    """Give the document; `outputs` are values with whether each is sensitive. Secrets are left out, as in a plan."""
    return {
        "format_version": "1.0",
        "terraform_version": version,
        "values": {
            "outputs": {
                name: output_data(value, sensitive=hidden) for name, (value, hidden) in sorted(outputs.items())
            },
            "root_module": nested((record.address.module, _resource(record, schemas)) for record in records),
        },
    }


def _resource(record: Record, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    schema = schemas.get(record.kind)
    values = recorded_values(record, schema)
    guarded = mark_sensitive(values, schema.attributes) if schema is not None else values
    data: dict[str, Any] = {
        "address": str(record.address),
        "mode": "managed",
        "type": record.address.kind,
        "name": record.address.name,
        "provider_name": record.alias,
        "schema_version": 0,
        "values": object_data(guarded),
        "sensitive_values": object_mask(guarded, secret_mask),
        "depends_on": list(record.reads),
    }
    if record.address.key is not None:
        data["index"] = record.address.key
    if record.role is not Role.CURRENT:
        data["deposed_key"] = record.key
    return data
