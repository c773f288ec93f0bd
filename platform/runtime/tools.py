"""The only door to tools: one HTTP call, governed, bounded, with a stable idempotency key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

import aiohttp
import msgspec
from yarl import URL

from audit.errors import Problem
from governance.evidence import kept
from governance.intents import Intent
from governance.permits import Permit
from runtime import foreign
from tenants import outgoing

PLACE = re.compile(r"{([A-Za-z_][A-Za-z0-9_]*)}")
LONGEST_URL = 8_000
LATE = "the run's time was over before it had answered"
ELSEWHERE = "it would lead to another address"
REDIRECTED = "it answered with a redirect, and redirects are not followed"
LONGEST_MESSAGE = 500
SHORTEST_SECRET = 6
MAX_ANSWER_BYTES = 1024 * 1024
ATTEMPTS = 3
# Where an answer names what was done, the best first.
REFERENCES = ("Location", "X-Request-Id", "Request-Id")
LONGEST_REFERENCE = 200
PAUSE_SECONDS = 0.2


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the async path needs it. `repeatable`: it honours the Idempotency-Key."""

    slug: str
    method: str
    url: str
    timeout_seconds: int
    repeatable: bool
    reads: bool
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"ToolSpec({self.slug})"  # its headers hold secrets


class Answer(msgspec.Struct, frozen=True):
    """What a tool answered: a JSON object, and what it calls what it did (see `effect.ended`)."""

    value: dict[str, Any]
    reference: str | None = None


class ToolFailed(Problem):
    """The tool {tool} did not do it: {reason}."""

    code = "tool_failed"
    status = 502


class ToolTimeout(ToolFailed):
    """The tool {tool} did not answer within {seconds} seconds."""

    code = "tool_timeout"
    status = 504


class ToolCut(ToolTimeout):
    """The tool {tool} had not answered when the run's time was over."""

    code = "tool_cut"


class ToolAnswerUnusable(ToolFailed):
    """The tool {tool} answered, but not usably: {reason}."""

    code = "tool_answer_unusable"


class ArgumentRefused(ToolFailed):
    """The tool {tool} can't be called with this {name}: {reason}."""

    code = "argument_refused"
    status = 422


class EffectUncertain(Problem):
    """It is not known whether the tool {tool} did it: {reason}."""

    code = "effect_uncertain"
    status = 502


async def use(
    spec: ToolSpec,
    *,
    permit: Permit,
    intent: Intent,
    idempotency_key: str,
    seconds: float | None = None,
    tries: list[str] | None = None,
) -> Answer:
    """Call the tool with the intent's arguments and return what it answered.

    The key is the same over all tries. What reads, or is repeatable, is tried up to 3 times, and
    all tries together are cut off after `seconds`; how each went is put into `tries`, as
    `tool: outcome`. Raises ToolFailed and its kinds, or AddressRefused, where it certainly did not
    act (or only reads), and EffectUncertain where nobody can tell: after one try of which nobody
    can tell, the refusal of a later one proves nothing.
    """
    permit.spend(intent)
    request = _request(spec, intent.arguments)
    try:
        async with asyncio.timeout(seconds):
            return await _tried(spec, request, idempotency_key, [] if tries is None else tries)
    except TimeoutError:  # ours: a try's own is a ToolTimeout by here
        raise _cut(spec) from None


def _cut(spec: ToolSpec) -> Problem:
    return ToolCut(tool=spec.slug) if spec.reads else EffectUncertain(tool=spec.slug, reason=LATE)


async def _tried(
    spec: ToolSpec,
    request: tuple[URL, dict[str, Any] | None],
    idempotency_key: str,
    tries: list[str],
) -> Answer:
    doubt: Problem | None = None
    for attempt in range(ATTEMPTS if spec.repeatable or spec.reads else 1):
        if attempt:
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        try:
            return await _noted(_try(spec, request, idempotency_key), spec, tries)
        except (ToolTimeout, EffectUncertain) as problem:
            doubt = problem
        except (ToolFailed, outgoing.AddressRefused) as problem:
            if doubt is None or spec.reads:
                raise
            doubt = problem
    raise _given_up(spec, doubt) from doubt


async def _noted(coming: Awaitable[Answer], spec: ToolSpec, tries: list[str]) -> Answer:
    try:
        answer = await coming
    except Problem as problem:
        tries.append(f"{spec.slug}: {problem.code}")
        raise
    except asyncio.CancelledError:
        tries.append(f"{spec.slug}: {ToolCut.code}")
        raise
    tries.append(f"{spec.slug}: answered")
    return answer


def _given_up(spec: ToolSpec, last: Problem | None) -> Problem:
    """Why no try succeeded: for a reading tool that is all, for another nobody can tell."""
    if isinstance(last, ToolTimeout):
        reason = f"it did not answer within {spec.timeout_seconds} seconds"
    else:
        reason = str(last.details.get("reason")) if last else "it was never tried"
    if not spec.reads:
        return EffectUncertain(tool=spec.slug, reason=reason)
    return last if isinstance(last, ToolTimeout) else ToolFailed(tool=spec.slug, reason=reason)


def _request(spec: ToolSpec, arguments: dict[str, Any]) -> tuple[URL, dict[str, Any] | None]:
    """The address and the JSON body: as they are sent, nothing is normalised any more.

    What has no place in the address goes into the body, or into the query of a GET or DELETE.
    """
    url, rest = filled(spec, arguments)
    if spec.method in {"POST", "PUT", "PATCH"}:
        return _address(spec, url), rest
    if rest:
        url += ("&" if "?" in url else "?") + urlencode(_as_query(rest))
    return _address(spec, url), None


def _address(spec: ToolSpec, url: str) -> URL:
    if len(url) > LONGEST_URL:
        raise ArgumentRefused(tool=spec.slug, name="text", reason="the address would be too long")
    return URL(url, encoded=True)


async def _try(spec: ToolSpec, request: tuple[URL, dict[str, Any] | None], key: str) -> Answer:
    url, body = request
    headers = {**spec.headers, "Idempotency-Key": key, "Accept": "application/json"}
    try:
        async with (
            outgoing.session(timeout=spec.timeout_seconds) as session,
            session.request(spec.method, url, headers=headers, json=body) as response,
        ):
            return await _answered(spec, response)
    except TimeoutError:
        raise ToolTimeout(tool=spec.slug, seconds=spec.timeout_seconds) from None
    except aiohttp.ClientConnectorError:
        raise ToolFailed(tool=spec.slug, reason="it can't be reached") from None
    except outgoing.RedirectRefused:
        raise ToolFailed(tool=spec.slug, reason=REDIRECTED) from None
    except aiohttp.ClientError as problem:
        raise EffectUncertain(
            tool=spec.slug, reason=f"the connection broke ({type(problem).__name__})"
        ) from None


async def _answered(spec: ToolSpec, response: aiohttp.ClientResponse) -> Answer:
    try:
        body = await outgoing.read_bounded(response, MAX_ANSWER_BYTES)
    except (outgoing.AnswerTooLarge, outgoing.AnswerPacked) as problem:
        raise _after_acting(spec, str(problem), response.status) from None
    value = _understood(spec, response.status, body)
    return Answer(value, _reference(spec, response.headers))


def _reference(spec: ToolSpec, headers: Mapping[str, str]) -> str | None:
    """What the tool calls what it did; nothing where that is no short name."""
    name = next((name for name in REFERENCES if name in headers), None)
    if name is None:
        return None
    told = _without_secrets(spec, headers[name])
    is_name = told.isascii() and told.isprintable() and 0 < len(told) <= LONGEST_REFERENCE
    return f"{name.lower()}: {told}" if is_name else None


def filled(spec: ToolSpec, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The URL with its `{name}` places filled, and the arguments that are left.

    A value is one segment of the path, or one value of the query, whatever it holds: it is
    percent-encoded (RFC 3986, 2.1). Raises ArgumentRefused for what would not stay a segment:
    nothing at all, and `.` and `..`, which servers and proxies resolve (RFC 3986, 5.2.4), some
    of them after decoding what is encoded.
    """
    url, rest = spec.url, dict(arguments)
    for name in set(PLACE.findall(url)) & set(arguments):
        text = str(rest.pop(name))
        if f"{{{name}}}" in spec.url.partition("?")[0] and (not text or climbs(text)):
            raise ArgumentRefused(tool=spec.slug, name=name, reason=ELSEWHERE)
        url = url.replace(f"{{{name}}}", quote(text, safe=""))
    if climbs(url.partition("?")[0]):  # two places of one segment, together
        raise ArgumentRefused(tool=spec.slug, name="text", reason=ELSEWHERE)
    return url, rest


def climbs(text: str) -> bool:
    """Whether a server that decodes once or twice could read a `.` or `..` segment in it."""
    read = {text, unquote(text), unquote(unquote(text))}
    return any(part in {".", ".."} for words in read for part in re.split(r"[/\\;?#]", words))


def _as_query(arguments: dict[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in arguments.items()
    }


def _understood(spec: ToolSpec, status: int, body: bytes) -> dict[str, Any]:
    if status >= 500:
        raise EffectUncertain(tool=spec.slug, reason=f"it answered {status}")
    try:
        value = kept(foreign.parsed(body)) if body else {}
    except foreign.Unreadable as problem:
        raise _after_acting(spec, f"it answered {status}, and {problem}", status) from None
    if status >= 300:
        reason = _without_secrets(spec, _message(value))
        raise ToolFailed(tool=spec.slug, reason=f"it answered {status}: {reason}")
    return value if isinstance(value, dict) else {"value": value}


def _message(value: Any) -> str:
    if isinstance(value, dict):
        found = value.get("message") or value.get("detail") or value.get("error")
        if isinstance(found, dict):
            found = found.get("message")
        return str(found or "no reason given")[:LONGEST_MESSAGE]
    return "no reason given"


def _without_secrets(spec: ToolSpec, message: str) -> str:
    """A refusal is shown to the model and kept: some servers quote the key that they refuse."""
    words = {word for value in spec.headers.values() for word in [value, *value.split()]}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= SHORTEST_SECRET:
            message = message.replace(word, "…")
    return message


def _after_acting(spec: ToolSpec, reason: str, status: int) -> Problem:
    """An answer that can't be read: a reading tool failed, a refusal is one, else nobody knows."""
    if spec.reads or 300 <= status < 500:
        return ToolAnswerUnusable(tool=spec.slug, reason=reason)
    return EffectUncertain(tool=spec.slug, reason=reason)
