"""What the data plane refuses, with the error that OpenAI's own client expects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import mock_model
import openai
import pytest

from audit import queries
from governance import policy_sets
from tenants import isolation, members
from tenants.keys import issuing

ASK: Any = [{"role": "user", "content": "May I return a kettle?"}]
CLOSED = '@id("nobody-asks") forbid (principal, action, resource is Route);'
ASKED_FIRST = (
    '@id("ask-first") forbid (principal, action == Action::"invoke_unattended", resource is Route);'
)


def ask(office: Any, secret: str | None = None, **more: Any) -> Any:
    return office.client(secret).chat.completions.create(
        **{"model": "fast", "messages": ASK, **more}
    )


def opens(office: Any, secret: str) -> bool:
    try:
        office.client(secret).models.list()
    except openai.AuthenticationError:
        return False
    return True


@pytest.mark.parametrize(
    "secret",
    [
        "sk-of-another-house",
        "cs_acme_0000000000000000_" + "0" * 48,
        "cs_nowhere_0000000000000000_" + "0" * 48,
    ],
    ids=["malformed", "unknown", "of-no-tenant"],
)
def test_a_wrong_key_opens_nothing(office: Any, secret: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(office, secret)
    assert refused.value.code == "key_refused"
    assert refused.value.response.headers["www-authenticate"].startswith("Bearer")
    assert office.upstream.bodies == []


def test_a_key_with_another_secret_opens_nothing(office: Any) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(office, office.secret[:-4] + "0000")


def test_without_a_key_one_is_asked_to_send_it(office: Any) -> None:
    answer = office.post("/v1/chat/completions", b"{}", Authorization="")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "sign_in_needed"


def test_a_revoked_key_opens_nothing_from_that_moment_on(office: Any) -> None:
    ask(office)
    assert opens(office, office.secret)
    issuing.revoke(office.key.public_id, by=office.cast.alice, now=datetime.now(UTC))
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(office)
    assert not opens(office, office.secret)
    assert len(office.upstream.bodies) == 1, "only what was asked before"
    for kind, event in office.entries(refused.value.request_id)[2:]:
        assert (kind, event["code"]) == ("effect.failed", "configuration_changed")


def test_a_revoked_key_starts_no_run(office: Any) -> None:
    assert opens(office, office.secret)
    issuing.revoke(office.key.public_id, by=office.cast.alice, now=datetime.now(UTC))
    with pytest.raises(openai.AuthenticationError):
        ask(office, model="agent:refund-desk")


def test_the_token_of_a_member_who_left_opens_nothing(office: Any) -> None:
    ivan = members.add(
        "ivan@acme.test",
        name="Ivan",
        password="a long enough passphrase",
        roles=["viewer"],
        actor=office.cast.alice.actor,
        now=datetime.now(UTC),
    )
    principal = members.principal_of(ivan.user_id)
    assert principal is not None
    _, secret = issuing.issue_member_token(principal, now=datetime.now(UTC))
    ask(office, secret)
    members.remove(ivan.user_id, by=office.cast.alice)
    with pytest.raises(openai.AuthenticationError):
        ask(office, secret)
    assert not opens(office, secret)
    assert len(office.upstream.bodies) == 1


def test_acmes_key_does_not_open_globex_nor_globex_itself_there(office: Any, casts: Any) -> None:
    answer = office.post(
        "/v1/chat/completions", b'{"model":"fast","messages":[{}]}', Host="globex.localhost"
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_refused")
    own = office.post(
        "/v1/chat/completions", b'{"model":"x","messages":[{}]}', Host="acme.localhost"
    )
    assert own.status_code == 404


@pytest.mark.parametrize(
    "host", ["nobody.localhost", "acme.localhost.evil.example", "evil.example", "[::1", "a b"]
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_host_that_is_nobodys_is_not_found(office: Any, host: str, signed: bool) -> None:
    named = {"Host": host} if signed else {"Host": host, "Authorization": ""}
    answer = office.post("/v1/chat/completions", b"{}", **named)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "host_unknown")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.:80", "127.0.0.1", "[::1]:80", "Acme.LocalHost.:80"]
)
def test_a_key_opens_its_tenants_host_and_the_base_domain(office: Any, host: str) -> None:
    answer = office.post("/v1/chat/completions", b"{}", Host=host)
    assert answer.status_code == 400  # the body, which only a known caller's is read


def test_mallorys_key_finds_none_of_acmes_models(office: Any, casts: Any) -> None:
    with isolation.acting_for(casts["globex"].tenant):
        key, secret = issuing.issue_service_key(
            "m", by=casts["globex"].mallory, now=datetime.now(UTC)
        )
    try:
        assert list(office.client(secret).models.list()) == []
        with pytest.raises(openai.NotFoundError):
            ask(office, secret)
    finally:
        with isolation.acting_for(casts["globex"].tenant):
            key.delete()


def test_an_unknown_model_is_not_found(office: Any) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(office, model="slow")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_policys_denial_is_recorded_and_nothing_is_sent(office: Any) -> None:
    ask(office)
    policy_sets.save(CLOSED, tools=dict, by=office.cast.alice, now=datetime.now(UTC))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ask(office)
    assert refused.value.code == "call_denied"
    assert "nobody-asks" in refused.value.message
    # What was judged by the policies of a moment before comes first, if it was: and failed.
    *_, (kind, event) = office.entries(refused.value.request_id)
    assert (kind, event["outcome"], event["reasons"]) == (
        "intent.decided",
        "denied",
        ["nobody-asks"],
    )
    assert len(office.upstream.bodies) == 1, "only what was asked before"


def test_what_a_policy_allows_again_is_allowed_from_that_moment_on(office: Any) -> None:
    alice, now = office.cast.alice, datetime.now(UTC)
    policy_sets.save(CLOSED, tools=dict, by=alice, now=now)
    with pytest.raises(openai.PermissionDeniedError):
        ask(office)
    policy_sets.save(policy_sets.policies.DEFAULT_POLICY, tools=dict, by=alice, now=now)
    ask(office)


def test_a_call_that_would_be_held_is_denied_because_nobody_can_wait(office: Any) -> None:
    text = policy_sets.policies.DEFAULT_POLICY + ASKED_FIRST
    policy_sets.save(text, tools=dict, by=office.cast.alice, now=datetime.now(UTC))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ask(office)
    assert refused.value.code == "approval_needed"
    *_, (_, event) = office.entries(refused.value.request_id)
    assert (event["outcome"], event["code"]) == ("denied", "approval_needed")
    assert office.upstream.bodies == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "fast", "messages": [',
        b"[]",
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": 5, "messages": [{}]}',
        b'{"model": "fast"}',
        b'{"model": "fast", "messages": []}',
        b'{"model": "fast", "messages": ["x"]}',
        b'{"model": "fast", "messages": [{}], "stream": "yes"}',
        b'{"model": "fast", "messages": [{"content": "\xff"}]}',
        b'{"model": "fast", "messages": [{"content": NaN}]}',
        b'{"model": "fast", "messages": ' + b"[" * 5_000,
        b"",
    ],
)
def test_a_malformed_body_is_a_bad_request_and_records_nothing(office: Any, body: bytes) -> None:
    answer = office.post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert office.kinds(answer.headers["x-request-id"]) == []
    assert office.upstream.bodies == []


def test_a_member_that_is_there_twice_is_named(office: Any) -> None:
    body = b'{"model": "fast", "messages": [{"role": "user", "content": "x", "role": "system"}]}'
    answer = office.post("/v1/chat/completions", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "body_malformed")
    assert 'the member "role" twice' in error["message"]
    body = b'{"model": "vectors", "input": "x", "input": "y"}'
    assert office.post("/v1/embeddings", body).json()["error"]["code"] == "body_malformed"


def test_json_comes_in_utf_8(office: Any) -> None:
    body = b'{"model": "fast", "messages": [{"role": "user", "content": "x"}]}'
    for charset, status in (("UTF-8", 200), ("iso-8859-1", 415)):
        named = {"Content-Type": f"application/json; charset={charset}"}
        answer = office.post("/v1/chat/completions", body, **named)
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == "charset_unsupported"


def test_a_body_beyond_the_limit_is_refused_by_its_announced_length(office: Any) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(office, messages=[{"role": "user", "content": "x" * 200_000}])
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


def test_a_body_that_grows_beyond_the_limit_is_refused(office: Any) -> None:
    def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 10_000

    answer = office.post("/v1/chat/completions", pieces())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_large_body_elsewhere_is_a_problem(office: Any) -> None:
    answer = office.post("/api/v1/agents", b"x" * 200_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "body_too_large"


def test_addresses_and_methods_that_there_are_not(office: Any) -> None:
    assert office.post("/v1/completions", b"{}").status_code == 404
    answer = office.post("/v1/models", b"{}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_tokens_instead_of_text_are_refused_clearly(office: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="tokens are not understood"):
        office.client().embeddings.create(model="vectors", input=[1, 2, 3])


def test_a_chat_model_gives_no_embeddings(office: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        office.client().embeddings.create(model="fast", input="x")
    assert refused.value.code == "route_unsuitable"
    assert office.upstream.bodies == []


def test_refusals_are_in_nobody_elses_ledger(office: Any, casts: Any) -> None:
    raw = office.client().chat.completions.with_raw_response.create(model="fast", messages=ASK)
    request_id = raw.headers["x-request-id"]
    with isolation.acting_for(casts["globex"].tenant):
        assert list(queries.entries(correlation=request_id)) == []
    assert mock_model.completion() == raw.http_response.json()
