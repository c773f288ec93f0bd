"""The only place for parts 5 and 6: tenants see nothing of each other, and the ledger holds."""

from __future__ import annotations

import time
import uuid

from audit import durable_files
from demo import bundle
from demo.client import Client, Refused
from demo.narrator import DidNotHold
from demo.scene import Scene

BUNDLE = "acme-ledger.tar.zst"


def globex_sees_nothing(scene: Scene, run: str) -> None:
    """5. To another tenant what exists answers like what never did."""
    tell = scene.narrator
    tell.part(5, "globex sees nothing of acme")
    document = next(scene.acme["Carol"].each("/documents"))["id"]
    entry = next(scene.acme["Carol"].each("/ledger/entries", correlation=run))["id"]
    there = {"runs": run, "documents": document, "ledger/entries": entry}
    for place, known in there.items():
        _answers_alike(scene, f"/{place}/", known)


def _answers_alike(scene: Scene, path: str, known: str) -> None:
    unknown = str(uuid.uuid4())
    answers = {name: scene.globex.app.ask("GET", path + name) for name in (known, unknown)}
    bodies = {answer.body.replace(name.encode(), b"ID") for name, answer in answers.items()}
    statuses = {answer.status for answer in answers.values()}
    scene.narrator.holds(
        f"GET {path}… answers 404 with the same bytes, whether acme has it or nobody does.",
        statuses == {404} and len(bodies) == 1,
        otherwise=f"{statuses} {bodies}",
    )


def the_ledger_proves_itself(scene: Scene) -> None:
    """6. A bundle verifies offline; a copy with one changed bit does not."""
    tell, officer = scene.narrator, scene.acme["Carol"]
    tell.part(6, "The compliance officer exports the ledger, and an auditor checks it offline")
    key = ledger_key(officer)
    file = scene.folder / BUNDLE
    durable_files.replace(file, officer.fetch("/ledger/export").body)
    whole = bundle.verify(file, key=key)
    tell.says(f"python -m audit.verify {file}")
    for check in whole.report["checks"]:
        tell.does(check["code"], check["sentence"])
    tell.holds("The bundle is whole.", whole.code == 0, otherwise=str(whole.report))
    copy, index = bundle.damaged(file, "approval.spent")
    found = bundle.verify(copy, key=key)
    named = found.changed(index)
    tell.says(f"One bit of the entry at index {index} is flipped in a copy.")
    tell.holds(
        "The verifier finds it and names the entry.",
        found.code == 1 and len(named) == 1,
        otherwise=str(found.report),
    )
    tell.does("entry_changed", named[0])


def ledger_key(officer: Client) -> str:
    """The keys that verify the ledger, one a line; its newest entry is under a checkpoint now."""
    wait_until_sealed(officer)
    key: str = officer.get("/ledger/checkpoint")["verifier_key"]
    return key


def wait_until_sealed(officer: Client) -> None:
    """Until the newest entry is under a checkpoint: the sequencer takes a fraction of a second."""
    newest = next(officer.each("/ledger/entries"))["id"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            officer.get(f"/ledger/entries/{newest}/proof")
        except Refused as refused:
            if refused.code != "not_published":
                raise
            time.sleep(0.1)
        else:
            return
    raise DidNotHold("The ledger was not sealed within 20 seconds.")
