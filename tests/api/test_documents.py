"""Collections, documents and search through the API."""

from __future__ import annotations

from typing import Any

import pytest
from builders import HANDBOOK, Desk
from callers import Caller
from django.core.files.uploadedfile import SimpleUploadedFile

from runtime import ingesting

PATH = "collections/handbook/documents"


def _file(content: bytes = HANDBOOK, name: str = "returns-handbook.md") -> dict[str, Any]:
    return {"file": SimpleUploadedFile(name, content)}


def test_a_document_is_uploaded_queued_ingested_found_and_removed(desk: Desk, dave: Caller) -> None:
    sent = {**_file(), "title": "Handbook", "metadata": '{"year": 2026}'}
    made = dave.upload(PATH, sent)
    assert (made.status_code, made.json()["state"]) == (201, "queued")
    where = made["Location"]
    ingesting.ingest(made.json()["id"], now=desk.now)
    shown = dave.get(where).json()
    assert (shown["state"], shown["title"], shown["metadata"]) == (
        "ready",
        "Handbook",
        {"year": 2026},
    )
    assert dave.get("collections/handbook").json()["document_count"] == 1
    assert len(dave.get("documents", {"collection": "handbook"}).json()["results"]) == 1
    assert dave.get("documents", {"state": "failed"}).json()["results"] == []
    (found, *_) = dave.post("collections/handbook/search", {"query": "gift cards"}).json()["hits"]
    assert (found["document"], found["title"]) == (shown["id"], "Handbook")
    assert "Gift cards" in found["text"]
    assert dave.delete(where).status_code == 204
    assert dave.get(where).json()["code"] == "document_unknown"


def test_a_client_app_searches_and_each_search_is_recorded(
    stocked_desk: Desk, robo: Caller, carol: Caller
) -> None:
    query = {"query": "How long for electronics?", "limit": 1, "metadata": {}}
    answer = robo.post("collections/handbook/search", query)
    assert (answer.status_code, len(answer.json()["hits"])) == (200, 1)
    of_robo = carol.get("ledger/entries", {"actor": stocked_desk.cast.robo.id}).json()["results"]
    kinds = [entry["kind"] for entry in reversed(of_robo)]
    assert kinds[:2] == ["intent.decided", "effect.begun"]
    assert kinds[-1] == "effect.ended"
    assert "electronics" not in str(of_robo)


def test_a_search_that_the_policies_deny_is_refused(
    stocked_desk: Desk, robo: Caller, alice: Caller
) -> None:
    alice.post("policies", {"text": '@id("no") forbid (principal, action, resource);'})
    answer = robo.post("collections/handbook/search", {"query": "electronics"})
    assert (answer.status_code, answer.json()["code"]) == (403, "search_denied")
    kinds = [e["kind"] for e in alice.get("ledger/entries", {"kind": "intent."}).json()["results"]]
    assert kinds[0] == "intent.decided"


def test_a_collection_is_created_changed_and_removed(desk: Desk, dave: Caller) -> None:
    wanted = {"slug": "laws", "name": "Laws", "embedding_route": "embed", "language": "simple"}
    made = dave.post("collections", wanted)
    assert (made.status_code, made["Location"]) == (201, "/api/v1/collections/laws")
    changed = dave.patch("collections/laws", {"description": "All of them."})
    assert changed.json()["description"] == "All of them."
    assert {c["slug"] for c in dave.get("collections").json()["results"]} == {"laws", "handbook"}
    assert dave.delete("collections/laws").status_code == 204
    assert dave.get("collections/laws").status_code == 404


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (_file(b""), 422, "document_empty"),
        (_file(b"<html>", name="x.exe"), 415, None),
        (_file(b"no pdf at all", name="x.pdf"), 422, None),
        ({"file": "not a file"}, 422, "invalid"),
        ({}, 422, "invalid"),
        ({**_file(), "metadata": "[1]"}, 422, "invalid"),
        ({**_file(), "metadata": '{"deep": {"er": 1}}'}, 422, "metadata_malformed"),
        ({**_file(), "surprise": "x"}, 422, "invalid"),
    ],
)
def test_what_is_no_document_is_refused(
    desk: Desk, dave: Caller, file: dict[str, Any], status: int, code: str | None
) -> None:
    answer = dave.upload(PATH, file)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert code is None or answer.json()["code"] == code
    assert dave.get(PATH).json()["results"] == []


def test_a_document_above_the_limit_is_refused(desk: Desk, dave: Caller, settings: Any) -> None:
    settings.MAX_DOCUMENT_BYTES = 100
    answer = dave.upload(PATH, _file())
    assert (answer.status_code, answer.json()["code"]) == (413, "document_too_large")


def test_the_same_content_twice_is_refused_with_the_first_ones_id(desk: Desk, dave: Caller) -> None:
    first = dave.upload(PATH, _file()).json()
    again = dave.upload(PATH, _file())
    assert (again.status_code, again.json()["code"]) == (409, "duplicate_document")
    assert again.json()["document"] == first["id"]


def test_two_files_in_one_upload_are_refused(desk: Desk, dave: Caller) -> None:
    files = [SimpleUploadedFile("one.md", b"# One"), SimpleUploadedFile("two.md", b"# Two")]
    answer = dave.upload(PATH, {"file": files})
    assert answer.status_code == 422
    (flaw,) = answer.json()["errors"]
    assert (flaw["pointer"], flaw["code"]) == ("/file", "given_twice")
    assert dave.get("documents").json()["results"] == []


def test_a_retried_upload_is_stored_once(desk: Desk, dave: Caller) -> None:
    first = dave.upload(PATH, _file(), idempotency_key="up-1")
    again = dave.upload(PATH, _file(), idempotency_key="up-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.json(), again["Idempotent-Replayed"]) == (again.json(), "true")
    other = dave.upload(PATH, _file(b"# Other"), idempotency_key="up-1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_those_who_only_read_neither_upload_nor_remove(stocked_desk: Desk, victor: Caller) -> None:
    assert victor.upload(PATH, _file(b"# New")).status_code == 403
    (shown,) = victor.get("documents").json()["results"]
    assert victor.delete(f"documents/{shown['id']}").status_code == 403
    assert victor.delete("collections/handbook").status_code == 403
