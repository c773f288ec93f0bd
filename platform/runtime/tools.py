"""The only door to tools: one HTTP call, governed, bounded, with a stable idempotency key."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from audit.errors import Problem
from governance.intents import Intent
from governance.permits import Permit
from tenants import outgoing

MAX_ANSWER_BYTES = 1024 * 1024
ATTEMPTS = 3
PAUSE_SECONDS = 0.2
LONGEST_PAUSES = 2


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the async path needs it. `repeatable`: it honours the Idempotency-Key."""

    slug: str
    method: str
    url: str
    timeout_seconds: int
    repeatable: bool
    reads: bool
    headers: dict[str, str] = {}


class ToolFailed(Problem):
    """The tool {tool} did not do it: {reason}."""

    code = "tool_failed"
    status = 502


class ToolTimeout(ToolFailed):
    """The tool {tool} did not answer within {seconds} seconds."""

    code = "tool_timeout"
    status = 504


class ToolAnswerUnusable(ToolFailed):
    """The tool {tool} answered, but not usably: {reason}."""

    code = "tool_answer_unusable"


class EffectUncertain(Problem):
    """It is not known whether the tool {tool} did it: {reason}."""

    code = "effect_uncertain"
    status = 502


async def use(
    spec: ToolSpec, *, permit: Permit, intent: Intent, idempotency_key: str
) -> dict[str, Any]:
    """Call the tool with the intent's arguments and return its JSON object.

    The key is the same over all tries. A repeatable tool is tried up to 3 times. Raises
    ToolFailed and its kinds where it certainly did not act (or only reads), and EffectUncertain
    where nobody can tell.
    """
    permit.spend(intent)
    last: Problem | None = None
    for attempt in range(ATTEMPTS if spec.repeatable or spec.reads else 1):
        if attempt:
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        try:
            return await _try(spec, intent.arguments, idempotency_key)
        except (ToolTimeout, EffectUncertain) as problem:
            last = problem
    if last is None or spec.reads:
        raise last or ToolFailed(tool=spec.slug, reason="it was never tried")
    raise EffectUncertain(tool=spec.slug, reason=str(last)) from last


async def _try(spec: ToolSpec, arguments: dict[str, Any], key: str) -> dict[str, Any]:
    url, rest = filled(spec.url, arguments)
    body = (
        {"json": rest} if spec.method in {"POST", "PUT", "PATCH"} else {"params": _as_query(rest)}
    )
    headers = {**spec.headers, "Idempotency-Key": key, "Accept": "application/json"}
    try:
        async with (
            outgoing.session(timeout=spec.timeout_seconds) as session,
            session.request(spec.method, url, headers=headers, **body) as response,
        ):
            return _understood(
                spec, response.status, await outgoing.read_bounded(response, MAX_ANSWER_BYTES)
            )
    except TimeoutError:
        raise ToolTimeout(tool=spec.slug, seconds=spec.timeout_seconds) from None
    except aiohttp.ClientConnectorError:
        raise ToolFailed(tool=spec.slug, reason="it can't be reached") from None
    except (outgoing.AnswerTooLarge, outgoing.AnswerPacked, outgoing.RedirectRefused) as problem:
        raise _after_acting(spec, str(problem)) from None
    except outgoing.AddressRefused as problem:
        raise ToolFailed(tool=spec.slug, reason=str(problem)) from None
    except aiohttp.ClientError as problem:
        raise EffectUncertain(
            tool=spec.slug, reason=f"the connection broke ({type(problem).__name__})"
        ) from None


def filled(url: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The URL with `{name}` parts filled (percent-encoded), and the arguments that are left."""
    rest = dict(arguments)
    for name in list(rest):
        if f"{{{name}}}" in url:
            url = url.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
    return url, rest


def _as_query(arguments: dict[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in arguments.items()
    }


def _understood(spec: ToolSpec, status: int, body: bytes) -> dict[str, Any]:
    if status >= 500:
        raise EffectUncertain(tool=spec.slug, reason=f"it answered {status}")
    try:
        value = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError:
        raise _after_acting(
            spec, f"it answered {status} with something that is not JSON", status
        ) from None
    if status >= 300:
        raise ToolFailed(tool=spec.slug, reason=f"it answered {status}: {_message(value)}")
    return value if isinstance(value, dict) else {"value": value}


def _message(value: Any) -> str:
    if isinstance(value, dict):
        return str(
            value.get("message") or value.get("detail") or value.get("error") or "no reason given"
        )[:500]
    return "no reason given"


def _after_acting(spec: ToolSpec, reason: str, status: int = 200) -> Problem:
    """An answer that can't be read: a reading tool failed, a refusal is one, else nobody knows."""
    if spec.reads or status >= 300:
        return ToolAnswerUnusable(tool=spec.slug, reason=reason)
    return EffectUncertain(tool=spec.slug, reason=reason)
