"""The only place for the ledger's rows, to be read. Entries are written by audit.ledger alone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from audit.entries import Draft, Stamp, leaf_bytes
from audit.errors import Problem
from audit.events import Actor


class AppendOnly(Problem):
    """The ledger is append-only: record an event with ledger.record."""

    code = "append_only"
    status = 405


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise AppendOnly


R = TypeVar("R", bound="Row")


class Rows(models.QuerySet[R]):
    """A query that reads, and nothing else. PostgreSQL refuses the rest as well."""

    create = update = delete = bulk_create = bulk_update = get_or_create = update_or_create = (
        _refuse
    )


class Row(models.Model):
    """A row of the schema `audit`. Its table is made in SQL by the first migration."""

    objects = Rows.as_manager()

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise AppendOnly."""
        raise AppendOnly

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise AppendOnly."""
        raise AppendOnly


class Log(Row):
    """One tenant's ledger. Its origin names it in every leaf and checkpoint, and never changes."""

    id = models.UUIDField(primary_key=True)
    origin = models.TextField(unique=True)
    role_name = models.TextField(unique=True)
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."log"'

    def __str__(self) -> str:
        return self.origin


class Entry(Row):
    """One recorded event, stamped by the database.

    `occurred_at` is when its transaction began, and `recorded_at` when it was written.
    """

    id = models.UUIDField(primary_key=True)
    log = models.ForeignKey(Log, models.DO_NOTHING)
    kind = models.TextField()
    correlation = models.UUIDField(null=True)
    actor_kind = models.TextField()
    actor_id = models.TextField()
    actor_version = models.TextField(null=True)
    actor_means = models.TextField(null=True)
    on_behalf_of = models.TextField(null=True)
    subject = models.UUIDField(null=True)
    payload = models.BinaryField()
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."entry"'

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def event(self) -> dict[str, Any]:
        """The event's fields; of private ones their commitments."""
        fields: dict[str, Any] = json.loads(bytes(self.payload))
        return fields

    @property
    def actor(self) -> Actor:
        """Who acted."""
        who = (self.actor_kind, self.actor_id, self.actor_version)
        return Actor(*who, self.on_behalf_of, self.actor_means)  # type: ignore[arg-type]

    @property
    def index(self) -> int | None:
        """Its place in the log, from 0; None while it is not sealed."""
        return self.leaf.index if self.sealed else None

    @property
    def sealed(self) -> bool:
        """Whether the sequencer has put it into the tree."""
        return hasattr(self, "leaf")

    @property
    def sequence(self) -> int | None:
        """Its place within its correlation, from 0; None without one, or while not sealed."""
        number: int | None = self.leaf.sequence if self.sealed else None
        return number

    @property
    def previous(self) -> bytes | None:
        """The leaf hash of the entry before it in its correlation, where it has one."""
        return bytes(self.leaf.previous) if self.sealed and self.leaf.previous else None

    def leaf_bytes(self, origin: str) -> bytes:
        """The canonical JSON that is hashed into the log with this origin, once it is sealed."""
        about = (self.correlation, self.actor, self.subject, bytes(self.payload))
        stamp = Stamp(self.occurred_at, self.recorded_at, self.sequence, self.previous)
        return leaf_bytes(Draft(self.id, self.kind, *about), stamp, origin=origin)


class Pending(Row):
    """A recorded entry that the sequencer has not sealed yet."""

    entry = models.OneToOneField(Entry, models.DO_NOTHING, primary_key=True, related_name="+")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."pending"'

    def __str__(self) -> str:
        return str(self.entry_id)


class Body(Row):
    """What is private of an entry, encrypted for its subject; gone once the subject is erased."""

    entry = models.OneToOneField(Entry, models.DO_NOTHING, primary_key=True, related_name="body")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    subject = models.UUIDField()
    sealed = models.BinaryField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."body"'

    def __str__(self) -> str:
        return str(self.entry_id)


class Hold(Row):
    """A legal hold, by the id of the entry that placed it. Without subjects: on all of the log."""

    id = models.UUIDField(primary_key=True)
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    subjects = ArrayField(models.UUIDField(), null=True)
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."hold"'

    def __str__(self) -> str:
        return str(self.id)

    @property
    def released_at(self) -> datetime | None:
        """When it was released; None while it stands."""
        return self.release.created_at if hasattr(self, "release") else None


class HoldRelease(Row):
    """The end of a legal hold."""

    hold = models.OneToOneField(Hold, models.DO_NOTHING, primary_key=True, related_name="release")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    entry = models.OneToOneField(Entry, models.DO_NOTHING, related_name="+")
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."hold_release"'

    def __str__(self) -> str:
        return str(self.hold_id)


class Leaf(Row):
    """A sealed entry's place in the tree, and in its correlation: the number `sequence`, after the
    entry whose leaf hash is `previous`.
    """

    entry = models.OneToOneField(Entry, models.DO_NOTHING, primary_key=True, related_name="leaf")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    index = models.BigIntegerField()
    correlation = models.UUIDField(null=True)
    sequence = models.BigIntegerField(null=True)
    previous = models.BinaryField(null=True)
    leaf_hash = models.BinaryField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."leaf"'

    def __str__(self) -> str:
        return f"{self.index} {self.entry_id}"


class TreeHead(Row):
    """The tree's size and root after a batch was sealed."""

    pk = models.CompositePrimaryKey("log_id", "size")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    size = models.BigIntegerField()
    root = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."tree_head"'

    def __str__(self) -> str:
        return f"{self.log_id} {self.size}"


class Checkpoint(Row):
    """A published tree head: the signed note, and the keys that verify it, one a line."""

    pk = models.CompositePrimaryKey("log_id", "size")
    log = models.ForeignKey(Log, models.DO_NOTHING, related_name="+")
    size = models.BigIntegerField()
    note = models.TextField()
    verifier_key = models.TextField()
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        abstract = False
        db_table = '"audit"."checkpoint"'

    def __str__(self) -> str:
        return f"{self.log_id} {self.size}"

    @property
    def key_ids(self) -> list[str]:
        """The ids of the keys that signed it, in hex."""
        return [line.split("+")[1] for line in self.verifier_key.split("\n")]
