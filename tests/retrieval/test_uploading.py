"""Taking documents in."""

from __future__ import annotations

import hashlib
from datetime import datetime

import document_samples as samples
import pytest
from cast import NOON, Cast
from pytest_django import fixtures

from retrieval import collections, documents, queries
from retrieval.models import Collection, Document
from retrieval.parsers.protocol import DocumentEmpty, DocumentEncrypted, NotWhatItSays
from retrieval.parsers.registry import FormatUnknown
from tenants import isolation
from tenants.principals import NotPermitted


def test_an_upload_is_queued_with_its_bytes_hash_and_uploader(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    made = documents.upload(
        shop,
        "C:\\temp\\returns_handbook.md",
        b"# Hi\nthere",
        by=acme.dave,
        now=now,
        metadata={"year": 2026},
    )
    document = queries.access_document(made.pk, principal=acme.bob)
    assert (document.state, document.title) == ("queued", "Returns handbook")
    assert (document.filename, document.kind) == ("returns_handbook.md", "markdown")
    assert document.sha256 == hashlib.sha256(b"# Hi\nthere").hexdigest()
    assert document.metadata == {"year": 2026}
    assert (document.uploaded_by_kind, document.uploaded_by) == ("member", acme.dave.id)
    assert queries.content_of(document) == b"# Hi\nthere"


def test_the_same_content_again_is_refused_with_the_id_of_the_first(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    first = documents.upload(shop, "a.txt", b"the same", by=acme.dave, now=now)
    with pytest.raises(documents.DuplicateDocument) as refused:
        documents.upload(shop, "b.txt", b"the same", by=acme.dave, now=now)
    assert refused.value.details["document"] == str(first.pk)
    assert refused.value.status == 409


def test_the_same_content_may_be_in_two_collections(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    other = collections.create("o", name="O", embedding_route="e", by=acme.alice, now=now)
    for collection in (shop, other):
        documents.upload(collection, "a.txt", b"the same", by=acme.dave, now=now)
    assert Document.objects.count() == 2


def test_a_document_of_200_mb_is_too_large(
    acme: Cast, shop: Collection, now: datetime, settings: fixtures.Settings
) -> None:
    settings.MAX_DOCUMENT_BYTES = 25 * 1024 * 1024
    with pytest.raises(documents.DocumentTooLarge) as refused:
        documents.upload(shop, "a.txt", b"x" * 200_000_000, by=acme.dave, now=now)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("filename", "content", "problem"),
    [
        ("a.txt", b"", DocumentEmpty),
        ("a.txt", b" \n ", DocumentEmpty),
        ("a.pdf", b"plain text", NotWhatItSays),
        ("a.docx", samples.encrypted_docx(), DocumentEncrypted),
        ("a.exe", b"MZ", FormatUnknown),
        ("..", b"text", FormatUnknown),
        ("", b"text", FormatUnknown),
    ],
)
def test_a_bad_upload_leaves_nothing(
    acme: Cast, shop: Collection, filename: str, content: bytes, problem: type[Exception]
) -> None:
    with pytest.raises(problem):
        documents.upload(shop, filename, content, by=acme.dave, now=NOON)
    assert not Document.objects.exists()


@pytest.mark.parametrize(
    "metadata", [{"a": [1]}, {"a": "x" * 501}, {"a": 2**60}, {str(n): 1 for n in range(33)}]
)
def test_metadata_is_flat_and_small(
    acme: Cast, shop: Collection, now: datetime, metadata: documents.Metadata
) -> None:
    with pytest.raises(documents.MetadataMalformed):
        documents.upload(shop, "a.txt", b"x", by=acme.dave, now=now, metadata=metadata)


def test_names_with_strange_characters_are_cleaned(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    name = "../\x00etc\ud800/Über\tuns\u202e" + "x" * 300 + ".txt"
    made = documents.upload(shop, name, b"text", by=acme.dave, now=now)
    made.refresh_from_db()
    assert made.filename.startswith("Über")
    assert made.filename.endswith(".txt")
    assert len(made.filename) <= 200


def test_a_reviewer_uploads_and_removes_nothing(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    with pytest.raises(NotPermitted):
        documents.upload(shop, "a.txt", b"text", by=acme.bob, now=now)
    made = documents.upload(shop, "a.txt", b"text", by=acme.dave, now=now)
    with pytest.raises(NotPermitted):
        documents.remove(made, by=acme.bob)


def test_a_document_of_another_tenant_does_not_exist(
    acme: Cast, globex: Cast, shop: Collection, now: datetime
) -> None:
    made = documents.upload(shop, "a.txt", b"text", by=acme.dave, now=now)
    with isolation.acting_for(globex.tenant), pytest.raises(queries.DocumentUnknown):
        queries.access_document(made.pk, principal=globex.mallory)
    with pytest.raises(queries.DocumentUnknown):  # and not with her principal in acme's schema
        queries.access_document(made.pk, principal=globex.mallory)


def test_removing_twice_says_that_there_is_nothing(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    made = documents.upload(shop, "a.txt", b"text", by=acme.dave, now=now)
    documents.remove(made, by=acme.dave)
    with pytest.raises(queries.DocumentUnknown):
        documents.remove(made, by=acme.dave)


def test_a_client_app_uploads_and_removes_nothing(
    acme: Cast, shop: Collection, now: datetime
) -> None:
    made = documents.upload(shop, "a.txt", b"text", by=acme.robo, now=now)
    assert (made.uploaded_by_kind, made.uploaded_by) == ("client_app", acme.robo.id)
    with pytest.raises(NotPermitted):
        documents.remove(made, by=acme.robo)
