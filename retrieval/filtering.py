"""The only place for what narrows a search down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from retrieval.blocks import clean


class Filters(msgspec.Struct, frozen=True):
    """Documents with all of `metadata` (equal, key by key), and among `documents` unless None."""

    metadata: Mapping[str, str | int | bool] = {}
    documents: list[UUID] | None = None

    def as_json(self) -> dict[str, Any]:
        """The filter as an intent's arguments hold it."""
        documents = None if self.documents is None else sorted(map(str, self.documents))
        return {"metadata": dict(self.metadata), "documents": documents}

    def parameters(self) -> dict[str, Any]:
        """Values for `%(metadata)s::jsonb` and `%(documents)s::uuid[]` in a statement."""
        wanted = {
            clean(key): clean(value) if isinstance(value, str) else value
            for key, value in self.metadata.items()
        }
        return {"metadata": json.dumps(wanted), "documents": self.documents}


EVERYTHING = Filters()
