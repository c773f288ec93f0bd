"""Others' software judges what we really export: the Go team's sumdb, and pymerkle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pymerkle
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exporting import real_bundle
from judges import golang
from judges.golang import Judge
from own_logs import OwnLog

from audit import checkpoints
from audit.verify.checks import verify
from audit.verify.report import Report

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with golang.judge() as built:
        yield built


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle is, once a test has exported it; each gets a copy."""
    return tmp_path_factory.mktemp("kept") / "bundle"


@pytest.fixture
def bundle(own_log: OwnLog, kept: Path, tmp_path: Path) -> Path:
    if not kept.exists():
        assert real_bundle(kept).size == 651
    shutil.copytree(kept, tmp_path / "bundle")
    return tmp_path / "bundle"


def _key(bundle: Path) -> str:
    return (bundle / "log.vkey").read_text().strip()


def _ours(bundle: Path, key: str) -> Report:
    return verify(bundle, now=datetime.now(UTC), keys=[key])


def _pymerkle_agrees(bundle: Path) -> bool:
    checkpoint = checkpoints.read((bundle / "checkpoint").read_text())
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    tree.append_entries((bundle / "entries.jsonl").read_bytes().split(b"\n")[:-1])
    return (tree.get_size(), tree.get_root()) == (checkpoint.size, checkpoint.root)


def test_all_agree_that_an_exported_bundle_is_whole(bundle: Path, judge: Judge) -> None:
    report = _ours(bundle, _key(bundle))
    assert report.verdict == "whole", report.findings
    answer = judge.ask("bundle", folder=str(bundle), first=0, keys=[_key(bundle)])
    assert "error" not in answer
    assert answer["size"] == 651
    assert _pymerkle_agrees(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["previous"]["size"] == 300
    assert len(list((bundle / "proofs").iterdir())) == 100


def _edit(name: str, change: Callable[[list[bytes]], object]) -> Change:
    def act(bundle: Path) -> None:
        lines = (bundle / name).read_bytes().splitlines(keepends=True)
        change(lines)
        (bundle / name).write_bytes(b"".join(lines))

    return act


def _flip(name: str, at: int) -> Change:
    def act(bundle: Path) -> None:
        content = bytearray((bundle / name).read_bytes())
        content[at] ^= 1
        (bundle / name).write_bytes(content)

    return act


def _another_signature(bundle: Path) -> None:
    """Still base64: what reads no signatures may not stumble over it."""
    content = bytearray((bundle / "checkpoint").read_bytes())
    content[-9] = ord("B") if content[-9] == ord("A") else ord("A")
    (bundle / "checkpoint").write_bytes(content)


def _swap(lines: list[bytes]) -> None:
    lines[400], lines[401] = lines[401], lines[400]


def _older_checkpoint(bundle: Path) -> None:
    shutil.copy(bundle / "previous/checkpoint", bundle / "checkpoint")


ENTRIES = {
    "an entry changed": _flip("entries.jsonl", 5_000),
    "an entry deleted": _edit("entries.jsonl", lambda lines: lines.pop(123)),
    "the tail cut": _edit("entries.jsonl", lambda lines: lines.pop()),
    "an entry doubled": _edit("entries.jsonl", lambda lines: lines.insert(9, lines[8])),
    "entries swapped": _edit("entries.jsonl", _swap),
    "an older checkpoint": _older_checkpoint,
}
"""What pymerkle sees too, which reads entries and the checkpoint's size and root."""

REST = {
    "a full tile changed": _flip("tile/0/001", 77),
    "the partial tile changed": _flip("tile/0/002.p/139", 77),
    "the tile above changed": _flip("tile/1/000.p/2", 7),
    "a tile gone": lambda bundle: (bundle / "tile/0/001").unlink(),
    "the signature changed": _another_signature,
    "a proof changed": _flip("proofs/5.tlog-proof", 60),
    "the previous checkpoint changed": _flip("previous/checkpoint", 40),
    "the consistency proof cut": _edit("previous/consistency", lambda lines: lines.pop()),
}


@pytest.mark.parametrize("what", [*ENTRIES, *REST])
def test_all_agree_that_a_changed_bundle_is_not(bundle: Path, judge: Judge, what: str) -> None:
    key = _key(bundle)
    (ENTRIES | REST)[what](bundle)
    assert _ours(bundle, key).verdict == "tampered"
    assert not judge.accepts("bundle", folder=str(bundle), first=0, keys=[key])
    assert _pymerkle_agrees(bundle) is (what not in ENTRIES)


def test_another_key_is_refused_by_all_who_look_at_signatures(bundle: Path, judge: Judge) -> None:
    name, _, _ = _key(bundle).partition("+")
    stranger = str(checkpoints.log_key(name, Ed25519PrivateKey.generate()).verifier)
    assert _ours(bundle, stranger).verdict == "tampered"
    assert not judge.accepts("bundle", folder=str(bundle), first=0, keys=[stranger])
