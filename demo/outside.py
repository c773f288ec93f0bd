"""The only place for part 8: a witness, a SIEM, and an erasure that the ledger survives."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from audit import durable_files
from audit.checkpoints import Verified
from demo import bundle, desk, proving, running
from demo.bundle import Verdict
from demo.narrator import DidNotHold, Narrator
from demo.scene import Scene, answer_of, is_held, refunded_once

BUNDLE = "acme-ledger-later.tar.zst"
# The sequencer asks a witness that was away again after 2 seconds, then 4, 8 and so on.
COSIGNED_SECONDS = 60
STREAMED_SECONDS = 30
PAUSE = 0.1
WITNESSED_REFUNDS = """
// The handbook, 5.1: the largest refunds. None is made before a witness has cosigned its entries.
@id("largest-refunds-are-witnessed")
@record("cosigned")
permit (
  principal == Agent::"refund-desk",
  action == Action::"invoke",
  resource == Tool::"refund_order"
)
when {
  context.arguments has refund_order.amount_cents &&
  context.arguments.refund_order.amount_cents > 200000
};
"""
# A name for each story: what an earlier one left unfinished would stand in the erasure's way.
CUSTOMER = "Nora Keller (order {order})"
TASK = (
    "Nora Keller has broken her ankle before her expedition, and has returned the tent of order"
    " {order} unused. The Customer Care Lead and the finance department agree. Please refund"
    " 2,400.00 EUR for it."
)
WORDS = ("Nora Keller", "broken her ankle")
BASIS = "GDPR art. 17(1)(b): consent withdrawn"
TOLD = ("bodies", "cosignatures", "since")


def it_is_watched_from_outside(scene: Scene) -> None:
    """8. Who holds the ledger from outside, and what is left when a customer is forgotten."""
    tell = scene.narrator
    tell.part(8, "A witness and a SIEM watch from outside, and a customer is erased")
    scene.siem.subscribe(scene.acme["Alice"])
    tell.says("Alice has the ledger streamed to a SIEM, from its first entry on.")
    _the_witness_cosigns(scene)
    run = _a_refund_waits_for_the_witness(scene)
    _the_customer_is_erased(scene, run)
    published = _the_ledger_is_still_whole(scene)
    _the_siem_has_all_of_it(scene, published)


def _the_witness_cosigns(scene: Scene) -> None:
    found = wait_until_cosigned(scene)
    ago = f", {max(0, round(time.time() - found.seconds))} s ago" if found else ""
    scene.narrator.holds(
        f"The witness has cosigned acme's newest checkpoint{ago}.",
        found,
        otherwise=f"No cosignature came within {COSIGNED_SECONDS} seconds.",
    )


def wait_until_cosigned(scene: Scene) -> Verified | None:
    """The witness's signature under a checkpoint that covers the newest entry, once it is there."""
    officer = scene.acme["Carol"]
    proving.wait_until_sealed(officer)
    deadline = time.monotonic() + COSIGNED_SECONDS
    while True:
        note = officer.fetch("/ledger/log/checkpoint").body.decode()
        found = scene.witness.cosignatures(note)
        if found or time.monotonic() > deadline:
            return found[0] if found else None
        time.sleep(PAUSE)


def _a_refund_waits_for_the_witness(scene: Scene) -> dict[str, Any]:
    """A refund is approved while the witness is away: nothing happens until it is back."""
    tell, order = scene.narrator, scene.orders.number("1045")
    desk.ensure_policy(scene.acme["Alice"], WITNESSED_REFUNDS)
    tell.says("Alice's policy: a refund above 2,000.00 EUR waits until a witness has cosigned it.")
    task, person = TASK.format(order=order), CUSTOMER.format(order=order)
    run = running.ask(scene.acme.app, task, tell, person=person)
    is_held(scene, run)
    scene.witness.go_away()
    scene.acme["Bob"].post(f"/approvals/{run['approval']}/votes", {"verdict": "approve"})
    tell.says("The witness is killed, and Bob approves.")
    _it_waits(scene, run["id"])
    scene.witness.come_back()
    tell.says("The witness is back.")
    done = running.follow(scene.acme.app, run["id"], Narrator.silent(), leaving="held")
    tell.quotes("The answer", answer_of(done)["text"])
    refunded_once(scene, done, order, 240_000)
    return {**done, "approval": run["approval"]}


def _it_waits(scene: Scene, run: str) -> None:
    found = _left_alone(scene, run)
    kinds = {"correlation": run, "kind": "intent.decided"}
    decided = scene.acme["Carol"].each("/ledger/entries", **kinds)
    asked_for = {entry["event"]["awaits"] for entry in decided}
    refunds = scene.orders.refunds(run)
    scene.narrator.holds(
        f"The run is waiting, and nothing was refunded. {found['waits_for'] or ''}",
        found["state"] == "waiting" and refunds == 0 and "cosigned" in asked_for,
        otherwise=f"It is {found['state']}, with {refunds} refunds; awaited: {sorted(asked_for)}.",
    )


def _left_alone(scene: Scene, run: str) -> dict[str, Any]:
    """The run once it waits, or is over: an approved one is active for a moment."""
    deadline = time.monotonic() + running.RUN_SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = scene.acme.app.get(f"/runs/{run}")
        if found["state"] not in {"held", "active"}:
            return found
        time.sleep(PAUSE)
    raise DidNotHold(f"The run {run} did not go on after it was approved.")


def _the_customer_is_erased(scene: Scene, run: dict[str, Any]) -> None:
    """Alice asks, Carol approves; then nothing that the API shows of the run has a word of it."""
    tell, before = scene.narrator, words_shown(scene, run)
    wanted = {"person": run["on_behalf_of"], "legal_basis": BASIS}
    erasure = scene.acme["Alice"].post("/erasures", wanted)
    place = f"/erasures/{erasure['id']}/approval"
    code, detail = scene.acme["Alice"].refusal(place, {})
    tell.holds(
        "Alice asks to erase the customer, and can't approve it herself.",
        code == "second_person_needed",
        otherwise=detail,
    )
    scene.acme["Carol"].post(place, {})
    after = words_shown(scene, run)
    tell.holds(
        f"Carol approves. {len(before)} answers of the API had the customer's words; now none has.",
        before and not after,
        otherwise=f"Before: {before}; now: {after}.",
    )


def words_shown(scene: Scene, run: dict[str, Any]) -> list[str]:
    """Where the API shows an auditor the customer's words, of all that it shows of the run."""
    officer = scene.acme["Carol"]
    entries = [row["id"] for row in officer.each("/ledger/entries", correlation=run["id"])]
    paths = [f"/runs/{run['id']}", f"/approvals/{run['approval']}"]
    shown = {path: officer.get(path) for path in paths}
    shown[f"/runs/{run['id']}/steps"] = list(officer.each(f"/runs/{run['id']}/steps"))
    shown |= {
        f"/ledger/entries/{entry}": officer.get(f"/ledger/entries/{entry}") for entry in entries
    }
    return [path for path, found in shown.items() if any(w in json.dumps(found) for w in WORDS)]


def _the_ledger_is_still_whole(scene: Scene) -> list[str]:
    """A new bundle holds, with the witness's keys and part 6's checkpoint; its entries' hashes."""
    tell = scene.narrator
    _the_witness_cosigns(scene)
    file = scene.folder / BUNDLE
    whole = _judged(scene, file)
    told = [check for check in whole.report["checks"] if check["code"] in TOLD]
    for check in told:
        tell.does(check["code"], check["sentence"])
    tell.holds(
        "The ledger is whole: the witness cosigned it, and it continues the one of part 6.",
        whole.code == 0 and len(told) == len(TOLD),
        otherwise=str(whole.report),
    )
    return bundle.hashes(file)


def _judged(scene: Scene, file: Path) -> Verdict:
    """What an auditor says of the ledger, exported to `file`, with what others hold of it."""
    officer = scene.acme["Carol"]
    key = proving.ledger_key(officer)
    durable_files.replace(file, officer.fetch("/ledger/export").body)
    kept = bundle.keep_checkpoint(scene.folder / proving.BUNDLE)
    return bundle.verify(file, key=key, witness=scene.witness.keys_file, since=kept)


def _the_siem_has_all_of_it(scene: Scene, published: list[str]) -> None:
    wanted = list(enumerate(published))
    deadline = time.monotonic() + STREAMED_SECONDS
    while len(got := scene.siem.entries()) < len(wanted) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    missing = sorted(set(wanted) - set(got))
    scene.narrator.holds(
        f"The SIEM has its {len(wanted)} entries, each with the same hash, and every signature"
        " held.",
        got[: len(wanted)] == wanted,
        otherwise=f"It lacks {len(missing)}, or has them otherwise, the first: {missing[:1]}.",
    )
