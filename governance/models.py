"""The only place for governance's rows: policy sets, approvals and votes."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from audit.ids import new_id


class PolicySet(models.Model):
    """One version of the tenant's policies with the schema that they fit. Never changed.

    `author` is a member's id, or "countersign" for what the product wrote.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.PositiveIntegerField(unique=True)
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    schema = models.TextField()
    author = models.CharField(max_length=100)
    active = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["active"], condition=Q(active=True), name="one_active_policy_set"
            ),
        ]

    def __str__(self) -> str:
        return f"policies, version {self.version}"


class State(models.TextChoices):
    """Where an approval stands. Only `pending` and `approved` lead anywhere."""

    PENDING = "pending", "Pending"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Expired"
    CANCELLED = "cancelled", "Cancelled"
    SPENT = "spent", "Spent"


OPEN_STATES = (State.PENDING, State.APPROVED)


class Approval(models.Model):
    """A held intent, frozen, waiting for a vote.

    `intent` is its canonical JSON, `digest` its hash; `evidence` a list of {kind, title, text, …}
    that led to it; `requester` the id of whoever asked for the run or made the call; `excluded`
    the ids of all who may not vote: they asked, or issued the key that did; it is done for them; or
    they wrote the agent.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    digest = models.CharField(max_length=64)
    intent = models.JSONField()
    action = models.CharField(max_length=30)
    resource_kind = models.CharField(max_length=20)
    resource = models.CharField(max_length=200)
    code = models.CharField(max_length=50)
    reasons = models.JSONField()
    policy_version = models.PositiveIntegerField()
    policy_sha256 = models.CharField(max_length=64)
    evidence = models.JSONField()
    requester_kind = models.CharField(max_length=20)
    requester = models.CharField(max_length=100)
    agent = models.CharField(max_length=100, blank=True)
    agent_author = models.CharField(max_length=100, blank=True)
    excluded = ArrayField(models.CharField(max_length=200), default=list)
    run = models.UUIDField(null=True)
    step = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["digest"],
                condition=Q(state__in=["pending", "approved"]),
                name="one_open_approval_an_intent",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["digest", "-created_at"], name="approval_by_digest"),
            models.Index(fields=["state", "created_at"], name="approval_by_state"),
            models.Index(fields=["run"], name="approval_by_run"),
        ]

    def __str__(self) -> str:
        return f"approval {self.id}"


class Vote(models.Model):
    """One member's word on an approval."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="votes")
    member = models.CharField(max_length=100)
    member_name = models.CharField(max_length=200)
    verdict = models.CharField(
        max_length=10, choices=[("approve", "Approve"), ("reject", "Reject")]
    )
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["approval", "member"], name="one_vote_a_member"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.member_name}"
