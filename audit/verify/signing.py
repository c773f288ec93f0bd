"""The only place that asks who signed: the log's keys, its cosigners, and who rotated them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from audit import checkpoints, notes
from audit.checkpoints import (
    Checkpoint,
    CheckpointMalformed,
    CheckpointNotSigned,
    KeyKind,
    VerifierKey,
)
from audit.verify import layout
from audit.verify.headers import Header
from audit.verify.report import Findings

# Longer is no note, no list of keys and no proof.
MOST_BYTES = 1 << 22


class Signed(NamedTuple):
    """The checkpoint as far as it could be read, the log's keys, and when cosigners saw it."""

    note: str
    checkpoint: Checkpoint | None
    keys: list[VerifierKey]
    cosigned_at: list[datetime]


def check(
    folder: Path, findings: Findings, *, pinned: Sequence[str], witnesses: Sequence[str]
) -> Signed:
    """Who signed the checkpoint in `folder`.

    `pinned` are the log's keys, and `witnesses` the cosigners, that the caller trusts: one of the
    first must have signed, and each of the second.
    """
    note = text_of(folder / layout.CHECKPOINT)
    checkpoint = _read(note, findings)
    listed = _keys(text_of(folder / layout.KEY), "key_malformed", findings)
    trusted = _keys("\n".join(pinned), "key_malformed", findings)
    if checkpoint is None:
        return Signed(note, None, listed, [])
    _check_signature(note, checkpoint, listed, trusted, findings)
    cosigners = _cosigners(folder, witnesses, findings)
    _check_strangers(note, [*listed, *trusted, *cosigners], findings)
    times = _check_cosignatures(note, cosigners, findings)
    return Signed(note, checkpoint, listed, times)


def text_of(path: Path) -> str:
    """The text in a file, "" if absent. What is no UTF-8 is replaced; no signature survives it."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode(errors="replace")


def _read(note: str, findings: Findings) -> Checkpoint | None:
    try:
        return checkpoints.read(note)
    except CheckpointMalformed as problem:
        findings.add("checkpoint_malformed", str(problem))
        return None


def _keys(text: str, code: str, findings: Findings) -> list[VerifierKey]:
    keys = []
    for line in text.split("\n"):
        try:
            keys += [checkpoints.parse_key(line)] if line else []
        except CheckpointMalformed as problem:
            findings.add(code, f"A key can't be read: {problem}")
    return keys


def _check_signature(
    note: str,
    checkpoint: Checkpoint,
    listed: list[VerifierKey],
    trusted: list[VerifierKey],
    findings: Findings,
) -> None:
    newest = {key.kind: key for key in listed}
    if KeyKind.ED25519 not in newest:
        findings.add("key_malformed", "The bundle names no Ed25519 key of the log.")
    for key in newest.values():
        _check_signed_by(note, checkpoint, [key], findings)
    if trusted:
        _check_signed_by(note, checkpoint, trusted, findings)
        _tell_of_rotation(listed, trusted, findings)
    whose = (
        "that you named" if trusted else "in the bundle (compare it with the one you were given)"
    )
    findings.fine("signature", f"The checkpoint is signed by the log's key {whose}.")


def _tell_of_rotation(
    listed: list[VerifierKey], trusted: list[VerifierKey], findings: Findings
) -> None:
    """Whoever knows an earlier key only can't tell a rotation from a theft."""
    known = {str(key) for key in trusted}
    newest = {key.kind: str(key) for key in listed}.values()
    if known & {str(key) for key in listed} and not known & set(newest):
        text = "The bundle says that the key you named was replaced. Ask its owner for the new one."
        findings.note("keys", text)


def _check_signed_by(
    note: str, checkpoint: Checkpoint, keys: list[VerifierKey], findings: Findings
) -> None:
    named = " or ".join(_brief(key) for key in keys)
    if not any(key.name == checkpoint.origin for key in keys):
        text = f"The key {named} is not one of the log {checkpoint.origin}."
        findings.add("signed_by_another_key", text)
        return
    try:
        checkpoints.verify(note, *keys)
    except CheckpointMalformed as problem:
        findings.add("checkpoint_malformed", str(problem))
    except CheckpointNotSigned:
        known = {(key.name, key.id) for key in keys}
        lines = notes.parse(note).signatures
        if any((line.name, line.id) in known for line in lines):
            findings.add("checkpoint_not_signed", f"The signature of the key {named} is not valid.")
        else:
            text = f"The checkpoint is not signed by the key {named}, but by another, or none."
            findings.add("signed_by_another_key", text)


def _check_strangers(note: str, known: list[VerifierKey], findings: Findings) -> None:
    """A note may carry lines of anybody; a bundle names everybody, so a stranger is forged."""
    names = {(key.name, key.id) for key in known}
    for line in notes.parse(note).signatures:
        if (line.name, line.id) not in names:
            text = f"The checkpoint has a signature of {line.name}+{line.id.hex()}, who is unknown."
            findings.add("signature_unknown", text)


def _cosigners(folder: Path, witnesses: Sequence[str], findings: Findings) -> list[VerifierKey]:
    text = text_of(folder / layout.WITNESSES)
    keys = _keys(text, "witness_key_malformed", findings)
    trusted = _keys("\n".join(witnesses), "witness_key_malformed", findings)
    for key in trusted:
        if key.kind is KeyKind.ED25519:
            findings.add("witness_key_malformed", f"The key {_brief(key)} is no cosigner's.")
    return list({str(key): key for key in [*trusted, *keys]}.values())


def _check_cosignatures(
    note: str, cosigners: list[VerifierKey], findings: Findings
) -> list[datetime]:
    seen: list[datetime] = []
    for key in cosigners:
        try:
            for verified in checkpoints.signed_by(note, [key]):
                seen.append(_moment(verified.seconds))
                break
            else:
                text = f"{_brief(key)} did not cosign the checkpoint."
                findings.add("cosignature_missing", text)
        except CheckpointNotSigned:
            text = f"The cosignature of {_brief(key)} is not valid."
            findings.add("cosignature_invalid", text)
    if seen:
        findings.fine("cosignatures", f"All {len(seen)} cosigners' signatures hold.")
    return [moment for moment in seen if moment.year > 1970]


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _brief(key: VerifierKey) -> str:
    return str(key) if key.kind is not KeyKind.MLDSA44_COSIGNATURE else f"{key.name}+{key.id.hex()}"


class Rotations:
    """Collects the entries that introduce a key of the log."""

    def __init__(self) -> None:
        self._introduced: list[tuple[Header, str]] = []

    def rotated(self, header: Header) -> None:
        """Remember the key that a `ledger.key_rotated` introduces."""
        self._introduced.append((header, str(header.event.get("verifier_key")).strip()))

    def check(self, keys: Sequence[VerifierKey], findings: Findings, *, is_pruned: bool) -> None:
        """Whether entries introduced every later key, in the order of the list, and no others."""
        written = [str(key) for key in keys]
        for header, key in self._introduced:
            if key not in written:
                what = "introduces a key that log.vkey does not list"
                findings.about("key_not_listed", header, what)
        introduced = [key for _, key in self._introduced]
        expected = [str(key) for key in _later(keys)]
        missing = [key for key in expected if key not in introduced]
        in_order = [key for key in introduced if key in expected]
        if missing and is_pruned:
            findings.note("keys", "A key was introduced by an entry before the first one shipped.")
        elif missing or list(dict.fromkeys(in_order)) != expected:
            named = f": {missing[0][:120]}" if missing else ", or not in this order"
            findings.add("key_not_introduced", f"No entry introduced a key of log.vkey{named}.")


def _later(keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """The keys that came after the first of their kind."""
    kinds: set[KeyKind] = set()
    later = []
    for key in keys:
        if key.kind in kinds:
            later.append(key)
        kinds.add(key.kind)
    return later
