"""The only place that sends webhooks, signed as Standard Webhooks 1.0.0 has it (HMAC-SHA256)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import aiohttp
import msgspec
from yarl import URL

from audit.entries import rfc3339
from audit.published import Published
from runtime.handover import SECONDS, NotTaken, trust
from tenants import outgoing

PREFIX = "whsec_"
SECRET_BYTES = 32
REDIRECTED = "it answered with a redirect, and redirects are not followed"


class Message(msgspec.Struct, frozen=True):
    """What is sent: the same id with each try of the same body."""

    id: str
    body: bytes


def new_secret() -> str:
    """A secret as the receiver configures it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def of_entries(stream: UUID, entries: Sequence[Published]) -> Message:
    """A batch, which is never empty. A function of its entries alone: a retry is the same."""
    data = b",".join(entry.as_json() for entry in entries)
    return _message(stream, data, entries[-1].recorded_at, "ledger.entries")


def of_test(stream: UUID, moment: datetime) -> Message:
    """A message without entries."""
    return _message(stream, b"", moment, "ledger.test")


def _message(stream: UUID, data: bytes, moment: datetime, kind: str) -> Message:
    about = f'],"timestamp":"{rfc3339(moment)}","type":"{kind}"}}'
    body = b'{"data":[' + data + about.encode()
    return Message(f"msg_{hashlib.sha256(stream.bytes + body).hexdigest()[:32]}", body)


def headers_of(message: Message, keys: Sequence[str], *, now: datetime) -> dict[str, str]:
    """The headers of one try, with a signature by each of the secrets."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message.id}.{timestamp}.".encode() + message.body
    return {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(key: str, signed: bytes) -> str:
    made = hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, "sha256")
    return base64.b64encode(made).decode()


def send(url: str, message: Message, *, keys: Sequence[str], authority: str, now: datetime) -> None:
    """Hand a message over: the receiver took it if it answered 2xx. Raises NotTaken."""
    headers = headers_of(message, keys, now=now)
    asyncio.run(_post(url, message.body, headers, authority))


async def _post(url: str, body: bytes, headers: dict[str, str], authority: str) -> None:
    try:
        async with (
            outgoing.session(timeout=SECONDS) as session,
            session.post(
                URL(url, encoded=True), data=body, headers=headers, ssl=trust(authority)
            ) as response,
        ):
            _judge(response)
    except TimeoutError:
        raise NotTaken(reason=f"it did not answer within {SECONDS:.0f} seconds") from None
    except outgoing.RedirectRefused:
        raise NotTaken(reason=REDIRECTED) from None
    except aiohttp.ClientConnectorCertificateError:
        raise NotTaken(reason="its certificate is not trusted") from None
    except aiohttp.ClientConnectorError:
        raise NotTaken(reason="it can't be reached") from None
    except (aiohttp.ClientError, outgoing.AddressRefused) as problem:
        raise NotTaken(reason=_why(problem)) from None


def _why(problem: Exception) -> str:
    if isinstance(problem, outgoing.AddressRefused):
        return str(problem).rstrip(".")
    return f"the connection broke ({type(problem).__name__})"


def _judge(response: aiohttp.ClientResponse) -> None:
    if 200 <= response.status < 300:
        return
    asked = response.headers.get("Retry-After", "")  # RFC 9110, 10.2.3; a date is not heeded
    wait = int(asked[:9]) if asked.isascii() and asked.isdigit() else 0
    raise NotTaken(reason=f"it answered {response.status}", wait_seconds=wait)
