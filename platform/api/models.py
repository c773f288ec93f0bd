"""The only place for the API's rows: answers that are kept for retries."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from audit.ids import new_id


class KeptAnswer(models.Model):
    """What a request with an Idempotency-Key was answered. `body` is sealed: it may hold a secret.

    `scope` is the principal that sent the key; `fingerprint` commits to the request, keyed, so
    that it tells nothing about a password in it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    scope = models.CharField(max_length=120)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    headers: Any = models.JSONField(default=dict)
    body = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope", "key"], name="one_answer_a_key")
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="kept_answer_by_age")]

    def __str__(self) -> str:
        return f"the answer to {self.key}"
