"""The only place that lists what can be found, and what was: checks, findings, notes, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from audit.verify.headers import Header

MAX_FINDINGS = 20
"""How many findings of one code are named. All are counted."""


class Check(NamedTuple):
    """One check: a stable code, whether it holds, and what was found, in a sentence."""

    code: str
    holds: bool
    sentence: str


@dataclass(frozen=True)
class Finding:
    """What is not as it should be; `index`, `id` and `kind` are the entry's that it is about."""

    code: str
    index: int | None
    id: str
    kind: str
    sentence: str


class Note(NamedTuple):
    """What the reader should know, and nobody did wrong."""

    code: str
    sentence: str


class Report(NamedTuple):
    """The verdict ("whole", "tampered" or "not_a_bundle") and what it rests on."""

    verdict: str
    checks: list[Check]
    findings: list[Finding]
    notes: list[Note]

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "verdict": self.verdict,
            "checks": [check._asdict() for check in self.checks],
            "findings": [asdict(finding) for finding in self.findings],
            "notes": [note._asdict() for note in self.notes],
        }


# Each check: the sentence for when it holds, and the findings that break it.
CHECKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "manifest": ("The manifest says what the checkpoint says.",
        ("manifest_malformed", "manifest_mismatch")),
    "files": ("Every file is as the manifest lists it, and none is unlisted.",
        ("file_missing", "file_changed", "file_unlisted")),
    "signature": ("The checkpoint is signed by the log's key.",
        ("checkpoint_malformed", "key_malformed", "checkpoint_not_signed", "signed_by_another_key",
         "signature_unknown")),
    "keys": ("Each later key of the log was introduced by an entry.",
        ("key_not_introduced", "key_not_listed")),
    "cosignatures": ("Every cosignature holds.",
        ("cosignature_invalid", "cosignature_missing", "witness_key_malformed")),
    "size": ("There are as many entries as the checkpoint covers.", ("size_mismatch",)),
    "canonical": ("Each header is canonical JSON of the one form; so is each event that was read.",
        ("entry_malformed", "event_malformed")),
    "origin": ("Everything is of this one log.", ("foreign_origin",)),
    "leaves": ("Each entry has the hash of its leaf, in the log's order.",
        ("entry_changed", "entry_missing", "entry_inserted", "entry_moved", "entry_duplicated")),
    "tiles": ("Each level of the tree's tiles agrees with the level below.",
        ("tile_missing", "tile_changed")),
    "root": ("The entries' tree has the root that was signed.", ("root_mismatch",)),
    "previous": ("It continues the checkpoint of the export before.",
        ("previous_malformed", "previous_not_continued", "consistency_invalid")),
    "since": ("It continues the checkpoint that you kept.",
        ("since_malformed", "history_rewritten", "rolled_back", "two_checkpoints")),
    "proofs": ("Each proof leads from its entry to the checkpoint.", ("proof_invalid",)),
    "exports": ("Each export that the log speaks of was of this same tree.",
        ("export_contradicted",)),
    "ids": ("No id occurs twice.", ("id_repeated",)),
    "runs": ("No run or call has a gap, and each closed one has all its entries.",
        ("run_gap", "run_forked", "run_miscounted", "run_continued")),
    "times": ("Nothing was recorded before it occurred, or in the future.",
        ("recorded_too_early", "from_the_future")),
    "decisions": ("No effect came without its decision, and what was done is what was decided.",
        ("effect_without_decision", "effect_before_decision", "effect_not_allowed",
         "decision_used_twice", "executed_not_decided", "executed_not_approved")),
    "effects": ("Each effect that was begun has one outcome, and each outcome its beginning.",
        ("outcome_without_effect", "outcome_of_another_intent", "effect_without_outcome",
         "effect_begun_twice")),
    "approvals": ("Each approval was given by somebody else, before the act, and used once.",
        ("approval_unknown", "approval_of_another_intent", "approval_after_execution",
         "approval_settled_twice", "approver_is_requester", "approver_is_no_member",
         "shown_something_else", "held_not_approved", "approval_spent_twice",
         "approval_spent_unapproved", "quorum_not_reached")),
    "grants": ("Each agent had been granted what it was let do.",
        ("grant_unknown", "grant_of_another", "grant_revoked")),
    "policies": ("Each vote was cast under the policies in force.", ("policy_not_in_force",)),
    "bodies": ("Each private part opens its commitment, and none is gone without an entry.",
        ("body_malformed", "body_changed", "body_missing", "body_unexpected", "body_not_erased")),
    "selection": ("The filter selects as many entries as the manifest says.",
        ("selection_miscounted",)),
    "timestamps": ("The timestamps hold.", ("timestamp_invalid",)),
}  # fmt: skip
_CHECK_OF = {code: check for check, (_, codes) in CHECKS.items() for code in codes}


class Findings:
    """What was found so far, in memory that does not grow with the number of entries."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[Note] = []
        self._kept: list[Finding] = []
        self._fine: dict[str, str] = {}

    def add(self, code: str, sentence: str) -> None:
        """Something about the bundle as a whole."""
        self._keep(code, None, "", "", sentence)

    def about(self, code: str, header: Header, what: str) -> None:
        """Something about one entry; `what` goes on from its name."""
        self.at(code, header.index, header.id, header.kind.decode(), what)

    def at(self, code: str, index: int, id_: str, kind: str, what: str) -> None:
        """Something about the entry at `index`, whose id and kind are known as far as given."""
        names = f"id {id_ or 'unknown'}, kind {kind or 'unknown'}"
        self._keep(code, index, id_, kind, f"The entry at index {index} ({names}) {what}.")

    def _keep(self, code: str, index: int | None, id_: str, kind: str, sentence: str) -> None:
        if code not in _CHECK_OF:
            raise ValueError(code)
        self.counts[code] += 1
        if self.counts[code] <= MAX_FINDINGS:
            self._kept.append(Finding(code, index, id_, kind, sentence))

    def note(self, code: str, sentence: str) -> None:
        """Something to know."""
        self.notes.append(Note(code, sentence))

    def fine(self, check: str, sentence: str) -> None:
        """What a check says where it holds, in place of its usual sentence."""
        self._fine[check] = sentence

    def report(self, *, only: Iterable[str] = CHECKS, left_out: Iterable[str] = ()) -> Report:
        """The verdict. `left_out` are the checks that there was no occasion for.

        One of them that failed all the same is in it.
        """
        unasked = {name for name in left_out if not self._count(name)}
        checks = [self._check(name) for name in only if name not in unasked]
        found = sorted(self._kept, key=lambda each: -1 if each.index is None else each.index)
        verdict = "whole" if all(check.holds for check in checks) else "tampered"
        return Report(verdict, checks, found, self.notes)

    def _check(self, name: str) -> Check:
        count = self._count(name)
        if not count:
            return Check(name, holds=True, sentence=self._fine.get(name, CHECKS[name][0]))
        first = next(each for each in self._kept if _CHECK_OF[each.code] == name)
        more = f" (and {count - 1} more)" if count > 1 else ""
        return Check(name, holds=False, sentence=f"{first.sentence}{more}")

    def _count(self, name: str) -> int:
        return sum(self.counts[code] for code in CHECKS[name][1])
