"""Creating, changing and removing collections."""

from __future__ import annotations

from datetime import datetime

import pytest
from cast import Cast

from retrieval import collections, queries
from retrieval.models import Collection, Document, Passage, Posting
from tenants import isolation
from tenants.principals import NotPermitted, Principal


def test_a_collection_is_found_by_its_slug(acme: Cast, shop: Collection) -> None:
    assert queries.access_collection("shop", principal=acme.carol) == shop


def test_an_agent_has_no_way_to_a_collection_but_search(acme: Cast, shop: Collection) -> None:
    agent = Principal(kind="agent", id="refund-desk", name="Refund desk", tenant="acme")
    with pytest.raises(queries.CollectionUnknown):
        queries.access_collection("shop", principal=agent)


def test_a_slug_is_taken_once_a_tenant(
    acme: Cast, globex: Cast, shop: Collection, now: datetime
) -> None:
    with pytest.raises(collections.SlugTaken):
        collections.create("shop", name="S", embedding_route="e", by=acme.alice, now=now)
    with isolation.acting_for(globex.tenant):
        collections.create("shop", name="S", embedding_route="e", by=globex.mallory, now=now)


@pytest.mark.parametrize(
    ("slug", "name", "language"),
    [("Shop", "S", "english"), ("", "S", "english"), ("s", " ", "english"), ("s", "S", "klingon")],
)
def test_a_malformed_collection_is_refused(
    acme: Cast, now: datetime, slug: str, name: str, language: str
) -> None:
    with pytest.raises(collections.CollectionMalformed):
        collections.create(
            slug, name=name, embedding_route="e", by=acme.alice, now=now, language=language
        )


def test_a_change_is_kept_and_no_change_is_none(acme: Cast, shop: Collection) -> None:
    before = isolation.current().__class__.objects.get(slug="acme").configuration_version
    collections.change(shop, by=acme.dave, name="Shop")
    changed = collections.change(shop, by=acme.dave, description="All about the shop")
    assert changed.description == "All about the shop"
    after = isolation.current().__class__.objects.get(slug="acme").configuration_version
    assert after == before + 1


def test_removing_a_collection_removes_all_of_it(acme: Cast, handbook: Collection) -> None:
    collections.remove(handbook, by=acme.alice)
    for rows in (Collection, Document, Passage, Posting):
        assert not rows.objects.exists()


def test_a_reviewer_changes_no_collection(acme: Cast, shop: Collection, now: datetime) -> None:
    with pytest.raises(NotPermitted):
        collections.create("x", name="X", embedding_route="e", by=acme.bob, now=now)
    with pytest.raises(NotPermitted):
        collections.change(shop, by=acme.bob, name="Mine")
    with pytest.raises(NotPermitted):
        collections.remove(shop, by=acme.bob)
