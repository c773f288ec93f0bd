"""The only place that knows which fields of which kinds are private; a test keeps it complete."""

from __future__ import annotations

# In such a field stands a commitment; salt and value are in the entry's body.
PRIVATE: dict[str, tuple[str, ...]] = {
    "approval.approved": ("reason",),
    "approval.opened": ("shown",),
    "approval.rejected": ("reason",),
    "collection.changed": ("values",),
    "document.failed": ("message",),
    "document.removed": ("sha256",),
    "document.uploaded": ("filename", "sha256"),
    "effect.ended": ("outcome", "reference"),
    "erasure.requested": ("person",),
    "hold.placed": ("person", "reason"),
    "hold.released": ("reason",),
    "intent.decided": ("intent",),
    "key.issued": ("name",),
    "model.called": ("prompt",),
    "model.failed": ("prompt",),
    "run.completed": ("answer",),
    "run.started": ("task",),
    "saved_view.renamed": ("name",),
    "saved_view.shared": ("filters", "name"),
    "tenant.created": ("name",),
}
