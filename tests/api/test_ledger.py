"""The ledger through the API: reading, proving, exporting."""

from __future__ import annotations

import base64
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from callers import Caller, Estate
from sealing import seal

from audit import canonical, checkpoints, ledger, proofs, queries, subjects, tlog_proof
from audit.events import Actor
from runtime.events import LedgerViewed


def test_the_compliance_officer_searches_the_ledger(estate: Estate, carol: Caller) -> None:
    run = str(estate.run.pk)
    of_run = carol.get("ledger/entries", {"correlation": run}).json()["results"]
    assert of_run[-1]["kind"] == "run.started"
    assert of_run[-1]["actor"] == {
        "kind": "client_app",
        "id": estate.desk.cast.robo.id,
        "version": None,
        "means": None,
        "on_behalf_of": None,
    }
    held = carol.get("ledger/entries", {"kind": "run.", "text": estate.approval}).json()["results"]
    assert [entry["kind"] for entry in held] == ["run.held"]
    moment = of_run[0]["recorded_at"]
    later = carol.get("ledger/entries", {"after": moment, "correlation": run}).json()["results"]
    sooner = carol.get("ledger/entries", {"before": moment, "correlation": run}).json()["results"]
    assert len(later) + len(sooner) == len(of_run)


def test_looking_at_an_entry_is_recorded(estate: Estate, carol: Caller) -> None:
    shown = carol.get(f"ledger/entries/{estate.entry}").json()
    assert shown["id"] == estate.entry
    (viewed,) = carol.get("ledger/entries", {"kind": "ledger.viewed"}).json()["results"]
    assert viewed["event"] == {"entry": estate.entry}
    assert viewed["actor"]["id"] == estate.desk.cast.carol.id


def test_an_app_reads_the_entries_of_its_own_runs_and_no_others(
    estate: Estate, robo: Caller, other_app: Caller
) -> None:
    mine = robo.get("ledger/entries").json()["results"]
    assert {entry["correlation"] for entry in mine} == {str(estate.run.pk)}
    assert robo.get(f"ledger/entries/{estate.entry}").status_code == 200
    assert other_app.get("ledger/entries").json()["results"] == []


def test_members_read_the_ledger_by_the_same_roles_as_in_the_console(
    estate: Estate, request: pytest.FixtureRequest
) -> None:
    readers: list[Caller] = [request.getfixturevalue(name) for name in ("alice", "carol")]
    others: list[Caller] = [request.getfixturevalue(name) for name in ("bob", "dave", "victor")]
    paths = [
        "ledger/entries",
        f"ledger/entries?correlation={estate.run.pk}",
        f"ledger/entries/{estate.entry}",
        f"ledger/entries/{estate.entry}/proof",
    ]
    for path in paths:
        for caller in others:
            answer = caller.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), path
        for caller in readers:
            assert caller.get(path).status_code in (200, 409), path


def test_an_entry_is_proven_to_be_under_the_checkpoint(estate: Estate, carol: Caller) -> None:
    path = f"ledger/entries/{estate.entry}/proof"
    early = carol.get(path)
    assert (early.status_code, early.json()["code"]) == (409, "not_published")
    seal()
    proof = carol.get(path).json()
    checkpoint = checkpoints.read(proof["checkpoint"]["note"])
    assert proofs.verify_inclusion(
        proofs.leaf_hash(base64.b64decode(proof["leaf"])),
        proof["index"],
        checkpoint.size,
        [bytes.fromhex(step) for step in proof["path"]],
        checkpoint.root,
    )
    assert carol.get("ledger/checkpoint").json() == proof["checkpoint"]


def test_the_exported_bundle_verifies_offline_and_the_export_is_recorded(
    estate: Estate, carol: Caller, tmp_path: Path
) -> None:
    seal()
    answer = carol.stream("GET", "ledger/export")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zstd")
    assert answer["Content-Disposition"].startswith('attachment; filename="ledger-acme-')
    assert int(answer["Content-Length"]) == len(answer.body)
    bundle = tmp_path / "ledger.tar.zst"
    bundle.write_bytes(answer.body)
    verdict = subprocess.run(
        [sys.executable, "-m", "audit.verify", str(bundle)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    (exported,) = carol.get("ledger/entries", {"kind": "ledger.exported"}).json()["results"]
    assert exported["event"]["size"] > 0


def test_only_auditors_and_admins_export(estate: Estate, dave: Caller, robo: Caller) -> None:
    seal()
    for caller in (dave, robo):
        answer = caller.get("ledger/export")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


def test_a_proof_is_text_for_whoever_asks_for_text(estate: Estate, carol: Caller) -> None:
    path = f"ledger/entries/{estate.entry}/proof"
    early = carol.get(path, accept="text/plain")
    assert (early.status_code, early["Content-Type"]) == (409, "application/problem+json")
    assert early.json()["code"] == "not_published"
    seal()
    shown = carol.get(path).json()
    for answer in (
        carol.get(path, accept="text/plain"),
        carol.get(path, accept="text/plain, application/json;q=0.5"),
        carol.get(path, {"format": "tlog-proof"}),
        carol.get(path, {"format": "tlog-proof"}, accept="application/json"),
    ):
        assert answer["Content-Type"] == "text/plain; charset=utf-8"
        leaf = proofs.leaf_hash(base64.b64decode(shown["leaf"]))
        key = checkpoints.parse_key(shown["checkpoint"]["verifier_key"])
        assert shown["checkpoint"]["key_ids"] == [key.id.hex()]
        checkpoint = tlog_proof.verify(answer.content.decode(), leaf, key)
        assert checkpoint.size == shown["checkpoint"]["size"]
    for answer in (
        carol.get(path, accept="*/*"),
        carol.get(path, accept="text/html"),
        carol.get(path, {"format": "json"}, accept="text/plain"),
    ):
        assert answer.json() == shown
    unknown = carol.get(path, {"format": "pdf"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid")


def test_an_entry_says_when_where_in_its_run_and_by_what_means(
    estate: Estate, carol: Caller
) -> None:
    run = {"correlation": str(estate.run.pk), "page_size": 200}
    early = carol.get("ledger/entries", run).json()["results"]
    assert {(entry["index"], entry["sequence"], entry["previous"]) for entry in early} == {
        (None, None, None)
    }
    seal()
    entries = carol.get("ledger/entries", run).json()["results"][::-1]
    assert [entry["sequence"] for entry in entries] == list(range(len(entries)))
    assert entries[0]["previous"] is None
    origin = queries.own_log().origin
    for before, entry in itertools.pairwise(entries):
        row = queries.access_entry(before["id"])
        assert entry["previous"] == proofs.leaf_hash(row.leaf_bytes(origin)).hex()
    assert all(entry["occurred_at"] <= entry["recorded_at"] for entry in entries)
    assert all("private" not in entry for entry in entries)
    carol.get(f"ledger/entries/{estate.entry}")
    (viewed,) = carol.get("ledger/entries", {"kind": "ledger.viewed"}).json()["results"]
    assert (viewed["actor"]["means"], viewed["sequence"], viewed["subject"]) == (
        "token",
        None,
        None,
    )


def test_private_parts_are_shown_one_entry_at_a_time_to_whoever_may_read_them(
    estate: Estate, carol: Caller, robo: Caller
) -> None:
    run = {"correlation": str(estate.run.pk), "kind": "run.started"}
    (started,) = carol.get("ledger/entries", run).json()["results"]
    words = "Refund order 1042"
    for lists in (carol, robo):
        assert words not in lists.get("ledger/entries", run).content.decode()
    shown = carol.get(f"ledger/entries/{started['id']}").json()
    part = shown["private"]["task"]
    assert part["value"] == words
    committed = bytes.fromhex(part["salt"]) + canonical.encode(words)
    assert shown["event"]["task"] == hashlib.sha256(committed).hexdigest()
    assert shown["subject"] is not None
    assert robo.get(f"ledger/entries/{started['id']}").json()["private"] is None
    viewers = [entry.actor_id for entry in queries.entries(kind="ledger.viewed")]
    assert viewers == [estate.desk.cast.robo.id, estate.desk.cast.carol.id]


def test_private_words_are_not_searched(estate: Estate, carol: Caller) -> None:
    assert carol.get("ledger/entries", {"text": "1042"}).json()["results"] == []


def test_entries_are_found_by_agent_and_by_person(estate: Estate, carol: Caller) -> None:
    cast = estate.desk.cast
    with_name = Actor("client_app", cast.robo.id, on_behalf_of="customer 7")
    named = ledger.record(LedgerViewed(entry="x"), actor=with_name)
    for_bob = Actor("client_app", cast.robo.id, on_behalf_of=cast.bob.id)
    bobs = ledger.record(LedgerViewed(entry="y"), actor=for_bob)

    def found(**asked: str) -> list[dict[str, Any]]:
        answer = carol.get("ledger/entries", {**asked, "page_size": 200})
        entries: list[dict[str, Any]] = answer.json()["results"]
        return entries

    by_agent = found(agent="refund-desk")
    assert by_agent
    assert {(e["actor"]["kind"], e["actor"]["id"]) for e in by_agent} == {("agent", "refund-desk")}
    assert found(agent="nobody") == []
    (entry,) = found(person="customer 7", kind="ledger.viewed")
    assert entry["id"] == str(named)
    assert entry["actor"]["on_behalf_of"] == entry["subject"]
    assert str(bobs) in {e["id"] for e in found(person=cast.bob.id)}
    assert {str(named), str(bobs)} <= {e["id"] for e in found(person=cast.robo.id)}
    assert found(person="customer 8") == []
    assert subjects.find("person:customer 8") is None


def test_only_who_reads_everything_looks_for_a_person(
    estate: Estate, dave: Caller, robo: Caller
) -> None:
    for caller in (dave, robo):
        answer = caller.get("ledger/entries", {"person": "customer 7"})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
