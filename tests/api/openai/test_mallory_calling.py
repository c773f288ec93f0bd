"""Another tenant's models look like models that don't exist; a key opens its own host alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from mallorys_calls import CALLS, MISSING, NAMES

from tenants import isolation
from tenants.keys import issuing


@pytest.fixture
def mallorys_key(casts: Any) -> Iterator[str]:
    globex = casts["globex"]
    with isolation.acting_for(globex.tenant):
        key, secret = issuing.issue_service_key("m", by=globex.mallory, now=datetime.now(UTC))
    yield secret
    with isolation.acting_for(globex.tenant):
        key.delete()


def _call(office: Any, path: str, model: str, **headers: str) -> Any:
    body = CALLS[path]
    address = f"{office.web.address}{path}" + (model if path.endswith("/") else "")
    if body:
        return office.line.post(address, json={"model": model, **body}, headers=headers)
    return office.line.get(address, headers=headers)


def _blurred(answer: Any, model: str) -> Any:
    return json.loads(answer.text.replace(model, "X"))


@pytest.mark.parametrize("path", sorted(CALLS))
def test_mallory_gets_the_same_answer_for_acmes_models_as_for_none(
    path: str, office: Any, mallorys_key: str
) -> None:
    signed = {"Authorization": f"Bearer {mallorys_key}"}
    # All at once: who asks for what is not known waits for the next look at the configuration.
    with ThreadPoolExecutor(1 + len(NAMES)) as threads:
        asked = [threads.submit(_call, office, path, name, **signed) for name in (MISSING, *NAMES)]
    nothing, *answers = [each.result() for each in asked]
    for name, answer in zip(NAMES, answers, strict=True):
        assert answer.status_code == nothing.status_code == (200 if path == "/v1/models" else 404)
        assert _blurred(answer, name) == _blurred(nothing, MISSING)
        assert not [word for word in ("acme", "vendor", "upstream") if word in answer.text]
    assert office.upstream.bodies == []


@pytest.mark.parametrize("path", sorted(CALLS))
def test_mallorys_key_is_refused_on_acmes_host(path: str, office: Any, mallorys_key: str) -> None:
    signed = {"Authorization": f"Bearer {mallorys_key}", "Host": "acme.localhost"}
    for name in NAMES:
        answer = _call(office, path, name, **signed)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_refused")
    assert office.upstream.bodies == []
