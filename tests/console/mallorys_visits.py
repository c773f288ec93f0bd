"""The only place that says how Mallory tries each page. Every address must be in it."""

from __future__ import annotations

from typing import Any

OPEN = {"sign_in", "sign_out"}
"""Nothing of a tenant is there: who signs in is checked in test_signing_in.py."""

LISTS = {
    "home",
    "approvals",
    "runs",
    "agents",
    "create_agent",
    "tools",
    "add_tool",
    "documents",
    "create_collection",
    "policies",
    "edit_policies",
    "ledger",
    "verify",
    "ledger_status",
    "exports",
    "begin_export",
    "saved_views",
    "save_view",
    "streams",
    "create_stream",
    "erasures",
    "request_erasure",
    "place_hold",
    "set_retention",
    "members",
    "add_member",
    "keys",
    "issue_key",
}
"""Addresses without a row in them: nothing of acme may come out."""

ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "approval": {"GET": {}},
    "vote": {"POST": {"verdict": "approve", "reason": "Because."}},
    "run": {"GET": {}},
    "run_outcome": {"GET": {}},
    "cancel_run": {"POST": {}},
    "agent": {"GET": {}},
    "start_run": {"POST": {"task": "Refund me."}},
    "publish_version": {"GET": {}, "POST": {"instructions": "i", "route": "answers"}},
    "set_grant": {"POST": {"kind": "tool", "slug": "refund_order", "granted": "1"}},
    "agent_version": {"GET": {}},
    "tool": {"GET": {}},
    "change_tool": {"GET": {}, "POST": {"description": "Mine"}},
    "remove_tool": {"GET": {}, "POST": {}},
    "document": {"GET": {}},
    "download_document": {"GET": {}},
    "remove_document": {"GET": {}, "POST": {}},
    "passage": {"GET": {}},
    "collection": {"GET": {}},
    "upload": {"POST": {}},
    "search": {"POST": {"query": "refunds"}},
    "policy_version": {"GET": {}},
    "entry": {"GET": {}},
    "decision": {"GET": {}},
    "proof": {"GET": {}},
    "export": {"GET": {}},
    "change_view": {"POST": {"name": "Mine", "shared": "1"}},
    "remove_view": {"POST": {}},
    "download_export": {"GET": {}},
    "approve_recovery": {"POST": {}},
    "stream": {"GET": {}},
    "change_stream": {"POST": {"address": "https://globex.test/", "selection": ""}},
    "switch_stream": {"POST": {"enabled": "0"}},
    "test_stream": {"POST": {}},
    "rotate_stream": {"POST": {}},
    "remove_stream": {"POST": {}},
    "approve_erasure": {"POST": {}},
    "reject_erasure": {"POST": {}},
    "release_hold": {"POST": {"reason": "Over."}},
    "member": {"GET": {}},
    "set_roles": {"POST": {"roles": ["admin"]}},
    "remove_member": {"POST": {}},
    "revoke_key": {"POST": {}},
}
"""Addresses of one row, with the form of each method: acme's answers as one that is not there."""

NOBODYS = {
    "agent": "nobody",
    "collection": "nothing",
    "key": "f" * 16,
    "number": 98,
    "stream": "nothing",
    "tool": "nothing",
}
MISSING_ID = "0199a0c5-0000-7000-8000-000000000000"
