"""The only place for parts 1 and 2: the handbook is found, and questions are answered from it."""

from __future__ import annotations

from typing import Any

from demo import running
from demo.desk import COLLECTION, DOCUMENTS
from demo.scene import Scene, answer_of, place_of, short

DAMAGED = "My parcel arrived damaged. How soon do I have to report it?"
PAIRED = "May I send back a GPS watch that I have paired with my account?"
NOT_COVERED = "Which ski wax do you recommend for wet snow?"


def the_handbook_is_searchable(scene: Scene) -> None:
    """1. Both forms of the handbook are found, by heading and by page."""
    tell = scene.narrator
    tell.part(1, "acme's handbook is searchable")
    asked = {"query": DAMAGED, "limit": 10}
    hits = scene.acme["Bob"].post(f"/collections/{COLLECTION}/search", asked)["hits"]
    tell.lists([[place_of(hit), short(hit["quote"])] for hit in hits[:4]])
    found = {hit["title"] for hit in hits}
    tell.holds(
        "A search finds the Markdown and the PDF.",
        found >= set(DOCUMENTS.values()),
        otherwise=f"It found {sorted(found)}.",
    )
    tell.holds("Each passage says where it stands: a heading or a page.", all(map(place_of, hits)))


def questions_are_answered(scene: Scene) -> None:
    """2. The agent answers from the handbook and cites it; what it does not say is not invented."""
    tell = scene.narrator
    tell.part(2, "The agent refund-desk answers customers from the handbook")
    answer = _ask(scene, DAMAGED)
    tell.holds("It says 7 days.", "7 days" in answer["text"], otherwise=answer["text"])
    _is_cited(scene, answer)
    answer = _ask(scene, PAIRED)
    tell.holds("It says to unpair it.", "unpair" in answer["text"], otherwise=answer["text"])
    _is_cited(scene, answer)
    answer = _ask(scene, NOT_COVERED)
    tell.holds("It cites nothing for what no passage says.", not answer["citations"])


def _ask(scene: Scene, question: str) -> dict[str, Any]:
    answer = answer_of(running.ask(scene.acme.app, question, scene.narrator))
    scene.narrator.quotes("The answer", answer["text"])
    return answer


def _is_cited(scene: Scene, answer: dict[str, Any]) -> None:
    tell, cited = scene.narrator, answer["citations"]
    tell.lists([[c["ref"], place_of(c), short(c["text"])] for c in cited])
    tell.holds(
        "It cites what it says: each time a document, a heading or page, and a passage.",
        cited and all(c["document_id"] and c["passage_id"] and place_of(c) for c in cited),
    )
