"""The only place for RFC 3161: an outside authority's word on when a checkpoint existed.

The authority signs a time and SHA-256 of a checkpoint's note text, its final newline included.
Its ASN.1, signature and certificates are judged by `rfc3161-client` (Rust and OpenSSL), as of the
time that it states: a certificate that expired since then still stands for what it signed.
Nothing here opens a connection: whoever calls hands in what posts.

Non-goals: whether a certificate was revoked, and fractions of a second (a time is the second that
it lies in).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from audit.errors import Problem

REQUEST_TYPE = "application/timestamp-query"
# How far an authority's clock and ours may be apart when a timestamp is obtained (RFC 3161, 2.2).
TOLERANCE = timedelta(minutes=5)
LARGEST = 65_535
LONGEST_REASON = 200
CERTIFICATES = 0xA0  # the tag [0] IMPLICIT of CMS SignedData.certificates (RFC 5652, 5.1)
SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
# OpenSSL's own words, inside what the library reports: the cause before the step that failed.
REASONS = (re.compile(r'Verify error: ?([^"]+)'), re.compile(r'reason: "([^"]+)"'))

# What reading certificates raises for those that are none, besides ValueError.
NO_CERTIFICATE = (
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

# Posts a body of a content type to a URL, and returns the body of a 200 answer of at most LARGEST
# bytes; whatever it raises for anything else goes through to the caller.
Post = Callable[[str, bytes, str], bytes]


class AuthorityUnusable(Problem):
    """The timestamping authority's certificates can't be used: {reason}."""

    code = "authority_unusable"
    status = 500


class TimestampMalformed(Problem):
    """The timestamping authority's answer is no RFC 3161 timestamp: {reason}."""

    code = "timestamp_malformed"
    status = 502


class TimestampRefused(Problem):
    """The timestamping authority granted no timestamp: status {answered} {reason}."""

    code = "timestamp_refused"
    status = 502


class TimestampMismatched(Problem):
    """The timestamp is not of what was asked for: {reason}."""

    code = "timestamp_mismatched"
    status = 502


class TimestampUntrusted(Problem):
    """The timestamp is not signed by the authority: {reason}."""

    code = "timestamp_untrusted"
    status = 502


class TimestampUntimely(Problem):
    """The timestamp says {stated}, and it is {actual} here: one of the two clocks is wrong."""

    code = "timestamp_untimely"
    status = 502


class Timestamp(NamedTuple):
    """The time (UTC) that an authority vouches for, and its whole answer (DER) as proof."""

    at: datetime
    response: bytes


def obtain(
    note_text: bytes, *, url: str, authority_pem: bytes, post: Post, now: datetime
) -> Timestamp:
    """Have the authority at `url` timestamp the note text of a checkpoint, and check its answer.

    1. Ask for SHA-256 of the text, with a nonce, and for the signer's certificate in the answer.
    2. Verify the answer. 3. See that it answers this request, and that its time is about `now`.
    Raises what `verify` raises, TimestampUntimely, and whatever `post` raises.
    """
    asked = TimestampRequestBuilder(note_text, HashAlgorithm.SHA256).build()
    response = post(url, asked.as_bytes(), REQUEST_TYPE)
    timestamp = verify(note_text, response, authority_pem)
    if _decoded(response).tst_info.nonce != asked.nonce:
        raise TimestampMismatched(reason="its nonce is another one, so it answers another request")
    if abs(timestamp.at - now) > TOLERANCE:
        raise TimestampUntimely(stated=timestamp.at.isoformat(), actual=now.isoformat())
    return timestamp


def verify(note_text: bytes, response: bytes, authority_pem: bytes) -> Timestamp:
    """What `response` (DER) proves about `note_text`, if the authority (PEM) really said it.

    `authority_pem` holds the root that is trusted, and intermediates that the answer may leave out.
    Raises AuthorityUnusable, TimestampMalformed, TimestampRefused, TimestampMismatched and
    TimestampUntrusted: a signature, a chain to the root, a certificate that was expired at that
    time or that is not for timestamps alone (RFC 3161, 2.3).
    """
    roots, intermediates = _certificates(authority_pem)
    try:
        answer = _decoded(response)
        _check_granted(answer)
        stated = answer.tst_info
    except ValueError as problem:
        raise TimestampMalformed(reason=_shortened(str(problem))) from None
    digest = hashlib.sha256(note_text).digest()
    imprint = stated.message_imprint
    if imprint.hash_algorithm != SHA256 or imprint.message != digest:
        raise TimestampMismatched(reason="its hash is not the SHA-256 of this checkpoint's text")
    _check_signed(answer, digest, roots, intermediates)
    return Timestamp(stated.gen_time, response)


def _check_signed(
    answer: TimeStampResponse,
    digest: bytes,
    roots: list[x509.Certificate],
    intermediates: list[x509.Certificate],
) -> None:
    verifier = VerifierBuilder(roots=roots, intermediates=intermediates).build()
    try:
        verifier.verify(answer, digest)
    except (VerificationError, ValueError, *NO_CERTIFICATE) as problem:
        raise TimestampUntrusted(reason=_cause(str(problem))) from None
    except BaseException as panic:
        # Over a certificate that OpenSSL can't read, the library's Rust code panics, and its panic
        # is neither an Exception nor a class that could be imported.
        if type(panic).__name__ != "PanicException":
            raise
        raise TimestampUntrusted(reason="a certificate can't be read") from None


def check_authority(authority_pem: bytes) -> None:
    """See that `authority_pem` can be verified against. Raises AuthorityUnusable."""
    _certificates(authority_pem)


def _certificates(pem: bytes) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """The roots in `pem`, and the intermediates."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        roots = [each for each in certificates if each.issuer == each.subject]
    except (ValueError, *NO_CERTIFICATE):
        raise AuthorityUnusable(reason="they are not certificates in PEM") from None
    if not roots:
        raise AuthorityUnusable(reason="none of them is a root, that is issued by itself")
    return roots, [each for each in certificates if each not in roots]


def _decoded(response: bytes) -> TimeStampResponse:
    if len(response) > LARGEST:
        raise ValueError(f"it is over {LARGEST} bytes")
    return decode_timestamp_response(_with_sorted_certificates(response))


def _check_granted(answer: TimeStampResponse) -> None:
    # "Granted with modifications" is refused too: we asked for nothing that could be modified.
    if answer.status != PKIStatus.GRANTED:
        reason = _shortened(" ".join(answer.status_string)) or "without a reason"
        raise TimestampRefused(answered=answer.status, reason=f"({reason})")


def _cause(reported: str) -> str:
    found = next(filter(None, (pattern.search(reported) for pattern in REASONS)), None)
    return _shortened(found.group(1) if found else reported)


def _shortened(reason: str) -> str:
    return reason[:LONGEST_REASON].rstrip(". ")


class _Part(NamedTuple):
    """A DER value: its tag's byte, and where it, its content and what follows it begin."""

    tag: int
    start: int
    content: int
    end: int


def _with_sorted_certificates(response: bytes) -> bytes:
    """`response` with its certificates in DER's order (X.690, 11.6), as the library demands.

    Authorities that run OpenSSL send them in an order of their own, which no signature covers.
    What is not of this form is left to the library to refuse.
    """
    try:
        (whole,) = _parts(response, 0, len(response))
        token = _inside(response, whole)[1]
        (signed,) = _inside(response, _inside(response, token)[1])
        at = next(part for part in _inside(response, signed) if part.tag == CERTIFICATES)
        found = sorted(response[part.start : part.end] for part in _inside(response, at))
    except (IndexError, ValueError, StopIteration):
        return response
    return b"".join([response[: at.content], *found, response[at.end :]])


def _inside(der: bytes, part: _Part) -> list[_Part]:
    return _parts(der, part.content, part.end)


def _parts(der: bytes, start: int, end: int) -> list[_Part]:
    parts = []
    while start < end:
        content, length = start + 2, der[start + 1]
        if length & 0x80:
            content += length & 0x7F
            length = int.from_bytes(der[start + 2 : content])
        parts.append(_Part(der[start], start, content, content + length))
        start = content + length
    if start != end:
        raise ValueError("a value ends outside of the value that it is in")
    return parts
