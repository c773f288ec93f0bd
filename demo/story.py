"""The only place for the story: what happens in it, and what must hold."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from countersign.installation import Installation
from demo import bundle, running
from demo.client import Client, Refused
from demo.desk import COLLECTION, DOCUMENTS
from demo.narrator import DidNotHold, Narrator
from demo.orders import Orders
from demo.tenancy import Staff

QUESTION = "How many days do customers have to return electronics?"
SMALL = (
    "The cooking pot of order 1042 arrived dented. The customer keeps it and asks for 25.00 EUR"
    " back. Please refund it."
)
LARGE = (
    "The tent of order 1043 arrived with a torn flysheet. The customer keeps it for 374.70 EUR."
    " Please refund that amount."
)
TOO_LARGE = (
    "Please refund 1,890.00 EUR for order 1044 because the customer has changed her mind."
)
REASON = (
    "Refunds above 500.00 EUR are for the Customer Care Lead, and the return window of order 1044"
    " is over."
)
INTERRUPTED = "The grip of a pole of order 1003 is scratched. Please refund 20.00 EUR for it."
WAITING = "Please refund 124.50 EUR for order 1041 because the jacket arrived with a broken zip."
SLOW_MILLISECONDS = 1_500


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who takes part."""

    installation: Installation
    acme: Staff
    globex: Staff
    orders: Orders
    narrator: Narrator
    folder: Path


def play(story: Story) -> None:
    """All seven parts in order. Raises DidNotHold where one of them does not come out so."""
    the_handbook_is_searchable(story)
    a_question_is_answered(story)
    a_small_refund_goes_through(story)
    run = a_large_refund_is_held_and_approved(story)
    another_one_is_rejected(story)
    globex_sees_nothing(story, run)
    the_ledger_proves_itself(story)
    a_killed_worker_repeats_nothing(story)
    story.narrator.says("")
    story.narrator.holds("Everything in the story held.", True)


def the_handbook_is_searchable(story: Story) -> None:
    """1. Both forms of the handbook are found, by heading and by page."""
    tell = story.narrator
    tell.part(1, "acme's handbook is searchable")
    hits = story.acme["Bob"].post(
        f"/collections/{COLLECTION}/search", {"query": QUESTION, "limit": 10}
    )["hits"]
    tell.lists([[_place(hit), _short(hit["quote"])] for hit in hits[:4]], head=["where", "passage"])
    found = {hit["title"] for hit in hits}
    tell.holds(
        "A search finds the Markdown and the PDF.",
        found >= set(DOCUMENTS.values()),
        otherwise=f"It found {sorted(found)}.",
    )
    tell.holds("Each passage says where it stands: a heading or a page.", all(map(_place, hits)))


def a_question_is_answered(story: Story) -> None:
    """2. The agent answers from the handbook and cites it."""
    tell = story.narrator
    tell.part(2, "The agent refund-desk answers a customer from the handbook")
    run = running.ask(story.acme.app, QUESTION, tell)
    answer = _answer(run)
    tell.quotes("The answer", answer["text"])
    tell.lists(
        [[c["ref"], _place(c), _short(c["text"])] for c in answer["citations"]],
        head=["", "document", "passage"],
    )
    tell.holds("It says 14 days.", "14 days" in answer["text"], otherwise=answer["text"])
    tell.holds("It cites what it says.", answer["citations"])
    tell.holds(
        "Each citation names a document, a heading or page, and a passage.",
        all(c["document_id"] and c["passage_id"] and _place(c) for c in answer["citations"]),
    )


def a_small_refund_goes_through(story: Story) -> None:
    """3a. Policy lets a small refund run without a person."""
    tell = story.narrator
    tell.part(3, "The agent refunds: a small amount unattended, a large one is held")
    run = running.ask(story.acme.app, SMALL, tell)
    tell.quotes("The answer", _answer(run)["text"])
    _refunded_once(story, run, "1042", 2_500)


def a_large_refund_is_held_and_approved(story: Story) -> str:
    """3b and 4a. A large one waits for a reviewer; the agent's author is none. Returns the run."""
    tell, reviewer = story.narrator, story.acme["Bob"]
    run = running.ask(story.acme.app, LARGE, tell)
    _is_held(story, run)
    tell.part(4, "The reviewer decides")
    approval = reviewer.get(f"/approvals/{run['approval']}")
    _show(approval, tell)
    tell.holds(
        "The approval is for exactly order 1043 and 374.70 EUR.",
        approval["arguments"]["order_id"] == "1043"
        and approval["arguments"]["amount_cents"] == 37_470,
        otherwise=str(approval["arguments"]),
    )
    tell.holds("It shows what led to it.", len(approval["evidence"]) > 1)
    _author_is_refused(story, approval)
    reviewer.post(f"/approvals/{approval['id']}/votes", {"verdict": "approve"})
    tell.says("Bob approves. The run goes on in the worker.")
    done = running.follow(
        story.acme.app, run["id"], tell, after=approval["step"] - 1, through="held"
    )
    tell.quotes("The answer", _answer(done)["text"])
    _refunded_once(story, done, "1043", 37_470)
    return str(run["id"])


def another_one_is_rejected(story: Story) -> None:
    """4b. A rejection reaches the agent with its reason."""
    tell = story.narrator
    run = running.ask(story.acme.app, TOO_LARGE, tell)
    _is_held(story, run)
    approval = story.acme["Bob"].get(f"/approvals/{run['approval']}")
    vote = {"verdict": "reject", "reason": REASON}
    story.acme["Bob"].post(f"/approvals/{approval['id']}/votes", vote)
    tell.says(f"Bob rejects: {REASON}")
    done = running.follow(
        story.acme.app, run["id"], tell, after=approval["step"] - 1, through="held"
    )
    answer = _answer(done)["text"]
    tell.quotes("The answer", answer)
    tell.holds("No refund was made.", story.orders.refunds(done["id"]) == 0)
    words = ("reject", "not made", "not been made", "declin", "could not", "can't", "unable")
    said = any(word in answer.lower() for word in words)
    tell.holds("The agent says that it was not made.", said, otherwise=answer)


def globex_sees_nothing(story: Story, run: str) -> None:
    """5. To another tenant what exists answers like what never did."""
    tell = story.narrator
    tell.part(5, "globex sees nothing of acme")
    document = next(story.acme["Carol"].each("/documents"))["id"]
    entry = next(story.acme["Carol"].each("/ledger/entries", correlation=run))["id"]
    there = {"runs": run, "documents": document, "ledger/entries": entry}
    for place, known in there.items():
        _answers_alike(story, f"/{place}/", known)


def _answers_alike(story: Story, path: str, known: str) -> None:
    unknown = str(uuid.uuid4())
    answers = {name: story.globex.app.ask("GET", path + name) for name in (known, unknown)}
    bodies = {answer.body.replace(name.encode(), b"ID") for name, answer in answers.items()}
    statuses = {answer.status for answer in answers.values()}
    story.narrator.holds(
        f"GET {path}… answers 404 with the same bytes, whether acme has it or nobody does.",
        statuses == {404} and len(bodies) == 1,
        otherwise=f"{statuses} {bodies}",
    )


def the_ledger_proves_itself(story: Story) -> None:
    """6. A bundle verifies offline; a copy with one changed bit does not."""
    tell, officer = story.narrator, story.acme["Carol"]
    tell.part(6, "The compliance officer exports the ledger, and an auditor checks it offline")
    _wait_until_sealed(officer)
    key = officer.get("/ledger/checkpoint")["verifier_key"]
    file = story.folder / "acme-ledger.tar.gz"
    file.write_bytes(officer.fetch("/ledger/export").body)
    whole = bundle.verify(file, key=key)
    tell.says(f"python -m audit.verify {file}")
    for check in whole.report["checks"]:
        tell.does(check["code"], check["sentence"])
    tell.holds("The bundle is whole.", whole.code == 0, otherwise=str(whole.report))
    copy, index = bundle.damaged(file, "approval.spent")
    found = bundle.verify(copy, key=key)
    named = [sentence for sentence in found.findings if f"index {index} " in sentence]
    tell.says(f"One bit of the entry at index {index} is flipped in a copy.")
    tell.holds(
        "The verifier finds it and names the entry.",
        found.code == 1 and len(named) == 1,
        otherwise=str(found.report),
    )
    tell.does("entry_changed", named[0])


def _wait_until_sealed(officer: Client) -> None:
    """The newest entry is under a checkpoint: the sequencer takes a fraction of a second."""
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
    raise DidNotHold("The ledger was not sealed within 20 seconds.", logs=("sequencer",))


def a_killed_worker_repeats_nothing(story: Story) -> None:
    """7. SIGKILL between the shop's refund and its answer: the run ends, the refund stays one."""
    tell, processes = story.narrator, story.installation.processes
    tell.part(7, "The worker is killed in the middle of a refund")
    story.orders.slow_down(SLOW_MILLISECONDS)
    tell.quotes("The task", INTERRUPTED)
    run = running.give(story.acme.app, INTERRUPTED)
    with tell.progress("Waiting until the shop has refunded and has not answered yet"):
        _wait_for_refund(story, run)
    processes.kill("worker")
    tell.says("SIGKILL. The worker never hears that the refund was made.")
    processes.start_again("worker")
    with tell.progress("Another worker takes the step up, once the dead one's lease is over"):
        done = running.follow(story.acme.app, run, Narrator.silent())
    tell.quotes("The answer", _answer(done)["text"])
    log = story.orders.log(run)
    tell.says(f"The shop's log of this run: {', '.join(log)}")
    tell.holds("The step was tried again, under the same Idempotency-Key.", len(log) > 1)
    _refunded_once(story, done, "1003", 2_000)


def _wait_for_refund(story: Story, run: str) -> None:
    deadline = time.monotonic() + running.RUN_SECONDS
    while not story.orders.refunds(run):
        if time.monotonic() > deadline:
            raise DidNotHold(f"The run {run} never came to its refund.")
        time.sleep(0.02)


def leave_one_waiting(story: Story) -> None:
    """A held refund for whoever opens the console afterwards."""
    running.follow(
        story.acme.app, running.give(story.acme.app, WAITING), Narrator.silent()
    )


def _answer(run: dict[str, Any]) -> dict[str, Any]:
    if run["state"] != "completed":
        raise DidNotHold(f"The run {run['id']} is {run['state']}: {run['failure']}")
    answer: dict[str, Any] = run["answer"]
    return answer


def _is_held(story: Story, run: dict[str, Any]) -> None:
    refunds = story.orders.refunds(run["id"])
    story.narrator.holds(
        "It is held, and nothing was refunded.",
        run["state"] == "held" and refunds == 0,
        otherwise=f"The run is {run['state']} ({run['failure']}), with {refunds} refunds.",
    )


def _refunded_once(story: Story, run: dict[str, Any], order: str, cents: int) -> None:
    refunds, refunded = story.orders.refunds(run["id"]), story.orders.order(order)["refunded_cents"]
    amount = f"{cents // 100}.{cents % 100:02d} EUR"
    story.narrator.holds(
        f"The shop's own log has exactly one refund of {amount} for order {order}.",
        refunds == 1 and refunded == cents,
        otherwise=f"It has {refunds}, together {refunded} cents.",
    )


def _author_is_refused(story: Story, approval: dict[str, Any]) -> None:
    """Dave is a reviewer too, so that only his being the author stands in his way."""
    path = f"/approvals/{approval['id']}/votes"
    try:
        story.acme["Dave"].post(path, {"verdict": "approve"})
    except Refused as refused:
        code, detail = refused.code, refused.detail
    else:
        code, detail = "nothing", "it was accepted"
    story.narrator.holds(
        "Dave, who wrote the agent, can't approve what it proposes.",
        code == "author_cannot_vote",
        otherwise=detail,
    )


def _show(approval: dict[str, Any], tell: Narrator) -> None:
    why = f"{approval['code']} ({', '.join(approval['reasons'])})"
    arguments = ", ".join(f"{k} = {v}" for k, v in approval["arguments"].items())
    rows = [["wants", f"{approval['resource']}: {arguments}"], ["held because", why]]
    rows += [[e["kind"], f"{e['title']}: {_short(e['text'])}"] for e in approval["evidence"]]
    tell.lists(rows)


def _place(cited: dict[str, Any]) -> str:
    """Document, and heading or page; empty where neither is known."""
    where = cited["heading"] or (f"page {cited['page']}" if cited["page"] else "")
    return f"{cited.get('title') or cited['document']}, {where}" if where else ""


def _short(text: str) -> str:
    single = " ".join(text.split())
    return single if len(single) <= 120 else f"{single[:119]}…"
