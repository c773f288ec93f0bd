from __future__ import annotations

import pytest
from builders import Desk
from workbench import kinds, outcomes
from world import calls, says

from audit.queries import entries
from gateway import endpoints, routes
from gateway.models import Provider, Route
from retrieval.embedding import EmbeddingMismatch
from retrieval.models import Document
from runtime import ingesting, searching

ASKING = ("search_handbook", {"query": "What is the refund window?"})


@pytest.fixture(params=[("other-model", 256), ("wordllama-256", 512)], ids=["model", "size"])
def moved_desk(stocked_desk: Desk, request: pytest.FixtureRequest) -> Desk:
    """The desk whose collection was indexed with one model, and whose route leads to another."""
    model, dimensions = request.param
    other = endpoints.add(
        "other-vectors",
        provider=Provider.objects.get(slug="scripted"),
        model=model,
        purpose="embeddings",
        dimensions=dimensions,
        by=stocked_desk.cast.alice,
        now=stocked_desk.now,
    )
    routes.change(Route.objects.get(slug="embed"), endpoints=[other], by=stocked_desk.cast.alice)
    stocked_desk.collection.refresh_from_db()
    return stocked_desk


def test_a_query_is_not_sent_to_another_model_than_the_collections(moved_desk: Desk) -> None:
    desk = moved_desk
    with pytest.raises(EmbeddingMismatch) as refused:
        searching.find(desk.collection, "refunds", by=desk.cast.alice, now=desk.now)
    assert (refused.value.code, refused.value.status) == ("embedding_mismatch", 409)
    assert desk.world.asked == []
    assert entries(kind="effect.failed")[0].event["code"] == "embedding_mismatch"


def test_nor_is_an_agents_query(moved_desk: Desk) -> None:
    run = moved_desk.work(moved_desk.ask("?", calls(ASKING), says("I do not know.")))
    assert outcomes(run)[1] == ("failed", "embedding_mismatch")
    assert len(moved_desk.world.asked) == 2, "the chat model twice, and nobody else"
    assert kinds(run).count("effect.begun") == 3, "an embedding was not even begun"


def test_nor_are_a_documents_passages(moved_desk: Desk) -> None:
    desk = moved_desk
    document = ingesting.upload(
        desk.collection, "other.md", b"# Another\n\nText.", by=desk.cast.alice, now=desk.now
    )
    ingesting.ingest(document.pk, now=desk.now)
    assert Document.objects.get(pk=document.pk).error_code == "embedding_mismatch"
    assert desk.world.asked == []
