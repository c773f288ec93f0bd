"""The only place that says how Mallory tries each endpoint. Every endpoint must be in it."""

from __future__ import annotations

from typing import Any

MISSING_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
MISSING_SLUG = "no-such-thing"
MISSING_KEY = "f" * 16
OPEN = {"schema", "docs", "sign-in"}
"""Nothing of a tenant is there: who signs in is checked where signing in is tested."""

TOOL = {
    "description": "d",
    "method": "POST",
    "url": "https://orders.test/",
    "parameters": {"type": "object"},
    "effect": "write",
}

LISTS: dict[str, dict[str, Any]] = {
    "me": {},
    "members": {"email": "x@globex.test", "name": "X", "password": "p" * 20, "roles": ["viewer"]},
    "keys": {"name": "x"},
    "agents": {"slug": "x", "name": "X"},
    "tools": {"slug": "x", **TOOL},
    "policies": {"text": ""},
    "active-policies": {},
    "policy-check": {"action": "use_tool", "resource": "refund_order", "agent": "refund-desk"},
    "runs": {},
    "approvals": {},
    "collections": {"slug": "x", "name": "X", "embedding_route": "x"},
    "documents": {},
    "entries": {},
    "checkpoint": {},
    "halts": {},
    "consistency": {},
    "log-checkpoint": {},
    "export": {},
    "ledger-exports": {"bodies": "none"},
    "streams": {"slug": "x", "kind": "syslog", "address": "tls://siem.globex.example:6514"},
    "erasures": {"person": "Grace", "legal_basis": "A law"},
    "holds": {"reason": "A case"},
    "retention": {},
    "providers": {"slug": "x", "kind": "offline"},
    "endpoints": {"slug": "x", "provider": "scripted", "model": "m", "purpose": "chat"},
    "routes": {"slug": "x", "purpose": "chat", "endpoints": ["scripted-chat"]},
}
"""Addresses without a row in them, with the body of their POST: nothing of acme may come out."""

DETAILS: dict[str, dict[str, Any]] = {
    "member": {"GET": None, "PATCH": {"roles": ["viewer"]}, "DELETE": None},
    "key": {"GET": None, "DELETE": None},
    "agent": {"GET": None},
    "versions": {"GET": None, "POST": {"instructions": "i", "route": "answers"}},
    "version": {"GET": None},
    "grants": {"GET": None, "POST": {"kind": "tool", "slug": "refund_order"}},
    "grant": {"DELETE": None},
    "agent-runs": {"POST": {"task": "Refund me."}},
    "tool": {"GET": None, "PUT": TOOL, "DELETE": None},
    "policy-version": {"GET": None},
    "run": {"GET": None},
    "run-steps": {"GET": None},
    "run-events": {"GET": None},
    "run-cancel": {"POST": None},
    "approval": {"GET": None},
    "votes": {"POST": {"verdict": "approve"}},
    "collection": {"GET": None, "PATCH": {"name": "Mine"}, "DELETE": None},
    "search": {"POST": {"query": "refunds"}},
    "collection-documents": {"GET": None, "POST": "form"},
    "document": {"GET": None, "DELETE": None},
    "entry": {"GET": None},
    "proof": {"GET": None},
    "halt-approvals": {"POST": None},
    "log-tile": {"GET": None},
    "ledger-export": {"GET": None},
    "ledger-export-bundle": {"GET": None},
    "stream": {"GET": None, "PATCH": {"enabled": False}, "DELETE": None},
    "stream-secret": {"POST": None},
    "stream-test": {"POST": None},
    "erasure": {"GET": None},
    "erasure-approval": {"POST": None},
    "erasure-rejection": {"POST": None},
    "hold": {"GET": None},
    "hold-release": {"POST": {"reason": "Over."}},
    "provider": {"GET": None, "PATCH": {"timeout_seconds": 5}, "DELETE": None},
    "endpoint": {
        "GET": None,
        "PUT": {
            "input_micros_per_million": 1,
            "output_micros_per_million": 1,
            "max_tokens": None,
        },
        "DELETE": None,
    },
    "route": {"GET": None, "PUT": {"endpoints": ["scripted-chat"]}, "DELETE": None},
}
"""Addresses of one row, with the body of each method: acme's answers as one that is not there."""

SLUGS = {
    "agent": "refund-desk",
    "versions": "refund-desk",
    "version": "refund-desk",
    "grants": "refund-desk",
    "grant": "refund-desk",
    "agent-runs": "refund-desk",
    "tool": "refund_order",
    "collection": "handbook",
    "search": "handbook",
    "collection-documents": "handbook",
    "provider": "scripted",
    "endpoint": "scripted-chat",
    "route": "answers",
    "stream": "siem",
    "stream-secret": "siem",
    "stream-test": "siem",
}
MORE = {"version": (1,), "grant": ("tool", "refund_order")}


def places(name: str, ids: dict[str, str]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The arguments of acme's address, and those of one that nobody has."""
    if name == "policy-version":
        return (99,), (99,)
    if name == "log-tile":
        return ("tile/0/000.p/1",), ("tile/0/001",)
    if name == "key":
        return (ids["key"],), (MISSING_KEY,)
    if name in SLUGS:
        more = MORE.get(name, ())
        return (SLUGS[name], *more), (MISSING_SLUG, *more)
    return (ids[name],), (MISSING_ID,)
