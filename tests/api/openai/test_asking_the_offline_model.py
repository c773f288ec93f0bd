"""The offline model, asked by OpenAI's own client for what it can't do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import openai
import pytest

from gateway import accounts, endpoints, routes

ASK: Any = [{"role": "user", "content": "May I return a kettle?"}]
PICTURE: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.fixture
def client(office: Any) -> openai.OpenAI:
    """A client of a tenant with a route `quiet` to the offline model."""
    alice, now = office.cast.alice, datetime.now(UTC)
    provider = accounts.add("offline", kind="offline", by=alice, now=now)
    endpoint = endpoints.add(
        "quiet-1",
        provider=provider,
        model="offline-extractive-1",
        purpose="chat",
        input_micros_per_million=0,
        output_micros_per_million=0,
        by=alice,
        now=now,
    )
    routes.add("quiet", purpose="chat", endpoints=[endpoint], by=alice, now=now)
    made: openai.OpenAI = office.client()
    return made


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 3}, "n"),
        ({"n": 3, "stream": True}, "n"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content[0]"),
    ],
    ids=["choices", "streamed", "picture"],
)
def test_what_it_can_not_do_is_a_bad_request_that_names_the_member(
    client: openai.OpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="quiet", **{"messages": ASK, **more})
    assert refused.value.param == param
    assert refused.value.code == "provider_refused"


def test_what_it_does_not_know_is_ignored(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="quiet", messages=ASK, n=1, temperature=0.5, extra_body={"x_vendor": 1}
    )
    assert len(answer.choices) == 1
