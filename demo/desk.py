"""The only place where the demo furnishes acme: model, handbook, tools, agent, grants, policies."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from countersign.configuration import Configuration
from demo.client import Client
from demo.narrator import DidNotHold, Narrator
from demo.tenancy import Staff
from demo.tools import TOOLS

HANDBOOK = Path(__file__).parent / "handbook"
DOCUMENTS = {
    "returns-handbook.md": "Returns handbook",
    "returns-handbook.pdf": "Returns handbook (print)",
}
AGENT = "refund-desk"
COLLECTION = "handbook"
INGESTION_SECONDS = 120
# A call is tried three times; a lease lasts as long as all of them may take, and a killed worker's
# run waits for its lease to end. With 10 seconds the story would be a minute longer.
TOOL_SECONDS = 2
INSTRUCTIONS = """\
You are the refund desk of Acme Outdoor. You answer customers and the service team.
Answer questions from the returns handbook alone, and cite each passage that you rely on as [P1].
If the handbook does not answer, say so.
When you are asked for a refund, look the order up and search the handbook first. Then refund
exactly the amount that was asked for, and never split it.
If a refund is rejected, say that it was not made, and why."""
VERSION: dict[str, Any] = {
    "instructions": INSTRUCTIONS,
    "route": "answers",
    "tools": [tool["name"] for tool in TOOLS],
    "collections": [COLLECTION],
    "limits": {"steps": 20, "seconds": 3600},
}
GRANTS = [
    {"kind": "route", "slug": "answers"},
    {"kind": "collection", "slug": COLLECTION},
    *({"kind": "tool", "slug": tool["name"]} for tool in TOOLS),
]
SMALL_REFUNDS = """
// The handbook, 5.1: up to 50.00 EUR the desk refunds without asking anybody.
@id("small-refunds-run-unattended")
permit (
  principal == Agent::"refund-desk",
  action == Action::"invoke_unattended",
  resource == Tool::"refund_order"
)
when {
  context.arguments has refund_order.amount_cents &&
  context.arguments.refund_order.amount_cents <= 5000
};
"""


def furnish(acme: Staff, order_service: str, wanted: Configuration, narrator: Narrator) -> None:
    """Everything that the refund desk needs; what is there already stays. Raises Refused."""
    admin, builder = acme["Alice"], acme["Dave"]
    connect_models(admin, wanted)
    collection = {
        "slug": COLLECTION,
        "name": "Returns handbook",
        "description": "What customers may return, what is refunded, how soon, who approves it.",
        "embedding_route": "embed",
    }
    _ensure(builder, "/collections", collection)
    _upload_handbook(builder, narrator)
    for tool in TOOLS:
        _ensure_tool(builder, tool, order_service)
    _ensure(builder, "/agents", {"slug": AGENT, "name": "Refund desk"})
    _ensure_version(builder)
    _ensure_grants(admin)
    ensure_policy(admin, SMALL_REFUNDS)


def connect_models(admin: Client, wanted: Configuration) -> None:
    """Embeddings offline; answers offline too, or from the model that OPENAI_API_KEY opens."""
    _ensure(admin, "/providers", {"slug": "offline", "kind": "offline"})
    vectors = {"model": "wordllama-256", "purpose": "embeddings", "dimensions": 256}
    _ensure(admin, "/endpoints", {"slug": "wordllama", "provider": "offline", **vectors})
    _ensure(
        admin, "/routes", {"slug": "embed", "purpose": "embeddings", "endpoints": ["wordllama"]}
    )
    chat = _chat_endpoint(admin, wanted)
    _ensure(admin, "/routes", {"slug": "answers", "purpose": "chat", "endpoints": [chat]})
    if admin.get("/routes/answers")["endpoints"] != [chat]:
        admin.put("/routes/answers", {"endpoints": [chat]})


def _chat_endpoint(admin: Client, configuration: Configuration) -> str:
    key = configuration.OPENAI_API_KEY.get_secret_value()
    if not key:
        offline = {"model": "offline-extractive-1", "purpose": "chat", "provider": "offline"}
        _ensure(admin, "/endpoints", {"slug": "extractive", **offline})
        return "extractive"
    model = configuration.OPENAI_MODEL
    provider = {"kind": "openai", "base_url": configuration.OPENAI_BASE_URL}
    of = hashlib.sha256(f"{provider['base_url']} {key} {model}".encode()).hexdigest()[:8]
    _ensure(admin, "/providers", {"slug": f"openai-{of}", **provider, "api_key": key})
    wanted = {"provider": f"openai-{of}", "model": model, "purpose": "chat"}
    _ensure(admin, "/endpoints", {"slug": f"chat-{of}", **wanted})
    return f"chat-{of}"


def _ensure(client: Client, path: str, wanted: dict[str, Any]) -> None:
    if client.find(f"{path}/{wanted['slug']}") is None:
        client.post(path, wanted)


def _upload_handbook(builder: Client, narrator: Narrator) -> None:
    files = {name: (HANDBOOK / name).read_bytes() for name in DOCUMENTS}
    known = {row["sha256"] for row in builder.each("/documents", collection=COLLECTION)}
    fresh = {n: c for n, c in files.items() if hashlib.sha256(c).hexdigest() not in known}
    with narrator.progress("Parsing, chunking and embedding the handbook", len(files)) as advance:
        for name, content in fresh.items():
            path = f"/collections/{COLLECTION}/documents"
            builder.upload(path, name, content, title=DOCUMENTS[name])
        for content in files.values():
            _wait_until_ready(builder, hashlib.sha256(content).hexdigest())
            advance()


def _wait_until_ready(builder: Client, sha256: str) -> None:
    deadline = time.monotonic() + INGESTION_SECONDS
    while True:
        rows = builder.each("/documents", collection=COLLECTION)
        row = next(row for row in rows if row["sha256"] == sha256)
        if row["state"] == "ready":
            return
        if row["state"] == "failed" or time.monotonic() > deadline:
            why = row["error_message"] or f"it is still {row['state']}"
            raise DidNotHold(f"The document {row['filename']} is not searchable: {why}")
        time.sleep(0.1)


def _ensure_tool(builder: Client, tool: dict[str, Any], order_service: str) -> None:
    wanted = {
        "description": tool["description"],
        "method": tool["method"],
        "url": order_service + tool["url"],
        "parameters": tool["arguments"],
        "effect": tool["effect"],
        "repeatable": True,  # the service honours the Idempotency-Key
        "timeout_seconds": TOOL_SECONDS,
    }
    known = builder.find(f"/tools/{tool['name']}")
    if known is None:
        builder.post("/tools", {"slug": tool["name"], **wanted})
    elif any(known[name] != value for name, value in wanted.items()):
        builder.put(f"/tools/{tool['name']}", wanted)


def _ensure_version(builder: Client) -> None:
    newest = next(builder.each(f"/agents/{AGENT}/versions"), {})
    if any(newest.get(name) != value for name, value in VERSION.items()):
        builder.post(f"/agents/{AGENT}/versions", VERSION)


def _ensure_grants(admin: Client) -> None:
    given = admin.get(f"/agents/{AGENT}/grants")["grants"]
    for grant in GRANTS:
        if grant not in given:
            admin.post(f"/agents/{AGENT}/grants", grant)


def ensure_policy(admin: Client, policy: str) -> None:
    """The tenant's policies, with one of the demo's own added at the end. Raises Refused."""
    text = admin.get("/policies/active")["text"]
    if policy.strip() not in text:
        admin.post("/policies", {"text": text + policy})
