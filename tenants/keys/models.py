"""The only place for the rows of keys: what opens the API, stored as hashes."""

from __future__ import annotations

from django.db import models

from audit.ids import new_id


class Key(models.Model):
    """A secret that opens the API: a client app's service key, or a member's token.

    The secret itself is shown once and never stored: `secret_hash` is its SHA-256.
    """

    class Kind(models.TextChoices):
        """Who the key speaks for."""

        SERVICE = "service", "Service key"
        MEMBER = "member", "Member token"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    public_id = models.CharField(max_length=16, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=100)
    member = models.UUIDField(null=True)
    secret_hash = models.CharField(max_length=64)
    created_by = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.public_id}"
