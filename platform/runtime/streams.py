"""The only place where streams of the ledger to a SIEM are made, changed, tested and removed."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from yarl import URL

from audit import ledger, published
from audit.errors import Problem
from runtime import receivers, webhooks
from runtime.events import StreamChanged, StreamCreated, StreamDeleted, StreamTested
from runtime.handover import NotTaken, trust
from runtime.ledgers import READERS
from runtime.models import SLUG, Stream, StreamKind
from tenants import encryption, outgoing
from tenants.principals import Principal

MOST_STREAMS = 20
LONGEST_AUTHORITY = 65_536
SELECTION = re.compile(r"([a-z][a-z0-9_.]{0,99})?")
# A receiver gets both signatures for so long.
EARLIER_SECRET_LIFE = timedelta(hours=24)


class StreamUnknown(Problem):
    """There is no stream {stream} here."""

    code = "stream_unknown"
    status = 404


class StreamTaken(Problem):
    """There is a stream {stream} already."""

    code = "stream_taken"
    status = 409


class StreamInvalid(Problem):
    """The stream can't be so: {reason}."""

    code = "stream_invalid"
    status = 422


def every(*, principal: Principal) -> QuerySet[Stream]:
    """The tenant's streams, newest first. Raises NotPermitted."""
    principal.require(*READERS)
    return Stream.objects.order_by("-id")


def access(slug: str, *, principal: Principal) -> Stream:
    """The stream. Raises StreamUnknown, NotPermitted."""
    stream = every(principal=principal).filter(slug=slug).first()
    if stream is None:
        raise StreamUnknown(stream=slug)
    return stream


def lag(stream: Stream) -> int:
    """How many published entries the stream has not dealt with."""
    return max(0, published.size() - stream.cursor)


def create(
    slug: str,
    *,
    kind: str,
    address: str,
    authority: str = "",
    selection: str = "",
    cursor: int | None = 0,
    by: Principal,
    now: datetime,
) -> tuple[Stream, str | None]:
    """A stream from the index `cursor` on, or None: from now on; and a webhook's secret.

    Raises NotPermitted (admins), StreamInvalid, StreamTaken, AddressRefused.
    """
    by.require("admin")
    made = Stream(slug=slug, kind=kind, address=address, authority=authority, created_at=now)
    made.selection, made.cursor = selection, published.size() if cursor is None else cursor
    _check(made)
    secret = webhooks.new_secret() if kind == StreamKind.WEBHOOK else None
    made.secret = encryption.seal(secret) if secret else None
    with transaction.atomic():
        _insert(made)
        event = StreamCreated(
            stream=slug,
            receiver_kind=kind,
            receiver=_receiver(address),
            selection=selection,
            cursor=made.cursor,
        )
        ledger.record(event, actor=by.actor)
    return made, secret


def change(stream: Stream, *, by: Principal, **values: Any) -> Stream:
    """Change what is given: `address`, `authority`, `selection`, `enabled`, `cursor`.

    It takes effect at once: what is under way to the old receiver moves no cursor any more. Raises
    NotPermitted (admins), StreamInvalid, AddressRefused, StreamUnknown.
    """
    by.require("admin")
    changed = sorted(name for name, value in values.items() if getattr(stream, name) != value)
    if not changed:
        return stream
    for name in changed:
        setattr(stream, name, values[name])
    _check(stream)
    with transaction.atomic():
        _update(stream, changed)
        _record_change(stream, changed, by)
    return stream


def rotate(stream: Stream, *, by: Principal, now: datetime) -> str:
    """Another secret. The one before it signs as well for a day. Raises NotPermitted (admins),
    StreamInvalid.
    """
    by.require("admin")
    if stream.kind != StreamKind.WEBHOOK:
        raise StreamInvalid(reason="only a webhook has a secret")
    secret = webhooks.new_secret()
    stream.earlier_secret, stream.secret = stream.secret, encryption.seal(secret)
    stream.earlier_until = now + EARLIER_SECRET_LIFE
    with transaction.atomic():
        _update(stream, ["secret", "earlier_secret", "earlier_until"])
        _record_change(stream, ["secret"], by)
    return secret


def remove(stream: Stream, *, by: Principal) -> None:
    """End the stream and destroy its secret. Raises NotPermitted (admins), StreamUnknown."""
    by.require("admin")
    with transaction.atomic():
        row = Stream.objects.select_for_update().filter(pk=stream.pk).first()
        if row is None:
            raise StreamUnknown(stream=stream.slug)
        row.delete()
        ledger.record(StreamDeleted(stream=row.slug, cursor=row.cursor), actor=by.actor)


def test(stream: Stream, *, by: Principal, now: datetime) -> NotTaken | None:
    """Send a message without entries; why it was not taken, or None. The cursor stays.

    MUST NOT be called in a transaction: it waits for the receiver. Raises NotPermitted (admins).
    """
    by.require("admin")
    with transaction.atomic():
        event = StreamTested(stream=stream.slug, receiver=_receiver(stream.address))
        ledger.record(event, actor=by.actor)
    try:
        receivers.send_test(stream, now=now)
    except NotTaken as problem:
        return problem
    return None


def _insert(stream: Stream) -> None:
    if Stream.objects.count() >= MOST_STREAMS:
        raise StreamInvalid(reason=f"there may be {MOST_STREAMS} streams")
    try:
        with transaction.atomic():
            stream.save(force_insert=True)
    except IntegrityError:
        raise StreamTaken(stream=stream.slug) from None


def _update(stream: Stream, names: list[str]) -> None:
    """Write the columns and take the claim away; the next try is at once, of a new batch."""
    values = {name: getattr(stream, name) for name in names}
    values |= {"batch_end": None, "next_try_at": None, "claimed_until": None}
    rows = Stream.objects.filter(pk=stream.pk)
    if rows.update(claim=F("claim") + 1, failures=0, error=None, **values) != 1:
        raise StreamUnknown(stream=stream.slug)
    stream.refresh_from_db()


def _record_change(stream: Stream, changed: list[str], by: Principal) -> None:
    event = StreamChanged(
        stream=stream.slug,
        changed=changed,
        receiver=_receiver(stream.address),
        selection=stream.selection,
        enabled=stream.enabled,
        cursor=stream.cursor,
    )
    ledger.record(event, actor=by.actor)


def _receiver(address: str) -> str:
    """The address without its path and query, where a key may be."""
    return str(URL(address).origin())


def _check(stream: Stream) -> None:
    try:
        SLUG(stream.slug)
    except ValidationError as problem:
        raise StreamInvalid(reason=problem.messages[0].rstrip(".")) from None
    if stream.kind not in StreamKind.values:
        raise StreamInvalid(reason=f"its kind must be one of {', '.join(StreamKind.values)}")
    if not SELECTION.fullmatch(stream.selection):
        raise StreamInvalid(reason="its selection is no beginning of a kind")
    if not 0 <= stream.cursor <= published.size():
        raise StreamInvalid(reason="its cursor must be an index of the ledger, or its size")
    _check_address(stream)
    _check_authority(stream)


def _check_address(stream: Stream) -> None:
    if stream.kind == StreamKind.SYSLOG:
        outgoing.peer_of(stream.address)
        return
    outgoing.check_url(stream.address)
    if "#" in stream.address or not stream.address.isascii():
        raise StreamInvalid(reason="its address is ASCII without a fragment")


def _check_authority(stream: Stream) -> None:
    if not stream.authority:
        return
    if not stream.address.startswith(("https://", "tls://")):
        raise StreamInvalid(reason="an authority is for an address with TLS")
    try:
        if len(stream.authority) > LONGEST_AUTHORITY or not stream.authority.isascii():
            raise StreamInvalid(reason="its authority is too long, or not PEM")
        trust(stream.authority)
    except ssl.SSLError:
        raise StreamInvalid(reason="its authority is not PEM with certificates") from None
