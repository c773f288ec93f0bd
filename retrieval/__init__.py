"""Documents: collections, parsing, chunking, ingestion, search and citations."""

from __future__ import annotations
