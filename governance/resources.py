"""The only place for resources: what an intent asks for, as policies see it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from governance.intents import Intent

Kind = Literal["Tool", "Route", "Collection"]

_KIND_OF_ACTION: dict[str, Kind] = {
    "call_model": "Route",
    "search_collection": "Collection",
    "use_tool": "Tool",
}


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A tool, route or collection. `pk` is its row's key, under which it is granted.

    `attributes` for a Tool: {"effect": "read" | "write" | "irreversible", "tags": [str]}; for
    a Collection: {} or {"classification": str}; for a Route: {}.
    """

    kind: Kind
    slug: str
    pk: str
    attributes: dict[str, Any]


def fits(resource: Resource, intent: Intent) -> bool:
    """Whether `resource` is the one that `intent` names."""
    return _KIND_OF_ACTION.get(intent.action) == resource.kind and resource.slug == intent.resource
