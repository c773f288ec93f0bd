"""The demo's SIEM: it keeps what the product signed and hashed, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from audit import canonical
from audit.proofs import leaf_hash
from audit.published import Published
from countersign.installation import Installation
from demo.siem import Siem
from demo.siem_service import Kept, application
from runtime import webhooks

LOG = "localhost/acme"
STREAM = UUID(int=1)
SECRET, ANOTHER = webhooks.new_secret(), webhooks.new_secret()


def published(index: int, *, word: str = "é", wrong: bool = False) -> Published:
    """An entry of the log, as the product reads it; a wrong one has another's hash."""
    leaf = canonical.encode({"kind": "run.started", "log": LOG, "event": {"word": word}})
    named = leaf_hash(b"another" if wrong else leaf)
    return Published(index, "run.started", datetime.now(UTC), leaf, named)


class Receiver:
    """The SIEM within the test's own process."""

    def __init__(self, kept: Kept, server: TestServer) -> None:
        self._kept = kept
        self._url = str(server.make_url("/countersign"))

    async def take(
        self, *entries: Published, secret: str = SECRET, late: timedelta = timedelta(0)
    ) -> int:
        """Send the entries as the product does; the status."""
        message = webhooks.of_entries(STREAM, entries)
        headers = webhooks.headers_of(message, [secret], now=datetime.now(UTC) - late)
        async with (
            aiohttp.ClientSession() as client,
            client.post(self._url, data=message.body, headers=headers) as answer,
        ):
            return answer.status

    @property
    def indexes(self) -> list[int]:
        """Which entries it has."""
        return [index for index, _ in self._kept.known(LOG)]


@pytest_asyncio.fixture
async def siem(tmp_path: Path) -> AsyncIterator[Receiver]:
    kept = Kept(tmp_path / "siem.sqlite")
    secret = tmp_path / "siem.secret"
    secret.write_text(SECRET)
    async with TestServer(application(kept, secret)) as server:
        yield Receiver(kept, server)
    kept.close()


async def test_what_comes_again_is_kept_once(siem: Receiver) -> None:
    entries = [published(index) for index in range(3)]
    assert [await siem.take(*entries[:2]), await siem.take(*entries)] == [204, 204]
    assert siem.indexes == [0, 1, 2]


@pytest.mark.parametrize(
    "changes", [{"secret": ANOTHER}, {"late": timedelta(hours=1)}, {"late": timedelta(hours=-1)}]
)
async def test_what_was_not_signed_for_it_lately_is_refused(
    siem: Receiver, changes: dict[str, Any]
) -> None:
    assert await siem.take(published(0), **changes) == 401
    assert siem.indexes == []


async def test_nobody_is_believed_before_there_is_a_secret(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "siem.sqlite")
    async with TestServer(application(kept, tmp_path / "siem.secret")) as server:
        assert await Receiver(kept, server).take(published(0)) == 401
    kept.close()


async def test_of_a_message_with_a_wrong_hash_nothing_is_kept(siem: Receiver) -> None:
    assert await siem.take(published(0), published(1, wrong=True)) == 422
    assert siem.indexes == []


async def test_another_entry_at_a_known_index_is_a_contradiction(siem: Receiver) -> None:
    first = published(0)
    assert await siem.take(first) == 204
    assert await siem.take(published(1), published(0, word="other")) == 409
    assert siem.indexes == [0]


def test_the_process_keeps_its_entries_for_the_next_demo(tmp_path: Path) -> None:
    (tmp_path / "siem.secret").write_text(SECRET)
    for index in range(2):
        installation = Installation(tmp_path, 1, dict(os.environ), None)
        siem = Siem(tmp_path, LOG)
        siem.start(installation)
        try:
            assert asyncio.run(_sent(siem.address, published(index))) == 204
            assert [known for known, _ in siem.entries()] == list(range(index + 1))
        finally:
            installation.processes.kill("siem")


async def _sent(address: str, entry: Published) -> int:
    message = webhooks.of_entries(STREAM, [entry])
    headers = webhooks.headers_of(message, [SECRET], now=datetime.now(UTC))
    async with (
        aiohttp.ClientSession() as client,
        client.post(address, data=message.body, headers=headers) as answer,
    ):
        return answer.status
