"""The only place that says which entries tell of collections and documents (audit.reconciling)."""

from __future__ import annotations

from audit.reconciling import Pair, key
from retrieval import events
from retrieval.models import Collection, Document

PAIRS = (
    Pair(
        name="collections",
        rows=lambda: Collection.objects.values_list(key("slug")),
        begin=(events.CollectionCreated.kind,),
        by=("collection",),
        end=(events.CollectionRemoved.kind,),
    ),
    Pair(
        name="documents",
        rows=lambda: Document.objects.values_list(key("pk")),
        begin=(events.DocumentUploaded.kind,),
        by=("document",),
        end=(events.DocumentRemoved.kind,),
        part_of=("collection", events.CollectionRemoved.kind),
    ),
)
