"""The only place that tests that a quiet log beats once an hour, and that silence is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from forging import Log, files_of, rich, write
from own_logs import OwnLog, act_as, ask, direct, publish, record_committed

from audit import heartbeats, queries, sequencer
from audit.guard import Guard
from audit.roles import NoLedger
from audit.verify.checks import verify
from audit.verify.report import MAX_FINDINGS
from audit.verify.silences import LONGEST_SILENCE
from runtime import tasks
from tenants import isolation

AT_ONCE = timedelta(0)
BEATS = "SELECT count(*)::int FROM audit.entry WHERE kind = 'ledger.heartbeat'"


def _beats() -> int:
    return queries.entries(kind="ledger.heartbeat").count()


def test_a_log_without_any_entry_beats(own_log: OwnLog) -> None:
    assert heartbeats.beat()
    (entry,) = queries.entries()
    assert (entry.kind, entry.event, entry.actor_kind) == ("ledger.heartbeat", {}, "system")


def test_a_log_beats_at_most_once_an_hour(own_log: OwnLog) -> None:
    assert heartbeats.beat()
    assert not heartbeats.beat()
    publish_as(own_log)
    assert not heartbeats.beat()
    assert _beats() == 1


def test_a_log_in_which_something_else_was_recorded_does_not_beat(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard
) -> None:
    record_committed(raw, committed_log, 1)
    act_as(committed_log.role)
    assert not heartbeats.beat()
    sequencer.seal(raw, committed_log.id)
    assert not heartbeats.beat()
    act_as("none")


def test_a_log_that_was_quiet_for_long_enough_beats_whether_it_was_sealed_or_not(
    own_log: OwnLog,
) -> None:
    assert heartbeats.beat(quiet=AT_ONCE)
    assert heartbeats.beat(quiet=AT_ONCE)
    publish_as(own_log)
    assert heartbeats.beat(quiet=AT_ONCE)


def test_of_two_workers_one_beats(raw: psycopg.Connection, committed_log: OwnLog) -> None:
    with direct() as other, other.transaction():
        other.execute(heartbeats.LOCK, [committed_log.id])
        act_as(committed_log.role)
        assert not heartbeats.beat()
    assert heartbeats.beat()
    act_as("none")
    assert ask(raw, committed_log, BEATS) == [(1,)]


def test_nobody_beats_in_a_log_that_is_not_theirs(db: None) -> None:
    with isolation.outside_tenants(), pytest.raises(NoLedger):
        heartbeats.beat()


def test_every_tenants_log_beats_by_the_schedule(acme: object, settings: object) -> None:
    from countersign.settings import CELERY_BEAT_SCHEDULE

    named = {each["task"]: each["schedule"] for each in CELERY_BEAT_SCHEDULE.values()}
    assert named[tasks.heartbeat.name] * 2 < heartbeats.QUIET.total_seconds()
    before = _beats()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM audit.entry WHERE recorded_at > clock_timestamp() - interval '1h'"
        )
        (recent,) = cursor.fetchone()
    tasks.heartbeat()
    assert _beats() == before + (0 if recent else 1)


def publish_as(log: OwnLog) -> None:
    act_as("none")
    publish()
    act_as(log.role)


def _pause(log: Log, index: int, by: timedelta) -> None:
    """Let the entries before `index` have been recorded so much earlier."""
    for entry in log.entries[:index]:
        for name in ("occurred_at", "recorded_at"):
            moved = datetime.fromisoformat(entry[name]) - by
            entry[name] = moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _silences(folder: Path, log: Log, made_after: timedelta = timedelta(minutes=1)) -> list[str]:
    """What the verifier says of silence in a bundle that was made so long after the last entry."""
    last = datetime.fromisoformat(log.entries[-1]["recorded_at"])
    created_at = (last + made_after).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    bundle = write(files_of(log), folder / "bundle", created_at=created_at)
    report = verify(bundle, now=last + made_after)
    assert report.verdict == "whole", report.findings
    return [note.sentence for note in report.notes if note.code == "silence"]


def test_a_log_with_an_entry_an_hour_has_no_silence(tmp_path: Path) -> None:
    log = rich()
    for index in range(40, 60):
        _pause(log, index, heartbeats.QUIET)
    assert _silences(tmp_path, log) == []


def test_two_hours_are_no_silence_yet(tmp_path: Path) -> None:
    log = rich()
    _pause(log, 150, LONGEST_SILENCE - timedelta(seconds=1))
    assert _silences(tmp_path, log, LONGEST_SILENCE) == []


def test_silence_is_told_and_what_was_recorded_is_whole_all_the_same(tmp_path: Path) -> None:
    log = rich()
    _pause(log, 150, timedelta(hours=9))
    (told,) = _silences(tmp_path, log)
    assert "9:00:01" in told
    assert "before the entry at index 150" in told
    assert f"since {log.entries[149]['recorded_at']}" in told


def test_silence_until_the_bundle_was_made_is_told(tmp_path: Path) -> None:
    (told,) = _silences(tmp_path, rich(), timedelta(days=2))
    assert "from the last entry until the bundle was made" in told


def test_many_silences_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    log = rich()
    for index in range(200, 230):
        _pause(log, index, timedelta(hours=3))
    *named, counted = _silences(tmp_path, log)
    assert len(named) == MAX_FINDINGS
    assert "There were 30 such stretches; the longest lasted 3:00:01." in counted
