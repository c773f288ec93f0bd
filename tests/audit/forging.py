"""The only place that makes bundles without a database: whole, rich in events, or forged."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import canonical, checkpoints, tiles
from audit.checkpoints import Checkpoint, KeyKind, SigningKey
from audit.proofs import (
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    ranges_of,
    root_of,
)
from audit.tiles import WIDTH
from audit.verify import layout

ORIGIN = "ledger.test/acme"
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(8)]
FIRST_KEY, NEWEST_KEY, OTHER_KEY, WITNESS_KEY = KEYS[:4]
WITNESS = SigningKey("witness.test/w1", WITNESS_KEY, KeyKind.ED25519_COSIGNATURE)
BEGAN = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 3, tzinfo=UTC)

ALICE = "0190a000-0000-7000-8000-00000000a11c"
BOB = "0190a000-0000-7000-8000-000000000b0b"
CUSTOMER = "0190a000-0000-7000-8000-0000000c0570"
FORGOTTEN = "0190a000-0000-7000-8000-000000f07607"

Files = dict[str, bytes]
AGENT = {"id": "refund-desk", "kind": "agent", "means": "session", "on_behalf_of": ALICE,
         "version": "3"}  # fmt: skip
SYSTEM = {"id": "countersign", "kind": "system", "means": None, "on_behalf_of": None,
          "version": None}  # fmt: skip


def member(id_: str) -> dict[str, Any]:
    return {"id": id_, "kind": "member", "means": "session", "on_behalf_of": None, "version": None}


def vkey(key: Ed25519PrivateKey = NEWEST_KEY, origin: str = ORIGIN) -> str:
    return str(checkpoints.log_key(origin, key).verifier)


def uuid(number: int) -> str:
    return str(UUID(int=(0x0190 << 112) + number))


def commit(value: Any, salt: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + canonical.encode(value)).hexdigest()


def intent_of(amount: int) -> str:
    """The commitment of a refund of this amount."""
    return commit({"action": "use_tool", "arguments": {"amount": amount}}, "ab" * 32)


@dataclass
class Log:
    """Entries as a log would keep them, stamped one second apart."""

    origin: str = ORIGIN
    entries: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[int, dict[str, Any]] = field(default_factory=dict)

    def record(
        self,
        kind: str,
        event: dict[str, Any] | None = None,
        *,
        actor: dict[str, Any] = SYSTEM,
        run: str | None = None,
        subject: str | None = None,
        private: dict[str, Any] | None = None,
    ) -> str:
        """Add an entry; its id. `private` goes into the body, and as commitments into the event."""
        index = len(self.entries)
        salt = f"{index:064x}"
        parts = {name: {"salt": salt, "value": each} for name, each in (private or {}).items()}
        shut = {name: commit(each, salt) for name, each in (private or {}).items()}
        at = (BEGAN + timedelta(seconds=index)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        entry = {
            "actor": actor, "correlation": run, "event": {**(event or {}), **shut},
            "id": uuid(index), "kind": kind, "log": self.origin, "occurred_at": at,
            "previous": None, "recorded_at": at, "sequence": None, "subject": subject,
        }  # fmt: skip
        self.entries.append(entry)
        if parts:
            self.bodies[index] = parts
        return str(entry["id"])

    def lines(self) -> list[bytes]:
        """The leaf bytes of the entries, numbered and chained within each run as they stand."""
        made, last = [], {}
        for entry in self.entries:
            run = entry["correlation"]
            number, previous = last.get(run, (0, None))
            stamped = dict(entry)
            if run is not None and "unchained" not in entry:
                stamped |= {"sequence": number, "previous": previous}
            stamped.pop("unchained", None)
            line = canonical.encode(stamped)
            last[run] = (number + 1, leaf_hash(line).hex())
            made.append(line)
        return made

    def of_kind(self, kind: str, nth: int = 0) -> int:
        """The index of the nth entry of this kind."""
        return [at for at, entry in enumerate(self.entries) if entry["kind"] == kind][nth]

    def insert(self, index: int, entry: dict[str, Any]) -> None:
        """Put an entry before the one at `index`, and all bodies where their entries now are."""
        self.entries.insert(index, entry)
        self.bodies = {at + (at >= index): parts for at, parts in self.bodies.items()}

    def remove(self, index: int) -> dict[str, Any]:
        """Take out the entry at `index`, with its body."""
        self.bodies.pop(index, None)
        self.bodies = {at - (at > index): parts for at, parts in self.bodies.items()}
        return self.entries.pop(index)

    def move(self, start: int, end: int) -> None:
        """Put the entry at `start` where `end` is. Times stay in the order of the log."""
        body = self.bodies.get(start)
        times = [(each["occurred_at"], each["recorded_at"]) for each in self.entries]
        self.insert(end, self.remove(start))
        if body is not None:
            self.bodies[end] = body
        for entry, (occurred_at, recorded_at) in zip(self.entries, times, strict=True):
            entry.update(occurred_at=occurred_at, recorded_at=recorded_at)


def rich(size: int = 300) -> Log:
    """A log with a bit of everything: runs, approvals, effects, private parts, an erasure."""
    log = Log()
    log.record("grant.given", {"grant": "7", "agent": AGENT["id"], "resource_kind": "tool",
               "resource": "refund_order"}, actor=member(ALICE))  # fmt: skip
    log.record("policy.activated", {"version": 1, "sha256": "1" * 64})
    plain_run(log, uuid(1 << 20))
    log.record("policy.activated", {"version": 2, "sha256": "2" * 64})
    approved_run(log, uuid(2 << 20))
    renewed_run(log, uuid(3 << 20))
    log.record("document.uploaded", {"document": "d1"}, actor=member(ALICE), subject=FORGOTTEN,
               private={"filename": "Ada's letter.pdf"})  # fmt: skip
    forgotten = len(log.entries) - 1
    log.record("subject.erased", {"subjects": [FORGOTTEN], "legal_basis": "gdpr-17",
               "approvers": [ALICE, BOB]}, actor=member(ALICE))  # fmt: skip
    del log.bodies[forgotten]
    key = str(checkpoints.log_key(ORIGIN, NEWEST_KEY).verifier)
    log.record("ledger.key_rotated", {"verifier_key": key, "size": len(log.entries)})
    while len(log.entries) < size:
        number = len(log.entries)
        log.record("bench.happened", {"note": f"Grüße \u2028 \U0001f600 {number}"}, actor=AGENT)
    return log


def decide(log: Log, run: str, amount: int, outcome: str = "allowed", **more: Any) -> str:
    event = {"action": "use_tool", "resource": "refund_order", "resource_kind": "tool",
             "outcome": outcome, "code": outcome, "reasons": ["small-refunds"], "matched": [],
             "policy_version": 1, "policy_sha256": "1" * 64, "approval": None, "step": 1,
             "grant": "7", **more}  # fmt: skip
    value = {"action": "use_tool", "arguments": {"amount": amount}}
    made = log.record("intent.decided", {**event, "intent": intent_of(amount)}, actor=AGENT,
                      run=run, subject=CUSTOMER)  # fmt: skip
    log.bodies[len(log.entries) - 1] = {"intent": {"salt": "ab" * 32, "value": value}}
    return made


def begin(log: Log, run: str, amount: int, decision: str, attempt: int = 1) -> None:
    event = {"action": "use_tool", "attempt": attempt, "decision": decision, "step": 1,
             "idempotency_key": f"{run}-1", "intent": intent_of(amount),
             "resource": "refund_order"}  # fmt: skip
    log.record("effect.begun", event, actor=AGENT, run=run)


def end(log: Log, run: str, amount: int, decision: str) -> None:
    event = {"action": "use_tool", "decision": decision, "intent": intent_of(amount), "step": 1,
             "resource": "refund_order"}  # fmt: skip
    log.record("effect.ended", event, actor=AGENT, run=run, subject=CUSTOMER,
               private={"outcome": {"refunded": amount}})  # fmt: skip


def start(log: Log, run: str) -> None:
    log.record("run.started", {"agent": "refund-desk", "version": 3}, actor=AGENT, run=run,
               subject=CUSTOMER, private={"task": "Refund the order of Ada Lovelace."})  # fmt: skip


def complete(log: Log, run: str) -> None:
    entries = 1 + sum(1 for entry in log.entries if entry["correlation"] == run)
    log.record("run.completed", {"entries": entries, "steps": 1}, actor=AGENT, run=run,
               subject=CUSTOMER, private={"answer": "Done."})  # fmt: skip


def plain_run(log: Log, run: str) -> None:
    """A run whose intent is allowed at once."""
    start(log, run)
    decision = decide(log, run, 10)
    begin(log, run, 10, decision)
    end(log, run, 10, decision)
    complete(log, run)


def approved_run(log: Log, run: str) -> None:
    """A run whose intent is held, approved by Bob, and then allowed."""
    approval = uuid(77 << 20)
    about = {"approval": approval, "intent": intent_of(900)}
    shown = {"shown": commit({"amount": 900}, "cd" * 32)}
    start(log, run)
    log.record("approval.opened", {**about, **shown, "action": "use_tool",
               "resource": "refund_order", "requester": {"kind": "member", "id": ALICE},
               "policy_version": 2, "quorum": 1, "expires_at": "2026-03-03T12:00:00+00:00"},
               actor=AGENT, run=run, subject=CUSTOMER)  # fmt: skip
    log.bodies[len(log.entries) - 1] = {"shown": {"salt": "cd" * 32, "value": {"amount": 900}}}
    decide(log, run, 900, "held", approval=approval, policy_version=2)
    log.record("approval.approved", {**about, **shown, "policy_version": 2}, actor=member(BOB),
               run=run, subject=CUSTOMER, private={"reason": "She is right."})  # fmt: skip
    log.record("approval.spent", about, actor=AGENT, run=run)
    decision = decide(log, run, 900, approval=approval, code="approved", policy_version=2)
    begin(log, run, 900, decision)
    end(log, run, 900, decision)
    complete(log, run)


def renewed_run(log: Log, run: str) -> None:
    """A run whose worker died after the effect had begun."""
    start(log, run)
    begin(log, run, 20, decide(log, run, 20))
    decision = decide(log, run, 20, code="renewed")
    begin(log, run, 20, decision, attempt=2)
    end(log, run, 20, decision)
    complete(log, run)


def files_of(
    log: Log,
    *,
    key: Ed25519PrivateKey = NEWEST_KEY,
    keys: Iterable[Ed25519PrivateKey] = (FIRST_KEY, NEWEST_KEY),
    previous: int = 120,
    first: int = 0,
) -> Files:
    """The files of a bundle over this log, without its manifest."""
    lines = log.lines()
    leaves = [leaf_hash(line) for line in lines]
    note = cosigned(checkpoints.sign(Checkpoint(log.origin, len(lines), root_of(leaves)), key))
    old = Checkpoint(log.origin, previous, root_of(leaves[:previous]))
    proof = prove_consistency(previous, len(lines), ranges_of(leaves))
    files = {
        layout.ENTRIES: joined(lines[first:]),
        layout.BODIES: joined(
            canonical.encode({"index": at, "parts": parts})
            for at, parts in sorted(log.bodies.items())
        ),
        layout.CHECKPOINT: note.encode(),
        layout.KEY: joined(vkey(each, log.origin).encode() for each in keys),
        layout.WITNESSES: joined([str(WITNESS.verifier).encode()]),
        layout.PREVIOUS: checkpoints.sign(old, FIRST_KEY).encode(),
        layout.CONSISTENCY: joined(map(base64.b64encode, proof)),
        layout.EXPLANATION: b"How to check this.\n",
        **tiles_over(leaves),
    }
    for index in {0, len(lines) // 2, len(lines) - 1}:
        files[f"proofs/{index}.tlog-proof"] = proof_of(index, leaves, note)
    return files


def proof_of(index: int, leaves: list[bytes], note: str) -> bytes:
    path = prove_inclusion(index, len(leaves), ranges_of(leaves))
    opening = ["c2sp.org/tlog-proof@v1", f"index {index}"]
    encoded = [base64.b64encode(each).decode() for each in path]
    return ("\n".join([*opening, *encoded]) + "\n\n" + note).encode()


def cosigned(note: str) -> str:
    seconds = int((BEGAN + timedelta(hours=1)).timestamp())
    return checkpoints.with_signatures(note, checkpoints.cosign(note, WITNESS, seconds=seconds))


def joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def tiles_over(leaves: list[bytes]) -> Files:
    """All hash tiles over these leaves; not by the code that the verifier uses."""
    files, level, row = {}, 0, leaves
    while row:
        for number in range(0, len(row), WIDTH):
            part = row[number : number + WIDTH]
            files[tiles.Tile(level, number // WIDTH, len(part)).path] = b"".join(part)
        whole = range(0, len(row) - len(row) % WIDTH, WIDTH)
        row = [root_of(row[at : at + WIDTH]) for at in whole]
        level += 1
    return files


def manifest_of(files: Files, **said: Any) -> bytes:
    """A manifest that fits the files as they are: what an able forger would write."""
    try:
        head = checkpoints.read(files[layout.CHECKPOINT].decode())
        old = checkpoints.read(files[layout.PREVIOUS].decode())
        known: dict[str, Any] = {
            "origin": head.origin, "size": head.size, "root": head.root.hex(),
            "previous": {"size": old.size, "root": old.root.hex()},
        }  # fmt: skip
    except Exception:  # noqa: BLE001 (a forged checkpoint may be anything)
        known = {"origin": ORIGIN, "size": 300, "root": "0" * 64, "previous": None}
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = {
        "format": layout.FORMAT, **known, "first": 0, "filter": {}, "not_covered": 0,
        "created_at": (BEGAN + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "selected": files.get(layout.ENTRIES, b"").count(b"\n"), "bodies": "all",
        "newest_outside": {"kind": "witness", "size": 300, "at": "2026-03-02T13:00:00Z"},
        "files": listed, **said,
    }  # fmt: skip
    return json.dumps(manifest).encode()


def write(files: Files, folder: Path, **said: Any) -> Path:
    """The bundle in a folder, with a manifest that fits unless `files` has one."""
    for name, content in {layout.MANIFEST: manifest_of(files, **said), **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return folder


Change = Callable[[Log], None]


def rewritten(change: Change, **how: Any) -> Files:
    """The bundle of a log in which history was changed, and all was sealed and signed anew."""
    log = rich()
    change(log)
    return files_of(log, **how)
