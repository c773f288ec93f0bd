"""The only place that reads the acting tenant's ledger."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, models
from django.db.models import F, QuerySet
from django.db.models.functions import Collate
from django.db.models.lookups import Contains, IContains

from audit import bodies, proofs, stored_tiles, subjects, tiles
from audit.errors import Problem
from audit.models import Checkpoint, Entry, Log, Pending, TreeHead
from audit.roles import NoLedger

# An id says when it was made (RFC 9562), on the clock of whoever made it: another one than that
# which stamps the entry. Further apart than this they are not.
CLOCKS_APART = timedelta(days=1)
BODIES = """
SELECT body.entry_id, body.sealed, key.id, key.wrapped
FROM audit.body JOIN audit.subject_key AS key ON key.id = body.subject
WHERE body.log_id = (SELECT id FROM audit.log WHERE role_name = current_user)
  AND body.entry_id = ANY(%s)
"""
WRITTEN_SMALL = re.compile(r"[0-9a-f-]{16,}")
# Those whose id is a person's, or stands for one.
WHO_ACTS = ("member", "client_app")


class EntryUnknown(Problem):
    """There is no ledger entry {entry}."""

    code = "entry_unknown"
    status = 404


class NotPublished(Problem):
    """The ledger has no checkpoint that covers this yet. Try again in a second."""

    code = "not_published"
    status = 409


class Status(msgspec.Struct, frozen=True):
    """How far a log is: entries sealed, entries pending, and the newest checkpoint."""

    origin: str
    size: int
    pending: int
    checkpoint: Checkpoint | None


class Inclusion(msgspec.Struct, frozen=True):
    """The proof that an entry is in a checkpoint's tree. `leaf` are the bytes that are hashed."""

    index: int
    leaf: bytes
    path: list[bytes]
    checkpoint: Checkpoint


def own_log() -> Log:
    """The log of the role that this connection runs as. Raises roles.NoLedger."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text, has_schema_privilege('audit', 'USAGE')")
        role, may_look = cursor.fetchone()
    log = Log.objects.filter(role_name=role).first() if may_look else None
    if log is None:
        raise NoLedger(role=role)
    return log


def entries(
    *,
    kind: str | None = None,
    correlation: UUID | None = None,
    actor: str | None = None,
    agent: str | None = None,
    person: str | None = None,
    text: str | None = None,
    after: datetime | None = None,
    before: datetime | None = None,
) -> QuerySet[Entry]:
    """The acting tenant's entries, newest first, each with its leaf.

    `kind` is a kind or, with a dot at its end, the beginning of one ("run."); `actor` is an actor's
    id, and `agent` that of an agent (its slug); `person` is a member's id, a service key's id or a
    name that somebody acted for, and finds what is by them, for them and about them; `text` occurs
    in the event's data, in any case, but not in what is private; `after` <= recorded_at < `before`.
    Raises roles.NoLedger, SubjectKeyUnreadable.
    """
    found = Entry.objects.filter(log=own_log()).select_related("leaf").order_by("-id")
    if agent is not None:
        found = found.filter(actor_kind="agent", actor_id=agent)
    if person is not None:
        found = found.filter(_concerns(person))
    if text is not None:
        # Ids and hashes are written in small letters: found as they are, in a quarter of the time.
        look_for = Contains if WRITTEN_SMALL.fullmatch(text) else IContains
        found = found.filter(look_for(_payload_as_text(), text))
    wanted: dict[str, Any] = {
        "kind__startswith" if (kind or "").endswith(".") else "kind": kind,
        "correlation": correlation,
        "actor_id": actor,
        "recorded_at__gte": after,
        "recorded_at__lt": before,
        # No index has the times, but the ids' has about the same.
        "id__gte": _first_id(after, -CLOCKS_APART) if after else None,
        "id__lt": _first_id(before, CLOCKS_APART) if before else None,
    }
    return found.filter(**{name: value for name, value in wanted.items() if value is not None})


def _first_id(moment: datetime, shift: timedelta) -> UUID:
    """The least UUIDv7 that can be made so long after (or before) that moment."""
    milliseconds = int((moment.timestamp() + shift.total_seconds()) * 1000)
    return UUID(int=max(milliseconds, 0) << 80)


def _concerns(person: str) -> models.Q:
    """By this person, for them, or with private parts that are theirs. No subject is made."""
    names = [f"{kind}:{person}" for kind in (*WHO_ACTS, "person")]
    known = [found.id for name in names if (found := subjects.find(name))]
    by_them = models.Q(actor_kind__in=WHO_ACTS, actor_id=person)
    for_them = models.Q(on_behalf_of__in=[person, *map(str, known)])
    return by_them | for_them | models.Q(subject__in=known)


def _payload_as_text() -> Collate:
    encoding = models.Value("UTF8")
    text = models.Func(
        F("payload"), encoding, function="convert_from", output_field=models.TextField()
    )
    # The encoding's name has the collation C, which knows the case of ASCII letters only.
    return Collate(text, "default")


def access_entry(entry_id: UUID | str) -> Entry:
    """The acting tenant's entry with this id. Raises EntryUnknown, roles.NoLedger."""
    try:
        wanted = UUID(str(entry_id))
    except ValueError:
        raise EntryUnknown(entry=str(entry_id)) from None
    entry = entries().filter(id=wanted).first()
    if entry is None:
        raise EntryUnknown(entry=str(wanted))
    return entry


def private(entry: Entry) -> dict[str, Any]:
    """What is private of the entry: field by field its salt and, if it was kept, its value.

    {} where nothing is, or it was erased. Raises BodyUnreadable, SubjectKeyUnreadable.
    """
    return opened([entry.pk]).get(entry.pk, {})


def opened(ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """What is private of those entries of the acting tenant that have such parts, by their ids.

    Raises what `private` raises.
    """
    with connection.cursor() as cursor:
        cursor.execute(BODIES, [list(ids)])
        return {
            row[0]: bodies.open_(bytes(row[1]), subjects.unwrapped(row[2:]), row[0])["parts"]
            for row in cursor.fetchall()
        }


def status() -> Status:
    """How far the acting tenant's log is. Raises roles.NoLedger."""
    log = own_log()
    head = TreeHead.objects.filter(log=log).order_by("-size").first()
    return Status(
        origin=log.origin,
        size=head.size if head else 0,
        pending=Pending.objects.filter(log=log).count(),
        checkpoint=Checkpoint.objects.filter(log=log).order_by("-size").first(),
    )


def waiting_since() -> datetime | None:
    """When the oldest entry was recorded that is not sealed yet. Raises roles.NoLedger."""
    pending = Pending.objects.filter(log=own_log()).select_related("entry")
    oldest = pending.order_by("entry_id").first()
    return oldest.entry.recorded_at if oldest else None


def sealing_lag() -> timedelta | None:
    """How long after it was recorded the newest sealed entry was sealed. Raises roles.NoLedger."""
    log = own_log()
    head = TreeHead.objects.filter(log=log).order_by("-size").first()
    if head is None:
        return None
    last = Entry.objects.get(log=log, leaf__log=log, leaf__index=head.size - 1)
    lag: timedelta = head.created_at - last.recorded_at
    return lag


def latest_checkpoint() -> Checkpoint:
    """The newest checkpoint of the acting tenant. Raises NotPublished, roles.NoLedger."""
    checkpoint = Checkpoint.objects.filter(log=own_log()).order_by("-size").first()
    if checkpoint is None:
        raise NotPublished
    return checkpoint


def checkpoint_of(size: int) -> Checkpoint | None:
    """The acting tenant's checkpoint over so many entries, or None. Raises roles.NoLedger."""
    return Checkpoint.objects.filter(log=own_log(), size=size).first()


def inclusion(entry: Entry) -> Inclusion:
    """The proof that `entry` is in the tree of the newest checkpoint. Raises NotPublished."""
    found = inclusions([entry])
    if not found:
        raise NotPublished
    return found[0]


def inclusions(entries: Iterable[Entry]) -> list[Inclusion]:
    """The proofs of those of `entries` that are in the tree of the newest checkpoint, in order.

    Raises NotPublished while there is none.
    """
    checkpoint, origin = latest_checkpoint(), own_log().origin
    root = range_root(checkpoint)
    covered = [
        (entry, index)
        for entry in entries
        if (index := entry.index) is not None and index < checkpoint.size
    ]
    return [
        Inclusion(
            index,
            entry.leaf_bytes(origin),
            proofs.prove_inclusion(index, checkpoint.size, root),
            checkpoint,
        )
        for entry, index in covered
    ]


def erasure_of(subject: UUID) -> Entry | None:
    """The entry that says that the subject was erased, or None. Raises roles.NoLedger."""
    return entries(kind="subject.erased", text=str(subject)).first()


def consistency(old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` leaves continues that of `old`.

    Raises NotPublished unless 0 < old <= new <= the newest checkpoint's size.
    """
    checkpoint = latest_checkpoint()
    if not 0 < old <= new <= checkpoint.size:
        raise NotPublished
    return proofs.prove_consistency(old, new, range_root(checkpoint))


def range_root(checkpoint: Checkpoint) -> proofs.RangeRoot:
    """The roots of ranges of a checkpoint's leaves, from O(log n) tiles a proof."""

    def read(level: int, index: int, width: int) -> bytes:
        with connection.cursor() as cursor:
            return stored_tiles.reader(cursor, checkpoint.log_id)(level, index, width)

    return tiles.range_root(checkpoint.size, read)
