"""Collections, uploads, passages and the search box."""

from __future__ import annotations

import pytest
from acme_house import House
from django.core.files.uploadedfile import SimpleUploadedFile

from retrieval.models import Collection, Document

pytestmark = pytest.mark.usefixtures("handbook_ready")

NEW = {
    "slug": "warranty",
    "name": "Warranty",
    "description": "What lasts.",
    "embedding_route": "embed",
    "language": "english",
}


def _file(
    name: str = "gift-cards.md", content: bytes = b"# Gift cards\n\nNever refunded."
) -> object:
    return SimpleUploadedFile(name, content)


def test_a_builder_makes_a_collection(house: House) -> None:
    assert house.dave.post("/collections/create", NEW)["Location"] == "/collections/warranty/"
    assert "There are no documents yet" in house.dave.words("/collections/warranty/")
    assert house.dave.post("/collections/create", NEW).status_code == 422
    assert Collection.objects.count() == 2


def test_an_upload_is_queued_and_its_row_is_live(house: House) -> None:
    answer = house.dave.post("/collections/handbook/upload", {"files": [_file()]})
    assert answer["Location"] == "/collections/handbook/"
    assert Document.objects.get(filename="gift-cards.md").state == "queued"
    page = house.bob.words("/collections/handbook/")
    assert 'hx-trigger="every 1s"' in page
    seen = page.split("?seen=")[1].split("&")[0]
    assert (
        house.bob.get("/collections/handbook/", {"seen": seen}, HX_Request="true").status_code
        == 204
    )
    Document.objects.update(state="ready")
    part = house.bob.get("/collections/handbook/", {"seen": seen}, HX_Request="true")
    assert "hx-trigger" not in part.content.decode()


def test_each_file_that_is_refused_says_why_and_the_others_are_taken(house: House) -> None:
    files = [_file(), _file("a.exe", b"MZ"), _file("empty.txt", b" "), _file("x.pdf", b"no pdf")]
    answer = house.dave.post("/collections/handbook/upload", {"files": files})
    page = answer.content.decode()
    assert answer.status_code == 422
    for name in ("a.exe", "empty.txt", "x.pdf"):
        assert f"{name}: " in page
    assert Document.objects.filter(filename="gift-cards.md").exists()
    assert house.dave.post("/collections/handbook/upload").status_code == 422


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    house: House, settings: object
) -> None:
    settings.MAX_DOCUMENT_BYTES = 10
    answer = house.dave.post("/collections/handbook/upload", {"files": [_file()]})
    assert "10 are the limit" in answer.content.decode()


def test_whoever_only_reads_has_no_upload(house: House) -> None:
    assert "data-upload" not in house.vera.words("/collections/handbook/")


def test_the_search_box_finds_passages_with_scores(house: House) -> None:
    query = {"query": "How long may electronics be returned?"}
    page = house.bob.post("/collections/handbook/search", query).content.decode()
    assert "Electronics have a window of 14 days." in page
    assert "score 0." in page
    assert "/passages/" in page


def test_a_search_for_nothing_says_so_beside_the_box(house: House) -> None:
    answer = house.bob.post("/collections/handbook/search", {"query": ""})
    assert answer.status_code == 422
    assert "query_malformed" in answer.content.decode()


def test_a_citation_leads_to_the_passage_in_its_document(house: House) -> None:
    sent = house.vera.get(f"/passages/{house.passage}")["Location"]
    assert sent == f"/documents/{house.document}?page=1#passage-{house.passage}"
    assert f'id="passage-{house.passage}"' in house.vera.words(sent.partition("#")[0])


def test_a_file_is_downloaded_and_never_shown_by_the_browser(house: House) -> None:
    answer = house.vera.get(f"/documents/{house.document}/file")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="returns-handbook.md"'
    assert answer.content.startswith(b"# Returns handbook")


def test_a_document_is_removed_after_being_asked_once(house: House) -> None:
    path = f"/documents/{house.document}/remove"
    assert "No search finds it any more" in house.dave.words(path)
    assert Document.objects.exists()
    house.dave.post(path)
    assert not Document.objects.exists()


def test_a_failed_document_says_why(house: House) -> None:
    path = f"/documents/{house.document}"
    Document.objects.update(state="failed", error_code="document_corrupt", error_message="Damaged.")
    assert "Damaged." in house.vera.words(path)
    assert "Damaged." in house.vera.words("/")
