"""The only place where a model call shows its permit: every door calls `admit` first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.errors import Problem
from gateway import requests
from gateway.specs import Purpose, RouteSpec
from governance.intents import Intent
from governance.permits import Permit


class ModelIntentMismatch(Problem):
    """The intent is not to make this very call through the route {route}."""

    code = "model_intent_mismatch"
    status = 403


class RouteUnsuitable(Problem):
    """The route {route} is for {purpose}."""

    code = "route_unsuitable"
    status = 422


def admit(
    route: RouteSpec,
    purpose: Purpose,
    request: Mapping[str, Any] | Sequence[str],
    *,
    permit: Permit,
    intent: Intent,
) -> None:
    """Spend the permit for exactly this request through this route, or raise.

    The permit is spent first: whatever fails later, it opens nothing again. Raises PermitSpent,
    PermitMismatch, ModelIntentMismatch, RouteUnsuitable.
    """
    permit.spend(intent)
    call = (intent.action, intent.tenant, intent.resource, intent.arguments)
    if call != ("call_model", route.tenant, route.slug, requests.arguments(request)):
        raise ModelIntentMismatch(route=route.slug)
    if route.purpose != purpose:
        raise RouteUnsuitable(route=route.slug, purpose=route.purpose)
