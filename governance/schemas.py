"""The only place that turns tools' JSON Schemas into Cedar types, and arguments into context.

Non-goals: `number`, `null`, unions, references and open objects have no Cedar type. Such
properties are left out of the schema and of the context, so that no policy can lean on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

JsonSchema = Mapping[str, Any]
CedarType = dict[str, Any]

_SCALARS = {"string": "String", "integer": "Long", "boolean": "Bool"}
_UNTYPED = "untyped"  # the annotation that lists the properties which were left out
_MAX_DEPTH = 8  # of objects and arrays inside arguments; what lies deeper is left out


def schema_for(tools: Mapping[str, JsonSchema]) -> str:
    """The Cedar schema (in Cedar's JSON form) for a tenant with these `tools`.

    `tools` maps each tool's slug to the JSON Schema of its arguments. The JSON form needs no
    quoting: names are user input, and none of them is ever pasted into Cedar text.
    """
    arguments = {slug: _optional(_record(schema)) for slug, schema in sorted(tools.items())}
    context = {"arguments": _closed(arguments), "on_behalf_of": _optional({"type": "String"})}
    applies_to = {
        "principalTypes": ["Agent", "ClientApp", "Member"],
        "resourceTypes": ["Collection", "Route", "Tool"],
        "context": _closed(context),
    }
    namespace = {
        "entityTypes": _ENTITY_TYPES,
        "actions": {
            "invoke": {"appliesTo": applies_to},
            "invoke_unattended": {"appliesTo": applies_to},
        },
    }
    return json.dumps({"": namespace}, sort_keys=True)


def argument_types(schema: str) -> dict[str, CedarType]:
    """Each tool's arguments as `schema_for` typed them, by the tool's slug."""
    context = json.loads(schema)[""]["actions"]["invoke"]["appliesTo"]["context"]
    types: dict[str, CedarType] = context["attributes"]["arguments"]["attributes"]
    return types


def fit(value: Any, cedar_type: CedarType | None) -> Any:
    """`value` (JSON) as Cedar context of `cedar_type`: without untyped properties and nulls.

    Anything else that does not fit is kept, so that Cedar refuses it and the intent is denied.
    """
    if cedar_type is None:
        return value
    if cedar_type["type"] == "Record" and isinstance(value, dict):
        return _fit_record(value, cedar_type)
    if cedar_type["type"] == "Set" and isinstance(value, list):
        return [fit(item, cedar_type["element"]) for item in value]
    return value


def _fit_record(value: dict[str, Any], cedar_type: CedarType) -> dict[str, Any]:
    untyped = json.loads(cedar_type.get("annotations", {}).get(_UNTYPED, "[]"))
    attributes = cedar_type["attributes"]
    return {
        name: fit(item, attributes.get(name))
        for name, item in value.items()
        if name not in untyped and item is not None
    }


def _cedar_type(schema: Any, depth: int) -> CedarType | None:
    """The Cedar type of a property, or None where there is none."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(kind, str) or depth > _MAX_DEPTH:
        return None
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind == "array":
        return _set(schema.get("items"), depth)
    if kind == "object" and schema.get("properties"):
        return _record(schema, depth)
    return None


def _set(items: Any, depth: int) -> CedarType | None:
    element = _cedar_type(items, depth + 1)
    # Elements can't be annotated, so nothing inside of them can be left out.
    if element is None or _UNTYPED in element.get("annotations", {}):
        return None
    return {"type": "Set", "element": element}


def _record(schema: JsonSchema, depth: int = 0) -> CedarType:
    required = schema.get("required", [])
    attributes, untyped = {}, []
    for name, item in sorted(schema.get("properties", {}).items()):
        cedar_type = _cedar_type(item, depth + 1)
        # Cedar's JSON gives names like __entity and __extn a meaning of their own.
        if cedar_type is None or name.startswith("__"):
            untyped.append(name)
        else:
            attributes[name] = cedar_type if name in required else _optional(cedar_type)
    record = _closed(attributes)
    return record | {"annotations": {_UNTYPED: json.dumps(untyped)}} if untyped else record


def _closed(attributes: dict[str, CedarType]) -> CedarType:
    return {"type": "Record", "attributes": attributes}


def _optional(cedar_type: CedarType) -> CedarType:
    return cedar_type | {"required": False}


_STRINGS: CedarType = {"type": "Set", "element": {"type": "String"}}

_ENTITY_TYPES: dict[str, CedarType] = {
    "Agent": {"shape": _closed({"owner": {"type": "String"}, "version": {"type": "Long"}})},
    "ClientApp": {},
    "Member": {"shape": _closed({"roles": _STRINGS})},
    "Collection": {"shape": _closed({"classification": _optional({"type": "String"})})},
    "Route": {},
    "Tool": {"shape": _closed({"effect": {"type": "String"}, "tags": _STRINGS})},
}
