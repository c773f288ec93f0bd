"""OpenAI's own client asks for embeddings."""

from __future__ import annotations

from typing import Any

import mock_model
import openai
import pytest


def test_texts_become_vectors_in_base64_which_the_client_asks_for(office: Any) -> None:
    office.upstream.will(mock_model.answers(mock_model.vectors([0.5, 0.25, -1.0], [0.0, 1.0, 2.0])))
    raw = office.client().embeddings.with_raw_response.create(
        model="vectors", input=["kettle", "teapot"]
    )
    answer = raw.parse()
    assert [item.embedding for item in answer.data] == [[0.5, 0.25, -1.0], [0.0, 1.0, 2.0]]
    assert answer.usage.prompt_tokens == 7
    assert office.upstream.bodies[0]["input"] == ["kettle", "teapot"]
    assert office.kinds(raw.headers["x-request-id"]) == [
        "intent.decided",
        "effect.begun",
        "model.called",
        "effect.ended",
    ]


def test_one_text_becomes_floats_of_the_models_own_size(office: Any) -> None:
    office.upstream.will(mock_model.answers(mock_model.vectors([0.1, 0.2, 0.3])))
    answer = office.client().embeddings.create(
        model="vectors", input="kettle", encoding_format="float", dimensions=3
    )
    assert answer.data[0].embedding == [0.1, 0.2, 0.3]


def test_another_size_than_the_models_is_refused(office: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="gives 3") as refused:
        office.client().embeddings.create(model="vectors", input="kettle", dimensions=256)
    assert refused.value.param == "dimensions"
    assert office.upstream.bodies == []
