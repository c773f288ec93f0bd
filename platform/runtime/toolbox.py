"""The only place that adds, changes and removes tools. Using one is the door in `tools`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import canonical, ledger
from audit.errors import Problem
from governance import policy_sets
from governance.evidence import storable
from governance.validation import PolicyInvalid
from runtime import schemas as json_schemas
from runtime.events import ToolAdded, ToolChanged, ToolRemoved
from runtime.models import TOOL_SLUG, Effect, Tool
from runtime.tools import PLACE, ToolSpec, climbs
from tenants import configuration, encryption, outgoing
from tenants.principals import Principal

LONGEST_TIMEOUT = 120
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# RFC 9110, 5.6.2 and 5.5: a token, and visible text. The rest of these names are ours to send.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
OUR_HEADERS = {
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class ToolInvalid(Problem):
    """The tool can't be saved: {reason}"""

    code = "tool_invalid"
    status = 422


class ToolTaken(Problem):
    """There is a tool {tool} already."""

    code = "tool_taken"
    status = 409


class ToolInUse(Problem):
    """The policies name the tool {tool}, so it can't be removed: change them first, at {where}."""

    code = "tool_in_use"
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

    def __repr__(self) -> str:
        return f"Definition({self.slug})"  # its headers hold secrets


def add(definition: Definition, *, by: Principal, now: datetime) -> Tool:
    """A new tool, fitted into the policies' schema. Raises ToolInvalid, ToolTaken, AddressRefused,
    PolicyInvalid, NotPermitted (admins and builders).
    """
    by.require("admin", "builder")
    _check(definition)
    with transaction.atomic():
        tool = _created(definition, now)
        event = ToolAdded(tool=tool.slug, effect=tool.effect, sha256=definition.digest())
        ledger.record(event, actor=by.actor)
        _refit(by, now)
    return tool


def _created(definition: Definition, now: datetime) -> Tool:
    try:
        with transaction.atomic():
            return Tool.objects.create(created_at=now, **_columns(definition))
    except IntegrityError:
        raise ToolTaken(tool=definition.slug) from None


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

    Raises ToolInUse, NotPermitted.
    """
    by.require("admin", "builder")
    with transaction.atomic():
        tool.delete()
        ledger.record(ToolRemoved(tool=tool.slug), actor=by.actor)
        try:
            _refit(by, now)
        except PolicyInvalid as problem:
            raise _in_use(tool, problem.details["errors"]) from None


def _in_use(tool: Tool, errors: Any) -> ToolInUse:
    named = [f"line {error['line']} ({error['policy']})" for error in errors]
    return ToolInUse(tool=tool.slug, where=", ".join(named), errors=errors)


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


def sha256_of(tool: Tool) -> str:
    """Hex SHA-256 of the tool's definition as it is now: what the entry of its change says."""
    names = [name for name in Definition.__struct_fields__ if name != "headers"]
    return Definition(**{name: getattr(tool, name) for name in names}).digest()


def _refit(by: Principal, now: datetime) -> None:
    policy_sets.refit(tools=schemas, by=by, now=now)
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
    if definition.method not in METHODS:
        raise ToolInvalid(reason="its method must be GET, POST, PUT, PATCH or DELETE.")
    if not 1 <= definition.timeout_seconds <= LONGEST_TIMEOUT:
        raise ToolInvalid(reason=f"its timeout must be 1 to {LONGEST_TIMEOUT} seconds.")
    if not definition.description.strip() or "\0" in definition.description:
        raise ToolInvalid(reason="it needs a description: the model chooses by it.")
    _check_parameters(definition.parameters)
    _check_address(definition)
    _check_effect(definition)
    _check_headers(definition.headers)


def _check_parameters(schema: dict[str, Any]) -> None:
    try:
        json_schemas.check(schema)
        canonical.encode(schema)
    except (json_schemas.SchemaUnusable, canonical.NotCanonical) as problem:
        raise ToolInvalid(reason=f"its parameters: {problem}") from None
    if schema.get("type") != "object":
        raise ToolInvalid(reason='its parameters must be of "type": "object".')
    # It has no canonical bytes (RFC 8785 would need IEEE doubles): money is cents, or text.
    if "number" in json_schemas.types(schema):
        raise ToolInvalid(reason="a parameter can't be a number: use integer (cents) or string.")
    if not storable(schema):
        raise ToolInvalid(reason="its parameters hold a NUL character.")


def _check_address(definition: Definition) -> None:
    """A place in the URL is a required string or integer; the model never chooses the host."""
    url, schema = definition.url, definition.parameters
    blank = PLACE.sub("x", url)
    if "{" in blank or "}" in blank or "#" in url or not url.isascii():
        raise ToolInvalid(
            reason="its URL is ASCII without a fragment; braces hold a parameter's name."
        )
    outgoing.check_url(blank)
    if climbs(blank.partition("?")[0]):
        raise ToolInvalid(reason="its path has a segment . or .., which leads elsewhere.")
    # What check_url has seen is what is called: nothing before the path is a place.
    if "{" in url.partition("://")[2].replace("?", "/").partition("/")[0] or "{" in url[:8]:
        raise ToolInvalid(
            reason="the host can't be a parameter: every address a model may reach is written here."
        )
    for name in PLACE.findall(url):
        part = schema.get("properties", {}).get(name)
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("string", "integer") or name not in schema.get("required", []):
            raise ToolInvalid(
                reason=f"the place {{{name}}} in its URL needs a required parameter of that name,"
                " a string or an integer."
            )
    fixed = {name for name, _ in parse_qsl(urlsplit(blank).query, keep_blank_values=True)}
    if fixed & set(schema.get("properties", {})) - set(PLACE.findall(url)):
        raise ToolInvalid(reason="a parameter has the name of one that its URL holds already.")


def _check_effect(definition: Definition) -> None:
    """What may be called a read, which runs unattended by default and is tried again.

    1. It is a GET: no other method is safe (RFC 9110, 9.2.1). 2. Its address is written here: the
    host and at least one segment of the path. The places and the query that the model fills go
    to that address alone. Where it chose the address, the call could carry data out to
    wherever it leads, so it counts as a write, which is held until a policy says otherwise.
    """
    if definition.effect not in Effect.values:
        raise ToolInvalid(reason=f"its effect must be one of {', '.join(Effect.values)}.")
    if definition.effect != Effect.READ:
        return
    if definition.method != "GET":
        raise ToolInvalid(reason=f"a {definition.method} does not only read: its effect is write.")
    path = definition.url.partition("://")[2].partition("?")[0].partition("/")[2]
    segments = [segment for segment in path.split("/") if segment]
    if segments and all(PLACE.sub("", segment) == "" for segment in segments):
        raise ToolInvalid(
            reason="the model would choose the whole path, so it carries data out: its effect"
            " is write."
        )


def _check_headers(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise ToolInvalid(reason="a header has a name or a value that can't be sent.")
        if name.lower() in OUR_HEADERS:
            raise ToolInvalid(reason=f"the header {name} is not yours to set.")
    if len({name.lower() for name in headers}) != len(headers):
        raise ToolInvalid(reason="a header is given twice.")
