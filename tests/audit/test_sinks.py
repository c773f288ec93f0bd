"""The only place that tests where checkpoints are put outside."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import bucket_server
import pytest
from bucket_server import KEYS, BucketServer
from forging import NEWEST_KEY, ORIGIN, OTHER_KEY

from audit import buckets, checkpoints, sinks
from audit.buckets import BucketRefused, ObjectNotLocked
from audit.checkpoints import Checkpoint, CheckpointMalformed
from audit.sinks import CheckpointContradicted, SinkMisconfigured, SinkUnavailable

SETTING = "COUNTERSIGN_CHECKPOINT_SINK"
NAME = "ledger.test_acme/00000000000000001234.checkpoint"


def _note(size=1234, *, origin=ORIGIN, root=bytes(32), key=NEWEST_KEY) -> str:
    return checkpoints.sign(Checkpoint(origin, size, root), key)


NOTE = _note()
REWRITTEN = _note(root=b"\x01" * 32)


def _nobody(_: buckets.Request) -> buckets.Answer:
    raise AssertionError("a folder sends nothing")


def _opened(url: str, *, environment=KEYS, send=bucket_server.send) -> sinks.Sink:
    return sinks.opened(url, variable=SETTING, environment=environment, send=send)


def _put(sink: sinks.Sink, note=NOTE) -> str:
    return sink.put(note, now=datetime.now(UTC))


# A folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "out side").mkdir()
    return tmp_path / "out side"


@pytest.fixture
def folder(outside: Path) -> sinks.Sink:
    return _opened(outside.as_uri(), environment={}, send=_nobody)


def test_a_folder_keeps_each_checkpoint_under_its_log_and_size(folder, outside):
    assert _put(folder) == str(outside / NAME)
    _put(folder, _note(1235))
    _put(folder, _note(origin="ledger.test/globex"))
    found = {str(path.relative_to(outside)) for path in outside.rglob("*") if path.is_file()}
    later, other = NAME.replace("1234", "1235"), NAME.replace("acme", "globex")
    assert found == {NAME, later, other}
    assert (outside / NAME).read_text() == NOTE


def test_the_same_checkpoint_again_changes_nothing(folder, outside):
    _put(folder)
    before = (outside / NAME).stat()
    _put(folder)
    assert (outside / NAME).stat() == before


def test_a_checkpoint_with_other_signatures_is_the_same_checkpoint(folder, outside):
    _put(folder)
    _put(folder, _note(key=OTHER_KEY))
    assert (outside / NAME).read_text() == NOTE


def test_another_history_of_the_same_size_is_the_loudest_problem(folder, outside):
    _put(folder)
    with pytest.raises(CheckpointContradicted, match="another history"):
        _put(folder, REWRITTEN)
    assert (outside / NAME).read_text() == NOTE


@pytest.mark.parametrize("content", [b"", NOTE[:20].encode(), b"\xff\n\n"])
def test_what_was_spoiled_outside_is_noticed(folder, outside, content):
    (outside / NAME).parent.mkdir()
    (outside / NAME).write_bytes(content)
    with pytest.raises(CheckpointContradicted):
        _put(folder)
    assert (outside / NAME).read_bytes() == content


def test_of_many_at_once_one_is_kept_whole_and_the_others_hear_of_it(folder, outside):
    notes = [_note(root=bytes([number]) * 32) for number in range(8)]
    failed = []

    def put(note: str) -> None:
        try:
            _put(folder, note)
        except CheckpointContradicted:
            failed.append(note)

    threads = [threading.Thread(target=put, args=(note,)) for note in notes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (kept,) = set(notes) - set(failed)
    assert (outside / NAME).read_text() == kept
    assert [path.name for path in (outside / NAME).parent.iterdir()] == [Path(NAME).name]


def test_it_is_on_disk_before_it_is_visible_and_visible_for_good(
    folder, outside, monkeypatch: pytest.MonkeyPatch
):
    done = []
    sync, link = os.fsync, os.link
    linked = outside / NAME

    def fsync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    def hardlink(source: Path, target: Path, **details) -> None:
        done.append(Path(target))
        link(source, target, **details)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", hardlink)
    _put(folder)
    draft, *rest = done
    assert draft.name.startswith(f".{linked.name}.")
    assert rest == [linked, linked.parent, outside]


def test_a_volume_that_went_away_is_not_made_anew(folder, outside):
    outside.rmdir()
    with pytest.raises(SinkUnavailable, match="No such file"):
        _put(folder)
    assert not outside.exists()


def test_a_full_disk_leaves_nothing_half_written(folder, outside, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkUnavailable, match="No space left"):
        _put(folder)
    assert not any(path.is_file() for path in outside.rglob("*"))


@pytest.mark.parametrize("origin", ["..", "../up", ".hidden", "a%2fb", "\u00e4", "/", "a:b"])
def test_an_origin_that_is_no_name_goes_nowhere(folder, outside, origin):
    with pytest.raises(CheckpointMalformed):
        _put(folder, _note(origin=origin))
    with pytest.raises(CheckpointMalformed):
        _put(folder, "no note")
    assert list(outside.iterdir()) == []


# A bucket


@pytest.fixture
def server() -> BucketServer:
    return BucketServer()


@pytest.fixture
def endpoint(server: BucketServer) -> Iterator[str]:
    with bucket_server.served(server) as url:
        yield url


@pytest.fixture
def address(endpoint: str) -> str:
    return f"s3://evidence/ledgers/eu?region=eu-central-1&endpoint={endpoint}&retain_days=400"


PATH = f"/evidence/ledgers/eu/{NAME}"


def test_a_bucket_keeps_a_checkpoint_under_lock(server, address):
    before = datetime.now(UTC).replace(microsecond=0)
    assert _put(_opened(address)) == f"s3:/{PATH}"
    ((content, lock),) = server.objects[PATH]
    assert content == NOTE.encode()
    assert lock["x-amz-object-lock-mode"] == "COMPLIANCE"
    until = datetime.fromisoformat(lock["x-amz-object-lock-retain-until-date"])
    assert before <= until - timedelta(days=400) <= datetime.now(UTC)


def test_a_bucket_without_prefix_and_with_a_session_token_works_too(endpoint, server):
    server.credentials.token = "session+token=="
    sink = _opened(
        f"s3://evidence?region=eu-central-1&endpoint={endpoint.replace('http:', 'HTTP:')}/",
        environment={**KEYS, "AWS_SESSION_TOKEN": server.credentials.token},
    )
    assert _put(sink) == f"s3://evidence/{NAME}"


def test_not_even_who_has_the_keys_can_take_it_back(server, address):
    _put(_opened(address))
    erasing = server.signed("DELETE", f"{PATH}?versionId=0")
    assert bucket_server.send(erasing).status == 403
    overwriting = server.signed("PUT", PATH, REWRITTEN.encode())
    assert bucket_server.send(overwriting).status == 200
    with pytest.raises(ObjectNotLocked):
        _put(_opened(address))
    assert server.objects[PATH][0][0] == NOTE.encode()
    assert bucket_server.send(server.signed("DELETE", f"{PATH}?versionId=1")).status == 204
    _put(_opened(address))


def test_the_same_checkpoint_again_is_kept_once(server, address):
    for note in (NOTE, NOTE, _note(key=OTHER_KEY)):
        _put(_opened(address), note)
    assert [content for content, _ in server.objects[PATH]] == [NOTE.encode()]


def test_another_history_in_a_bucket_is_as_loud(server, address):
    _put(_opened(address))
    with pytest.raises(CheckpointContradicted):
        _put(_opened(address), REWRITTEN)
    assert [content for content, _ in server.objects[PATH]] == [NOTE.encode()]


def test_a_bucket_that_can_not_lock_is_refused(server, address):
    server.can_lock = False
    with pytest.raises(BucketRefused, match="writing was answered with 400 InvalidRequest"):
        _put(_opened(address))


def test_a_bucket_that_ignores_the_lock_is_noticed(server, address):
    server.heeds_lock = False
    with pytest.raises(ObjectNotLocked, match="its lock is none"):
        _put(_opened(address))


@pytest.mark.parametrize(
    "lock",
    [
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-object-lock-retain-until-date": "2020-01-01T00:00:00Z"},
        {"x-amz-object-lock-retain-until-date": "for ever"},
        {"x-amz-object-lock-retain-until-date": "2999-01-01T00:00:00"},
    ],
)
def test_a_lock_that_ended_or_can_be_lifted_is_none(server, address, lock):
    _put(_opened(address))
    server.objects[PATH][0][1].update(lock)
    with pytest.raises(ObjectNotLocked):
        _put(_opened(address))


@pytest.mark.parametrize(("method", "doing"), [("PUT", "writing"), ("GET", "reading")])
def test_what_a_bucket_answers_is_passed_on(server, address, method, doing):
    server.forbidden.add(method)
    with pytest.raises(BucketRefused, match=f"{doing} was answered with 403 AccessDenied"):
        _put(_opened(address))


@pytest.mark.parametrize("name", list(KEYS))
def test_with_the_wrong_keys_nothing_is_kept(server, address, name):
    with pytest.raises(BucketRefused, match=r"InvalidAccessKeyId|SignatureDoesNotMatch"):
        _put(_opened(address, environment={**KEYS, name: "another"}))
    assert server.objects == {}


def test_for_another_region_nothing_is_kept(server, address):
    with pytest.raises(BucketRefused):
        _put(_opened(address.replace("eu-central-1", "eu-central-2")))


def test_a_clock_that_is_wrong_signs_nothing(server, address):
    with pytest.raises(BucketRefused, match="RequestTimeTooSkewed"):
        _opened(address).put(NOTE, now=datetime.now(UTC) - timedelta(hours=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2026-01-01T00:00:00Z"),
        ("if-none-match", "x"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ],
)
def test_nobody_on_the_way_can_change_the_terms(server, address, name, value):
    def tampering(request: buckets.Request) -> buckets.Answer:
        assert name in request.headers
        return bucket_server.send(
            request._replace(headers={**request.headers, name: value}),
        )

    with pytest.raises(BucketRefused, match="SignatureDoesNotMatch"):
        _put(_opened(address, send=tampering))
    assert server.objects == {}


def test_nobody_on_the_way_can_change_the_content(server, address):
    def tampering(request: buckets.Request) -> buckets.Answer:
        return bucket_server.send(request._replace(body=REWRITTEN.encode()))

    with pytest.raises(BucketRefused, match="XAmzContentSHA256Mismatch"):
        _put(_opened(address, send=tampering))


def test_without_an_endpoint_it_is_amazons_of_the_region():
    asked = []

    def record(request: buckets.Request) -> buckets.Answer:
        asked.append(request)
        return buckets.Answer(503, {}, b"SlowDown")

    with pytest.raises(BucketRefused, match="503"):
        _put(_opened("s3://evidence?region=eu-central-1", send=record))
    (request,) = asked
    assert request.url == f"https://s3.eu-central-1.amazonaws.com/evidence/{NAME}"
    assert request.headers["host"] == "s3.eu-central-1.amazonaws.com"
    until = request.headers["x-amz-object-lock-retain-until-date"]
    assert datetime.fromisoformat(until) - datetime.now(UTC) > timedelta(days=3_649)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://S3.example:443", "s3.example"),
        ("http://s3.example:80/", "s3.example"),
        ("https://s3.example:80", "s3.example:80"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_the_host_is_signed_as_clients_send_it(endpoint, host):
    parts = urlsplit(f"s3://evidence?region=r&endpoint={endpoint}")
    assert urlsplit(buckets.address_of(parts).endpoint).netloc == host


# Settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins neither"),
        ("/var/checkpoints", "begins neither"),
        ("https://s3.example/evidence", "begins neither"),
        ("file:///nowhere/at/all", "there is no folder /nowhere/at/all"),
        ("file://server/tmp", "without anything else"),
        ("file:///tmp?x=1", "without anything else"),
        ("file:tmp", "there is no folder"),
        ("s3://?region=r", "name of a bucket"),
        ("s3://Evidence?region=r", "name of a bucket"),
        ("s3://key:secret@evidence?region=r", "name of a bucket"),
        ("s3://evidence", "region"),
        ("s3://evidence?region=", "region"),
        ("s3://evidence?region=r&region=q", "each once"),
        ("s3://evidence?region=r&retention=9", "each once"),
        ("s3://evidence?region=r&retain_days=0", "retain_days"),
        ("s3://evidence?region=r&retain_days=36501", "retain_days"),
        ("s3://evidence?region=r&retain_days=ever", "retain_days"),
        ("s3://evidence?region", "bad query field"),
        ("s3://evidence/../other?region=r", "prefix"),
        ("s3://evidence/a//b?region=r", "prefix"),
        ("s3://evidence/a%20b?region=r", "prefix"),
        ("s3://evidence?region=r#part", "prefix"),
        ("s3://evidence?region=r&endpoint=s3.example", "endpoint"),
        ("s3://evidence?region=r&endpoint=ftp://s3.example", "endpoint"),
        ("s3://evidence?region=r&endpoint=https://key:secret@s3.example", "endpoint"),
        ("s3://evidence?region=r&endpoint=https://s3.example/path", "no path"),
        ("s3://[evidence?region=r", "Invalid IPv6"),
    ],
)
def test_a_setting_that_names_no_sink_is_refused_by_name(url, said):
    with pytest.raises(SinkMisconfigured, match=said) as refusal:
        _opened(url)
    assert str(refusal.value).startswith(SETTING)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("value", [None, "", "two\nlines"])
@pytest.mark.parametrize("name", list(KEYS))
def test_keys_that_are_missing_are_named(name, value):
    environment = {**KEYS, name: value}
    if value is None:
        del environment[name]
    with pytest.raises(SinkMisconfigured, match=f"^{name} ") as refusal:
        _opened("s3://evidence?region=r", environment=environment)
    assert not any(secret in str(refusal.value) for secret in KEYS.values())


def test_a_folder_that_can_not_be_written_to_is_refused_at_once(outside, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SinkMisconfigured, match="can't be written to"):
        _opened(outside.as_uri())


def test_keys_are_never_shown():
    keys = buckets.Credentials("shown?", "secret", "token")
    assert repr(keys) == "Credentials()"
