"""The only place that hands entries to the receiver of a stream, whatever it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from audit.published import Published
from runtime import syslog, webhooks
from runtime.models import Stream, StreamKind
from runtime.syslog import Source
from runtime.webhooks import Message
from tenants import encryption, isolation, outgoing

TEST_KIND = "stream.test"


def send(stream: Stream, entries: Sequence[Published], *, now: datetime) -> None:
    """Hand one batch over. Raises NotTaken, SecretUnreadable."""
    if stream.kind == StreamKind.WEBHOOK:
        _post(stream, webhooks.of_entries(stream.pk, entries), now)
    else:
        _write(stream, [syslog.of_entry(entry, _source()) for entry in entries])


def send_test(stream: Stream, *, now: datetime) -> None:
    """Hand over a message without entries. Raises NotTaken, SecretUnreadable."""
    message = webhooks.of_test(stream.pk, now)
    if stream.kind == StreamKind.WEBHOOK:
        _post(stream, message, now)
    else:
        _write(stream, [syslog.of_text(TEST_KIND, now, message.body, _source())])


def _post(stream: Stream, message: Message, now: datetime) -> None:
    keys = [encryption.open(sealed) for sealed in stream.secrets_at(now)]
    webhooks.send(stream.address, message, keys=keys, authority=stream.authority, now=now)


def _write(stream: Stream, messages: Sequence[bytes]) -> None:
    syslog.send(outgoing.peer_of(stream.address), messages, authority=stream.authority)


def _source() -> Source:
    tenant = isolation.current().slug
    return Source(tenant, f"{tenant}.{settings.BASE_DOMAIN}", settings.ENTERPRISE_NUMBER)
