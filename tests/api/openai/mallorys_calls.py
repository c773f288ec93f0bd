"""The only place that says how Mallory tries each address of `/v1`. Every one must be in it."""

from __future__ import annotations

from typing import Any

NAMES = ("fast", "vectors", "agent:refund-desk")
"""acme's models: two routes and an agent."""
MISSING = "no-such-model"

CALLS: dict[str, dict[str, Any] | None] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "How long?"}]},
    "/v1/embeddings": {"input": "How long?"},
    "/v1/models": None,
    "/v1/models/": None,
}
"""Each address with the body of its POST; an address that ends in / goes on with a model's name."""
