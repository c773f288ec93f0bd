"""The only place that lists what a client may ask for as `model`: routes, and agents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.openai.bodies import AGENT
from api.openai.exchange import json_of
from api.openai.problems import ModelUnknown
from runtime.snapshots import Snapshot


def body_of(snapshot: Snapshot, name: str) -> bytes:
    """All models as JSON, or the one with this name. Raises ModelUnknown."""
    found = _models(snapshot)
    if not name:
        return json_of({"object": "list", "data": list(found.values())})
    if name not in found:
        raise ModelUnknown(model=name[:100], param="model")
    return json_of(found[name])


def _models(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    routes = {slug: route.created_at for slug, route in snapshot.routes.items()}
    agents = {f"{AGENT}{slug}": created_at for slug, created_at in snapshot.agents.items()}
    return {
        name: _model(name, created_at, snapshot.tenant)
        for name, created_at in sorted({**routes, **agents}.items())
    }


def _model(name: str, created_at: datetime, tenant: str) -> dict[str, Any]:
    created = int(created_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": tenant}
