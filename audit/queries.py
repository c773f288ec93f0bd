"""The only place that reads the acting tenant's ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, models
from django.db.models import F, QuerySet
from django.db.models.functions import Collate
from django.db.models.lookups import IContains

from audit import bodies, proofs, stored_tiles, subjects, tiles
from audit.errors import Problem
from audit.models import Body, Checkpoint, Entry, Log, Pending, TreeHead
from audit.roles import NoLedger

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
        found = found.filter(IContains(_payload_as_text(), text))
    wanted: dict[str, Any] = {
        "kind__startswith" if (kind or "").endswith(".") else "kind": kind,
        "correlation": correlation,
        "actor_id": actor,
        "recorded_at__gte": after,
        "recorded_at__lt": before,
    }
    return found.filter(**{name: value for name, value in wanted.items() if value is not None})


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
    body = Body.objects.filter(log_id=entry.log_id, pk=entry.pk).first()
    subject = subjects.by_id(body.subject) if body else None
    if body is None or subject is None:
        return {}
    opened: dict[str, Any] = bodies.open_(bytes(body.sealed), subject, entry.pk)["parts"]
    return opened


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
    checkpoint = latest_checkpoint()
    index = entry.index
    if index is None or index >= checkpoint.size:
        raise NotPublished
    path = proofs.prove_inclusion(index, checkpoint.size, range_root(checkpoint))
    return Inclusion(index, entry.leaf_bytes(own_log().origin), path, checkpoint)


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
