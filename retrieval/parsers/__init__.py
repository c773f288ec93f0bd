"""One module a document format; to add a format, copy one and name it in `registry.py`."""

from __future__ import annotations
