"""The only place that speaks syslog: RFC 5424 over TCP (RFC 6587) or TLS (RFC 5425).

Syslog has no answer to a message. What there is instead is the end of a connection: each batch has
one of its own. 1. All messages are written, each with its length before it (RFC 6587, 3.4.1).
2. We close our side. 3. The receiver closes its own, which it does when it has read to our end:
over TLS by a closure alert (RFC 5425, 4.4), so that nobody in between can pretend it. Where it
resets the connection, says nothing, or just goes away, the batch counts as not taken.
MUST NOT be read as "stored": what a receiver does with what it has read, syslog can't tell.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from datetime import datetime
from time import monotonic

import msgspec

from audit.entries import rfc3339
from audit.published import Published
from runtime.handover import SECONDS, NotTaken, trust
from tenants import outgoing
from tenants.outgoing import Peer

LOG_AUDIT = 13  # the facility (RFC 5424, table 1)
ERROR, WARNING, NOTICE, INFORMATIONAL = 3, 4, 5, 6
BY_VERB = {
    "failed": ERROR,
    "unknown": ERROR,
    "refused": WARNING,
    "rejected": WARNING,
    "expired": WARNING,
    "searched": INFORMATIONAL,
}
# What agents do all day; the rest is administration, and each of it worth a look.
WORK = {"approval", "document", "effect", "intent", "model", "run"}
LONGEST_MSGID = 32
CHUNK = 16_384  # bytes: a TLS record


class Source(msgspec.Struct, frozen=True):
    """Whose log it is. `enterprise` is the operator's IANA private enterprise number, or 0."""

    tenant: str
    host: str
    enterprise: int


def severity(kind: str) -> int:
    """How much an entry of this kind matters (RFC 5424, table 2)."""
    room, _, verb = kind.partition(".")
    return BY_VERB.get(verb, INFORMATIONAL if room in WORK else NOTICE)


def of_entry(entry: Published, source: Source) -> bytes:
    """An entry as one framed message."""
    return _framed(entry.kind, entry.recorded_at, entry.as_json(), source, entry.index)


def of_text(kind: str, moment: datetime, text: bytes, source: Source) -> bytes:
    """Something else of ours as one framed message."""
    return _framed(kind, moment, text, source, None)


def _framed(kind: str, moment: datetime, text: bytes, source: Source, index: int | None) -> bytes:
    """The message with its length. JSON without a byte order mark, which parsers choke on: MSG-ANY
    in the grammar of RFC 5424, 6.
    """
    priority = LOG_AUDIT * 8 + severity(kind)
    about = f"{rfc3339(moment)} {source.host} countersign - {kind[:LONGEST_MSGID]}"
    header = f"<{priority}>1 {about} {_structured(source, index)} "
    message = header.encode() + text
    return b"%d %s" % (len(message), message)


def _structured(source: Source, index: int | None) -> str:
    """Elements of our own need a number that IANA gave to the operator (RFC 5424, 6.3.2)."""
    if not source.enterprise:
        return '[origin software="countersign"]'
    place = f' index="{index}"' if index is not None else ""
    return f'[countersign@{source.enterprise} tenant="{source.tenant}"{place}]'


def send(peer: Peer, messages: Iterable[bytes], *, authority: str) -> None:
    """Hand framed messages over. Raises NotTaken."""
    deadline = monotonic() + SECONDS
    context = trust(authority) if peer.is_tls else None
    try:
        with outgoing.connected(peer, deadline=deadline, context=context) as connection:
            _write(connection, b"".join(messages), deadline)
            _close(connection, deadline)
    except TimeoutError:
        raise NotTaken(reason=f"it was not done within {SECONDS:.0f} seconds") from None
    except (OSError, outgoing.AddressRefused) as problem:
        raise NotTaken(reason=_why(problem)) from None


def _why(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({problem.verify_message})"
    if isinstance(problem, ssl.SSLEOFError):
        return "it ended the connection without TLS's closure alert"
    if isinstance(problem, ConnectionRefusedError | socket.gaierror):
        return "it can't be reached"
    if isinstance(problem, ConnectionError | ssl.SSLError):
        return f"the connection broke ({type(problem).__name__})"
    return str(problem).rstrip(".")


def _write(connection: socket.socket, data: bytes, deadline: float) -> None:
    for first in range(0, len(data), CHUNK):
        connection.settimeout(outgoing.left(deadline))
        connection.sendall(data[first : first + CHUNK])


def _close(connection: socket.socket, deadline: float) -> None:
    """Close our side and wait until the receiver closes its own. Raises OSError."""
    connection.settimeout(outgoing.left(deadline))
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()  # raises where no closure alert comes back
        return
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(CHUNK):  # what a receiver says is not for us
        connection.settimeout(outgoing.left(deadline))
