"""The only place for what the door to embedding models promises."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from model_api import HASTE, Upstream, answers, endpoint, permitted, route

from gateway import embeddings
from gateway.admission import ModelIntentMismatch
from gateway.embeddings import Embedded
from gateway.providers.openai import client
from gateway.providers.protocol import ProviderMalformed, ProviderRateLimited
from gateway.requests import ModelRequestInvalid
from gateway.specs import RouteSpec
from governance.permits import PermitSpent


async def reads(request: web.Request) -> web.StreamResponse:
    """Embed a text as its length and the number 1, the last one first."""
    texts = (await request.json())["input"]
    data = [{"index": i, "embedding": [float(len(text)), 1]} for i, text in enumerate(texts)]
    tokens = sum(map(len, texts))
    body = {"data": data[::-1], "model": "vec-2", "usage": {"prompt_tokens": tokens}}
    return web.json_response(body)


@pytest.fixture
def vectors(upstream: Upstream) -> RouteSpec:
    upstream.will(reads)
    return route(
        endpoint(upstream, purpose="embeddings", dimensions=2, model="vec"), slug="vectors"
    )


async def embed(spec: RouteSpec, texts: list[str]) -> Embedded:
    passes = permitted(texts, resource="vectors")
    return await embeddings.embed(spec, texts, **passes, patience=HASTE)


async def test_vectors_come_in_the_order_of_the_texts(vectors: RouteSpec) -> None:
    embedded = await embed(vectors, ["a", "bbb", "cc"])
    assert embedded.vectors == [[1.0, 1], [3.0, 1], [2.0, 1]]
    assert (embedded.model, embedded.version, embedded.dimensions) == ("vec", "vec-2", 2)


async def test_texts_are_counted_and_priced(vectors: RouteSpec) -> None:
    embedded = await embed(vectors, ["a", "bbb"])
    assert (embedded.usage.input_tokens, embedded.usage.cost_micros) == (4, 4)
    assert embedded.event.output_tokens == 0


async def test_many_texts_take_several_requests_and_stay_in_order(
    vectors: RouteSpec, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TEXTS_A_REQUEST", 2)
    embedded = await embed(vectors, ["a", "bb", "ccc", "dddd", "eeeee"])
    assert [vector[0] for vector in embedded.vectors] == [1, 2, 3, 4, 5]
    assert embedded.usage.input_tokens == 15
    assert upstream.calls == 3


async def test_the_provider_is_asked_for_the_dimensions_of_the_endpoint(
    vectors: RouteSpec, upstream: Upstream
) -> None:
    await embed(vectors, ["a"])
    assert upstream.bodies[0]["dimensions"] == 2


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [1],
        [{"index": 1, "embedding": [1, 2]}],
        [{"index": 0, "embedding": "AAAA"}],
        [{"index": 0, "embedding": [1, "2"]}],
        [{"index": 0, "embedding": [1, 2, 3]}],
        [{"index": 0, "embedding": []}],
        [{"index": [], "embedding": [1, 2]}],
    ],
)
async def test_vectors_that_do_not_fit_are_malformed(
    vectors: RouteSpec, upstream: Upstream, data: Any
) -> None:
    upstream.will(answers({"data": data}))
    with pytest.raises(ProviderMalformed):
        await embed(vectors, ["a"])


async def test_vectors_that_are_not_finite_are_malformed(
    vectors: RouteSpec, upstream: Upstream
) -> None:
    upstream.will(answers(b'{"data": [{"index": 0, "embedding": [1e308, 1e308]}]}'))
    with pytest.raises(ProviderMalformed, match="finite"):
        await embed(vectors, ["a"])


async def test_a_missing_count_is_estimated(vectors: RouteSpec, upstream: Upstream) -> None:
    upstream.will(answers({"data": [{"index": 0, "embedding": [1, 2]}]}))
    embedded = await embed(vectors, ["abcdefgh"])
    assert embedded.usage.estimated
    assert embedded.usage.input_tokens == 2


async def test_a_limited_provider_is_tried_again_and_then_told(
    vectors: RouteSpec, upstream: Upstream
) -> None:
    upstream.will(answers({}, 429), reads)
    assert len((await embed(vectors, ["a"])).attempts) == 2
    upstream.will(answers({}, 429))
    with pytest.raises(ProviderRateLimited):
        await embed(vectors, ["a"])


@pytest.mark.parametrize("texts", [[], [""], ["a", 1], ["a"] * 3_000])
async def test_bad_texts_reach_no_provider(
    vectors: RouteSpec, upstream: Upstream, texts: Any
) -> None:
    with pytest.raises(ModelRequestInvalid):
        await embed(vectors, texts)
    assert upstream.calls == 0


async def test_a_permit_embeds_once_and_only_its_own_texts(
    vectors: RouteSpec, upstream: Upstream
) -> None:
    passes = permitted(["a"], resource="vectors")
    await embeddings.embed(vectors, ["a"], **passes)
    with pytest.raises(PermitSpent):
        await embeddings.embed(vectors, ["a"], **passes)
    with pytest.raises(ModelIntentMismatch):
        await embeddings.embed(vectors, ["b"], **permitted(["a"], resource="vectors"))
    assert upstream.calls == 1
