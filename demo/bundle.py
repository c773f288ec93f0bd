"""The only place where the demo keeps a bundle, has it verified, and damages a copy of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from audit.verify import opening

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = "entries.jsonl"


class Verdict(NamedTuple):
    """What the verifier said: its exit code and its report."""

    code: int
    report: dict[str, Any]

    def changed(self, index: int) -> list[str]:
        """What it says of the entry at `index`, if that was changed."""
        found = self.report["findings"]
        wanted = ("entry_changed", index)
        return [each["sentence"] for each in found if (each["code"], each["index"]) == wanted]


def verify(
    bundle: Path, *, key: str, witness: Path | None = None, since: Path | None = None
) -> Verdict:
    """Run `python -m audit.verify` as an auditor would: without Django and without a database.

    `witness` is the file of the keys that must have cosigned, `since` a checkpoint that was kept.
    """
    command = [sys.executable, "-m", "audit.verify", str(bundle), "--key", key, "--json"]
    command += ["--witness", str(witness)] if witness else []
    command += ["--since", str(since)] if since else []
    # Nothing of ours is in its environment, so that it can't look anywhere else.
    environment = {"PATH": os.environ.get("PATH", "")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return Verdict(done.returncode, json.loads(done.stdout))


def keep_checkpoint(bundle: Path) -> Path:
    """The bundle's checkpoint, kept in a file beside it."""
    kept = bundle.with_name(f"{bundle.name.removesuffix('.tar.zst')}-checkpoint")
    with opening.opened(bundle) as found:
        shutil.copyfile(found / "checkpoint", kept)
    return kept


def hashes(bundle: Path) -> list[str]:
    """The leaf hash of each entry in the log's order, computed from its line (RFC 6962)."""
    with opening.opened(bundle) as found:
        lines = (found / ENTRIES).read_bytes().splitlines()
    return [hashlib.sha256(b"\0" + line).hexdigest() for line in lines]


def damaged(bundle: Path, kind: str) -> tuple[Path, int]:
    """A copy in which one bit of an entry of this kind is flipped: the copy, and its index."""
    unpacked = bundle.with_name(f"{bundle.name.removesuffix('.tar.zst')}-damaged")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(mode=0o700)  # private words are in it
    folder = unpacked / "bundle"
    with opening.opened(bundle) as found:
        shutil.copytree(found, folder)
    lines = (folder / ENTRIES).read_bytes().splitlines(keepends=True)
    index = max(at for at, line in enumerate(lines) if json.loads(line)["kind"] == kind)
    lines[index] = _flipped(lines[index])
    (folder / ENTRIES).write_bytes(b"".join(lines))
    return folder, index


def _flipped(line: bytes) -> bytes:
    """One bit of the commitment's first hexadecimal digit: the line stays readable."""
    at = line.index(b'"intent":"') + len(b'"intent":"')
    return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
