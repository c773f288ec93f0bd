"""The only place for the verdict on a bundle: each check is one sentence, and holds or does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from audit import checkpoints
from audit.checkpoints import Checkpoint, CheckpointMalformed, CheckpointNotSigned
from audit.proofs import root_of
from audit.verify import alignment, layout, lines
from audit.verify.alignment import Finding
from audit.verify.lines import Leaf, Line
from audit.verify.opening import NotABundle, opened


class Check(NamedTuple):
    """One check: a stable code, whether it holds, and what was found, in a sentence."""

    code: str
    holds: bool
    sentence: str


class Report(NamedTuple):
    """The verdict ("whole", "tampered" or "not_a_bundle"), its checks, the entries concerned."""

    verdict: str
    checks: list[Check]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "verdict": self.verdict,
            "checks": [check._asdict() for check in self.checks],
            "findings": [asdict(finding) for finding in self.findings],
        }


class _Bundle(NamedTuple):
    manifest: dict[str, Any]
    checkpoint: Checkpoint | None
    entries: list[Line]
    leaves: list[Leaf]


def verify(path: Path, *, key: str | None = None) -> Report:
    """Judge the bundle at `path`. `key` pins the log's public key (its one-line form).

    Never raises for what is in the bundle.
    """
    try:
        with opened(path) as folder:
            return _judge(folder, key)
    except NotABundle as problem:
        return Report("not_a_bundle", [Check("bundle", holds=False, sentence=str(problem))], [])


def _judge(folder: Path, pinned: str | None) -> Report:
    signature, checkpoint = _signature(folder, pinned)
    entries = list(lines.entries(folder / layout.ENTRIES))
    leaves = list(lines.leaves(folder / layout.LEAVES))
    bundle = _Bundle(_manifest(folder), checkpoint, entries, leaves)
    found = alignment.findings(entries, leaves)
    checks = [
        _listed(folder, bundle.manifest),
        signature,
        _origin(bundle),
        _canonical(entries),
        _leaves(entries, found),
        _indexes(leaves),
        _ids(bundle),
        _size(bundle),
        _root(bundle),
    ]
    verdict = "whole" if all(check.holds for check in checks) else "tampered"
    return Report(verdict, checks, found)


def _check(code: str, problem: str | None, fine: str) -> Check:
    return Check(code, problem is None, fine if problem is None else problem)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / layout.MANIFEST).read_bytes())
    except (ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _listed(folder: Path, manifest: dict[str, Any]) -> Check:
    files = manifest.get("files")
    if manifest.get("format") != layout.FORMAT or not isinstance(files, dict):
        sentence = f"The manifest is not one of the format {layout.FORMAT}."
        return Check("manifest", holds=False, sentence=sentence)
    wrong = [name for name in layout.LISTED if not _is_as_listed(folder / name, files.get(name))]
    problem = f"Not as the manifest lists them: {', '.join(wrong)}." if wrong else None
    return _check("manifest", problem, "Every file has the size and SHA-256 of the manifest.")


def _is_as_listed(path: Path, listed: Any) -> bool:
    if not isinstance(listed, dict) or not path.is_file():
        return False
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return listed.get("sha256") == sha256 and listed.get("bytes") == path.stat().st_size


def _signature(folder: Path, pinned: str | None) -> tuple[Check, Checkpoint | None]:
    note, checkpoint = "", None
    try:
        note = (folder / layout.CHECKPOINT).read_text(encoding="utf-8")
        checkpoint = checkpoints.read(note)
        named = pinned or (folder / layout.KEY).read_text(encoding="utf-8")
        key = checkpoints.parse_key(named)
        checkpoints.verify(note, key)
    except (OSError, ValueError, CheckpointMalformed, CheckpointNotSigned) as problem:
        sentence = f"Checkpoint and key do not hold: {problem}"
        return Check("signature", holds=False, sentence=sentence), checkpoint
    whose = "that you named" if pinned else "in the bundle (compare it with the one you were given)"
    sentence = f"The checkpoint is signed by the key {whose}: {key}."
    return Check("signature", holds=True, sentence=sentence), checkpoint


def _origin(bundle: _Bundle) -> Check:
    origin = bundle.checkpoint.origin if bundle.checkpoint else None
    foreign = next(
        (at for at, line in enumerate(bundle.entries) if line.is_canonical and line.log != origin),
        None,
    )
    problem = None
    if origin is None or bundle.manifest.get("origin") != origin:
        problem = "Manifest and checkpoint do not name the same log."
    elif foreign is not None:
        named = bundle.entries[foreign].log
        problem = f"The entry at index {foreign} belongs to the log {named!r}, not {origin}."
    return _check("origin", problem, f"Everything is of the log {origin}.")


def _canonical(entries: list[Line]) -> Check:
    odd = next((at for at, line in enumerate(entries) if not line.is_canonical), None)
    problem = None if odd is None else f"The entry at index {odd} is not canonical JSON."
    return _check("canonical", problem, "Every entry is canonical JSON (RFC 8785).")


def _leaves(entries: list[Line], found: list[Finding]) -> Check:
    problem = f"Not as they were sealed: {len(found)} of the entries." if found else None
    fine = f"Each of the {len(entries)} entries has the hash of its leaf, in the log's order."
    return _check("leaves", problem, fine)


def _indexes(leaves: list[Leaf]) -> Check:
    gap = next((at for at, leaf in enumerate(leaves) if leaf.position != at), None)
    problem = (
        None if gap is None else f"Line {(gap or 0) + 1} of {layout.LEAVES} is not index {gap}."
    )
    return _check("indexes", problem, "The indexes begin at 0 and have no gap.")


def _ids(bundle: _Bundle) -> Check:
    problem = None
    seen: set[str] = set()
    for at, (line, leaf) in enumerate(zip(bundle.entries, bundle.leaves, strict=False)):
        if line.id in seen:
            problem = f"The id {line.id} occurs a second time, at index {at}."
        elif line.id != leaf.id:
            claimed = line.id or "unreadable"
            problem = f"The entry at index {at} has the id {claimed}, its leaf is of {leaf.id}."
        if problem:
            break
        seen.add(line.id)
    return _check("ids", problem, "Each entry has the id of its leaf, and no id occurs twice.")


def _size(bundle: _Bundle) -> Check:
    listed = bundle.manifest.get("size")
    size = bundle.checkpoint.size if bundle.checkpoint else None
    problem = None
    if size is None or not size == len(bundle.entries) == len(bundle.leaves) == listed:
        problem = (
            f"The checkpoint is over {size} entries; there are {len(bundle.entries)} entries and"
            f" {len(bundle.leaves)} leaves, and the manifest says {listed!r}."
        )
    return _check("size", problem, f"These are the {size} entries that the checkpoint covers.")


def _root(bundle: _Bundle) -> Check:
    signed = bundle.checkpoint.root if bundle.checkpoint else b""
    problem = None
    if root_of(line.hash for line in bundle.entries) != signed:
        leaves_fit = root_of(leaf.hash for leaf in bundle.leaves) == signed
        blame = "the leaves' has, so entries were changed" if leaves_fit else "nor has the leaves'"
        problem = f"The entries' tree does not have the signed root; {blame}."
    return _check("root", problem, f"The entries' tree has the signed root, {signed.hex()}.")
