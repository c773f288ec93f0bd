"""The demo's shop across starts, as a process of its own."""

from __future__ import annotations

import os
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from countersign.installation import Installation
from countersign.processes import free_port
from demo.orders import FIRST_PORT, Orders


def _refund(shop: Orders, order: str, key: str) -> None:
    body = f'{{"order_id": "{order}", "amount_cents": 2500}}'.encode()
    connection = HTTPConnection(urlsplit(shop.address).netloc, timeout=10)
    connection.request("POST", "/refunds", body, {"Idempotency-Key": key})
    assert connection.getresponse().status == 201
    connection.close()


def test_a_step_that_resumes_in_a_later_demo_refunds_nothing_again(tmp_path: Path) -> None:
    numbers, keys = [], ["run-1:1", "run-1:1", "run-2:1"]
    for key in keys:
        installation = Installation(tmp_path, 1, dict(os.environ), None)
        shop = Orders(tmp_path)
        shop.open_shop(installation)
        try:
            numbers.append(shop.number("1042"))
            _refund(shop, "1042", key)
            assert shop.refunds("run-1") == 1
            refunded = shop.order("1042")["refunded_cents"]
            assert shop.order(numbers[-1])["refunded_cents"] in {0, refunded}
        finally:
            installation.processes.kill("orders")
    assert numbers == ["1042", "1142", "1242"]
    assert refunded == 5_000


def test_the_shop_leaves_the_web_server_the_port_that_it_will_have(tmp_path: Path) -> None:
    promised = free_port(FIRST_PORT)
    installation = Installation(tmp_path, promised, dict(os.environ), None)
    shop = Orders(tmp_path)
    shop.open_shop(installation)
    installation.processes.kill("orders")
    assert urlsplit(shop.address).port not in {None, promised}
