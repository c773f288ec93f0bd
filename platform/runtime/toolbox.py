"""The only place that adds, changes and removes tools. Using one is the door in `tools`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import jsonschema
import msgspec
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import canonical, ledger
from audit.errors import Problem
from governance import policy_sets
from runtime.events import ToolAdded, ToolChanged, ToolRemoved
from runtime.models import TOOL_SLUG, Effect, Tool
from runtime.tools import ToolSpec
from tenants import configuration, encryption, outgoing
from tenants.principals import Principal

PLACE = re.compile(r"{([a-z][a-z0-9_]*)}")
LONGEST_TIMEOUT = 120
# `number` has no canonical bytes (RFC 8785 would need IEEE doubles): money is cents, or text.
TYPES = {"string", "integer", "boolean", "array", "object", "null"}


class ToolInvalid(Problem):
    """The tool can't be saved: {reason}"""

    code = "tool_invalid"
    status = 422


class ToolTaken(Problem):
    """There is a tool {tool} already."""

    code = "tool_taken"
    status = 409


class Definition(msgspec.Struct, kw_only=True, frozen=True):
    """A tool as somebody defines it. `headers` may hold secrets: they are sealed, never shown."""

    slug: str
    description: str
    method: str
    url: str
    parameters: dict[str, Any]
    effect: str
    repeatable: bool = False
    timeout_seconds: int = 10
    headers: dict[str, str] = {}

    def digest(self) -> str:
        """Hex SHA-256 of what reviewers and policies rely on: everything but the headers."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name != "headers"}
        return canonical.digest(shown)


def add(definition: Definition, *, by: Principal, now: datetime) -> Tool:
    """A new tool, fitted into the policies' schema. Raises ToolInvalid, ToolTaken, AddressRefused,
    PolicyInvalid, NotPermitted (admins and builders).
    """
    by.require("admin", "builder")
    _check(definition)
    with transaction.atomic():
        if Tool.objects.filter(slug=definition.slug).exists():
            raise ToolTaken(tool=definition.slug)
        tool = Tool.objects.create(created_at=now, **_columns(definition))
        event = ToolAdded(tool=tool.slug, effect=tool.effect, sha256=definition.digest())
        ledger.record(event, actor=by.actor)
        _refit(by, now)
    return tool


def change(tool: Tool, definition: Definition, *, by: Principal, now: datetime) -> Tool:
    """The tool with another definition, its slug kept. Raises what `add` raises."""
    by.require("admin", "builder")
    _check(definition)
    if definition.slug != tool.slug:
        raise ToolInvalid(reason="its slug can't be changed.")
    with transaction.atomic():
        for name, value in _columns(definition).items():
            setattr(tool, name, value)
        tool.save()
        event = ToolChanged(tool=tool.slug, effect=tool.effect, sha256=definition.digest())
        ledger.record(event, actor=by.actor)
        _refit(by, now)
    return tool


def remove(tool: Tool, *, by: Principal, now: datetime) -> None:
    """End the tool; policies that name its arguments must be changed first.

    Raises PolicyInvalid, NotPermitted.
    """
    by.require("admin", "builder")
    with transaction.atomic():
        tool.delete()
        ledger.record(ToolRemoved(tool=tool.slug), actor=by.actor)
        _refit(by, now)


def schemas() -> dict[str, dict[str, Any]]:
    """Each tool's arguments schema, by slug: what policies are written against."""
    return dict(Tool.objects.values_list("slug", "parameters"))


def spec_of(tool: Tool) -> ToolSpec:
    """The tool as the async path needs it, its headers opened."""
    headers = (
        msgspec.json.decode(encryption.open(tool.headers), type=dict[str, str])
        if tool.headers
        else {}
    )
    return ToolSpec(
        slug=tool.slug,
        method=tool.method,
        url=tool.url,
        timeout_seconds=tool.timeout_seconds,
        repeatable=tool.repeatable,
        reads=tool.effect == Effect.READ,
        headers=headers,
    )


def _refit(by: Principal, now: datetime) -> None:
    policy_sets.refit(tools=schemas(), by=by, now=now)
    configuration.touch()


def _columns(definition: Definition) -> dict[str, Any]:
    columns = msgspec.structs.asdict(definition)
    headers = columns.pop("headers")
    sealed = encryption.seal(msgspec.json.encode(headers).decode()) if headers else None
    return {**columns, "headers": sealed}


def _check(definition: Definition) -> None:
    try:
        TOOL_SLUG(definition.slug)
    except ValidationError as problem:
        raise ToolInvalid(reason=problem.messages[0]) from None
    if definition.effect not in Effect.values:
        raise ToolInvalid(reason=f"its effect must be one of {', '.join(Effect.values)}.")
    if definition.method not in {"GET", "POST", "PUT", "PATCH", "DELETE"}:
        raise ToolInvalid(reason="its method must be GET, POST, PUT, PATCH or DELETE.")
    if not 1 <= definition.timeout_seconds <= LONGEST_TIMEOUT:
        raise ToolInvalid(reason=f"its timeout must be 1 to {LONGEST_TIMEOUT} seconds.")
    if not definition.description.strip():
        raise ToolInvalid(reason="it needs a description: the model chooses by it.")
    _check_parameters(definition.parameters)
    _check_address(definition)


def _check_parameters(schema: dict[str, Any]) -> None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        canonical.encode(schema)
    except jsonschema.SchemaError as problem:
        raise ToolInvalid(reason=f"its parameters are no JSON Schema: {problem.message}") from None
    except canonical.NotCanonical as problem:
        raise ToolInvalid(reason=f"its parameters: {problem}") from None
    if schema.get("type") != "object":
        raise ToolInvalid(reason='its parameters must be of "type": "object".')
    for name, part in schema.get("properties", {}).items():
        kinds = part.get("type", []) if isinstance(part, dict) else []
        if not set([kinds] if isinstance(kinds, str) else kinds) <= TYPES:
            raise ToolInvalid(
                reason=f"the parameter {name!r} can't be a number: use integer (cents) or string."
            )


def _check_address(definition: Definition) -> None:
    """A place in the URL is a required string or integer; the model never chooses the host.

    A GET that carries text which the model writes could carry data out, so it counts as a
    write unless all it sends are places in a path that the admin wrote.
    """
    schema = definition.parameters
    places = PLACE.findall(definition.url)
    host_part = definition.url.split("://", 1)[-1].split("/", 1)[0]
    if "{" in host_part:
        raise ToolInvalid(
            reason="the host can't be a parameter: every address a model may reach is written here."
        )
    outgoing.check_url(PLACE.sub("x", definition.url))
    for name in places:
        if name not in schema.get("properties", {}) or name not in schema.get("required", []):
            raise ToolInvalid(
                reason=f"the place {{{name}}} in its URL needs a required parameter of that name."
            )
