"""The only place for the verdict on a bundle: it puts every question, in order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from audit.checkpoints import Checkpoint
from audit.tiles import WIDTH
from audit.verify import alignment, continuing, files, layout, signing, timestamps
from audit.verify.continuing import Case
from audit.verify.entries import Entries
from audit.verify.layout import Manifest, ManifestMalformed
from audit.verify.opening import NotABundle, opened
from audit.verify.report import Check, Findings, Report
from audit.verify.signing import Signed
from audit.verify.tree import Tree

__all__ = ["Report", "verify"]

SKEW = timedelta(minutes=5)
"""How far the clocks of log, exporter, witnesses and verifier may be apart."""


class _Asked(NamedTuple):
    """What the caller brings along."""

    now: datetime
    keys: Sequence[str]
    witnesses: Sequence[str]
    since: str | None


def verify(
    path: Path,
    *,
    now: datetime,
    keys: Sequence[str] = (),
    witnesses: Sequence[str] = (),
    since: str | None = None,
) -> Report:
    """Judge the bundle at `path`: a folder, or a .tar.zst.

    `keys` (of the log) and `witnesses` are verifier keys in their one-line form, which you trust;
    `since` is the text of an older checkpoint that you kept. Never raises for what is in the
    bundle.
    """
    try:
        with opened(path) as folder:
            return _judge(folder, _Asked(now, keys, witnesses, since))
    except NotABundle as problem:
        return Report("not_a_bundle", [Check("bundle", holds=False, sentence=str(problem))], [], [])


def _judge(folder: Path, asked: _Asked) -> Report:
    findings = Findings()
    try:
        manifest = layout.read_manifest(folder / layout.MANIFEST)
    except ManifestMalformed as problem:
        findings.add("manifest_malformed", str(problem))
        return findings.report(only={"manifest"})
    files.check(folder, manifest.files, findings)
    signed = signing.check(folder, findings, pinned=asked.keys, witnesses=asked.witnesses)
    head = signed.checkpoint or _claimed(manifest)
    tree = Tree(folder, _bounded(folder, head.size, findings), findings)
    case = Case(folder, manifest, signed.note, head, signed.keys, tree, findings)
    _check_manifest(case)
    latest = _latest(manifest, signed, asked)
    entries = Entries(folder, manifest, findings, origin=head.origin, latest=latest)
    entries.read(tree)
    _check_sums(case, entries)
    entries.rotations.check(signed.keys, findings, is_pruned=manifest.first > 0)
    entries.exports.check(tree, findings)
    left_out = _check_outside(case, asked)
    _tell(manifest, findings)
    return findings.report(left_out=left_out)


def _claimed(manifest: Manifest) -> Checkpoint:
    """What the manifest says, for want of a checkpoint: enough to name what else is wrong."""
    return Checkpoint(manifest.origin, manifest.size, bytes.fromhex(manifest.root))


def _check_manifest(case: Case) -> None:
    manifest, head = case.manifest, case.head
    said = (manifest.origin, manifest.size, manifest.root)
    signed = (head.origin, head.size, head.root.hex())
    for name, one, other in zip(("origin", "size", "root"), said, signed, strict=True):
        if one != other:
            text = f"The manifest says that the {name} is {one}; the checkpoint says {other}."
            case.findings.add("manifest_mismatch", text)


def _bounded(folder: Path, size: int, findings: Findings) -> int:
    """The size; or, where it is far from what is shipped, one that does not take for ever."""
    shipped = sum(1 for path in (folder / layout.TILES / "0").rglob("*") if path.is_file())
    most = 2 * WIDTH * (shipped + WIDTH)
    if size > most:
        findings.add("tile_missing", f"There are {shipped} tiles of level 0 for {size} entries.")
    return min(size, most)


def _latest(manifest: Manifest, signed: Signed, asked: _Asked) -> bytes:
    """The time after which nothing in the bundle can have been recorded."""
    created = manifest.created_at.encode()
    moments = [asked.now, *signed.cosigned_at]
    latest = min([created, *(_written(moment) for moment in moments)])
    try:
        return _written(datetime.fromisoformat(latest.decode()) + SKEW)
    except (ValueError, OverflowError):
        return latest


def _written(moment: datetime) -> bytes:
    """`moment` as entries write it."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z".encode()


def _check_sums(case: Case, entries: Entries) -> None:
    """Leaves, root and numbers, once all entries were read."""
    _, manifest, _, head, _, tree, findings = case
    if entries.differs:
        alignment.check(case.folder / layout.ENTRIES, tree, manifest.first, findings)
    if tree.finish() != head.root:
        text = f"The tree of these leaves does not have the signed root {head.root.hex()}."
        findings.add("root_mismatch", text)
    there = manifest.first + entries.count
    if there != head.size:
        text = f"The checkpoint covers {head.size} entries; there are {there}."
        findings.add("size_mismatch", text)
    if manifest.selected != entries.selected:
        text = f"The filter selects {entries.selected} entries, not {manifest.selected}."
        findings.add("selection_miscounted", text)
    findings.fine("size", f"These are the {head.size} entries that the checkpoint covers.")
    findings.fine("root", f"The entries' tree has the signed root, {head.root.hex()}.")
    findings.fine("origin", f"Everything is of the log {head.origin}.")


def _check_outside(case: Case, asked: _Asked) -> set[str]:
    """What was said of this tree elsewhere; the checks that there is no occasion for."""
    folder, left_out = case.folder, set()
    if asked.since is None:
        left_out.add("since")
    else:
        continuing.check_since(case, asked.since)
    if case.manifest.previous is None and not (folder / layout.PREVIOUS).exists():
        left_out.add("previous")
    else:
        continuing.check_previous(case)
    if (folder / layout.PROOFS).is_dir():
        continuing.check_proofs(case)
    else:
        left_out.add("proofs")
    if not asked.witnesses and not (folder / layout.WITNESSES).exists():
        left_out.add("cosignatures")
    if not timestamps.check(folder, case.findings):
        left_out.add("timestamps")
    return left_out


def _tell(manifest: Manifest, findings: Findings) -> None:
    """What the reader should know of how the bundle came about."""
    outside = manifest.newest_outside
    if outside is None:
        known = "none: nobody outside has seen this log, so only its key's owner vouches for it"
    else:
        known = ", ".join(f"{name} {value}" for name, value in sorted(outside.items()))
    findings.note("outside", f"Newest checkpoint outside, as the exporter says: {known}.")
    if manifest.first:
        text = (
            f"Entries before index {manifest.first} are no longer kept: their hashes were checked,"
            " and what rests on their words could not be judged."
        )
        findings.note("pruned", text)
    derived = [name for name in layout.DERIVED if name in manifest.files]
    if derived:
        text = (
            f"Derived from the entries, for other programs: {' and '.join(derived)}."
            " They are not evidence; only that they are as the manifest lists them was looked at."
        )
        findings.note("derived", text)
    if manifest.filter:
        text = f"Private parts are shipped of the {manifest.selected} entries that pass the filter."
        findings.note("filter", text)
