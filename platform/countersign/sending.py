"""The only place that calls addresses which the operator configured: the places for checkpoints.

Addresses that a tenant chose go through tenants.outgoing; these may be on private networks. Bounded
in time and size. MUST NOT follow redirects, use a proxy or `.netrc` of the environment, keep
cookies, or unpack an answer.
"""

from __future__ import annotations

import asyncio

import aiohttp
from yarl import URL

from audit.buckets import Answer, Request
from audit.places import PlaceUnreachable
from tenants import outgoing
from tenants.outgoing import AnswerPacked, AnswerTooLarge

# What a witness, an authority or a bucket answers to us is smaller (audit.cosigning, .timestamps).
LARGEST_ANSWER = 65_536
SECONDS = 8.0
CONNECT_SECONDS = 4.0


def send(request: Request) -> Answer:
    """Send a request and return the answer, whatever its status. Raises PlaceUnreachable."""
    return asyncio.run(_send(request))


async def _send(request: Request) -> Answer:
    url = URL(request.url, encoded=True)
    headers = {"Accept-Encoding": "identity", "User-Agent": "countersign", **request.headers}
    try:
        async with (
            _session() as session,
            session.request(
                request.method,
                url,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            body = await outgoing.read_bounded(response, LARGEST_ANSWER)
            known = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, known, body)
    except (aiohttp.ClientError, OSError, AnswerPacked, AnswerTooLarge) as problem:
        # The host alone: a URL may hold what opens it.
        reason = str(problem).rstrip(".") or type(problem).__name__
        raise PlaceUnreachable(address=url.host or "It", reason=reason) from problem


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
