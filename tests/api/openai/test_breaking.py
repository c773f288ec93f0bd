"""When the model, the client, the ledger or the web server fails in the middle of a call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mock_model
import openai
import pytest
import web_process
from django.db import connection, transaction

from audit import roles
from audit.models import Entry
from tenants import isolation

ASK: Any = [{"role": "user", "content": "May I return a kettle?"}]
BEFORE = ["intent.decided", "effect.begun"]


def ask(office: Any, **more: Any) -> Any:
    return office.client().chat.completions.create(**{"model": "fast", "messages": ASK, **more})


def wait_for(found: Callable[[], Any]) -> Any:
    """What `found` returns once it is true; ten seconds at most."""
    deadline = time.monotonic() + 10
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def kinds_of_latest(office: Any) -> list[str]:
    """The kinds of the entries of the latest call that was recorded by Robo."""
    latest = Entry.objects.filter(actor_id=office.key.public_id).order_by("-id").first()
    return office.kinds(str(latest.correlation)) if latest else []


@pytest.mark.parametrize(
    ("reaction", "status", "code", "end"),
    [
        (mock_model.answers({}, status=429), 429, "provider_rate_limited", "failed"),
        (mock_model.answers({}, status=500), 502, "provider_unavailable", "failed"),
        # Three tries, each of a provider's shortest time-out.
        pytest.param(mock_model.hangs, 504, "provider_timeout", "unknown", marks=pytest.mark.soak),
        (mock_model.answers(b"<html>"), 502, "provider_malformed", "unknown"),
        (mock_model.answers({"choices": []}), 502, "provider_malformed", "unknown"),
        (
            mock_model.answers({"error": {"message": "no"}}, status=400),
            400,
            "provider_refused",
            "failed",
        ),
    ],
    ids=["429", "500", "hang", "no-json", "no-choices", "400"],
)
def test_a_model_that_fails_is_told_and_settled(
    office: Any, reaction: Any, status: int, code: str, end: str
) -> None:
    """Whether it certainly did nothing, or may have done the work and charged for it."""
    office.upstream.will(reaction)
    with pytest.raises(openai.APIStatusError) as failed:
        ask(office)
    assert (failed.value.status_code, failed.value.code) == (status, code)
    entries = office.entries(failed.value.request_id)
    assert [kind for kind, _ in entries] == [*BEFORE, "model.failed", f"effect.{end}"]
    assert entries[2][1]["attempts"]
    assert entries[3][1]["code"] == code


@pytest.mark.parametrize(
    ("asked", "told"), [("20", "20"), ("86400", "60"), (None, None)], ids=["short", "long", "none"]
)
def test_a_busy_model_is_a_rate_limit_with_a_bounded_wait(
    office: Any, asked: str | None, told: str | None
) -> None:
    office.upstream.will(
        mock_model.answers({}, status=429, headers={"Retry-After": asked} if asked else {})
    )
    with pytest.raises(openai.RateLimitError) as limited:
        ask(office)
    assert (limited.value.code, limited.value.type) == ("provider_rate_limited", "rate_limit_error")
    assert limited.value.response.headers.get("retry-after") == told


def test_a_stream_that_fails_before_its_first_chunk_is_an_ordinary_error(office: Any) -> None:
    office.upstream.will(mock_model.answers({}, status=500))
    with pytest.raises(openai.InternalServerError) as failed:
        ask(office, stream=True)
    assert office.kinds(failed.value.request_id)[2:] == ["model.failed", "effect.failed"]


def test_a_stream_that_is_cut_ends_with_an_error_and_tells_what_was_used(office: Any) -> None:
    office.upstream.will(mock_model.streams(*mock_model.SPOKEN[:2], breaks=True))
    stream = ask(office, stream=True)
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)
    entries = office.entries(stream.response.headers["x-request-id"])
    assert [kind for kind, _ in entries] == [*BEFORE, "model.called", "effect.unknown"]
    assert entries[2][1]["estimated"]
    assert entries[2][1]["output_tokens"] == 1
    assert entries[3][1]["code"] == "provider_cut"


def test_a_client_that_goes_away_closes_the_model_and_is_settled(office: Any) -> None:
    office.upstream.will(mock_model.streams(*[mock_model.chunk("word ")] * 200, pause=0.05))
    stream = ask(office, stream=True)
    assert next(iter(stream)).choices[0].delta.content == "word "
    stream.close()
    assert office.upstream.left.wait(5)
    entries = wait_for(
        lambda: (found := office.entries(stream.response.headers["x-request-id"]))[3:] and found
    )
    assert [kind for kind, _ in entries] == [*BEFORE, "model.called", "effect.unknown"]
    assert entries[2][1]["output_tokens"] >= 1
    assert entries[3][1]["code"] == "client_gone"


def test_a_client_that_goes_away_before_the_first_word_is_settled(office: Any) -> None:
    office.upstream.will(mock_model.hangs)
    impatient = office.client(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model="fast", messages=ASK, stream=True)
    assert office.upstream.left.wait(0.6), "the model's own timeout is a second"
    kinds = wait_for(lambda: (found := kinds_of_latest(office))[2:] and found)
    assert kinds == [*BEFORE, "effect.unknown"]


@contextmanager
def ledger_closed() -> Iterator[None]:
    """Nobody can write to the ledger as long as the block runs."""

    def change(verb: str) -> None:
        database = connection.settings_dict["NAME"]
        owner, tenants = roles.owner_of(database), roles.tenants_of(database)
        with (
            isolation.outside_tenants(),
            transaction.atomic(),
            connection.cursor() as cursor,
            roles.acting_as(cursor, owner),
        ):
            cursor.execute(f'{verb} "{tenants}"')

    change("REVOKE USAGE ON SCHEMA audit FROM")
    try:
        yield
    finally:
        change("GRANT USAGE ON SCHEMA audit TO")


def test_what_cannot_be_recorded_is_not_sent(office: Any) -> None:
    ask(office)
    sent = len(office.upstream.bodies)
    with ledger_closed(), pytest.raises(openai.InternalServerError) as refused:
        ask(office)
    assert (refused.value.status_code, refused.value.code) == (503, "ledger_unavailable")
    assert len(office.upstream.bodies) == sent
    ask(office)


def test_an_answer_that_cannot_be_recorded_is_withheld(office: Any) -> None:
    closing = ledger_closed()

    def close_ledger() -> None:
        closing.__enter__()
        connection.close()  # of the thread that this runs in

    async def slams(request: Any) -> Any:
        await asyncio.to_thread(close_ledger)
        return await mock_model.answers(mock_model.completion())(request)

    office.upstream.will(slams)
    try:
        with pytest.raises(openai.InternalServerError) as withheld:
            ask(office)
    finally:
        closing.__exit__(None, None, None)
    assert withheld.value.code == "outcome_unrecorded"
    assert withheld.value.response.headers["x-should-retry"] == "false"
    assert office.kinds(withheld.value.request_id) == BEFORE


@pytest.mark.soak
def test_a_killed_web_server_leaves_what_it_had_begun(office: Any, tmp_path: Any) -> None:
    office.upstream.will(mock_model.hangs)
    with web_process.serving(connection.settings_dict["NAME"], tmp_path) as web:
        client = office.client().with_options(base_url=f"{web.address}/v1")

        def call() -> None:
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="fast", messages=ASK)

        calling = threading.Thread(target=call)
        calling.start()
        assert office.upstream.asked.wait(30)
        web.process.kill()
        calling.join(10)
        assert not calling.is_alive()
    assert kinds_of_latest(office) == BEFORE
