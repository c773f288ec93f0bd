"""The only place that compares this tree with what was said of it elsewhere or earlier: the
checkpoint of the export before, one that somebody kept, proofs, and exports that the log records.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from audit import checkpoints
from audit.checkpoints import (
    Checkpoint,
    CheckpointMalformed,
    CheckpointNotSigned,
    KeyKind,
    VerifierKey,
)
from audit.proofs import verify_consistency, verify_inclusion
from audit.tiles import HASH_BYTES, WIDTH
from audit.verify import layout
from audit.verify.headers import Header
from audit.verify.layout import Manifest
from audit.verify.report import Findings
from audit.verify.signing import text_of
from audit.verify.tree import Tree, read_path

MOST_PROOFS = 1_000


class Case(NamedTuple):
    """A bundle of which everything was read: its checkpoint (and the note that it is), its tree."""

    folder: Path
    manifest: Manifest
    note: str
    head: Checkpoint
    keys: list[VerifierKey]
    tree: Tree
    findings: Findings


def check_since(case: Case, kept: str) -> None:
    """Whether the tree continues the checkpoint (a signed note) that somebody kept."""
    head, findings = case.head, case.findings
    old = _read_old(case, kept, "since_malformed")
    if old is None:
        return
    if old.size > head.size:
        text = f"You kept a checkpoint over {old.size} entries; this one has {head.size} only."
        findings.add("rolled_back", text)
    elif old.size == head.size and old.root != head.root:
        text = f"You kept a checkpoint over the same {old.size} entries with another root."
        findings.add("two_checkpoints", text)
    elif case.tree.root_at(old.size) != old.root:
        text = f"The first {old.size} entries are not those of the checkpoint that you kept."
        findings.add("history_rewritten", text)
    findings.fine("since", f"It continues the checkpoint over {old.size} entries that you kept.")


def _read_old(case: Case, note: str, code: str) -> Checkpoint | None:
    """The older checkpoint, if one of the log's keys signed it."""
    # ML-DSA-44 came later or went away since: an old checkpoint need have no such signature.
    signers = [key for key in case.keys if key.kind is KeyKind.ED25519]
    try:
        old = checkpoints.verify(note, *signers)
    except (CheckpointMalformed, CheckpointNotSigned) as problem:
        case.findings.add(code, f"The older checkpoint does not hold: {problem}")
        return None
    if old.origin != case.head.origin:
        case.findings.add(code, f"The older checkpoint is of the log {old.origin}.")
        return None
    return old


def check_previous(case: Case) -> None:
    """Whether this continues the export before: by the proof that is shipped, and by the tiles."""
    manifest, head, findings = case.manifest, case.head, case.findings
    note = text_of(case.folder / layout.PREVIOUS)
    if manifest.previous and manifest.previous["size"] > head.size:
        text = f"The export before had {manifest.previous['size']} entries; this has {head.size}."
        findings.add("rolled_back", text)
    if not note or manifest.previous is None:
        text = "The manifest and the folder `previous` disagree on whether there was an export."
        findings.add("previous_malformed", text)
        return
    old = _read_old(case, note, "previous_malformed")
    if old is None:
        return
    if manifest.previous != {"size": old.size, "root": old.root.hex()}:
        findings.add("previous_malformed", "The manifest names another previous checkpoint.")
    if old.size <= head.size and case.tree.root_at(old.size) != old.root:
        text = f"The first {old.size} entries are not those of the export before."
        findings.add("previous_not_continued", text)
    if old.size <= head.size and not _is_consistent(case.folder, old, head):
        findings.add("consistency_invalid", "The consistency proof does not hold.")
    findings.fine("previous", f"It continues the export before, of {old.size} entries.")


def _is_consistent(folder: Path, old: Checkpoint, head: Checkpoint) -> bool:
    lines = text_of(folder / layout.CONSISTENCY).split("\n")
    try:
        path = read_path(lines[:-1])
    except ValueError:
        return False
    if lines[-1]:
        return False
    if old.size == 0:
        return not path
    return verify_consistency(old.size, head.size, old.root, head.root, path)


def check_proofs(case: Case) -> None:
    """Whether each `proofs/<index>.tlog-proof` (C2SP tlog-proof) leads to this checkpoint."""
    shipped = sorted((case.folder / layout.PROOFS).glob("*"))
    for path in shipped[:MOST_PROOFS]:
        problem = _problem_of(path, case)
        if problem:
            case.findings.add("proof_invalid", f"{layout.PROOFS}/{path.name} {problem}.")
    case.findings.fine("proofs", f"Each of the {len(shipped)} proofs leads to this checkpoint.")


def _problem_of(path: Path, case: Case) -> str:
    """What is wrong with a proof, or ""."""
    opening, gap, checkpoint = text_of(path).partition("\n\n")
    name, _, ending = path.name.partition(".")
    lines = opening.split("\n")
    if not gap or ending != "tlog-proof" or lines[0] != "c2sp.org/tlog-proof@v1":
        return "is no tlog-proof"
    if checkpoint != case.note:
        return "ends with another checkpoint than the bundle's"
    if lines[1:2] != [f"index {name}"] or not _is_index(name, case.head.size):
        return "is for another index than its name says"
    try:
        hashes = read_path(lines[2:])
    except ValueError as problem:
        return f"can't be read: {problem}"
    head, leaf = case.head, _leaf(case.tree, int(name))
    holds = verify_inclusion(leaf, int(name), head.size, hashes, head.root)
    return "" if holds else "does not lead from its entry to the root"


def _is_index(name: str, size: int) -> bool:
    return name.isascii() and name.isdigit() and str(int(name[:20])) == name and int(name) < size


def _leaf(tree: Tree, index: int) -> bytes:
    number, at = divmod(index, WIDTH)
    hashes = tree.read(0, number, min(WIDTH, tree.size - number * WIDTH))
    return hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]


class Exports:
    """Collects what the log's own entries say of the tree at earlier sizes."""

    def __init__(self) -> None:
        self._said: list[tuple[Header, int, str]] = []

    def exported(self, header: Header) -> None:
        """Remember size and root of a `ledger.exported`."""
        size, root = header.event.get("size"), header.event.get("root")
        if isinstance(size, int) and isinstance(root, str):
            self._said.append((header, size, root))

    def check(self, tree: Tree, findings: Findings) -> None:
        """Whether the tree had these roots: whoever rewrites history must forget none of them."""
        for header, size, root in self._said:
            if not 0 <= size <= header.index:
                findings.about("export_contradicted", header, f"exported {size} entries, too many")
                continue
            was = tree.root_at(size)
            if was is not None and was.hex() != root:
                what = f"says that {size} entries had another root than the first {size} here have"
                findings.about("export_contradicted", header, what)
