"""The data plane: an OpenAI-compatible API, async from end to end. MUST NOT use Django's ORM."""

from __future__ import annotations
