"""The only place where the verifier judges timestamps (RFC 3161): with `rfc3161-client`, or not.

`cryptography` can verify certificates, but no CMS signature; one of our own would be the only code
in this package that nobody else ever judged. So without that library a timestamp is *not judged*,
which is neither good nor bad, and the report names the command of OpenSSL that judges it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from audit import checkpoint_text
from audit.checkpoint_text import CheckpointMalformed
from audit.errors import Problem
from audit.verify import layout
from audit.verify.report import Findings
from audit.verify.tree import Tree

try:
    from audit import timestamps
except ModuleNotFoundError as missing:
    if missing.name != "rfc3161_client":
        raise
    HAS_LIBRARY = False
else:
    HAS_LIBRARY = True

AUTHORITY = "authority.pem"
SKEW = timedelta(minutes=5)
MOST_BYTES = 1 << 20


class Stamped(NamedTuple):
    """The authority vouches that the note existed at this time (UTC, to the second)."""

    at: datetime


class Refused(NamedTuple):
    """The timestamp does not hold; why, in a sentence."""

    problem: str


class NotJudged(NamedTuple):
    """There was nothing to judge with; what to do instead, in a sentence."""

    sentence: str


Verdict = Stamped | Refused | NotJudged


class _Bundle(NamedTuple):
    """What a timestamp in it has to fit: the log, its tree, and when the bundle was made."""

    origin: str
    tree: Tree
    created_at: datetime
    authority_pem: bytes


def check(folder: Path, findings: Findings) -> bool:
    """Judge each `timestamps/<size>.tsr`; whether there are any, and they could be judged.

    Each is of the note text in `<size>.note`, which has to be what this tree was at that size.
    """
    shipped = sorted((folder / layout.TIMESTAMPS).glob("*.tsr"))
    if not shipped:
        return False
    manifest = layout.read_manifest(folder / layout.MANIFEST)
    bundle = _Bundle(
        manifest.origin,
        Tree(folder, manifest.size, findings),
        _moment(manifest.created_at),
        _content(folder / layout.TIMESTAMPS / AUTHORITY),
    )
    verdicts = [(path.name, _verdict(path, bundle)) for path in shipped]
    for name, verdict in verdicts:
        if isinstance(verdict, Refused):
            sentence = f"{layout.TIMESTAMPS}/{name} does not hold: {verdict.problem}"
            findings.add("timestamp_invalid", sentence)
    return _tell([verdict for _, verdict in verdicts], findings)


def _moment(written: str) -> datetime:
    """The time that the manifest states; one that is no time is before everything."""
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _tell(verdicts: list[Verdict], findings: Findings) -> bool:
    unjudged = [verdict.sentence for verdict in verdicts if isinstance(verdict, NotJudged)]
    if unjudged:
        findings.note("timestamps", f"Of {len(unjudged)} timestamps, the last: {unjudged[-1]}")
        return False
    times = [verdict.at for verdict in verdicts if isinstance(verdict, Stamped)]
    if times:
        text = (
            f"An outside authority vouches for {len(times)} checkpoints, from {min(times)} to"
            f" {max(times)}, if {layout.TIMESTAMPS}/{AUTHORITY} is the one that you trust."
        )
        findings.fine("timestamps", text)
    return True


def _verdict(path: Path, bundle: _Bundle) -> Verdict:
    note_text = _content(path.with_suffix(".note"))
    if not _is_of_this_log(note_text, path.stem, bundle):
        return Refused(f"{path.stem}.note is not what this log was at that size.")
    verdict = judge(note_text, _content(path), bundle.authority_pem)
    if isinstance(verdict, Stamped) and verdict.at - bundle.created_at > SKEW:
        return Refused(f"it is from the future: of {verdict.at}, after the bundle was made.")
    return verdict


def _is_of_this_log(note_text: bytes, name: str, bundle: _Bundle) -> bool:
    try:
        said = checkpoint_text.read_text(note_text.decode())
    except (CheckpointMalformed, UnicodeDecodeError):
        return False
    if said.origin != bundle.origin or str(said.size) != name or said.size > bundle.tree.size:
        return False
    return bundle.tree.root_at(said.size) == said.root


def _content(path: Path) -> bytes:
    """What is in a file, b"" if absent; of one that is far too large, no more than shows it."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


def judge(note_text: bytes, response: bytes, authority_pem: bytes) -> Verdict:
    """What `response` (DER) proves about `note_text`, by the certificates in `authority_pem`.

    Whether the time itself is plausible is for whoever knows the entries. Never raises for what
    is in the bundle.
    """
    if not HAS_LIBRARY:
        return NotJudged(f"Not judged: install rfc3161-client, or run: {command(note_text)}")
    try:
        return Stamped(timestamps.verify(note_text, response, authority_pem).at)
    except Problem as problem:
        return Refused(str(problem))


def command(note_text: bytes) -> str:
    """The command of OpenSSL that judges the timestamp of this note, run inside the bundle.

    It judges certificates as of today: past their end, it needs `-attime` with the stamped time.
    """
    size = note_text.partition(b"\n")[2].partition(b"\n")[0]
    stem = f"{layout.TIMESTAMPS}/{size.decode() if size.isdigit() else 'SIZE'}"
    authority = f"{layout.TIMESTAMPS}/{AUTHORITY}"
    return f"openssl ts -verify -data {stem}.note -in {stem}.tsr -CAfile {authority}"
