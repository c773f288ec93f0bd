"""The only place that tests the file of the ledger's key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from audit import signing
from audit.signing import LedgerKeyUnusable


def test_the_key_is_made_once_and_for_the_owner_alone(tmp_path: Path):
    path = tmp_path / "state" / "ledger.key"
    key = signing.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.load(path).private_bytes_raw() == key.private_bytes_raw()
    assert [found.name for found in path.parent.iterdir()] == ["ledger.key"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "ledger.key"
    signing.load(path)
    path.chmod(0o640)
    with pytest.raises(LedgerKeyUnusable, match="0600"):
        signing.load(path)


def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "ledger.key"
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(LedgerKeyUnusable, match="not a PEM"):
        signing.load(path)
    assert path.read_text() == "not a key"
