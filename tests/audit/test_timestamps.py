"""The only place that tests timestamps: ours and OpenSSL's verdict on OpenSSL's own stamps."""

from __future__ import annotations

import random
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from forging import NEWEST_KEY, ORIGIN, files_of, manifest_of, rich
from stamping import Authority, Identity, NotOk, dated, need_openssl, post, served

from audit import checkpoints, timestamps
from audit.checkpoints import Checkpoint
from audit.errors import Problem
from audit.proofs import leaf_hash, root_of
from audit.timestamps import (
    AuthorityUnusable,
    Timestamp,
    TimestampMalformed,
    TimestampMismatched,
    TimestampRefused,
    TimestampUntimely,
    TimestampUntrusted,
)
from audit.verify import timestamps as judging
from audit.verify.checks import Report, verify
from audit.verify.timestamps import NotJudged, Refused, Stamped
from tests.environment import ROOT


def _text(root: bytes) -> bytes:
    note = checkpoints.sign(Checkpoint(ORIGIN, 1234, root), NEWEST_KEY)
    return note.partition("\n\n")[0].encode() + b"\n"


NOTE = _text(bytes(32))
OTHER_NOTE = _text(bytes(31) + b"\x01")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    need_openssl()
    (tmp_path / "authority").mkdir()
    return Authority(tmp_path / "authority")


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    with served(authority) as address:
        yield address


@pytest.fixture
def stamp(authority: Authority, url: str):
    def obtain(note: bytes = NOTE, *, post=post) -> Timestamp:
        return timestamps.obtain(
            note, url=url, authority_pem=authority.pem, post=post, now=datetime.now(UTC)
        )

    return obtain


def _both_refuse(authority: Authority, response: bytes, problem: type[Problem], **details) -> str:
    pem = details.pop("pem", authority.pem)
    note = details.pop("note", NOTE)
    with pytest.raises(problem) as refusal:
        timestamps.verify(note, response, pem)
    assert not authority.openssl_accepts(note, response, pem=pem, **details)
    return str(refusal.value)


def test_an_authority_vouches_for_a_checkpoint_and_openssl_agrees(authority, stamp):
    before = datetime.now(UTC).replace(microsecond=0)
    stamped = stamp()
    assert before <= stamped.at <= datetime.now(UTC)
    assert stamped.at.tzinfo is UTC
    assert stamped.response == authority.last
    assert timestamps.verify(NOTE, stamped.response, authority.pem) == stamped
    assert authority.openssl_accepts(NOTE, stamped.response)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_authoritys_certificates_may_come_in_any_order(authority, stamp, backwards):
    chain = [authority.intermediate, authority.root]
    authority.write_settings(send=reversed(chain) if backwards else chain)
    response = stamp().response
    root = authority.root.pem
    assert timestamps.verify(NOTE, response, root).response == response
    assert authority.openssl_accepts(NOTE, response, pem=root)


def test_a_chain_with_a_gap_is_not_trusted(authority, stamp):
    said = _both_refuse(authority, stamp().response, TimestampUntrusted, pem=authority.root.pem)
    assert "unable to get local issuer certificate" in said


def test_a_timestamp_is_of_one_note_alone(authority, stamp):
    response = stamp().response
    for other in (OTHER_NOTE, NOTE.rstrip(b"\n"), NOTE + b"\n", b""):
        _both_refuse(authority, response, TimestampMismatched, note=other)


def test_another_root_of_the_same_name_is_not_the_authority(authority, stamp):
    response = stamp().response
    pem = Identity("Root of the tests").pem + authority.intermediate.pem
    _both_refuse(authority, response, TimestampUntrusted, pem=pem)


def test_an_answer_to_an_earlier_request_is_refused(authority, stamp):
    earlier = stamp().response
    with pytest.raises(TimestampMismatched, match="nonce"):
        stamp(post=lambda *_: earlier)


def test_a_hash_that_we_did_not_ask_for_is_refused(authority, tmp_path):
    (tmp_path / "note").write_bytes(NOTE)
    authority.write_settings(digests="sha512")
    command = f"openssl ts -query -data {tmp_path}/note -sha512 -cert -out {tmp_path}/query"
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    response = authority.stamp((tmp_path / "query").read_bytes())
    assert authority.openssl_accepts(NOTE, response)
    with pytest.raises(TimestampMismatched, match="SHA-256"):
        timestamps.verify(NOTE, response, authority.pem)


def test_the_name_of_another_hash_over_the_right_bytes_is_refused(authority, stamp):
    sha256, sha3_256 = (
        b"\x60\x86\x48\x01\x65\x03\x04\x02\x01",
        b"\x60\x86\x48\x01\x65\x03\x04\x02\x08",
    )
    renamed = authority.stamp_anew(
        stamp().response, change=lambda content: content.replace(sha256, sha3_256)
    )
    _both_refuse(authority, renamed, TimestampMismatched)


def test_no_cut_of_an_answer_is_accepted(authority, stamp):
    response = stamp().response
    for length in range(len(response)):
        with pytest.raises(TimestampMalformed):
            timestamps.verify(NOTE, response[:length], authority.pem)
    with pytest.raises(TimestampMalformed):
        timestamps.verify(NOTE, response + b"\x00", authority.pem)


def test_no_bit_of_an_answer_can_be_changed_to_say_something_else(authority, stamp):
    stamped = stamp()
    mutants = []
    for bit in range(len(stamped.response) * 8):
        raw = bytearray(stamped.response)
        raw[bit // 8] ^= 1 << (bit % 8)
        mutants.append(bytes(raw))
    accepted = set()
    for mutant in mutants:
        try:
            # Bits that no signature covers, as the order of certificates; they say nothing.
            assert timestamps.verify(NOTE, mutant, authority.pem).at == stamped.at
            accepted.add(mutant)
        except Problem:
            pass
    assert len(accepted) < len(mutants) / 50
    for mutant in [*random.sample(mutants, 20), *random.sample(sorted(accepted), 5)]:
        assert mutant not in accepted or authority.openssl_accepts(NOTE, mutant)


@pytest.mark.parametrize(
    "body", [b"", b"<html>It works!</html>", b"0" * 70_000, b"\x30\x80\x00\x00", b"\x30\x84\xff"]
)
def test_what_is_no_timestamp_is_named_as_such(authority, stamp, body):
    authority.answer = 200, body
    with pytest.raises(TimestampMalformed):
        stamp()


def test_an_authority_that_fails_is_not_taken_for_an_answer(authority, stamp):
    authority.answer = 500, b"out of order"
    with pytest.raises(NotOk):
        stamp()


def test_a_rejection_is_passed_on_in_the_authoritys_words(authority, stamp):
    authority.write_settings(digests="sha512")
    with pytest.raises(TimestampRefused, match=r"status 2 .*digest algorithm is not supported"):
        stamp()
    _both_refuse(authority, authority.last, TimestampRefused)


@pytest.mark.parametrize(
    "usages",
    [
        [],
        [ExtendedKeyUsageOID.CODE_SIGNING],
        [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING],
    ],
    ids=["none", "another", "one too many"],
)
def test_a_certificate_that_is_not_for_timestamps_alone_stamps_nothing(authority, stamp, usages):
    genuine = stamp().response
    assert timestamps.verify(NOTE, authority.stamp_anew(genuine), authority.pem)
    authority.sign_with(authority.signer(usages=usages))
    said = _both_refuse(authority, authority.stamp_anew(genuine), TimestampUntrusted)
    assert "purpose" in said


LONG_AGO = datetime(2020, 6, 1, tzinfo=UTC)
A_MONTH = timedelta(days=30)


def test_a_certificate_that_was_expired_stamps_nothing(authority, stamp):
    authority.sign_with(authority.signer(valid=(LONG_AGO, LONG_AGO + A_MONTH)))
    with pytest.raises(TimestampUntrusted, match="expired"):
        stamp()
    _both_refuse(authority, authority.last, TimestampUntrusted)


def test_a_certificate_that_expired_since_then_still_stands_for_what_it_stamped(authority, stamp):
    genuine = stamp().response
    authority.sign_with(authority.signer(valid=(LONG_AGO, LONG_AGO + A_MONTH)))
    at = LONG_AGO + timedelta(days=7)
    old = authority.stamp_anew(genuine, change=dated(at))
    assert timestamps.verify(NOTE, old, authority.pem).at == at
    assert authority.openssl_accepts(NOTE, old, at=at)
    early = authority.stamp_anew(genuine, change=dated(LONG_AGO - A_MONTH))
    _both_refuse(authority, early, TimestampUntrusted, at=LONG_AGO - A_MONTH)


@pytest.mark.parametrize("wrong", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_a_clock_that_is_wrong_is_noticed(authority, url, wrong):
    arguments = {"url": url, "authority_pem": authority.pem, "post": post}
    now = datetime.now(UTC)
    assert timestamps.obtain(NOTE, **arguments, now=now + timedelta(minutes=4))
    with pytest.raises(TimestampUntimely):
        timestamps.obtain(NOTE, **arguments, now=now + wrong)


def test_certificates_that_nothing_can_be_verified_by_are_refused_at_once(authority):
    timestamps.check_authority(authority.pem)
    garbled = authority.root.pem.replace(b"MII", b"!!!")
    for pem in (b"", b"garbage", authority.intermediate.pem, garbled):
        with pytest.raises(AuthorityUnusable):
            timestamps.check_authority(pem)


@pytest.mark.filterwarnings("ignore:.* RFC 5280")  # of cryptography, about changed certificates
def test_no_change_of_the_authoritys_certificate_is_more_than_a_problem(authority, stamp):
    # At some of them the library's Rust code panics, which is no Exception.
    response = stamp().response
    der = authority.root.certificate.public_bytes(serialization.Encoding.DER)
    for bit in range(len(der) * 8):
        raw = bytearray(der)
        raw[bit // 8] ^= 1 << (bit % 8)
        pem = ssl.DER_cert_to_PEM_cert(bytes(raw)).encode() + authority.intermediate.pem
        assert isinstance(judging.judge(NOTE, response, pem), Stamped | Refused)


def test_the_verifier_judges_what_is_in_a_bundle(authority, stamp):
    stamped = stamp()
    assert judging.judge(NOTE, stamped.response, authority.pem) == Stamped(stamped.at)
    for note, response, pem in (
        (OTHER_NOTE, stamped.response, authority.pem),
        (NOTE, stamped.response[:-1], authority.pem),
        (NOTE, stamped.response, Identity("Mallory").pem),
        (NOTE, stamped.response, b"nothing"),
    ):
        assert isinstance(judging.judge(note, response, pem), Refused)


ALONE = """
import sys
sys.modules["rfc3161_client"] = None
from audit.verify import timestamps
print(timestamps.judge(sys.stdin.buffer.read(), b"", b"").sentence)
"""


def test_a_verifier_without_the_library_says_what_to_run_instead(authority, stamp, tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", ALONE], input=NOTE, cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    assert said.startswith("Not judged: install rfc3161-client, or run: openssl ts -verify ")
    bundle = tmp_path / "timestamps"
    bundle.mkdir()
    (bundle / "1234.note").write_bytes(NOTE)
    (bundle / "1234.tsr").write_bytes(stamp().response)
    (bundle / "authority.pem").write_bytes(authority.pem)
    command = shlex.split(said.partition("run: ")[2])
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (bundle / "1234.note").write_bytes(OTHER_NOTE)
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_what_is_in_a_note_never_becomes_a_command():
    for note in (b"", b"x\n1; rm -rf\n", b"x\n$(id)\n"):
        assert " timestamps/SIZE.tsr " in judging.command(note)


def test_not_judged_is_neither_good_nor_bad(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judging, "HAS_LIBRARY", False)
    assert isinstance(judging.judge(NOTE, b"", b""), NotJudged)


class Stampable:
    """The files of a bundle of 300 entries, with a timestamp of its first 200."""

    def __init__(self, folder: Path, authority: Authority, stamp) -> None:
        log = rich()
        root = root_of([leaf_hash(line) for line in log.lines()[:200]])
        self.note = Checkpoint(ORIGIN, 200, root).text.encode()
        self.stamped = stamp(self.note)
        self.folder = folder
        self.files = {
            **files_of(log),
            "timestamps/200.note": self.note,
            "timestamps/200.tsr": self.stamped.response,
            "timestamps/authority.pem": authority.pem,
        }

    def judged(self, *, made: timedelta = timedelta()) -> Report:
        """The report on the files as they are; the bundle says that it was made `made` later."""
        created_at = (self.stamped.at + made).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        manifest = manifest_of(self.files, created_at=created_at)
        for name, content in {**self.files, "manifest.json": manifest}.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)
        return verify(self.folder, now=datetime.now(UTC))


@pytest.fixture
def bundle(authority: Authority, stamp, tmp_path: Path) -> Stampable:
    return Stampable(tmp_path / "bundle", authority, stamp)


def _found(report: Report) -> list[str]:
    assert {finding.code for finding in report.findings} == {"timestamp_invalid"}
    assert report.verdict == "tampered"
    return [finding.sentence for finding in report.findings]


def test_a_bundle_says_since_when_somebody_outside_knows_of_it(bundle):
    report = bundle.judged()
    assert report.verdict == "whole", report.findings
    (check,) = [check for check in report.checks if check.code == "timestamps"]
    assert str(bundle.stamped.at) in check.sentence


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("timestamps/200.tsr", lambda content: content[:-1]),
        ("timestamps/200.tsr", lambda _: b"<html>"),
        ("timestamps/200.note", lambda content: content[:-1]),
        ("timestamps/200.note", lambda content: content + b"extension\n"),
        ("timestamps/200.note", lambda content: content.replace(b"200", b"201")),
        ("timestamps/200.note", lambda content: content.replace(b"acme", b"globex")),
        ("timestamps/200.note", lambda _: b"\xff"),
        ("timestamps/authority.pem", lambda _: Identity("Mallory").pem),
        ("timestamps/authority.pem", lambda _: b""),
    ],
)
def test_a_timestamp_that_was_touched_is_named(bundle, name, change):
    bundle.files[name] = change(bundle.files[name])
    (said,) = _found(bundle.judged())
    assert "timestamps/200.tsr does not hold" in said


@pytest.mark.parametrize("name", ["timestamps/200.note", "timestamps/authority.pem"])
def test_a_timestamp_that_lacks_what_it_needs_does_not_hold(bundle, name):
    del bundle.files[name]
    _found(bundle.judged())


def test_a_genuine_timestamp_of_another_history_is_named(bundle, stamp):
    other = Checkpoint(ORIGIN, 200, bytes(32)).text.encode()
    bundle.files["timestamps/200.note"] = other
    bundle.files["timestamps/200.tsr"] = stamp(other).response
    (said,) = _found(bundle.judged())
    assert "not what this log was at that size" in said


def test_a_timestamp_under_another_size_is_named(bundle):
    for name in ("note", "tsr"):
        bundle.files[f"timestamps/301.{name}"] = bundle.files.pop(f"timestamps/200.{name}")
    _found(bundle.judged())


def test_a_timestamp_from_the_future_is_named(bundle):
    assert bundle.judged(made=-timedelta(minutes=4)).verdict == "whole"
    (said,) = _found(bundle.judged(made=-timedelta(minutes=6)))
    assert "from the future" in said


def test_without_the_library_a_bundle_is_whole_and_says_what_was_not_judged(bundle, monkeypatch):
    monkeypatch.setattr(judging, "HAS_LIBRARY", False)
    report = bundle.judged()
    assert report.verdict == "whole"
    assert "timestamps" not in [check.code for check in report.checks]
    (note,) = [note.sentence for note in report.notes if note.code == "timestamps"]
    command = re.search("openssl ts -verify .*", note)[0]
    ran = subprocess.run(shlex.split(command), cwd=bundle.folder, capture_output=True, check=False)
    assert ran.returncode == 0
    bundle.files["timestamps/200.note"] = NOTE
    _found(bundle.judged())
