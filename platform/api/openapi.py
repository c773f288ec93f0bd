"""The only place that describes to drf-spectacular what it can't see in our views."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Makes a retry safe for 24 hours: the same key and body get the same answer.",
)
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; some codes come with further members.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Flaw"}},
    },
}
FLAW = {
    "type": "object",
    "description": (
        "One thing that is wrong: `pointer` (RFC 6901), `parameter` or `line` says where."
    ),
    "properties": {
        "pointer": {"type": "string"},
        "parameter": {"type": "string"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "line": {"type": "integer"},
        "column": {"type": "integer", "nullable": True},
        "policy": {"type": "string", "nullable": True},
        "message": {"type": "string"},
    },
}


class BearerKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Service keys and members' tokens."""

    target_class = "api.authentication.BearerKey"
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """HTTP bearer authentication."""
        return {"type": "http", "scheme": "bearer", "description": "`cs_<tenant>_<id>_<secret>`"}


class MemberSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The console's session."""

    target_class = "api.authentication.MemberSession"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """The session's cookie; writing needs the CSRF token too."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class Described(AutoSchema):
    """Names operations after view and method, and adds what decorators of ours imply."""

    def get_operation_id(self) -> str:
        """For example `get_agents`."""
        return f"{self.method}_{type(self.view).__name__.removesuffix('View')}".lower()

    def get_override_parameters(self) -> list[Any]:
        """The Idempotency-Key, where the handler heeds it."""
        handler = getattr(self.view, self.method.lower())
        heeds = getattr(handler, "heeds_idempotency_key", False)
        return [IDEMPOTENCY_KEY] if heeds else []


def with_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may answer with a problem."""
    result["components"].setdefault("schemas", {}).update({"Problem": PROBLEM, "Flaw": FLAW})
    schema = {"$ref": "#/components/schemas/Problem"}
    answer = {
        "description": "A problem",
        "content": {"application/problem+json": {"schema": schema}},
    }
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"]["default"] = answer
    return result
