"""The only place for what the demo's order service promises: a refund happens exactly once."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from jsonschema import Draft202012Validator

from demo.order_service import application
from demo.order_state import SEED, OrderState, Refund
from demo.tools import TOOLS

PROGRAM = Path(__file__).parents[2] / "demo" / "order_service.py"
ASKED = {"order_id": "1042", "amount_cents": 3500}


class Client:
    """Somebody who asks the service."""

    address: str

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        """One request: status and JSON."""
        headers = {"Idempotency-Key": key} if key else {}
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self.address + path, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def kinds(self) -> list[str]:
        """The kinds of the log's entries."""
        return [entry["kind"] for entry in (await self.ask("GET", "/log"))[1]["entries"]]


class Service(Client):
    """The service as a process of its own."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, str(PROGRAM), "--port", "0", "--state", str(state), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "orders.sqlite3"


@pytest.fixture
def service(state: Path) -> Iterator[Service]:
    running = Service(state)
    yield running
    if running.process.poll() is None:
        running.end()


@pytest_asyncio.fixture
async def near(state: Path) -> AsyncIterator[Client]:
    """The same service inside the test's own process, which starts faster."""
    kept = OrderState(state)
    async with TestServer(application(kept)) as server:
        client = Client()
        client.address = str(server.make_url("/")).rstrip("/")
        yield client
    kept.close()


async def test_an_order_shows_what_is_left_to_refund(near: Client) -> None:
    assert await near.ask("POST", "/refunds", ASKED, key="a")
    status, order = await near.ask("GET", "/orders/1042")
    assert status == 200
    assert (order["refunded_cents"], order["refundable_cents"]) == (3500, 5400)


async def test_the_same_key_gets_the_same_answer_and_one_refund(near: Client) -> None:
    answers = [await near.ask("POST", "/refunds", ASKED, key="a") for _ in range(3)]
    assert answers[0][0] == 201
    assert answers[0] == answers[1] == answers[2]
    assert await near.kinds() == ["refund.made", "refund.repeated", "refund.repeated"]


async def test_the_same_key_at_the_same_time_makes_one_refund(state: Path) -> None:
    slow = Service(state, "--delay-ms", "100")
    asked = [slow.ask("POST", "/refunds", ASKED, key="a") for _ in range(5)]
    answers = await asyncio.gather(*asked)
    kinds = await slow.kinds()
    assert slow.end() == 0
    assert len({str(answer) for answer in answers}) == 1
    assert kinds.count("refund.made") == 1


async def test_a_key_with_another_body_is_refused(near: Client) -> None:
    await near.ask("POST", "/refunds", ASKED, key="a")
    status, body = await near.ask("POST", "/refunds", {**ASKED, "amount_cents": 1}, key="a")
    assert (status, body["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await near.kinds()).count("refund.made") == 1


async def test_no_more_is_refunded_than_is_left(service: Service) -> None:
    whole = {"order_id": "1042", "amount_cents": 8900}
    several = [service.ask("POST", "/refunds", whole, key=f"k{number}") for number in range(4)]
    statuses = sorted(status for status, _ in await asyncio.gather(*several))
    assert statuses == [201, 422, 422, 422]
    refused = await service.ask("POST", "/refunds", ASKED, key="last")
    assert refused[1]["error"]["code"] == "amount_too_large"


@pytest.mark.parametrize(
    ("body", "key", "status", "code"),
    [
        (ASKED, None, 400, "idempotency_key_missing"),
        (ASKED, "k" * 256, 400, "idempotency_key_missing"),
        ({**ASKED, "order_id": "9999"}, "a", 404, "order_unknown"),
        ({**ASKED, "amount_cents": 0}, "a", 422, "invalid_amount"),
        ({**ASKED, "amount_cents": -5}, "a", 422, "invalid_amount"),
        ({**ASKED, "amount_cents": True}, "a", 422, "invalid_amount"),
        ({**ASKED, "amount_cents": "35"}, "a", 422, "invalid_amount"),
        ({**ASKED, "amount_cents": 35.5}, "a", 422, "invalid_amount"),
        ({**ASKED, "order_id": 1042}, "a", 422, "invalid_body"),
        ({**ASKED, "surprise": 1}, "a", 422, "invalid_body"),
        ([], "a", 422, "invalid_body"),
        ({**ASKED, "reason": "x" * 20_000}, "a", 413, "request_entity_too_large"),
    ],
)
async def test_bad_input_is_named(
    near: Client, body: Any, key: str | None, status: int, code: str
) -> None:
    answer = await near.ask("POST", "/refunds", body, key=key)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    assert "refund.made" not in await near.kinds()


async def test_what_is_not_there_is_said_in_json(near: Client) -> None:
    assert (await near.ask("GET", "/orders/9999"))[1]["error"]["code"] == "order_unknown"
    assert (await near.ask("GET", "/nothing"))[1]["error"]["code"] == "not_found"
    assert (await near.ask("DELETE", "/log"))[1]["error"]["code"] == "method_not_allowed"


async def until_made(service: Service) -> None:
    """Wait until the refund is in the service's log."""
    while "refund.made" not in await service.kinds():  # noqa: ASYNC110 - another process's log
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("made", [0, 1], ids=["before", "after"])
@pytest.mark.soak
async def test_a_kill_in_the_middle_leaves_one_refund_in_the_end(state: Path, made: int) -> None:
    slow = Service(state, "--delay-ms", "3000" if made else "20000")
    asking = asyncio.create_task(slow.ask("POST", "/refunds", ASKED, key="a"))
    await asyncio.wait_for(until_made(slow) if made else asyncio.sleep(0.3), timeout=20)
    slow.end(signal.SIGKILL)
    with pytest.raises(aiohttp.ClientError):
        await asking
    again = Service(state)
    assert len(await again.kinds()) == made
    status, _ = await again.ask("POST", "/refunds", ASKED, key="a")
    order = (await again.ask("GET", "/orders/1042"))[1]
    kinds = await again.kinds()
    assert again.end() == 0
    assert status == 201
    assert order["refunded_cents"] == 3500
    assert kinds.count("refund.made") == 1


async def test_a_client_that_goes_away_does_not_undo_its_refund(state: Path) -> None:
    slow = Service(state, "--delay-ms", "1500")
    asking = asyncio.create_task(slow.ask("POST", "/refunds", ASKED, key="a"))
    await asyncio.sleep(0.4)
    asking.cancel()
    await asyncio.wait_for(until_made(slow), timeout=20)
    assert slow.end() == 0


async def test_it_ends_cleanly_and_keeps_its_state(state: Path, service: Service) -> None:
    await service.ask("POST", "/refunds", ASKED, key="a")
    assert (await service.ask("GET", "/health"))[1] == {"status": "ok"}
    assert service.end() == 0
    again = Service(state)
    order = (await again.ask("GET", "/orders/1042"))[1]
    again.end()
    assert order["refunded_cents"] == 3500


async def test_each_story_has_ten_orders_of_its_own_and_the_shop_forgets_none(state: Path) -> None:
    kept = OrderState(state)
    first = kept.take_batch()
    assert first["1042"] == "1042"
    kept.refund(Refund("1042", 3500, ""), key="a")
    kept.close()
    again = OrderState(state)
    second, third = again.take_batch(), again.take_batch()
    assert (second["1042"], third["1042"], third["1001"]) == ("1142", "1242", "1201")
    assert len({*first.values(), *second.values(), *third.values()}) == 30
    fresh = again.order("1142") or {}
    assert (fresh["refunded_cents"], fresh["item"]) == (0, "Camping stove Ember and pot")
    assert (again.order("1042") or {})["refunded_cents"] == 3500
    again.refund(Refund("1042", 3500, ""), key="a")
    assert (again.order("1042") or {})["refunded_cents"] == 3500
    again.close()


def test_a_taken_port_is_said_in_a_sentence(state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(PROGRAM), "--port", port, "--state", str(state)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Cannot listen on port {port}")


def test_the_log_cannot_be_changed_even_with_the_file_in_hand(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite3"
    kept = OrderState(path)
    kept.refund(Refund("1042", 3500, ""), key="a")
    kept.close()
    database = sqlite3.connect(path)
    for statement in ("UPDATE log SET amount_cents = 1", "DELETE FROM log"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
    database.close()


def test_the_tools_describe_what_the_service_takes() -> None:
    for tool in TOOLS:
        Draft202012Validator.check_schema(tool["arguments"])
    refund = next(tool for tool in TOOLS if tool["name"] == "refund_order")
    Draft202012Validator(refund["arguments"]).validate({**ASKED, "reason": "It arrived damaged."})
    assert [tool["effect"] for tool in TOOLS] == ["read", "write"]


def test_the_seed_has_small_and_large_orders() -> None:
    totals = [order[-1] for order in SEED]
    assert len(totals) == 10
    assert min(totals) <= 5_000
    assert sum(total > 50_000 for total in totals) >= 3
