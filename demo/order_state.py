"""The only place that touches the order service's durable state: one SQLite file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, status TEXT NOT NULL,
    delivered_on TEXT NOT NULL, total_cents INTEGER NOT NULL CHECK (total_cents > 0)
) STRICT;
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS refunds (
    refund_id TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders,
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0), reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    idempotency_key TEXT PRIMARY KEY, body_sha256 TEXT NOT NULL, status INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL, order_id TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    refund_id TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS log_is_never_shortened BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
SEED = (
    ("1001", "Anna Huber", "Wool socks, 3 pairs", "delivered", "2026-02-27", 3_990),
    ("1002", "Jonas Berg", "Head torch Lumen 400", "delivered", "2026-03-02", 6_495),
    ("1003", "Mara Novak", "Trekking poles Carbon 120", "delivered", "2026-03-05", 12_900),
    ("1040", "Piet de Vries", "Backpack Traverse 45", "delivered", "2026-02-20", 18_950),
    ("1041", "Lucia Rossi", "Rain jacket Squall, red, M", "in transit", "", 24_900),
    ("1042", "Emil Lund", "Camping stove Ember and pot", "delivered", "2026-03-04", 8_900),
    ("1043", "Sofia Lindqvist", "Tent Basecamp 4", "delivered", "2026-03-01", 124_900),
    ("1044", "Tom Fischer", "Ski touring set Aravis", "delivered", "2026-01-15", 189_000),
    ("1045", "Nora Keller", "Expedition tent Polar 6", "delivered", "2026-03-06", 349_900),
    ("1046", "Acme Alpine Club", "20 climbing helmets", "processing", "", 159_800),
)


class Answer(NamedTuple):
    """An HTTP status and a JSON body."""

    status: int
    body: dict[str, Any]


class Refund(NamedTuple):
    """What a refund asks for; `amount_cents` is positive."""

    order_id: str
    amount_cents: int
    reason: str

    @property
    def sha256(self) -> str:
        """Names the body, so that a key used again with another body is noticed."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()


class OrderState:
    """Orders, refunds and the log; every act is one transaction, synced to the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._database.executescript(SCHEMA)
        with self._durably():
            self._keep(SEED)

    def close(self) -> None:
        """Close the file; what was answered is on the disk already."""
        with self._turn:
            self._database.close()

    def take_batch(self) -> dict[str, str]:
        """Ten orders that nobody was given before, by the numbers of the first ten.

        The second batch has 1101 for 1001, the third 1201: the shop keeps all of them.
        """
        with self._turn, self._durably():
            row = self._database.execute("INSERT INTO batches DEFAULT VALUES RETURNING number")
            ahead = 100 * (row.fetchone()["number"] - 1)
            numbers = {order[0]: str(int(order[0]) + ahead) for order in SEED}
            self._keep([(numbers[order[0]], *order[1:]) for order in SEED])
        return numbers

    def order(self, order_id: str) -> dict[str, Any] | None:
        """One order with what is left to refund, or None."""
        with self._turn:
            return self._order(order_id)

    def log(self) -> list[dict[str, Any]]:
        """Every refund that was made, refused or answered again, oldest first."""
        with self._turn:
            return [dict(row) for row in self._database.execute("SELECT * FROM log ORDER BY 1")]

    def refund(self, refund: Refund, *, key: str) -> Answer:
        """Make the refund once for `key`.

        1. A key that was answered gets the same answer (or 422, if the body is another).
        2. The amount must not be more than what is left.
        3. Refund, answer and log entry become durable together, or none of them does.
        """
        with self._turn, self._durably():
            return self._answered(refund, key) or self._made(refund, key)

    @contextlib.contextmanager
    def _durably(self) -> Iterator[None]:
        """All of the block is on the disk afterwards, or none of it."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _keep(self, orders: Iterable[tuple[Any, ...]]) -> None:
        rows = "INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?)"
        self._database.executemany(rows, orders)

    def _answered(self, refund: Refund, key: str) -> Answer | None:
        known = self._one("SELECT * FROM answers WHERE idempotency_key = ?", key)
        if known is None:
            return None
        if known["body_sha256"] != refund.sha256:
            self._enter("refund.key_reused", key, refund)
            return refusal(422, "idempotency_key_reused", "The key was used for another body.")
        self._enter("refund.repeated", key, refund)
        return Answer(known["status"], json.loads(known["body"]))

    def _made(self, refund: Refund, key: str) -> Answer:
        answer = self._refused(refund)
        refund_id = ""
        if answer is None:
            refund_id = f"rf_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            row = (refund_id, refund.order_id, refund.amount_cents, refund.reason)
            self._database.execute("INSERT INTO refunds VALUES (?, ?, ?, ?)", row)
            order = self._order(refund.order_id) or {}
            left = {name: order[name] for name in ("refundable_cents", "currency")}
            made = {"order_id": refund.order_id, "amount_cents": refund.amount_cents}
            answer = Answer(201, {"refund_id": refund_id, **made, **left})
        row = (key, refund.sha256, answer.status, json.dumps(answer.body))
        self._database.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", row)
        self._enter("refund.made" if refund_id else "refund.refused", key, refund, refund_id)
        return answer

    def _refused(self, refund: Refund) -> Answer | None:
        order = self._order(refund.order_id)
        if order is None:
            return refusal(404, "order_unknown", f"There is no order {refund.order_id}.")
        left = order["refundable_cents"]
        if refund.amount_cents > left:
            message = f"Order {refund.order_id} has {left} cents left to refund, not more."
            return refusal(422, "amount_too_large", message)
        return None

    def _order(self, order_id: str) -> dict[str, Any] | None:
        row = self._one("SELECT * FROM orders WHERE order_id = ?", order_id)
        if row is None:
            return None
        paid = "SELECT coalesce(sum(amount_cents), 0) AS cents FROM refunds WHERE order_id = ?"
        refunded = self._database.execute(paid, (order_id,)).fetchone()["cents"]
        left = {"refunded_cents": refunded, "refundable_cents": row["total_cents"] - refunded}
        return {**dict(row), **left, "currency": "EUR"}

    def _one(self, query: str, value: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(query, (value,)).fetchone()
        return row

    def _enter(self, kind: str, key: str, refund: Refund, refund_id: str = "") -> None:
        row = (datetime.now(UTC).isoformat(), kind, key, refund.order_id, refund.amount_cents)
        columns = "at, kind, idempotency_key, order_id, amount_cents, refund_id"
        statement = f"INSERT INTO log ({columns}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - fixed
        self._database.execute(statement, (*row, refund_id))


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as this service answers it."""
    return Answer(status, {"error": {"code": code, "message": message}})
