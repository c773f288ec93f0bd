"""The only place for the rows of agents, their versions, tools, runs and steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models

from audit.ids import new_id

SLUG = RegexValidator(
    r"^[a-z][a-z0-9-]{0,62}\Z", "Lower-case letters, digits and hyphens, a letter first."
)
TOOL_SLUG = RegexValidator(
    r"^[a-z][a-z0-9_]{0,62}\Z", "Lower-case letters, digits and underscores, a letter first."
)


class Effect(models.TextChoices):
    """What using a tool does to the world."""

    READ = "read", "Reads"
    WRITE = "write", "Writes"
    IRREVERSIBLE = "irreversible", "Writes, and can't be undone"


class Tool(models.Model):
    """An HTTP call that agents may be granted. `headers` are sealed JSON."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[TOOL_SLUG])
    description = models.TextField()
    method = models.CharField(
        max_length=6, choices=[(m, m) for m in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    )
    url = models.TextField()
    parameters = models.JSONField()
    effect = models.CharField(max_length=12, choices=Effect.choices)
    repeatable = models.BooleanField(default=False)
    timeout_seconds = models.PositiveIntegerField(default=10)
    headers = models.BinaryField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        permissions: ClassVar = [("invoke", "May be invoked by an agent")]

    def __str__(self) -> str:
        return self.slug


class Agent(models.Model):
    """Something that acts on a model's proposals, within its grants and the policies."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[SLUG])
    name = models.CharField(max_length=200)
    author = models.UUIDField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


class AgentVersion(models.Model):
    """What an agent was at one time. PostgreSQL refuses to change it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    instructions = models.TextField()
    route = models.CharField(max_length=63)
    tools = models.JSONField(default=list)
    collections = models.JSONField(default=list)
    limits = models.JSONField(default=dict)
    answer_schema = models.JSONField(null=True)
    author = models.UUIDField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["agent", "number"], name="one_number_a_version")
        ]

    def __str__(self) -> str:
        return f"{self.agent_id} v{self.number}"


class RunState(models.TextChoices):
    """Where a run is. Only `active` and `waiting` runs are worked on."""

    ACTIVE = "active", "Active"
    WAITING = "waiting", "Waiting for the ledger"
    HELD = "held", "Waiting for approval"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Run(models.Model):
    """One durable piece of agent work. A worker that takes a step holds the lease."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="runs")
    task = models.TextField()
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.ACTIVE)
    requester_kind = models.CharField(max_length=10)
    requester = models.CharField(max_length=64)
    on_behalf_of = models.CharField(max_length=200, null=True)
    answer = models.JSONField(null=True)
    failure = models.JSONField(null=True)
    tokens = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    lease_holder = models.CharField(max_length=64, null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["state", "lease_until"], name="run_to_work_on"),
            models.Index(fields=["-created_at"], name="run_newest"),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in this run."""
        return self.state in {RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED}


class StepState(models.TextChoices):
    """How far a step came. `begun` without an end is a crash, or work under way."""

    HELD = "held", "Waiting for approval"
    WAITING = "waiting", "Waiting for the ledger"
    BEGUN = "begun", "Under way"
    ENDED = "ended", "Done"
    REFUSED = "refused", "Not understood"
    DENIED = "denied", "Denied"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Unknown whether it happened"


class Step(models.Model):
    """One intent of a run and what came of it. `turn` is what the transcript says of it.

    `tool_sha256` is the digest of the tool's definition when it was decided: what a reviewer
    approved is what is called. A `waiting` step is not done before its decision, and the entry
    `begun` of its effect, are `awaits` ("sealed" or "cosigned").
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField()
    action = models.CharField(max_length=20)
    resource = models.CharField(max_length=63)
    intent: Any = models.JSONField()
    digest = models.CharField(max_length=64)
    tool_sha256 = models.CharField(max_length=64, null=True)
    state = models.CharField(max_length=10, choices=StepState.choices)
    reasons = models.JSONField(default=list)
    decision = models.UUIDField(null=True)
    approval = models.UUIDField(null=True)
    begun = models.UUIDField(null=True)
    awaits: Any = models.CharField(max_length=10, null=True)
    waits_since = models.DateTimeField(null=True)
    turn: Any = models.JSONField(null=True)
    error_code = models.CharField(max_length=63, null=True)
    usage: Any = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "number"], name="one_number_a_step")
        ]
        ordering: ClassVar = ["number"]

    def __str__(self) -> str:
        return f"step {self.number} of {self.run_id}"


class ErasureState(models.TextChoices):
    """Where the request to erase a person stands."""

    REQUESTED = "requested", "Waiting for a second person"
    DONE = "done", "Erased"
    REJECTED = "rejected", "Rejected"


class ErasureRequest(models.Model):
    """One member asked to erase a person, another approves it. Once settled, it names nobody.

    `person` is a name as in audit.subjects, and `receipts` how much each store gave up.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    person = models.TextField()
    legal_basis = models.CharField(max_length=200)
    state = models.CharField(
        max_length=10, choices=ErasureState.choices, default=ErasureState.REQUESTED
    )
    requester = models.CharField(max_length=64)
    settled_by = models.CharField(max_length=64, null=True)
    entry = models.UUIDField(null=True)
    receipts: Any = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"erasure {self.id}"


class RetentionRule(models.Model):
    """After how many months the private parts of entries whose kind begins so are destroyed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=100, unique=True)
    months = models.PositiveSmallIntegerField()

    class Meta:
        ordering: ClassVar = ["kind"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(months__gte=6), name="six_months_at_least")
        ]

    def __str__(self) -> str:
        return f"{self.kind} after {self.months} months"


class ExportState(models.TextChoices):
    """How far an export is."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Being made"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"
    PRUNED = "pruned", "Pruned"


class LedgerExport(models.Model):
    """A bundle that a member asked for, and how far it is. Row and file are kept for a day.

    `done` of `total` entries are written; what else a bundle is known by is there once it is ready.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    requester = models.CharField(max_length=64)
    means = models.CharField(max_length=20, null=True)
    filter: Any = models.JSONField(default=dict)
    with_bodies = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=ExportState.choices, default=ExportState.QUEUED)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    size = models.BigIntegerField(null=True)
    root = models.CharField(max_length=64, null=True)
    selected = models.BigIntegerField(null=True)
    bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, null=True)
    failure = models.CharField(max_length=63, null=True)
    attempts = models.PositiveIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="export_oldest")]

    def __str__(self) -> str:
        return f"export {self.id}"


class StreamKind(models.TextChoices):
    """What the receiver of a stream speaks."""

    SYSLOG = "syslog", "Syslog"
    WEBHOOK = "webhook", "Webhook"


class Stream(models.Model):
    """The ledger as it is sent to a SIEM. `cursor` is the index of the next entry to send.

    `selection` is how the kinds begin that are sent, `authority` the PEM that a receiver's
    certificate is judged by, instead of the system's. `batch_end` bounds the batch that is under
    way. Whoever claims or changes the stream counts `claim` up, which fences whoever had it before.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[SLUG])
    kind = models.CharField(max_length=10, choices=StreamKind.choices)
    address = models.TextField()
    authority = models.TextField(default="")
    selection = models.CharField(max_length=100, default="")
    secret = models.BinaryField(null=True)
    earlier_secret = models.BinaryField(null=True)
    earlier_until = models.DateTimeField(null=True)
    enabled = models.BooleanField(default=True)
    cursor = models.BigIntegerField()
    batch_end = models.BigIntegerField(null=True)
    claim = models.BigIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, null=True)
    failed_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug

    def secrets_at(self, moment: datetime) -> list[bytes]:
        """The sealed secrets that sign then, the newest first."""
        found = [self.secret] if self.secret else []
        if self.earlier_secret and self.earlier_until and moment < self.earlier_until:
            found.append(self.earlier_secret)
        return [bytes(sealed) for sealed in found]


class SavedView(models.Model):
    """Filters of the ledger under a name: a member's own, or shared with all who read the ledger.

    `filters` are those of the address, by their names there.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    filters: Any = models.JSONField()
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="one_view_a_name")
        ]

    def __str__(self) -> str:
        return f"view {self.id}"
