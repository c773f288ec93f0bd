"""Exports through the API: with a filter, as a job, in parts, and gone after a day."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from callers import Caller, Estate
from django.conf import LazySettings
from sealing import seal

from audit import archives, bundles, ledger, queries
from audit.events import SYSTEM, RetentionApplied
from audit.verify import opening
from runtime import exports, nudges, sweeping, tasks
from runtime.exports import ClaimLost
from runtime.models import LedgerExport
from tenants import isolation

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(settings: LazySettings, tmp_path: Path) -> Path:
    settings.EXPORTS_DIRECTORY = tmp_path / "exports"
    return tmp_path / "exports"


@pytest.fixture
def nudged(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The exports that a worker was told to make."""
    told: list[UUID] = []
    monkeypatch.setattr(nudges, "export_after_commit", told.append)
    return told


def _clock() -> datetime:
    return datetime.now(UTC)


def _unpacked(content: bytes, into: Path) -> Path:
    archive = into.with_suffix(".tar.zst")
    archive.write_bytes(content)
    with opening.opened(archive) as found:
        shutil.copytree(found, into)
    return into


def _verdict(bundle: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "audit.verify", str(bundle), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"code": done.returncode, "said": done.stdout + done.stderr}


def _asked(caller: Caller, **wanted: str) -> str:
    answer = caller.post("ledger/exports", wanted)
    assert answer.status_code == 202, answer.content
    return str(answer.json()["id"])


def _made(caller: Caller, **wanted: str) -> dict[str, Any]:
    made = _asked(caller, **wanted)
    exports.make(UUID(made), clock=_clock)
    shown: dict[str, Any] = caller.get(f"ledger/exports/{made}").json()
    assert shown["state"] == "ready", shown
    return shown


def test_a_filtered_export_ships_every_header_and_the_selected_bodies(
    estate: Estate, carol: Caller, tmp_path: Path
) -> None:
    seal()
    query = f"ledger/export?kind=run.&correlation={estate.run.pk}"
    bundle = _unpacked(carol.stream("GET", query).body, tmp_path / "unpacked")
    manifest = json.loads((bundle / "manifest.json").read_text())
    entries = [json.loads(line) for line in (bundle / "entries.jsonl").read_bytes().splitlines()]
    assert manifest["filter"] == {"kind": "run.", "correlation": str(estate.run.pk)}
    assert manifest["size"] == len(entries) > manifest["selected"] > 0
    bodies = [json.loads(line) for line in (bundle / "bodies.jsonl").read_bytes().splitlines()]
    assert bodies
    assert {entries[body["index"]]["kind"].partition(".")[0] for body in bodies} == {"run"}
    assert _verdict(bundle)["code"] == 0, _verdict(bundle)
    (exported,) = queries.entries(kind="ledger.exported")
    assert exported.event["filter"] == manifest["filter"]
    assert (exported.event["selected"], exported.event["bodies"]) == (
        manifest["selected"],
        "selected",
    )


def test_an_export_without_bodies_has_no_private_parts(
    estate: Estate, carol: Caller, tmp_path: Path
) -> None:
    seal()
    bundle = _unpacked(carol.stream("GET", "ledger/export?bodies=none").body, tmp_path / "unpacked")
    assert (bundle / "bodies.jsonl").read_bytes() == b""
    assert json.loads((bundle / "manifest.json").read_text())["bodies"] == "none"
    assert _verdict(bundle)["code"] == 0, _verdict(bundle)
    (exported,) = queries.entries(kind="ledger.exported")
    assert exported.event["bodies"] == "none"


@pytest.mark.parametrize(
    "query", ["kind=", "after=noon", "bodies=all", "correlation=7", "text=refund", "page_size=2"]
)
def test_a_filter_that_is_none_is_refused(estate: Estate, carol: Caller, query: str) -> None:
    answer = carol.get(f"ledger/export?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    name, _, text = query.partition("=")
    answer = carol.post("ledger/exports", {name: text})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_an_export_is_asked_for_made_and_fetched(
    estate: Estate, carol: Caller, tmp_path: Path, nudged: list[UUID], folder: Path
) -> None:
    seal()
    answer = carol.post("ledger/exports", {"kind": "approval."})
    asked = answer.json()
    assert answer["Location"] == f"/api/v1/ledger/exports/{asked['id']}"
    assert (asked["state"], asked["bundle"], asked["filter"]) == (
        "queued",
        None,
        {"kind": "approval."},
    )
    assert nudged == [UUID(asked["id"])]
    early = carol.get(f"ledger/exports/{asked['id']}/bundle")
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")
    assert not queries.entries(kind="ledger.exported")

    tasks.export("acme", asked["id"])

    isolation.enter(estate.desk.cast.tenant)
    shown = carol.get(answer["Location"]).json()
    assert shown["state"] == "ready"
    assert shown["done"] == shown["total"] == shown["size"] > shown["selected"] > 0
    (exported,) = queries.entries(kind="ledger.exported")
    assert (exported.actor_id, exported.actor_means) == (estate.desk.cast.carol.id, "token")
    assert (exported.event["root"], exported.event["filter"]) == (shown["root"], shown["filter"])
    file = carol.stream("GET", shown["bundle"])
    assert (file.status_code, len(file.body)) == (200, shown["bytes"])
    assert _verdict(_unpacked(file.body, tmp_path / "unpacked"))["code"] == 0
    assert queries.entries(kind="ledger.exported").count() == 1
    assert carol.get("ledger/exports").json()["results"][0] == shown
    (kept,) = folder.glob("*/*")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_asking_twice_with_one_key_asks_once(estate: Estate, carol: Caller) -> None:
    first = carol.post("ledger/exports", {}, idempotency_key="k")
    again = carol.post("ledger/exports", {}, idempotency_key="k")
    assert first.json() == again.json()
    assert again["Location"] == first["Location"]
    assert LedgerExport.objects.exclude(pk=estate.export).count() == 1


def test_a_download_goes_on_where_it_broke_off(estate: Estate, carol: Caller) -> None:
    seal()
    where = _made(carol)["bundle"]
    whole = carol.stream("GET", where)
    assert whole["Accept-Ranges"] == "bytes"
    size, etag = len(whole.body), whole["ETag"]
    for asked, expected in {
        "bytes=0-0": whole.body[:1],
        "bytes=100-": whole.body[100:],
        "bytes=100-199": whole.body[100:200],
        f"bytes=100-{size * 2}": whole.body[100:],
        "bytes=-10": whole.body[-10:],
        f"bytes=-{size * 2}": whole.body,
    }.items():
        part = carol.stream("GET", where, range=asked, if_range=etag)
        first = (
            size - len(expected) if asked.startswith("bytes=-") else int(asked[6:].split("-")[0])
        )
        assert (part.status_code, part.body) == (206, expected), asked
        assert part["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"
        assert int(part["Content-Length"]) == len(expected)
    for ignored in ("bytes=-", "bytes=0-1,4-5", "pages=1-2", "bytes=x-"):
        assert carol.stream("GET", where, range=ignored).body == whole.body
    changed = carol.stream("GET", where, range="bytes=5-", if_range='"another"')
    assert (changed.status_code, changed.body) == (200, whole.body)
    assert carol.stream("GET", where, if_none_match=etag).status_code == 304
    head = carol.stream("HEAD", where)
    assert (head.status_code, int(head["Content-Length"])) == (200, size)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=5-4", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused(estate: Estate, carol: Caller, asked: str) -> None:
    seal()
    made = _made(carol)
    answer = carol.stream("GET", made["bundle"], range=asked)
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer["Content-Range"] == f"bytes */{made['bytes']}"


def test_an_export_is_its_askers_alone(
    estate: Estate, carol: Caller, alice: Caller, mallory: Caller
) -> None:
    seal()
    made = _made(carol)
    for stranger in (alice, mallory):
        for path in (f"ledger/exports/{made['id']}", made["bundle"]):
            answer = stranger.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "export_unknown")
        assert stranger.get("ledger/exports").json()["results"] == []


def test_only_auditors_and_admins_ask_for_exports(
    estate: Estate, alice: Caller, dave: Caller, robo: Caller
) -> None:
    for caller in (dave, robo):
        for answer in (caller.post("ledger/exports", {}), caller.get("ledger/exports")):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert alice.post("ledger/exports", {}).status_code == 202


def test_who_lost_the_role_meanwhile_gets_nothing(
    estate: Estate, alice: Caller, carol: Caller
) -> None:
    seal()
    asked = _asked(carol)
    member = estate.desk.cast.carol.id
    assert alice.patch(f"members/{member}", {"roles": ["viewer"]}).status_code == 200
    exports.make(UUID(asked), clock=_clock)
    row = LedgerExport.objects.get(pk=asked)
    assert (row.state, row.failure) == ("failed", "not_permitted")
    assert not queries.entries(kind="ledger.exported")


def test_an_export_before_the_first_checkpoint_fails_with_its_reason(
    estate: Estate, carol: Caller, folder: Path
) -> None:
    asked = _asked(carol)
    exports.make(UUID(asked), clock=_clock)
    shown = carol.get(f"ledger/exports/{asked}").json()
    assert (shown["state"], shown["failure"], shown["bundle"]) == ("failed", "not_published", None)
    answer = carol.get(f"ledger/exports/{asked}/bundle")
    assert (answer.status_code, answer.json()["code"]) == (409, "export_not_ready")
    assert list(folder.glob("*/*")) == []


class _Killed(BaseException):
    """What a killed worker is in a test: nothing that it would have done happens."""


def _dies(*_: object, **__: object) -> None:
    raise _Killed


def test_an_export_whose_worker_was_killed_is_made_by_another(
    estate: Estate, carol: Caller, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    seal()
    asked = UUID(_asked(carol))
    with monkeypatch.context() as patch:
        patch.setattr(archives, "pack", _dies)
        with pytest.raises(_Killed):
            exports.make(asked, clock=_clock)
    later = _clock() + exports.CLAIM + timedelta(seconds=1)
    assert asked not in sweeping.forgotten_exports(_clock())
    exports.make(asked, clock=_clock)
    assert LedgerExport.objects.get(pk=asked).state == "running"
    assert asked in sweeping.forgotten_exports(later)
    exports.make(asked, clock=lambda: later)
    row = LedgerExport.objects.get(pk=asked)
    assert (row.state, row.attempts) == ("ready", 2)
    assert [path.name for path in folder.glob("*/*")] == [f"{asked}.tar.zst"]
    assert queries.entries(kind="ledger.exported").count() == 1


def test_an_export_goes_on_where_its_worker_was_killed(
    estate: Estate, carol: Caller, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    seal()
    asked = UUID(_asked(carol))
    monkeypatch.setattr(bundles, "CHUNK", 2)
    monkeypatch.setattr(bundles, "MARKED", 4)
    told: list[int] = []
    honest = exports._Claim.progressed

    def watched(claim: exports._Claim, done: int, total: int) -> None:
        told.append(done)
        if len(told) == 3:
            raise _Killed
        honest(claim, done, total)

    monkeypatch.setattr(exports._Claim, "progressed", watched)
    with pytest.raises(_Killed):
        exports.make(asked, clock=_clock)
    size = queries.latest_checkpoint().size
    assert carol.get(f"ledger/entries/{estate.entry}").status_code == 200
    seal()
    assert queries.latest_checkpoint().size > size
    exports.make(asked, clock=lambda: _clock() + timedelta(hours=1))
    assert told[:4] == [2, 4, 6, 6], "the fourth entry was marked, the sixth was not"
    shown = carol.get(f"ledger/exports/{asked}").json()
    assert (shown["state"], shown["size"]) == ("ready", size)
    assert [path.name for path in folder.glob("*/*")] == [f"{asked}.tar.zst"]
    content = carol.stream("GET", shown["bundle"]).body
    assert _verdict(_unpacked(content, tmp_path / "unpacked"))["code"] == 0


def test_an_export_that_kills_its_workers_is_given_up(
    estate: Estate, carol: Caller, folder: Path
) -> None:
    seal()
    asked = UUID(_asked(carol))
    long_ago = _clock() - timedelta(hours=1)
    left = folder / str(isolation.current().pk) / f"{asked}.attempt-3"
    left.mkdir(parents=True)
    LedgerExport.objects.filter(pk=asked).update(
        state="running", attempts=exports.MOST_ATTEMPTS, claimed_until=long_ago
    )
    exports.make(asked, clock=_clock)
    shown = carol.get(f"ledger/exports/{asked}").json()
    assert (shown["state"], shown["failure"]) == ("failed", "export_abandoned")
    assert not left.exists()


def test_an_export_that_the_disk_does_not_take_is_tried_again_and_then_given_up(
    estate: Estate, carol: Caller, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    seal()
    asked = UUID(_asked(carol))
    monkeypatch.setattr(archives, "pack", full)
    for attempt in range(1, exports.MOST_ATTEMPTS):
        with pytest.raises(OSError, match="No space left"):
            exports.make(asked, clock=lambda hours=attempt: _clock() + timedelta(hours=hours))
        shown = carol.get(f"ledger/exports/{asked}").json()
        assert (shown["state"], shown["failure"]) == ("running", None)
    exports.make(asked, clock=lambda: _clock() + timedelta(days=1))
    shown = carol.get(f"ledger/exports/{asked}").json()
    assert (shown["state"], shown["failure"]) == ("failed", "export_not_written")
    assert list(folder.glob("*/*")) == []
    assert queries.entries(kind="ledger.exported").count() == 0


def test_a_worker_that_was_too_slow_drops_its_work(
    estate: Estate, carol: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal()
    asked = UUID(_asked(carol))
    honest = archives.pack

    def slow(bundle: Path, target: Any, *, tell: Callable[[], object]) -> None:
        monkeypatch.setattr(archives, "pack", honest)
        exports.make(asked, clock=lambda: _clock() + timedelta(hours=1))
        honest(bundle, target, tell=tell)

    monkeypatch.setattr(archives, "pack", slow)
    with pytest.raises(ClaimLost):
        exports.make(asked, clock=_clock)
    assert carol.get(f"ledger/exports/{asked}").json()["state"] == "ready"
    assert queries.entries(kind="ledger.exported").count() == 1


def test_progress_is_shown_while_an_export_is_made(
    estate: Estate, carol: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal()
    asked = _asked(carol)
    monkeypatch.setattr(bundles, "CHUNK", 3)
    seen: list[tuple[int, int]] = []
    honest = exports._Claim.progressed

    def watched(claim: exports._Claim, done: int, total: int) -> None:
        honest(claim, done, total)
        row = LedgerExport.objects.get(pk=asked)
        seen.append((row.done, row.total))

    monkeypatch.setattr(exports._Claim, "progressed", watched)
    exports.make(UUID(asked), clock=_clock)
    total = seen[-1][1]
    assert [done for done, _ in seen] == [*range(3, total, 3), total]


def test_what_retention_destroyed_is_fetched_from_no_older_export(
    estate: Estate, carol: Caller, folder: Path
) -> None:
    seal()
    old, headers = _made(carol), _made(carol, bodies="none")
    made_by_somebody = UUID(_asked(carol))
    LedgerExport.objects.filter(pk=made_by_somebody).update(state="running")
    left = folder / str(isolation.current().pk) / f"{made_by_somebody}.attempt-1"
    left.mkdir()
    LedgerExport.objects.update(created_at=_clock() - timedelta(minutes=1))
    assert exports.prune() == 0, "nothing was destroyed"
    ledger.record(RetentionApplied(kinds=["run."], before_index=1, count=1), actor=SYSTEM)
    assert exports.prune() == 2
    assert exports.prune() == 0
    shown = carol.get(f"ledger/exports/{old['id']}").json()
    assert (shown["state"], shown["bundle"]) == ("pruned", None)
    answer = carol.get(old["bundle"])
    assert (answer.status_code, answer.json()["code"]) == (410, "export_pruned")
    assert carol.stream("GET", headers["bundle"]).status_code == 200
    assert not left.exists()
    exports.make(made_by_somebody, clock=lambda: _clock() + timedelta(hours=1))
    assert LedgerExport.objects.get(pk=made_by_somebody).state == "pruned"
    assert [path.name for path in folder.glob("*/*")] == [f"{headers['id']}.tar.zst"]
    LedgerExport.objects.filter(pk=old["id"]).update(
        state="ready", created_at=_clock() + timedelta(minutes=1)
    )
    assert exports.prune() == 0, "what was asked for since holds nothing that was destroyed"


def test_a_bundle_is_kept_for_a_day(estate: Estate, carol: Caller, folder: Path) -> None:
    seal()
    made = _made(carol)
    stray = next(folder.iterdir()) / "01890a5d-ac96-774b-bcce-b302099a8057.attempt-1"
    stray.mkdir()
    created = LedgerExport.objects.get(pk=made["id"]).created_at
    exports.remove_old(created + exports.LIFE - timedelta(seconds=1))
    assert carol.get(f"ledger/exports/{made['id']}").status_code == 200
    assert not stray.exists()
    exports.remove_old(created + exports.LIFE + timedelta(seconds=1))
    answer = carol.get(made["bundle"])
    assert (answer.status_code, answer.json()["code"]) == (404, "export_unknown")
    assert list(folder.glob("*/*")) == []
