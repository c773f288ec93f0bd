"""The ledger through the API: reading, proving, exporting."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import tarfile
from pathlib import Path

from callers import Caller, Estate
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from audit import checkpoints, proofs, sequencer
from tenants import isolation


def _seal() -> None:
    """Seal all that was recorded so far, on the test's own connection."""
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        sequencer.run_once(connection.connection, Ed25519PrivateKey.generate())


def test_the_compliance_officer_searches_the_ledger(estate: Estate, carol: Caller) -> None:
    run = str(estate.run.pk)
    of_run = carol.get("ledger/entries", {"correlation": run}).json()["results"]
    assert of_run[-1]["kind"] == "run.started"
    assert of_run[-1]["actor"] == {
        "kind": "client_app",
        "id": estate.desk.cast.robo.id,
        "version": None,
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


def test_a_builder_reads_the_entries_of_runs_only(estate: Estate, dave: Caller) -> None:
    seen = dave.get("ledger/entries").json()["results"]
    assert {entry["correlation"] for entry in seen} == {str(estate.run.pk)}


def test_an_entry_is_proven_to_be_under_the_checkpoint(estate: Estate, carol: Caller) -> None:
    path = f"ledger/entries/{estate.entry}/proof"
    early = carol.get(path)
    assert (early.status_code, early.json()["code"]) == (409, "not_published")
    _seal()
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
    _seal()
    answer = carol.stream("GET", "ledger/export")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/gzip")
    assert answer["Content-Disposition"].startswith('attachment; filename="ledger-acme-')
    assert int(answer["Content-Length"]) == len(answer.body)
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        archive.extractall(tmp_path, filter="data")
    verdict = subprocess.run(
        [sys.executable, "-m", "audit.verify", str(tmp_path / "bundle")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    (exported,) = carol.get("ledger/entries", {"kind": "ledger.exported"}).json()["results"]
    assert exported["event"]["size"] > 0


def test_only_auditors_and_admins_export(estate: Estate, dave: Caller, robo: Caller) -> None:
    _seal()
    for caller in (dave, robo):
        answer = caller.get("ledger/export")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
