"""The only place that furnishes acme for clients of the data plane: models, a key, a web server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import committed
import httpx2
import mock_model
import msgspec
import openai
import pytest
import web_process
from cast import Cast
from django.db import connection
from mock_model import Upstream
from pytest_django import DjangoDbBlocker
from web_process import Web

from audit import queries
from gateway import accounts, endpoints, routes
from tenants.keys import issuing
from tenants.keys.models import Key


class Office(msgspec.Struct):
    """acme with a chat route, an embeddings route and a client app's key, behind a web server."""

    cast: Cast
    web: Web
    upstream: Upstream
    key: Key
    secret: str
    line: httpx2.Client

    def client(self, secret: str | None = None, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, unchanged, but that it does not try again."""
        return openai.OpenAI(
            base_url=f"{self.web.address}/v1",
            api_key=secret or self.secret,
            max_retries=0,
            **{"http_client": self.line, **options},
        )

    def post(
        self, path: str, content: bytes, *, timeout: float = 10, **headers: str
    ) -> httpx2.Response:
        """A request that no decent client would make."""
        named = {"Authorization": f"Bearer {self.secret}", **headers}
        address = f"{self.web.address}{path}"
        return self.line.post(address, content=content, headers=named, timeout=timeout)

    def entries(self, request_id: str | None) -> list[tuple[str, dict[str, Any]]]:
        """Kind and event of each ledger entry of one request, in the order of recording."""
        assert request_id is not None
        found = queries.entries(correlation=UUID(request_id)).order_by("id")
        return [(entry.kind, entry.event) for entry in found]

    def private(self, request_id: str | None, kind: str) -> dict[str, Any]:
        """What is private of the call's one entry of this kind, by field."""
        return queries.private(queries.entries(correlation=UUID(str(request_id)), kind=kind).get())

    def kinds(self, request_id: str | None) -> list[str]:
        """The kinds of one request's entries."""
        return [kind for kind, _ in self.entries(request_id)]


@pytest.fixture(scope="session")
def upstream_server() -> Iterator[Upstream]:
    """One model API for all tests."""
    with mock_model.serving() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def web(
    casts: dict[str, Cast],
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    """One web server for all tests."""
    with django_db_blocker.unblock():
        database = connection.settings_dict["NAME"]
    with web_process.serving(database, tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="session")
def line() -> Iterator[httpx2.Client]:
    """The connections of all clients, as OpenAI's own makes them.

    It speaks no TLS here: reading the machine's certificates takes longer than most tests.
    """
    with openai.DefaultHttpxClient(verify=False) as made:
        yield made


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """The secret of Robo's key, by the key's public id; none before the office was furnished."""
    return {}


@pytest.fixture
def upstream(upstream_server: Upstream, settings: Any) -> Upstream:
    """The model API, reachable because the operator allowed private addresses."""
    settings.ALLOW_PRIVATE_ADDRESSES = True
    upstream_server.start_over()
    return upstream_server


@pytest.fixture
def office(
    committed_acme: Cast,
    web: Web,
    upstream: Upstream,
    line: httpx2.Client,
    secrets: dict[str, str],
) -> Office:
    """acme, committed, so that the web server sees it."""
    acme = committed_acme
    committed.furnish("office", acme.tenant, lambda: secrets.update(furnish(acme, upstream)))
    ((public_id, secret),) = secrets.items()
    made = Office(acme, web, upstream, Key.objects.get(public_id=public_id), secret, line)
    made.client().models.list()  # from here on the web server knows of it
    return made


def furnish(cast: Cast, upstream: Upstream) -> dict[str, str]:
    """Two models at one provider, their routes, and Robo's key: its secret by its public id."""
    alice, now = cast.alice, datetime.now(UTC)
    provider = accounts.add(
        "vendor",
        kind="openai",
        base_url=upstream.url,
        api_key="sk-upstream-0123456789",
        timeout_seconds=1,
        by=alice,
        now=now,
    )
    for slug, purpose in (("fast", "chat"), ("vectors", "embeddings")):
        endpoint = endpoints.add(
            f"{slug}-1",
            provider=provider,
            model="upstream-model",
            purpose=purpose,
            input_micros_per_million=1_000_000,
            output_micros_per_million=2_000_000,
            dimensions=3 if purpose == "embeddings" else None,
            by=alice,
            now=now,
        )
        routes.add(slug, purpose=purpose, endpoints=[endpoint], by=alice, now=now)
    key, secret = issuing.issue_service_key("robo", by=alice, now=now)
    return {key.public_id: secret}
